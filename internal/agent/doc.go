// Package agent wires a node together: volume records, engines, devices, the
// API and the volume driver. It owns every long-lived goroutine of a node.
package agent
