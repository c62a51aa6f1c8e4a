package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// testNow is the moment at which every script runs, so that "5 minutes ago" is
// the same words every time.
var testNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ballast": scriptMain})
}

// scriptMain is main with the clock standing still.
func scriptMain() {
	out := here()
	out.now = func() time.Time { return testNow }
	os.Exit(run(context.Background(), os.Args[1:], out))
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
		},
	})
}
