package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"time"
)

// tree is what unpacking a source tree or a node_modules is: many small files.
type tree struct {
	b     *bench
	files int
}

func newTree(b *bench) *tree {
	t := &tree{b: b, files: 20_000}
	if b.quick {
		t.files = 500
	}
	return t
}

func (t *tree) name() string { return "tree" }

func (t *tree) metrics() []metric {
	return []metric{
		{"tree-unpack", "20,000 small files: unpacked and synced", "s", 0},
		{"tree-list", "20,000 small files: listed, with sizes", "s", 0},
		{"tree-remove", "20,000 small files: removed and synced", "s", 0},
		{"tree-total", "20,000 small files: all three", "s", 0.8},
	}
}

func (t *tree) archive() string { return t.b.m.Path("tree.tar") }

func (t *tree) data(p *place) string { return path.Join(p.dir, "tree") }

func (t *tree) prepare(context.Context, *place) error {
	if _, err := os.Stat(t.archive()); err == nil {
		return nil
	}
	return writeTree(t.archive(), t.files)
}

func (t *tree) run(ctx context.Context, p *place) (sample, error) {
	s := sample{}
	if _, err := t.b.m.Output(ctx, "mkdir", t.data(p)); err != nil {
		return nil, err
	}
	for _, step := range []struct{ name, script string }{
		{"tree-unpack", `tar -C "$1" -xf "$2" && sync -f "$1"`},
		{"tree-list", `find "$1" -printf '%s %p\n' >/dev/null`},
		{"tree-remove", `rm -r "$1" && sync -f "$(dirname "$1")"`},
	} {
		began := time.Now()
		if _, err := t.b.m.Output(ctx, "sh", "-c", step.script, "sh", t.data(p), t.archive()); err != nil {
			return nil, err
		}
		s[step.name] = time.Since(began).Seconds()
		s["tree-total"] += s[step.name]
	}
	return s, nil
}

func (t *tree) clear(ctx context.Context, p *place) error { return remove(ctx, t.b.m, t.data(p)) }

// writeTree makes an archive of n files of up to 8 KiB, a hundred to a folder.
func writeTree(name string, n int) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := tar.NewWriter(f)
	random := rand.New(rand.NewPCG(1, 1))
	content := make([]byte, 8<<10)
	for i := range n {
		if i%100 == 0 {
			dir := &tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("d%03d/", i/100), Mode: 0o755}
			if err := w.WriteHeader(dir); err != nil {
				return err
			}
		}
		body := content[:1+random.IntN(len(content))]
		for j := range body {
			body[j] = byte(random.Uint32())
		}
		h := &tar.Header{Name: fmt.Sprintf("d%03d/f%05d", i/100, i), Mode: 0o644, Size: int64(len(body))}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(body); err != nil {
			return err
		}
	}
	return w.Close()
}
