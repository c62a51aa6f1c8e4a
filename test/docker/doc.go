// Package docker holds what a real Docker Engine and the volume driver promise
// each other: the contract that Docker's own tests of external volume drivers
// lay down, and the traps that other drivers fell into.
//
// Tests run twice where they can: on an agent with its engines, and on folders
// behind the same protocol handler, which a test can make misbehave. All share
// one machine of package lab, with an Engine of its own; it touches nothing of the
// machine's own Docker. They need root and dockerd, and say so where they are
// not run.
package docker
