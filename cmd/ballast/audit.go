package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/audit"
	"github.com/ballast-io/ballast/internal/audit/survey"
)

const defaultDockerSocket = "/var/run/docker.sock"

func newAudit(c *cli) *cobra.Command {
	var socket string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "name the state that the next update of a container loses",
		Long: `Look at what runs on the local Docker Engine and name every place where a
container or service keeps state that its next update, or the loss of this host,
takes away: volumes without a name, files written into the container itself,
local volumes and folders that a service leaves behind when it starts on another
node. For each: why, which class of state it seems to be, and what to type
instead.

It needs no agent and changes nothing. It exits with 6 when it found something.`,
		Example:           "  ballast audit\n  ballast audit --json | jq -r '.findings[] | select(.gravity == \"lost\") | .owner'",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			world, err := survey.Docker(cmd.Context(), c.docker(socket))
			if err != nil {
				return explainDocker(err, c.dockerSocket(socket))
			}
			return c.printAudit(audit.Examine(world), world.Gaps, asJSON)
		},
	}
	cmd.Flags().StringVar(&socket, "docker-socket", "", "ask the Docker Engine at `PATH` (default $DOCKER_HOST, else "+defaultDockerSocket+")")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// dockerSocket is where the Docker Engine listens: the option, the environment
// as far as it names a Unix socket, the default.
func (c *cli) dockerSocket(option string) string {
	if option != "" {
		return option
	}
	if path, ok := strings.CutPrefix(c.getenv("DOCKER_HOST"), "unix://"); ok {
		return path
	}
	return defaultDockerSocket
}

func (c *cli) docker(option string) *http.Client {
	socket := c.dockerSocket(option)
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialUnix(ctx, socket) },
	}}
}

func explainDocker(err error, socket string) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrPermission):
		return &failure{exitFailed, fmt.Errorf("the Docker Engine's socket %s is not yours", socket), `try again with "sudo"`}
	}
	return &failure{exitFailed, err, `is Docker running? try "systemctl start docker", or say where it listens: --docker-socket, DOCKER_HOST`}
}

// printAudit tells what was found, and what could not be looked at: then nothing
// found is no good news.
func (c *cli) printAudit(findings []audit.Finding, gaps []string, asJSON bool) error {
	if asJSON {
		if err := writeJSON(c.stdout, toAuditJSON(findings, gaps)); err != nil {
			return err
		}
	} else {
		printFindings(c.stdout, findings)
	}
	for _, gap := range gaps {
		fmt.Fprintf(c.stderr, "ballast: could not look at %s\n", gap)
	}
	switch {
	case len(findings) > 0:
		return errFound
	case len(gaps) > 0:
		return &failure{exitFailed, errors.New("the audit is not complete"), ""}
	case !asJSON:
		fmt.Fprintln(c.stdout, "nothing found: no running container or service keeps state that its next update loses")
	}
	return nil
}

func printFindings(w io.Writer, findings []audit.Finding) {
	var told audit.Gravity
	sized := map[audit.Owner]bool{}
	for _, f := range findings {
		if sized[f.Owner] {
			f.Bytes = 0 // said once for all of the container's own files
		}
		sized[f.Owner] = sized[f.Owner] || f.Bytes > 0
		if f.Gravity != told {
			told = f.Gravity
			fmt.Fprintf(w, "%s: %s\n\n", strings.ToUpper(string(told)), told.Meaning())
		}
		printFinding(w, f)
	}
	for _, f := range findings {
		if f.Volume != "" {
			fmt.Fprint(w, bringAlong)
			return
		}
	}
}

// bringAlong ends the report.
const bringAlong = `A volume starts empty. To take along what is there now, stop the container and,
before its successor starts:

  docker cp -a CONTAINER:PATH/. "$(ballast volume attach VOLUME)" && ballast volume detach VOLUME
`

func printFinding(w io.Writer, f audit.Finding) {
	fmt.Fprintf(w, "  %s  %s  (%s)\n", f.Owner, f.Path, f.Image)
	fmt.Fprintf(w, "    why:      %s\n", f.Why)
	if f.Bytes > 0 {
		fmt.Fprintf(w, "    size:     %s in all of the container's own files\n", size(uint64(f.Bytes)))
	}
	if f.Volume != "" {
		fmt.Fprintf(w, "    class:    %s (%s)\n", f.Class, f.Reason)
	}
	fmt.Fprintf(w, "    instead:  %s\n\n", strings.Join(f.Instead, "\n              "))
}

type auditJSON struct {
	Findings []findingJSON `json:"findings"`
	Gaps     []string      `json:"gaps"`
}

type findingJSON struct {
	Gravity string   `json:"gravity"` // lost, behind, tied
	Kind    string   `json:"kind"`    // anonymous-volume, writable-layer, local-volume, bind-mount
	Owner   string   `json:"owner"`
	Service bool     `json:"service"` // the owner is a Swarm service, not a container
	Image   string   `json:"image"`
	Path    string   `json:"path"`
	Source  string   `json:"source"`
	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"`
	Why     string   `json:"why"`
	Class   string   `json:"class"`
	Reason  string   `json:"class_reason"`
	Volume  string   `json:"volume"`
	Instead []string `json:"instead"`
}

func toAuditJSON(findings []audit.Finding, gaps []string) auditJSON {
	all := auditJSON{Findings: []findingJSON{}, Gaps: append([]string{}, gaps...)}
	for _, f := range findings {
		all.Findings = append(all.Findings, findingJSON{
			Gravity: string(f.Gravity), Kind: string(f.Kind), Owner: f.Owner.Name, Service: f.Owner.Service,
			Image: f.Image, Path: f.Path, Source: f.Source, Files: f.Files, Bytes: f.Bytes, Why: f.Why,
			Class: string(f.Class), Reason: f.Reason, Volume: f.Volume, Instead: f.Instead,
		})
	}
	return all
}
