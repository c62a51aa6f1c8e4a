package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

const volumeName = "bench"

// ballast is a volume of an agent of the bench's own.
func (b *bench) ballast(ctx context.Context) ([]*place, error) {
	if err := b.m.Agent.Start(ctx); err != nil {
		return nil, err
	}
	if _, err := b.m.Ballast(ctx, "volume", "create", volumeName, "--size", "20G"); err != nil {
		return nil, err
	}
	mountpoint, err := b.m.Ballast(ctx, "volume", "attach", volumeName)
	if err != nil {
		return nil, err
	}
	p := &place{name: ballastName, dir: path.Join(placesDir, ballastName), backing: b.m.Path("ballast", "volumes"), m: b.m,
		quiet: func(ctx context.Context) error { return folded(ctx, b.m, volumeName) }}
	if err := b.show(ctx, mountpoint, p.dir); err != nil {
		return nil, err
	}
	if err := p.settle(ctx); err != nil {
		return nil, err
	}
	b.memory, err = newMemory(b.m)
	return []*place{p}, err
}

// engineState is what we want to know of `ballast volume inspect --json`.
type engineState struct {
	LastLSN    uint64 `json:"last_lsn"`
	AppliedLSN uint64 `json:"applied_lsn"`
	LogBytes   int64  `json:"log_bytes"`
}

func inspect(ctx context.Context, m *lab.Machine, name string) (engineState, error) {
	out, err := m.Ballast(ctx, "volume", "inspect", name, "--json")
	if err != nil {
		return engineState{}, err
	}
	var said struct {
		Volumes []struct {
			Engine *engineState `json:"engine"`
		} `json:"volumes"`
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil {
		return engineState{}, fmt.Errorf("read what ballast said: %w", err)
	}
	if len(said.Volumes) != 1 || said.Volumes[0].Engine == nil {
		return engineState{}, errors.New("no engine runs")
	}
	return *said.Volumes[0].Engine, nil
}

// folded waits until the image holds all that the log does.
func folded(ctx context.Context, m *lab.Machine, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return lab.Poll(ctx, "the log to be folded", func(ctx context.Context) error {
		e, err := inspect(ctx, m, name)
		if err == nil && e.AppliedLSN != e.LastLSN {
			err = fmt.Errorf("%d records to go", e.LastLSN-e.AppliedLSN)
		}
		return err
	})
}
