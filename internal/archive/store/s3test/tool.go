package s3test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"syscall"
	"testing"
)

// kind is an S3 server that tests can run.
type kind struct {
	module, version string
	args            func(address, dir string) []string
}

var (
	versitygw = kind{"github.com/versity/versitygw/cmd/versitygw", "v1.8.0", func(address, dir string) []string {
		return []string{"--port", address, "--access", accessKey, "--secret", secretKey, "--region", region, "--quiet", "posix", dir}
	}}
	minio = kind{"github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c", func(address, dir string) []string {
		return []string{"server", "--quiet", "--address", address, dir}
	}}
)

// wanted is the server that BALLAST_TEST_S3 asks for.
func wanted(t testing.TB) kind {
	t.Helper()
	switch name := os.Getenv("BALLAST_TEST_S3"); name {
	case "", "versitygw":
		return versitygw
	case "minio":
		return minio
	default:
		t.Fatalf("BALLAST_TEST_S3=%s: want versitygw or minio", name)
		return kind{}
	}
}

// Program returns the path of the S3 server that tests run unless asked for another:
// versitygw. The first time it is built, which takes minutes and needs a module proxy;
// then say is called.
func Program(ctx context.Context, say func(format string, args ...any)) (string, error) {
	return versitygw.program(ctx, say)
}

// binary returns the path of the server's binary. Where it cannot be built, the test is
// left out.
func (k kind) binary(t testing.TB) string {
	t.Helper()
	file, err := k.program(t.Context(), t.Logf)
	if err != nil {
		t.Skipf("needs an S3 server: %v", err)
	}
	return file
}

func (k kind) program(ctx context.Context, say func(string, ...any)) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder: %w", err)
	}
	dir := filepath.Join(cache, "ballast-test-tools")
	file := filepath.Join(dir, path.Base(k.module)+"-"+k.version)
	return file, locked(dir, func() error { return k.build(ctx, say, dir, file) })
}

// locked calls do while no other process of this cache folder does.
func locked(dir string, do func() error) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return do()
}

// build makes file, unless it is there.
func (k kind) build(ctx context.Context, say func(string, ...any), dir, file string) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	bin, err := os.MkdirTemp(dir, "build-") // beside file, for the rename
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin) // the next build has a folder of its own
	say("building %s@%s, which takes minutes the first time", k.module, k.version)
	cmd := exec.CommandContext(ctx, "go", "install", k.module+"@"+k.version)
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go install %s@%s: %w\n%s", k.module, k.version, err, out)
	}
	return os.Rename(filepath.Join(bin, path.Base(k.module)), file)
}
