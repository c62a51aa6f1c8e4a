package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/ballast-io/ballast"
)

// ErrUnconditional is what [Probe] finds of a service that does not know conditional writes.
var ErrUnconditional = errors.New("it creates what is there already: it does not know If-None-Match, without which " +
	"two machines could continue one volume's history; use a store that does")

// Probe asks whether a store can hold an archive: whether it can be written, read, listed
// and deleted from, and whether it refuses a second Create (O2; if not, the error is [ErrUnconditional]). Services that do not know
// conditional writes carry it out and say nothing; there, two machines could both take one
// volume over. The object that it makes for this, below prefix, is removed.
func Probe(ctx context.Context, st Store, prefix string) (err error) {
	name, data := prefix+"probe-"+strings.ToLower(rand.Text()), []byte("Ballast tries whether it can store.\n")
	if err := st.Create(ctx, name, data); err != nil {
		return fmt.Errorf("try the store: %w", err)
	}
	defer func() {
		if gone := st.Delete(ctx, name); gone != nil {
			err = errors.Join(err, fmt.Errorf("try the store: %w", gone))
		}
	}()
	switch err := st.Create(ctx, name, data); {
	case err == nil:
		return fmt.Errorf("try the store: %w", ErrUnconditional)
	case !errors.Is(err, ballast.ErrExists):
		return fmt.Errorf("try the store: %w", err)
	}
	return readBack(ctx, st, name, data)
}

// readBack asks for an object in both ways.
func readBack(ctx context.Context, st Store, name string, data []byte) error {
	got, err := st.Get(ctx, name, 1, int64(len(data)-1))
	if err != nil || !bytes.Equal(got, data[1:]) {
		return errors.Join(fmt.Errorf("try the store: it does not return what was stored"), err)
	}
	for o, err := range st.List(ctx, name) {
		if err != nil {
			return fmt.Errorf("try the store: %w", err)
		}
		if o.Name == name {
			return nil
		}
	}
	return errors.New("try the store: it does not list what was stored")
}
