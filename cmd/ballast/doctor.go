package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/agent"
	"github.com/ballast-io/ballast/internal/doctor"
	"github.com/ballast-io/ballast/internal/doctor/gather"
)

// lookLimit bounds a look at the machine; the Docker Engine may be stopped.
const lookLimit = 5 * time.Second

func newDoctor(c *cli) *cobra.Command {
	var data, socket string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [--data DIR]",
		Short: "say whether this machine can run Ballast, and what to do where not",
		Long: `Say whether this machine can run Ballast, and what to do where not. It needs no
agent and changes nothing. A warning costs speed, room or an option, never data;
with a failure it exits with 1.`,
		Example:           "  sudo ballast doctor\n  sudo ballast doctor --data /srv/ballast",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), lookLimit)
			defer cancel()
			checks := doctor.Examine(c.facts(ctx, gather.Where{
				DataDir:      data,
				DockerSocket: c.dockerSocket(socket),
				Docker:       c.docker(socket),
				PluginDir:    filepath.Dir(agent.DefaultPluginSocket),
			}))
			if err := printChecks(c.stdout, checks, asJSON); err != nil {
				return err
			}
			if doctor.Worst(checks) == doctor.Fail {
				return errUnfit
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", agent.DefaultDataDir, "where the agent is to keep its data: `DIR`")
	cmd.Flags().StringVar(&socket, "docker-socket", "", "ask the Docker Engine at `PATH` (default $DOCKER_HOST, else "+defaultDockerSocket+")")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printChecks(w io.Writer, checks []doctor.Check, asJSON bool) error {
	if asJSON {
		return writeJSON(w, toDoctorJSON(checks))
	}
	for _, ch := range checks {
		fmt.Fprintf(w, "%-4s  %-13s  %s\n", ch.Level, ch.Name, ch.Says)
		if ch.ToDo != "" {
			fmt.Fprintf(w, "      %-13s  → %s\n", "", ch.ToDo)
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict(checks))
	return err
}

func verdict(checks []doctor.Check) string {
	n := map[doctor.Level]int{}
	for _, ch := range checks {
		n[ch.Level]++
	}
	switch {
	case n[doctor.Fail] > 0:
		return "this machine cannot run Ballast yet: " + count(n[doctor.Fail], "check") + " failed"
	case n[doctor.Warn] > 0:
		return "this machine can run Ballast, with " + count(n[doctor.Warn], "warning")
	}
	return "this machine can run Ballast"
}

type doctorJSON struct {
	Verdict string      `json:"verdict"` // ok, warn, fail
	Checks  []checkJSON `json:"checks"`
}

type checkJSON struct {
	Name  string `json:"name"`
	Level string `json:"level"` // ok, warn, fail
	Says  string `json:"says"`
	ToDo  string `json:"to_do"`
}

func toDoctorJSON(checks []doctor.Check) doctorJSON {
	all := doctorJSON{Verdict: string(doctor.Worst(checks)), Checks: []checkJSON{}}
	for _, ch := range checks {
		all.Checks = append(all.Checks, checkJSON{ch.Name, string(ch.Level), ch.Says, ch.ToDo})
	}
	return all
}
