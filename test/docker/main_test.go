package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	driver "github.com/ballast-io/ballast/internal/driver/docker"
	"github.com/ballast-io/ballast/test/lab"
)

// shared is what the tests of this package share; TestMain sets it up once, for
// speed. They run one after the other: several of them kill its Engine.
var shared struct {
	skip    string // why there is nothing to share
	machine *lab.Machine
	folders *folders
	agent   error // why the agent does not run
}

func TestMain(m *testing.M) {
	if shared.skip = missing(); shared.skip != "" {
		os.Exit(m.Run())
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// missing says why the tests cannot run here, if they cannot.
func missing() string {
	if os.Getuid() != 0 {
		return "left out: needs root, for an Engine of its own"
	}
	for _, program := range []string{"dockerd", "docker", "unshare", "busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			return "left out: " + program + " is not installed (apt install docker.io busybox-static)"
		}
	}
	return ""
}

// run runs the tests on a machine with an Engine, an agent and the scripted
// driver, and leaves nothing of them behind.
func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	machine, built, err := newMachine(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()
	shared.machine, shared.agent = machine, built
	if built == nil {
		shared.agent = machine.Agent.Start(ctx)
	}
	stop, err := serveFolders(machine)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := furnish(ctx, machine); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// newMachine makes a machine with the code that is tested. When that cannot be
// built, the tests without an agent run all the same. The machine removes its
// folder itself, also when these tests die; so the binary, of which it has a copy,
// does not stay elsewhere.
func newMachine(ctx context.Context) (_ *lab.Machine, built, err error) {
	temp, err := os.MkdirTemp("", "ballast-docker-build-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	binary, built := build(ctx, temp)
	if built != nil {
		binary = "/bin/false"
	}
	dir, err := os.MkdirTemp("", "ballast-docker-")
	if err != nil {
		return nil, nil, err
	}
	machine, err := lab.New(ctx, dir, lab.Options{Ballast: binary})
	return machine, built, err
}

// build makes the binary in dir.
func build(ctx context.Context, dir string) (string, error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "ballast")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/ballast")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ballast: %w\n%s", err, out)
	}
	return binary, nil
}

// serveFolders runs the scripted driver for the whole time: an Engine goes on
// asking a driver that it has seen once.
func serveFolders(machine *lab.Machine) (stop func() error, err error) {
	shared.folders = newFolders(machine.Path("folders"))
	l, err := driver.Listen(context.Background(), pluginSocket(machine, "folders"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- shared.folders.run(ctx, l, driver.Options{Short: folderBudget, Long: folderBudget}) }()
	return func() error { cancel(); return <-ended }, nil
}

// pluginSocket is where an Engine looks for a driver, as the host sees it.
func pluginSocket(machine *lab.Machine, name string) string {
	return filepath.Join(machine.Root(), "run/docker/plugins", name+".sock")
}

// furnish starts the Engine and gives it two images: busybox, and one that has a
// file where a volume is going to be mounted.
func furnish(ctx context.Context, machine *lab.Machine) error {
	if err := machine.Dockerd.Start(ctx); err != nil {
		return err
	}
	if err := machine.ImportImage(ctx, "busybox", lab.Busybox()); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"run", "--name", "seed", "--network", "none", "busybox", "sh", "-c", "echo hello >/data/from-image"},
		{"commit", "seed", "seeded"},
		{"rm", "seed"},
	} {
		if _, err := machine.Docker(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}
