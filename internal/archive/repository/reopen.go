package repository

import "github.com/ballast-io/ballast/internal/archive/store"

// Reopen returns the repository as another process would find it through st, with nothing
// remembered, but for the key: so without the price of a password.
func (r *Repository) Reopen(st store.Store) (*Repository, error) {
	other, err := newRepository(st, r.master, r.config)
	if err != nil {
		return nil, err
	}
	other.key = r.currentKey()
	return other, nil
}
