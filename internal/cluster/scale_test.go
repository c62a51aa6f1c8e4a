package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/ballast-io/ballast/internal/vfs"
)

// BenchmarkManyVolumes states what 1,000 volumes cost: making them, reading all anew, and
// the bytes that wait in memory and in the view's file.
func BenchmarkManyVolumes(b *testing.B) {
	const volumes = 1000
	dir := b.TempDir()
	disk, err := vfs.OS(dir)
	if err != nil {
		b.Fatal(err)
	}
	r := Open(Config{Dir: filepath.Join(dir, "records"), View: disk, Node: "n1", Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() { cancel(); <-done; _ = disk.Close() }() // nothing is looked at after
	if _, err := r.Create(ctx, "first", nil); err != nil {
		b.Fatal(err)
	}
	before := heap()
	begin := time.Now()
	for i := range volumes {
		if _, err := r.Create(ctx, fmt.Sprint("volume-", i), map[string]string{"repl": "2", "label.app": "db"}); err != nil {
			b.Fatal(err)
		}
	}
	made, grown := time.Since(begin), heap()-before
	keys, err := r.keyspace(ctx)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := r.syncAll(ctx, keys); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(made.Seconds()*1000/volumes, "ms/create")
	b.ReportMetric(float64(grown)/1e6, "MB/1000-volumes")
	r.save()
	if info, err := os.Stat(filepath.Join(dir, viewFile)); err == nil {
		b.ReportMetric(float64(info.Size())/1e6, "MB/view")
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
