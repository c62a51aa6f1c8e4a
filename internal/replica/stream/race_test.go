//go:build race

package stream_test

// storms is how many seeds TestStorm has. The race detector makes each many times as slow;
// all are tried without it.
const storms = 3
