package agent

import (
	"context"
	"fmt"

	"github.com/ballast-io/ballast"
)

// processEngines are engines in processes of their own.
type processEngines struct{ cfg Config }

func (p processEngines) Spawn(context.Context, string, ballast.Epoch) (engine, error) {
	return nil, fmt.Errorf("no engine yet")
}

func (p processEngines) Dial(context.Context, string) (engine, error) { return nil, errEngineGone }
