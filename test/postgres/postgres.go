// Package postgres runs the distribution's PostgreSQL on a lab machine, with
// the settings that it comes with: every commit waits for the disk.
package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/ballast-io/ballast/test/lab"
)

const owner = "postgres"

// Missing says what a machine lacks to run PostgreSQL; empty: nothing.
func Missing() string {
	for _, name := range []string{"postgres", "initdb", "psql", "pgbench"} {
		if _, err := exec.LookPath(program(name)); err != nil {
			return name + " (Debian package postgresql)"
		}
	}
	if _, err := user.Lookup(owner); err != nil {
		return "the user " + owner
	}
	return ""
}

// program finds a program in the newest version that is installed.
func program(name string) string {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return name
	}
	return slices.Max(found)
}

// Server is a PostgreSQL server of a machine. Data and Sockets are folders as the
// machine sees them; the server's user must be able to reach both.
type Server struct {
	Machine       *lab.Machine
	Data, Sockets string

	cmd   *exec.Cmd
	said  bytes.Buffer
	ended chan struct{} // closed when the process has ended
	err   error         // of the process; valid once ended is closed
}

// On is a server whose data are in a mounted volume, or in any other folder. A volume's
// mountpoint is root's alone, so the server reaches it elsewhere.
func On(ctx context.Context, m *lab.Machine, name, folder string) (*Server, error) {
	at := "/run/postgres/" + name
	_, err := m.Output(ctx, "sh", "-ec", `mkdir -p -m 755 "${2%/*}" "$2"; mount --bind "$1" "$2"
		mountpoint -q /dev/shm || { mkdir -p /dev/shm; mount -t tmpfs -o mode=1777 tmpfs /dev/shm; }`, "sh", folder, at)
	return &Server{Machine: m, Data: at + "/pg", Sockets: "/run/postgres/sockets-" + name}, err
}

// Off takes away what On made, so that the volume can be detached. The server is stopped.
func (s *Server) Off(ctx context.Context) error {
	_, err := s.Machine.Output(ctx, "umount", filepath.Dir(s.Data))
	return err
}

// Command is a program of PostgreSQL, run as the user that it insists on.
func (s *Server) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := s.Machine.Command(ctx, program(name), args...)
	cmd.Dir = "/"
	if id, err := lookUp(owner); err == nil { // else it says itself what is wrong
		cmd.SysProcAttr.Credential = id
	}
	return cmd
}

// Output runs a program of PostgreSQL against the server and returns what it prints.
func (s *Server) Output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := s.Command(ctx, name, append([]string{"-h", s.Sockets}, args...)...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := s.Machine.Run(cmd); err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(complaint.Bytes()))
	}
	return string(bytes.TrimSpace(out.Bytes())), nil
}

// Query returns what one statement answers, as psql prints it without decoration.
func (s *Server) Query(ctx context.Context, statement string) (string, error) {
	return s.Output(ctx, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement, owner)
}

// Init makes the data folder and an empty database in it.
func (s *Server) Init(ctx context.Context) error {
	if _, err := s.Machine.Output(ctx, "install", "-d", "-m", "700", "-o", owner, s.Data); err != nil {
		return err
	}
	cmd := s.Command(ctx, "initdb", "--auth=trust", "-D", s.Data)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := s.Machine.Run(cmd); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, said.Bytes())
	}
	return nil
}

// Start returns when the server answers. It ends with Stop, or with its machine.
func (s *Server) Start(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	s.cmd = s.Command(context.WithoutCancel(ctx), "postgres", "-D", s.Data, "-k", s.Sockets, "-c", "listen_addresses=")
	s.cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWIPC // nobody else removes its shared memory when it is killed
	s.cmd.Stdout, s.cmd.Stderr = &s.said, &s.said
	if err := s.Machine.Start(s.cmd); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func() { defer close(s.ended); s.err = s.cmd.Wait() }()
	return lab.Poll(ctx, "PostgreSQL to answer", func(ctx context.Context) error {
		select {
		case <-s.ended:
			return lab.Hopeless(fmt.Errorf("it ended: %w: %s", errors.Join(s.err), s.said.Bytes()))
		default:
			_, err := s.Query(ctx, "SELECT 1")
			return err
		}
	})
}

func (s *Server) prepare(ctx context.Context) error {
	_, err := s.Machine.Output(ctx, "install", "-d", "-m", "1777", s.Sockets)
	return err
}

// Stop ends the server as an operator would, and says how that went.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil { // "fast shutdown"
		return err
	}
	<-s.ended
	return s.err
}

func lookUp(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}
