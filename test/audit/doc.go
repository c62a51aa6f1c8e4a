// Package audit tells the story of "ballast audit" with real parts: what it says
// is lost is lost, and what it says to type keeps it.
package audit
