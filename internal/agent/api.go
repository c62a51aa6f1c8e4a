package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/internal/archive"
)

// maxRequest is the size in bytes that no request of the API reaches.
const maxRequest = 1 << 20

// handler returns the API and the metrics.
func (n *node) handler() http.Handler {
	mux := http.NewServeMux()
	limit := connect.WithReadMaxBytes(maxRequest)
	mux.Handle(ballastv1connect.NewVolumeServiceHandler(volumeService{node: n}, limit))
	mux.Handle(ballastv1connect.NewNodeServiceHandler(nodeService{node: n}, limit))
	mux.Handle(ballastv1connect.NewArchiveServiceHandler(archiveService{node: n}, limit))
	mux.HandleFunc("GET /chunks/{volume}/{chunk}", n.serveChunk)
	mux.HandleFunc("POST /volumes/{volume}/change", n.serveChange)
	mux.Handle("GET /metrics", n.metricsHandler())
	return http.MaxBytesHandler(mux, maxRequest)
}

func (n *node) metricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{n}, n.meters.attachWait, n.meters.attachFailures, n.meters.engineDeaths,
		n.meters.shippedBytes, n.meters.shipFailures, n.meters.fetchedBytes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(prometheus.Gatherers{registry, etcdMetrics{}}, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// serve answers on a listener until ctx ends, and closes it.
func serve(ctx context.Context, l net.Listener, handler http.Handler, log *slog.Logger) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC
	srv := &http.Server{
		Handler:           handler,
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace/2)
	defer cancel()
	err := srv.Shutdown(grace)
	if err != nil {
		err = srv.Close() // what is still under way goes on in the node's own goroutines
	}
	<-failed // with ErrServerClosed
	return err
}

// apiError gives an error the code that the API promises for it.
func apiError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*archive.GapError](err); ok {
		return connect.NewError(connect.CodeDataLoss, err)
	}
	for _, known := range []struct {
		is   error
		code connect.Code
	}{
		// Before what each copy's node says, which may be that it knows of none.
		{ballast.ErrNoCopy, connect.CodeFailedPrecondition},
		{ballast.ErrTooFewCopies, connect.CodeFailedPrecondition},
		{ballast.ErrNotFound, connect.CodeNotFound},
		{ballast.ErrExists, connect.CodeAlreadyExists},
		{ballast.ErrInUse, connect.CodeFailedPrecondition},
		{ballast.ErrInvalid, connect.CodeInvalidArgument},
		{ballast.ErrNotReady, connect.CodeUnavailable},
		{context.DeadlineExceeded, connect.CodeDeadlineExceeded},
		{context.Canceled, connect.CodeCanceled},
	} {
		if errors.Is(err, known.is) {
			return connect.NewError(known.code, err)
		}
	}
	if said, ok := errors.AsType[*connect.Error](err); ok { // what another node said
		if said.Error() == err.Error() {
			return said
		}
		return connect.NewError(said.Code(), errors.New(err.Error()))
	}
	return connect.NewError(connect.CodeInternal, err)
}
