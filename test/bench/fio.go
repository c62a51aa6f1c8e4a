package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
)

// fioJob is one way to use a file of a gigabyte that is there already.
type fioJob struct {
	metric
	args []string
	mode string // read or write: which half of the result counts
	cold bool   // nothing of the file is in memory
}

// fioJobs measure what an application gets; the file is overwritten in place, so
// that the file system's own records are not what is measured.
var fioJobs = []fioJob{
	{metric{"write4k-fsync", "4 KiB random write, each with fsync", "IOPS", 0.35}, []string{"--rw=randwrite", "--bs=4k", "--fsync=1"}, "write", false},
	{metric{"write4k-fdatasync", "4 KiB random write, each with fdatasync", "IOPS", 0.35}, []string{"--rw=randwrite", "--bs=4k", "--fdatasync=1"}, "write", false},
	{metric{"read4k-d1", "4 KiB random read, direct, depth 1", "IOPS", 0.8}, direct("randread", "4k", "1"), "read", true},
	{metric{"read4k-d16", "4 KiB random read, direct, depth 16", "IOPS", 0.8}, direct("randread", "4k", "16"), "read", true},
	{metric{"write4k-d1", "4 KiB random write, direct, depth 1", "IOPS", 0}, direct("randwrite", "4k", "1"), "write", false},
	{metric{"write4k-d16", "4 KiB random write, direct, depth 16", "IOPS", 0.4}, direct("randwrite", "4k", "16"), "write", false},
	{metric{"read1m", "1 MiB sequential read, direct", "MiB/s", 0}, direct("read", "1m", "4"), "read", true},
	{metric{"write1m", "1 MiB sequential write, direct", "MiB/s", 0}, direct("write", "1m", "4"), "write", false},
	{metric{"read1m-buffered", "1 MiB sequential read, buffered, cold", "MiB/s", 0.95}, []string{"--rw=read", "--bs=1m"}, "read", true},
	{metric{"read4k-buffered", "4 KiB random read, buffered, warm", "IOPS", 0.95}, []string{"--rw=randread", "--bs=4k", "--pre_read=1", "--invalidate=0"}, "read", false},
}

func direct(rw, bs, depth string) []string {
	return []string{"--rw=" + rw, "--bs=" + bs, "--direct=1", "--ioengine=libaio", "--iodepth=" + depth}
}

type fio struct {
	b       *bench
	job     fioJob
	size    string
	seconds string
}

func newFio(b *bench, j fioJob) *fio {
	f := &fio{b: b, job: j, size: "1g", seconds: strconv.Itoa(max(1, b.seconds/4))}
	if b.quick {
		f.size, f.seconds = "32m", "1"
	}
	return f
}

func (f *fio) name() string { return f.job.Name }

func (f *fio) metrics() []metric {
	m := f.job.metric
	if f.job.mode == "write" && m.Goal > 0 {
		m.Goal = f.b.goal(m.Goal, 0.25)
	}
	return []metric{m}
}

func (f *fio) file(p *place) string { return path.Join(p.dir, "fio.dat") }

// prepare writes the file in full, unless the job before has.
func (f *fio) prepare(ctx context.Context, p *place) error {
	if _, err := f.b.m.Output(ctx, "test", "-e", f.file(p)); err == nil {
		return nil
	}
	_, err := f.b.m.Output(ctx, "fio", "--name=fill", "--filename="+f.file(p), "--size="+f.size, "--rw=write", "--bs=1m", "--end_fsync=1")
	return err
}

func (f *fio) run(ctx context.Context, p *place) (sample, error) {
	if f.job.cold {
		if err := p.cool(ctx); err != nil {
			return nil, err
		}
	}
	args := append([]string{"--name=" + f.job.Name, "--filename=" + f.file(p), "--size=" + f.size, "--runtime=" + f.seconds,
		"--time_based", "--norandommap", "--output-format=json"}, f.job.args...)
	out, err := f.b.m.Output(ctx, "fio", args...)
	if err != nil {
		return nil, err
	}
	value, err := f.read(out)
	return sample{f.job.Name: value}, err
}

// read finds the one figure in what fio says.
func (f *fio) read(text string) (float64, error) {
	type half struct {
		IOPS  float64 `json:"iops"`
		Bytes float64 `json:"bw_bytes"`
	}
	var said struct {
		Jobs []struct {
			Read  half `json:"read"`
			Write half `json:"write"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal([]byte(text), &said); err != nil || len(said.Jobs) != 1 {
		return 0, fmt.Errorf("read what fio said (%w): %.200s", err, text)
	}
	h := said.Jobs[0].Read
	if f.job.mode == "write" {
		h = said.Jobs[0].Write
	}
	if f.job.Unit == "IOPS" {
		return h.IOPS, nil
	}
	return h.Bytes / (1 << 20), nil
}

// clear leaves the file for the next job. It goes with the machine.
func (f *fio) clear(context.Context, *place) error { return nil }
