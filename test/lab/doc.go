// Package lab builds real machines in miniature, for tests and for the demo: a
// [Machine] has its own mounts, network, processes and /run, in which a Docker
// Engine and a Ballast agent of its own run. Nothing that is installed, running
// or mounted on the host is touched, and no port of the host is used.
//
// # Invariants
//
//	L1  Whatever a machine made is gone after Close: processes, mounts, loop
//	    devices, cgroups, its folder.
//	L2  The same holds when the program that made it dies without Close.
//	L3  A process ends by its own process id, or with the machine's whole
//	    process namespace; never by its name.
//
// L1 and L2 are one mechanism: machine.sh owns the namespaces and holds a pipe
// from this program. When the pipe ends, by Close or by death, it takes the
// machine apart.
//
// # Places
//
// Inside a machine everything is where a user expects it: the Engine at
// /run/docker.sock, the volume driver at /run/docker/plugins/ballast.sock. The
// host sees these files below [Machine.Root]. What is large or worth keeping
// for a look is in the machine's folder, which both sides see: docker/,
// ballast/, dockerd.log, agent.log.
//
// # Concurrency
//
// A [Machine] and a [Daemon] may be used by several goroutines. The only
// goroutines a machine has wait for the processes it started; they end with
// them, and Close ends those.
package lab
