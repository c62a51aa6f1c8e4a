package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// ErrNotRunning is returned when there is no process to act on.
var ErrNotRunning = errors.New("not running")

// Daemon is a long-running program of a machine. What it prints is added to
// its log in the machine's folder, over all its lives.
type Daemon struct {
	name    string // constant, like everything up to mu
	machine *Machine
	argv    []string
	env     []string                    // beside the machine's
	answers func(context.Context) error // nil once it is of use

	mu   sync.Mutex // guards life
	life *life      // the latest
}

// life is one run of a daemon.
type life struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is gone and waited for
}

// Start starts the daemon and returns once it answers.
func (d *Daemon) Start(ctx context.Context) error {
	l, err := d.begin() //nolint:contextcheck // ctx bounds the waiting; the daemon lives on
	if err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	err = Poll(ctx, d.name+" to answer", func(ctx context.Context) error {
		select {
		case <-l.ended:
			return Hopeless(fmt.Errorf("it ended: %v", l.cmd.ProcessState))
		default:
			return d.answers(ctx)
		}
	})
	if err != nil {
		return fmt.Errorf("start %s: %w\n%s", d.name, err, d.LogTail())
	}
	return nil
}

// Launch starts the daemon and does not wait until it answers.
func (d *Daemon) Launch() error {
	if _, err := d.begin(); err != nil {
		return fmt.Errorf("launch %s: %w", d.name, err)
	}
	return nil
}

func (d *Daemon) begin() (*life, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life.runs() {
		return nil, errors.New("it runs already")
	}
	log, err := os.OpenFile(d.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	// Not bound to a context: it lives until it is stopped or the machine closes.
	cmd := d.machine.Command(context.Background(), d.argv[0], d.argv[1:]...)
	cmd.Env = append(cmd.Env, d.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := d.machine.Start(cmd); err != nil {
		return nil, err
	}
	d.life = &life{cmd: cmd, ended: make(chan struct{})}
	go d.life.wait()
	return d.life, nil
}

func (l *life) wait() {
	defer close(l.ended)
	_ = l.cmd.Wait() // how it ended is in ProcessState; a killed daemon is no error
}

func (l *life) runs() bool {
	if l == nil {
		return false
	}
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// Stop asks the daemon to end (SIGTERM) and waits until it has.
func (d *Daemon) Stop(ctx context.Context) error { return d.end(ctx, syscall.SIGTERM) }

// Kill ends the daemon at once (SIGKILL) and waits until it is gone.
func (d *Daemon) Kill(ctx context.Context) error { return d.end(ctx, syscall.SIGKILL) }

func (d *Daemon) end(ctx context.Context, sig syscall.Signal) error {
	l, err := d.signal(sig)
	if err != nil {
		return err
	}
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to end after %v: %w\n%s", d.name, sig, ctx.Err(), d.LogTail())
	}
}

// Freeze stops the daemon in its tracks (SIGSTOP); it keeps its sockets and
// answers nobody until Thaw.
func (d *Daemon) Freeze() error {
	_, err := d.signal(syscall.SIGSTOP)
	return err
}

// Thaw lets a frozen daemon go on.
func (d *Daemon) Thaw() error {
	_, err := d.signal(syscall.SIGCONT)
	return err
}

func (d *Daemon) signal(sig syscall.Signal) (*life, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.life.runs() {
		return nil, fmt.Errorf("send %v to %s: %w", sig, d.name, ErrNotRunning)
	}
	if err := d.life.cmd.Process.Signal(sig); err != nil {
		return nil, fmt.Errorf("send %v to %s: %w", sig, d.name, err)
	}
	return d.life, nil
}

// Running reports whether the process is there.
func (d *Daemon) Running() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.life.runs()
}

// PID is the process id as the host knows it, or 0 when it does not run.
func (d *Daemon) PID() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.life.runs() {
		return 0
	}
	return d.life.cmd.Process.Pid
}

// LogFile is where the daemon's output goes.
func (d *Daemon) LogFile() string { return d.machine.Path(d.name + ".log") }

// LogTail is the end of what the daemon printed, for an error message.
func (d *Daemon) LogTail() string { return tail(d.LogFile()) }
