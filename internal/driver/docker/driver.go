package docker

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options configures a [Driver]; the zero value works.
type Options struct {
	// Long bounds Create and Mount, which Docker gives 2 minutes. Default 110 s.
	Long time.Duration
	// Short bounds every other call, which Docker gives 1 minute. Default 50 s:
	// below Docker's limit, and above the 29 s under which a call that failed is
	// sent again with an empty body.
	Short time.Duration
	// Grace is how long calls under way may go on once Run is told to end.
	// Default 5 s.
	Grace time.Duration
	// Log takes what goes wrong. Default: nowhere.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Long = cmp.Or(o.Long, 110*time.Second)
	o.Short = cmp.Or(o.Short, 50*time.Second)
	o.Grace = cmp.Or(o.Grace, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Driver answers the calls of a Docker Engine.
type Driver struct {
	volumes Volumes      // constant after New
	opts    Options      // constant after New
	log     *slog.Logger // constant after New
	mux     *http.ServeMux

	mu     sync.Mutex     // guards everything below
	ending bool           // no call starts any more
	calls  sync.WaitGroup // calls of volumes, those that nobody waits for included
}

// New returns a driver for the given volumes. It listens nowhere until Run, and
// runs once.
func New(volumes Volumes, opts Options) *Driver {
	opts = opts.withDefaults()
	d := &Driver{volumes: volumes, opts: opts, log: opts.Log, mux: http.NewServeMux()}
	for _, op := range d.operations() {
		d.mux.HandleFunc("POST /"+op.path, func(w http.ResponseWriter, r *http.Request) { d.serve(w, r, op) })
	}
	d.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		// Docker asks every plugin for what it may implement, so this is no event.
		_ = reply(w, http.StatusNotFound, response{Err: "ballast is a volume driver and has no call " + r.URL.Path})
	})
	return d
}

// ServeHTTP answers one call.
func (d *Driver) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.mux.ServeHTTP(w, r) }

// Run answers calls on the listener until the context ends or the listener fails,
// then lets calls under way finish within the grace. It closes the listener. It
// returns nil when it was told to end.
func (d *Driver) Run(ctx context.Context, l net.Listener) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := d.server(base)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		d.shutdown(ctx, srv)
		err = <-failed
	}
	cancel() // what is still under way is taken back (D4)
	err = errors.Join(ignoreClosed(err), ignoreClosed(srv.Close()))
	d.waitCalls()
	return err
}

// server makes the HTTP server. Connections are not kept: the Engine makes a new
// transport, with connections of its own, more often than one would think, and
// closing an idle one just as a call is sent on it makes the Engine repeat that
// call with an empty body (D2). A new connection to a Unix socket costs nothing.
func (d *Driver) server(base context.Context) *http.Server {
	srv := &http.Server{
		Handler:           d,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelWarn),
	}
	srv.SetKeepAlivesEnabled(false)
	return srv
}

func (d *Driver) shutdown(ctx context.Context, srv *http.Server) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.opts.Grace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		d.log.Warn("docker calls cut off: still under way after the grace", "grace", d.opts.Grace)
	}
}

// start runs f in a goroutine that Run waits for, unless Run is at its end.
func (d *Driver) start(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ending {
		d.calls.Go(f)
	}
	return !d.ending
}

// waitCalls waits for calls of volumes that outlived their request, but not for
// ever: one that is stuck must not keep the agent from ending. It ends with the
// process, and its hold with the agent's reconciliation.
func (d *Driver) waitCalls() {
	d.mu.Lock()
	d.ending = true
	d.mu.Unlock()
	done := make(chan struct{})
	go func() { d.calls.Wait(); close(done) }()
	timeout := time.NewTimer(d.opts.Grace)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		d.log.Warn("docker calls abandoned: stuck although cancelled", "grace", d.opts.Grace)
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
