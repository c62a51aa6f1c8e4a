//go:build !race

package stream_test

// storms is how many seeds TestStorm has.
const storms = 10
