// Package s3test runs a real S3 server for tests, and a [Proxy] in front of it that goes
// wrong as told. The server is versitygw, or MinIO with BALLAST_TEST_S3=minio in the
// environment; it listens on the loopback alone and ends with its test.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// What every server of a test has. The keys open nothing else.
const (
	Bucket    = "ballast-test"
	region    = "us-east-1"
	accessKey = "ballast-test"
	secretKey = "ballast-test-secret"
)

// Server is a running S3 server with an empty bucket. It is for one goroutine.
type Server struct {
	t      testing.TB
	kind   kind
	path   string // of its binary
	dir    string // its data
	addr   string
	cmd    *exec.Cmd    // nil: not running
	log    bytes.Buffer // read only when cmd has ended
	exited chan struct{}
}

// Start runs a server until the test ends, and sets AWS_… in the environment so that
// store.Open finds its credentials; so the test cannot be a parallel one. The test is left
// out where no server can be had.
func Start(t testing.TB) *Server {
	t.Helper()
	for name, value := range environment() {
		t.Setenv(name, value)
	}
	return Run(t)
}

// Run is [Start] without the environment: for programs that get theirs from elsewhere, and
// tests that run beside others.
func Run(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, kind: wanted(t), dir: t.TempDir(), addr: freeAddress(t)}
	s.path = s.kind.binary(t)
	t.Cleanup(s.Kill)
	s.run()
	s.makeBucket()
	return s
}

// environment is what the SDK of a client reads.
func environment() map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID":           accessKey,
		"AWS_SECRET_ACCESS_KEY":       secretKey,
		"AWS_SESSION_TOKEN":           "",
		"AWS_PROFILE":                 "",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_EC2_METADATA_DISABLED":   "true",
	}
}

// Env returns what a process needs in its environment to use the server, as NAME=value.
func (s *Server) Env() (env []string) {
	for name, value := range environment() {
		env = append(env, name+"="+value)
	}
	return env
}

// Credentials returns the text of a file that lets the programs of the user in whose
// ~/.aws/credentials it is use the server.
func (*Server) Credentials() string {
	return fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", accessKey, secretKey)
}

// URL returns the archive's URL of a prefix in the server's bucket.
func (s *Server) URL(prefix string) string { return archiveURL(s.addr, prefix) }

func archiveURL(addr, prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=http://%s&region=%s&path_style=true", Bucket, prefix, addr, region)
}

// Dir is the folder of the server's data. versitygw keeps objects there as files.
func (s *Server) Dir() string { return s.dir }

func freeAddress(t testing.TB) string {
	t.Helper()
	var listener net.ListenConfig
	l, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it was asked for its address only
	return l.Addr().String()
}

// run starts the process and waits until it answers.
func (s *Server) run() {
	s.t.Helper()
	s.log.Reset()
	cmd := exec.Command(s.path, s.kind.args(s.addr, s.dir)...) //nolint:noctx // it ends by Kill: Pause and Restart are not the context's
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+accessKey, "MINIO_ROOT_PASSWORD="+secretKey, "MINIO_REGION="+region,
		"MINIO_UPDATE=off", "MINIO_BROWSER=off", "HOME="+s.dir)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // should the test be killed
	started, exited := make(chan error), make(chan struct{})
	go func() {
		// The thread, by whose end the server is killed, must not end before: another
		// goroutine may lock it and end with it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it was killed, or its log says why it ended
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.exited = cmd, exited
	s.awaitAnswer()
}

// awaitAnswer asks until the server answers anything at all.
func (s *Server) awaitAnswer() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for !s.answers(ctx) {
		select {
		case <-s.exited:
			s.t.Fatalf("the S3 server ended:\n%s", s.log.String())
		case <-ctx.Done():
			s.t.Fatalf("the S3 server at %s does not answer: %v", s.addr, ctx.Err())
		case <-time.After(20 * time.Millisecond): // nothing tells when it listens
		}
	}
}

func (s *Server) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/", nil)
	if err != nil {
		return false
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode < http.StatusInternalServerError
}

// makeBucket asks until it is made: a server may answer before it can do its work.
func (s *Server) makeBucket() {
	s.t.Helper()
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String("http://" + s.addr), Region: region, UsePathStyle: true, RetryMaxAttempts: 10,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
	})
	if _, err := client.CreateBucket(s.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(Bucket)}); err != nil {
		s.t.Fatalf("make bucket: %v", err)
	}
}

// Kill ends the server as a power cut would, as far as the process goes; its data stay.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("kill the S3 server: %v", err)
	}
	<-s.exited
	s.cmd = nil
}

// Restart runs the server again, at the same address and with the same data.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.run()
}

// Pause stops the server: it takes connections and answers nothing.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	for !s.isStopped() {
		time.Sleep(time.Millisecond) // nothing tells when the last of its threads has stopped
	}
}

// isStopped says whether every thread of the server has stopped, or there is none.
func (s *Server) isStopped() bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid)) // the pattern is good
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if _, state, _ := bytes.Cut(stat, []byte(") ")); err == nil && !bytes.HasPrefix(state, []byte("T")) {
			return false
		}
	}
	return true
}

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("%v the S3 server: %v", sig, err)
	}
}
