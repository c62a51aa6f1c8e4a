package agent

import "time"

// How long things may take. Docker waits two minutes for a mount and one for
// everything else; a call is answered before that, or Docker goes on without
// the answer.
const (
	attachBudget = 100 * time.Second
	callBudget   = 45 * time.Second

	// A detach is told to its caller as soon as the hold is gone; the unmounting
	// goes on by itself. Writing back what a large memory holds takes minutes.
	detachPatience = 20 * time.Second
	unmountBudget  = 15 * time.Minute

	stopBudget   = time.Minute      // an engine's last flush
	undoBudget   = 30 * time.Second // taking back a step whose own context is over
	sweepBudget  = 30 * time.Second
	statusBudget = 3 * time.Second
	recordBudget = 10 * time.Second

	// How often a node looks after itself.
	watchEvery     = 2 * time.Second
	tidyEvery      = 10 * time.Second
	reconcileEvery = time.Minute

	// An engine that answers nothing for so long is taken for stuck, and no
	// unmounting waits for it any more.
	stuckAfter = time.Minute

	// A hold of Docker's is doubted only when it is this old: Docker mounts a
	// volume for a container before it lists the container.
	holdGrace = 10 * time.Minute

	syncBudget = 5 * time.Second // writing back a filesystem before a point is made
	lastTail   = 2 * time.Second // what a detach gives the archive

	shutdownGrace = 10 * time.Second
)
