// Package doctor judges whether a machine can run Ballast, and says what to do
// where it cannot. It decides over gathered [Facts] and does no I/O; package
// gather looks at the machine.
//
// # Invariants
//
//	M1  A check that does not say ok says what to do, as something to type where
//	    that is possible.
//	M2  Fail means that no volume can be kept here as promised; a warning costs
//	    speed, room or an option, never data.
//	M3  What could not be found out is never ok.
//
// Everything here is a pure function and safe for concurrent use.
package doctor
