package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

const volumeName = "bench"

// ballast is a volume of an agent of the bench's own.
func (b *bench) ballast(ctx context.Context) ([]*place, error) {
	if err := b.makeVolume(ctx); err != nil {
		return nil, err
	}
	mountpoint, err := b.m.Ballast(ctx, "volume", "attach", volumeName)
	if err != nil {
		return nil, err
	}
	if b.nodes > 1 {
		if err := b.awaitCopies(ctx); err != nil {
			return nil, err
		}
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

func (b *bench) makeVolume(ctx context.Context) error {
	create := []string{"volume", "create", volumeName, "--size", "20G"}
	if b.nodes > 1 { // its agents run already
		create = append(create, "-o", "repl=2")
	} else if err := b.m.Agent.Start(ctx); err != nil {
		return err
	}
	_, err := b.m.Ballast(ctx, create...)
	return err
}

// awaitCopies waits until the volume has a second copy in sync.
func (b *bench) awaitCopies(ctx context.Context) error {
	client := agentapi.Of(b.m)
	return lab.Poll(ctx, "a copy to be in sync", func(ctx context.Context) error {
		v, err := client.Inspect(ctx, volumeName)
		if in := agentapi.InSync(v); err == nil && len(in) < 2 {
			err = fmt.Errorf("in sync: %v", in)
		}
		return err
	})
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
