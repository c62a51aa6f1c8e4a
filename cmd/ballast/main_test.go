package main

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ballast-io/ballast/internal/doctor"
	"github.com/ballast-io/ballast/internal/doctor/gather"
)

// testNow is the moment at which every script runs, so that "5 minutes ago" is
// the same words every time.
var testNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// TestMain lets the scripts run this test binary as ballast.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ballast": scriptMain})
}

// scriptMain is main with the clock standing still, on the machine that a script
// describes in the file that FACTS names.
func scriptMain() {
	out := here()
	out.now = func() time.Time { return testNow }
	if file := os.Getenv("FACTS"); file != "" {
		out.facts = func(context.Context, gather.Where) doctor.Facts { return readFacts(file) }
	}
	os.Exit(run(context.Background(), os.Args[1:], out))
}

func readFacts(file string) doctor.Facts {
	var facts doctor.Facts
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &facts)
	}
	if err != nil {
		panic(err)
	}
	return facts
}

// TestScript runs the command line's contract, testdata/script/*.txtar.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values[serversKey{}] = servers{}
			env.Setenv("BALLAST_SOCKET", env.WorkDir+"/agent.sock")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent":  cmdAgent,
			"docker": cmdDocker,
			"exits":  cmdExits,
			"die":    cmdDie,
			"volume": cmdVolume,
			"damage": cmdDamage,
			"lock":   cmdLock,
		},
	})
}
