// Package lab builds real machines in miniature, for tests and for the demo: a
// [Machine] has its own mounts, network, processes and /run, in which a Docker
// Engine and a Ballast agent of its own run. A [Cluster] is several of them that reach
// each other, over links that can be cut, slowed and made lossy, with power that can be
// cut and disks that can be filled. Nothing that is installed, running or mounted on the
// host is touched, and no port of the host is used.
//
// # Invariants
//
//	L1  Whatever a machine made is gone after Close: processes, mounts, loop
//	    devices, cgroups, its folder.
//	L2  The same holds when the program that made it dies without Close.
//	L3  A process ends by its own process id, or with the machine's whole
//	    process namespace; never by its name.
//	L4  A fault is as real as the kernel makes it, and no program of a machine is told.
//
// L1 and L2 are one mechanism: machine.sh owns the namespaces and holds a pipe
// from this program. When the pipe ends, by Close or by death, it takes the
// machine apart. network.sh does the same for what is between machines.
//
// # Places
//
// Inside a machine everything is where a user expects it: the Engine at
// /run/docker.sock, the volume driver at /run/docker/plugins/ballast.sock. The
// host sees these files below [Machine.Root]. What is large or worth keeping
// for a look is in the machine's folder, which both sides see: docker/,
// ballast/, dockerd.log, agent.log. A machine with a disk of its own has ballast/ on
// that, so the host sees it below [Machine.Outside] only.
//
// # Networks
//
// Every machine of a cluster has one link, eth0, to a router in a network namespace of
// its own. Faults are the router's: it drops packets by direction, and sends those of
// slow links through a device that this program reads, for want of netem in many kernels.
//
// # Concurrency
//
// A [Machine], a [Daemon] and a [Cluster] may be used by several goroutines, but one
// machine is switched on and off by one at a time. The only goroutines a machine has wait
// for the processes it started; they end with them, and Close ends those. A cluster has
// more that hold packets up, once a link was slow; Close ends them as well.
package lab
