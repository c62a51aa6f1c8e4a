package archiver

import (
	"context"
	"errors"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/engine"
)

func (w *Shipping) ask(ctx context.Context) (engine.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusBudget)
	defer cancel()
	status, err := w.engine.Status(ctx)
	if err != nil {
		err = fmt.Errorf("%w how it is: %w", errEngineAsked, err)
	}
	return status, err
}

// acknowledge tells the engine what is archived.
func (w *Shipping) acknowledge(ctx context.Context, lsn ballast.LSN) error {
	if err := w.engine.Archived(ctx, lsn); err != nil {
		return fmt.Errorf("%w to take note: %w", errEngineAsked, err)
	}
	return nil
}

// errEngineAsked begins an error that is no fault of the archive.
var errEngineAsked = errors.New("ask the engine")
