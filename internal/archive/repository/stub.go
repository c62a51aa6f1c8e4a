package repository

import (
	"context"
	"errors"
)

var errStub = errors.New("not written yet")

// Progress is how far work has come.
type Progress struct {
	What        string // is being done
	Done, Total int64  // packs, or bytes
}

// Check checks the repository.
func (r *Repository) Check(ctx context.Context, readData bool, report func(Progress), problem func(error)) error {
	return errStub
}

// PrunePlan is what Prune will do.
type PrunePlan struct{}

// Lines returns the plan for people.
func (p *PrunePlan) Lines() []string { return nil }

// PlanPrune plans.
func (r *Repository) PlanPrune(ctx context.Context) (*PrunePlan, error) { return nil, errStub }

// Prune carries out a plan.
func (r *Repository) Prune(ctx context.Context, p *PrunePlan, report func(Progress)) error {
	return errStub
}
