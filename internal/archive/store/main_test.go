package store_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine outlives its store. G8
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
