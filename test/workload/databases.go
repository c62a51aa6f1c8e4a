package workload

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// database is SQLite: a step is a transaction of its own.
type database struct {
	path   string
	pragma string
	in     io.Writer
	out    *bufio.Reader
}

const schema = "CREATE TABLE IF NOT EXISTS steps(n INTEGER PRIMARY KEY, content TEXT);"

// Inspect lets SQLite itself say whether its file is sound.
func (d *database) Inspect() (uint64, error) {
	if _, err := os.Stat(d.path); errors.Is(err, fs.ErrNotExist) {
		return 0, nil // not made yet, or lost, which the count tells
	}
	out, err := exec.Command("sqlite3", "-batch", d.path, "PRAGMA integrity_check;"+schema+
		"SELECT count(*)||' '||coalesce(max(n),0)||' '||coalesce(sum(content<>printf('%0200d',n*7919)),0) FROM steps;").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("sqlite3: %w: %s", err, out)
	}
	var count, last, bad uint64
	if _, err := fmt.Sscanf(string(out), "ok\n%d %d %d", &count, &last, &bad); err != nil || count != last || bad > 0 {
		return 0, fmt.Errorf("sqlite3 finds %q", out)
	}
	return count, nil
}

func (d *database) Resume(uint64) error {
	// Line by line: otherwise it keeps its answers until it has many. And not past an error, or it would acknowledge a step that failed.
	cmd := exec.Command("stdbuf", "-oL", "sqlite3", "-batch", "-bail", d.path)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	d.in, d.out = in, bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return err
	}
	fmt.Fprintln(d.in, d.pragma, schema, "SELECT 'begin';")
	return d.await("begin")
}

func (d *database) Step(n uint64) error {
	fmt.Fprintf(d.in, "INSERT INTO steps VALUES(%d,printf('%%0200d',%d*7919)); SELECT 'done %d';\n", n, n, n)
	return d.await(fmt.Sprintf("done %d", n))
}

func (d *database) await(word string) error {
	for {
		line, err := d.out.ReadString('\n')
		if err != nil {
			return fmt.Errorf("sqlite3 ended: %w", err)
		}
		if strings.TrimSpace(line) == word {
			return nil
		}
	}
}

// redis is Redis, which is told to sync its log before it answers: a step is a
// command.
type redis struct {
	dir    string
	server *exec.Cmd
	conn   net.Conn
	out    *bufio.Reader
}

const redisSocket = "/run/redis.sock"

func (r *redis) Inspect() (uint64, error) {
	if _, err := os.Stat(r.dir); errors.Is(err, fs.ErrNotExist) {
		return 0, nil // not made yet, or lost, which the count tells
	}
	if err := r.start(); err != nil {
		return 0, err
	}
	defer r.stop()
	count, err := r.ask("LLEN steps")
	if err != nil {
		return 0, err
	}
	fmt.Fprint(r.conn, "LRANGE steps 0 -1\r\n")
	if _, err := r.line(); err != nil { // *count
		return 0, err
	}
	for n := uint64(1); n <= count; n++ {
		if _, err := r.line(); err != nil { // $length
			return 0, err
		}
		if text, err := r.line(); err != nil || text != strconv.FormatUint(n, 10) {
			return 0, errors.Join(fmt.Errorf("redis has %q as its step %d", text, n), err)
		}
	}
	return count, nil
}

func (r *redis) Resume(uint64) error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	return r.start()
}

func (r *redis) Step(n uint64) error {
	count, err := r.ask(fmt.Sprintf("RPUSH steps %d", n))
	if err == nil && count != n {
		err = fmt.Errorf("redis has %d steps after step %d", count, n)
	}
	return err
}

func (r *redis) start() error {
	if err := os.RemoveAll(redisSocket); err != nil {
		return err
	}
	r.server = exec.Command("redis-server", "--port", "0", "--unixsocket", redisSocket, "--dir", r.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-min-size", "20kb", "--logfile", "/run/redis.log")
	r.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.server.Start(); err != nil {
		return err
	}
	return r.connect()
}

// connect waits until the server has read its log.
func (r *redis) connect() error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for range 4000 {
		<-again.C
		conn, err := net.Dial("unix", redisSocket)
		if err != nil {
			continue
		}
		r.conn, r.out = conn, bufio.NewReader(conn)
		fmt.Fprint(conn, "PING\r\n")
		if line, err := r.line(); err == nil && line == "+PONG" {
			return nil
		}
		conn.Close() // it reads its log still
	}
	text, err := os.ReadFile("/run/redis.log")
	return errors.Join(fmt.Errorf("redis does not answer: %s", text), err)
}

func (r *redis) stop() {
	_ = r.conn.Close()          // nothing is on its way
	_ = r.server.Process.Kill() // it may have ended
	_ = r.server.Wait()         // killed, and that is no news
}

// ask sends a command and returns the number that it answers.
func (r *redis) ask(command string) (uint64, error) {
	fmt.Fprint(r.conn, command, "\r\n")
	line, err := r.line()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(line, ":"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("redis answers %q to %s", line, command)
	}
	return n, nil
}

func (r *redis) line() (string, error) {
	line, err := r.out.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}
