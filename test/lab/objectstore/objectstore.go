// Package objectstore is an S3 server on the loopback of a lab machine, over a
// folder outside of it: the objects outlive the machine, and the next machine
// finds them at the same address.
package objectstore

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/ballast-io/ballast/test/lab"
)

const (
	address   = "127.0.0.1:7070" // within a machine
	bucket    = "ballast"
	accessKey = "test-access"
	secretKey = "test-secret-key"
)

// Store is the objects, and the program that serves them.
type Store struct {
	Folder  string // made when missing
	Program string // versitygw
}

// Endpoint is the server's address for other clients of S3.
func (Store) Endpoint() string { return "http://" + address + "/" + bucket }

// URL is the archive below prefix, as Ballast is told it.
func (Store) URL(prefix string) string {
	return "s3://" + bucket + "/" + prefix + "?endpoint=http://" + address + "&region=us-east-1&path_style=true"
}

// Environment has what other clients need to be let in.
func (Store) Environment() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_DEFAULT_REGION=us-east-1"}
}

// Server is a server that runs on a machine. It ends with Kill, or with its machine.
type Server struct {
	cmd   *exec.Cmd
	log   string        // file with a line for each request
	ended chan struct{} // closed when the process has ended
}

// Serve starts the server on a machine, gives the machine's programs the key to
// it, and returns when it answers.
func (s Store) Serve(ctx context.Context, m *lab.Machine) (*Server, error) {
	if err := s.prepare(m); err != nil {
		return nil, err
	}
	server := &Server{log: m.Path("store.log"), ended: make(chan struct{})}
	log, err := os.OpenFile(server.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the server has its own descriptor
	server.cmd = m.Command(context.WithoutCancel(ctx), s.Program, "--port", address,
		"--access", accessKey, "--secret", secretKey, "posix", s.Folder)
	server.cmd.Stdout, server.cmd.Stderr = log, log
	if err := m.Start(server.cmd); err != nil {
		return nil, err
	}
	go func() { defer close(server.ended); _ = server.cmd.Wait() }() // it is killed, at the latest with its machine
	return server, lab.Poll(ctx, "the store to answer", func(ctx context.Context) error {
		select {
		case <-server.ended:
			return lab.Hopeless(fmt.Errorf("it ended: %s", server.words()))
		default:
			_, err := m.Output(ctx, "bash", "-c", "exec 3<>/dev/tcp/${0%:*}/${0#*:}", address)
			return err
		}
	})
}

// prepare makes the bucket, and a credentials file where the SDK looks for it.
func (s Store) prepare(m *lab.Machine) error {
	if err := os.MkdirAll(filepath.Join(s.Folder, bucket), 0o700); err != nil {
		return err
	}
	if err := os.MkdirAll(m.Path(".aws"), 0o700); err != nil {
		return err
	}
	credentials := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", accessKey, secretKey)
	return os.WriteFile(m.Path(".aws", "credentials"), []byte(credentials), 0o600)
}

func (s *Server) words() []byte {
	said, err := os.ReadFile(s.log)
	if err != nil {
		return []byte(err.Error())
	}
	return said
}

// Requests is how many requests the server has answered so far, by its own log.
func (s *Server) Requests() int { return bytes.Count(s.words(), []byte("| /"+bucket)) }

// Kill ends the server at once.
func (s *Server) Kill() error {
	err := s.cmd.Process.Kill()
	<-s.ended
	return err
}

// Pause stops the server from answering, and Resume lets it go on.
func (s *Server) Pause() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume is the opposite of Pause.
func (s *Server) Resume() error { return s.cmd.Process.Signal(syscall.SIGCONT) }
