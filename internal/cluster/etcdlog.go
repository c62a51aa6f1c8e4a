package cluster

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// etcdLogger brings what etcd logs into log, and keeps etcd from ending the
// process: where it would, it ends the goroutine and says so in died. A node
// without records still serves the volumes it knows.
func etcdLogger(log *slog.Logger, died chan<- error) *zap.Logger {
	hook := diedHook{died}
	return zap.New(&slogCore{log: log}, zap.WithFatalHook(hook), zap.WithPanicHook(hook))
}

type diedHook struct{ died chan<- error }

// OnWrite implements [zapcore.CheckWriteHook].
func (h diedHook) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	select {
	case h.died <- fmt.Errorf("%s%s: %w", entry.Message, errorField(fields), errBroken):
	default: // the first reason is the one that counts
	}
	runtime.Goexit()
}

func errorField(fields []zapcore.Field) string {
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			return ": " + err.Error()
		}
	}
	return ""
}

// firstStart is what etcd complains of at every first start of a single member, and
// mends a moment later.
const firstStart = "failed to update storage version"

// slogCore is a zap core that writes to a slog logger. etcd is talkative: what
// it calls a warning is a detail to an operator of volumes.
type slogCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

// Enabled implements [zapcore.Core].
func (c *slogCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

// With implements [zapcore.Core].
func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{c.log, slices.Concat(c.fields, fields)}
}

// Check implements [zapcore.Core].
func (c *slogCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write implements [zapcore.Core].
func (c *slogCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	encoded := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(c.fields, fields) {
		f.AddTo(encoded)
	}
	if entry.Level >= zapcore.ErrorLevel && entry.Message != firstStart {
		c.log.Warn("etcd complains", "message", entry.Message, "details", encoded.Fields)
	} else {
		c.log.Debug("etcd says", "message", entry.Message, "details", encoded.Fields)
	}
	return nil
}

// Sync implements [zapcore.Core].
func (c *slogCore) Sync() error { return nil }
