package agent

import (
	"os"
	"runtime/debug"
)

// memoryGoal is what the Go runtime tries to stay below, in bytes. A node at rest needs a
// third of it; a base snapshot lives on buffers that are soon garbage, and without a goal
// the heap would be allowed to double first.
const memoryGoal = 88 << 20

// tuneRuntime sets the goal, unless whoever started the agent has set one.
func tuneRuntime() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryGoal)
	}
}
