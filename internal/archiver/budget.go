package archiver

import (
	"context"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
)

// How long things may take.
const (
	openBudget    = time.Minute     // opening the archive
	vaultPatience = 5 * time.Second // waiting for somebody else to open it
	shipBudget    = 5 * time.Minute // one object of a tail; a slow store takes 16 MiB in that
	statusBudget  = 3 * time.Second // an engine's answer
)

// errEnding says that nothing more is done here.
var errEnding = fmt.Errorf("the agent is ending: %w", ballast.ErrNotReady)

// every calls f now and then until ctx ends.
func every(ctx context.Context, interval time.Duration, f func(context.Context)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f(ctx)
		case <-ctx.Done():
			return
		}
	}
}
