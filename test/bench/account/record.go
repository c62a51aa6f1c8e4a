package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ballast-io/ballast/test/lab"
)

// subject is a folder to look at.
type subject struct {
	title string
	dir   string
	top   string // number of the block device under its file system, as "7,0"
	disk  string // of the disk that is under all
	steps []step
}

// look runs fio there and records a second of it.
func (s subject) look(ctx context.Context, m *lab.Machine, call string) (*account, error) {
	file := filepath.Join(s.dir, "account.dat")
	fio := []string{"--name=account", "--filename=" + file, "--size=256m", "--bs=4k"}
	if _, err := m.Output(ctx, "fio", append(fio, "--rw=write", "--end_fsync=1")...); err != nil {
		return nil, err
	}
	work := m.Command(ctx, "fio", append(fio, "--rw=randwrite", "--norandommap", "--"+call+"=1", "--time_based", "--runtime=4")...)
	if err := m.Start(work); err != nil {
		return nil, err
	}
	text, err := record(ctx, m)
	if werr := work.Wait(); err == nil {
		err = werr
	}
	if err != nil {
		return nil, err
	}
	return s.read(strings.NewReader(text), call)
}

// record returns what happens on the whole machine in the second after next.
// It is kept in memory: the disk is what is looked at.
func record(ctx context.Context, m *lab.Machine) (string, error) {
	events := []string{"block:block_rq_issue", "block:block_rq_complete"}
	for _, call := range []string{"fdatasync", "fsync", "read", "write", "pwrite64"} {
		events = append(events, "syscalls:sys_enter_"+call, "syscalls:sys_exit_"+call)
	}
	data := "/run/account.data"
	script := `sleep 2; perf record -q --no-bpf-event -m 4096 -a -e "$1" -o "$2" -- sleep 1 >&2
		perf script -i "$2" -F comm,tid,time,event,trace --ns; rm "$2"`
	return m.Output(ctx, "sh", "-ec", script, "sh", strings.Join(events, ","), data)
}

// device returns the number of the disk under a folder, as the tracepoints write
// it: that of the whole disk, also where a partition holds the file system.
func device(ctx context.Context, m *lab.Machine, dir string) (string, error) {
	number, err := m.Output(ctx, "stat", "-c", "%Hd:%Ld", dir)
	if err != nil {
		return "", err
	}
	link, err := filepath.EvalSymlinks("/sys/dev/block/" + number)
	if err != nil {
		return "", fmt.Errorf("find the disk of %s: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(link, "partition")); err == nil {
		link = filepath.Dir(link)
	}
	whole, err := os.ReadFile(filepath.Join(link, "dev"))
	if err != nil {
		return "", fmt.Errorf("find the disk of %s: %w", dir, err)
	}
	return strings.Replace(strings.TrimSpace(string(whole)), ":", ",", 1), nil
}
