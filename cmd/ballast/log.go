package main

import (
	"io"
	"log/slog"
)

// newLog writes to w: text for people, or JSON for a collector.
func newLog(w io.Writer, asJSON, verbose bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		o.Level = slog.LevelDebug
	}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
