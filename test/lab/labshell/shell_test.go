package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// TestShell types at the prompt what its help says.
func TestShell(t *testing.T) {
	c := labtest.NewCluster(t, 2, lab.ClusterOptions{Apart: true, Machine: lab.Options{Disk: 512 << 20}})
	for _, tt := range []struct{ name, typed, want string }{
		{"a node's name", "n1 hostname -I || ip -4 -o address show eth0", "10.77.0.1"},
		{"a pipe", "n2 echo one two | wc -w", "2"},
		{"help", "help", "cut-one-way NODE NODE"},
		{"cut", "cut n1 n2\nn1 busybox ping -c 1 -W 1 n2 | tail -n 2", "100% packet loss"},
		{"heal", "heal\nn1 busybox ping -c 1 -W 1 n2 | tail -n 2", " 0% packet loss"},
		{"slow", "slow n1 n2 30ms 10M\nn1 busybox ping -c 1 -W 1 n2 | tail -n 1", "round-trip min/avg/max = 6"},
		{"power", "kill n2\nn2 true\non n2\nheal\nn2 echo back", "the machine's power is off\nback"},
		{"a node that is not there", "cut n1 n7", "no node is called \"n7\"\nusage: cut NODE NODE"},
		{"a command that is not there", "cutt n1 n2", "type help"},
		{"a shell", "n1\necho $((6*7))", "42"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := typed(t, c, tt.typed); !strings.Contains(got, tt.want) {
				t.Errorf("typed %q, got:\n%s\nwant %q in it", tt.typed, got, tt.want)
			}
		})
	}
}

// TestTerminal types at the prompt of a terminal, which is the program's that runs, and
// then the prompt's again.
func TestTerminal(t *testing.T) {
	labtest.Require(t)
	shell := filepath.Join(t.TempDir(), "labshell")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", shell, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "script", "-qefc", shell+" -n 1 -apart", "/dev/null")
	cmd.Stdin = strings.NewReader("n1 echo $((6*7))\nn1 echo $((7*8))\nexit\n")
	said, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "42\r\n") || !strings.Contains(string(said), "56\r\n") {
		t.Errorf("%v; want 42 and 56 in:\n%s", err, said)
	}
}

func typed(t *testing.T, c *lab.Cluster, text string) string {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := out.WriteString(text + "\n"); err != nil {
		t.Fatal(err)
	}
	out.Close()
	var said strings.Builder
	s := &shell{c: c, in: in, out: &said}
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return said.String()
}
