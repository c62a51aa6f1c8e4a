package docker

import (
	"strings"
	"testing"
)

// TestOptionsRefused: Docker shows the agent's own words, and they list what is known.
func TestOptionsRefused(t *testing.T) {
	e, _ := newAgentEngine(t)
	for _, tt := range []struct{ name, option string }{
		{"unknown option", "sise=20G"},
		{"malformed size", "size=20X"},
		{"negative size", "size=-1G"},
		{"absurd size", "size=9000P"},
		{"unknown class", "class=sticky"},
		{"unknown filesystem", "fs=fat"},
		{"bad owner", "uid=root"},
		{"bad mode", "mode=rwx"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := e.fails("volume", "create", "-d", "ballast", "-o", tt.option, "db")
			if !strings.Contains(got, "known options") && !strings.Contains(got, "between") {
				t.Errorf("docker says: %s; want what is known", got)
			}
			if left := e.ok("volume", "ls", "-q"); left != "" {
				t.Errorf("volumes = %q; want none", left)
			}
		})
	}
}

// TestOptionsTaken: what was asked for is what the container finds.
func TestOptionsTaken(t *testing.T) {
	e, b := newAgentEngine(t)
	e.ok("volume", "create", "-d", "ballast", "-o", "size=1GiB", "-o", "uid=70", "-o", "gid=71", "-o", "mode=0750", "db")
	if got := b.inspect(t, "db").SizeBytes; got != 1<<30 {
		t.Errorf("size = %d; want 1 GiB", got)
	}
	if got := e.runBusybox("--rm", "-v", "db:/mnt", "busybox", "stat", "-c", "%u %g %a", "/mnt"); got != "70 71 750" {
		t.Errorf("owner and mode = %q; want 70 71 750", got)
	}
}

// TestOptionsOfAnExistingVolume: Docker asks whether it exists and does not pass the
// options on, so nothing is changed and nothing is said.
func TestOptionsOfAnExistingVolume(t *testing.T) {
	e, b := newAgentEngine(t)
	e.ok("volume", "create", "-d", "ballast", "-o", "size=1GiB", "db")
	e.ok("volume", "create", "-d", "ballast", "-o", "size=2GiB", "db")
	if got := b.inspect(t, "db").SizeBytes; got != 1<<30 {
		t.Errorf("size = %d; want 1 GiB as before", got)
	}
}
