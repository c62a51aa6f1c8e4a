package tail

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
)

// ErrFenced says that another writer continues the volume's history. Nothing that this one ships
// would be read (T3), so it ships nothing more (T5).
var ErrFenced = errors.New("another writer continues the volume's history in the archive")

// State is what a writer knows of the history that it continues. It is stored by its owner,
// as JSON. One that is old by a few shipments does no harm, nor, if the copy of the volume
// has an Owner, does one that is lost: what is missing is found in the store.
type State struct {
	Head          // the zero value: the volume has no epoch in the archive
	Object string `json:"object,omitempty"` // the newest object; empty: the epoch has none
	Nonce  string `json:"nonce,omitempty"`  // of the epoch's open; empty: the epoch is another writer's
	Next   *Open  `json:"next,omitempty"`   // an open that may be in the store, or not
	Fenced bool   `json:"fenced,omitempty"`
}

// Position returns where the writer is: it has shipped everything up to there.
func (s State) Position() Position { return Position{s.Epoch, s.Last, s.Digest} }

// Config is what a [Shipper] needs. All of it stays constant.
type Config struct {
	Store  store.Store
	Sealer Sealer
	Volume ballast.VolumeID
	// Save stores the state durably. It is called before an epoch is opened, and after
	// every shipment. It must not call the Shipper.
	Save func(State) error
	// Owner is something random that was made with this copy of the volume and is in no other
	// one. Who has it holds an epoch that was opened with it for its own when its State is
	// lost. Empty: then it must open a new epoch, and say where that continues.
	Owner string
}

// Shipper is the writer of one volume's tail. See [Resume].
type Shipper struct {
	Config
	state    State
	unheaded bool     // the store's head may be older than state
	unsaved  bool     // what Save has stored may be older than state
	checked  int      // shipments since the store was looked at; see checkEvery
	shipped  []string // since then
}

// checkEvery is how many shipments there are between two looks at what the store has; there
// is one before the first. A look lists the volume's folder: a request per 1,000
// objects. It finds that the store lost what it had acknowledged, and that another writer
// has followed. Neither can harm the history (T2, T3): later is only later.
const checkEvery = 64

// Resume returns the writer that saved was the state of; it makes no request then (T6). Where
// nothing was saved it reads from the store where the history is.
func Resume(ctx context.Context, cfg Config, saved *State) (*Shipper, error) {
	s := &Shipper{Config: cfg, checked: checkEvery}
	if saved != nil {
		if saved.Volume != cfg.Volume {
			return nil, fmt.Errorf("resume the tail of %s: %w state: it is of volume %q", cfg.Volume, ballast.ErrInvalid, saved.Volume)
		}
		s.state = *saved
		return s, nil
	}
	if err := s.recover(ctx); err != nil {
		return nil, fmt.Errorf("resume the tail of %s: %w", cfg.Volume, err)
	}
	return s, nil
}

// recover finds the state in the store: head has it, else the whole tail.
func (s *Shipper) recover(ctx context.Context) error {
	reader := NewReader(s.Store, s.Sealer)
	line, err := reader.Load(ctx, s.Volume, endOfNumbers)
	if err == nil && line.head == nil {
		line, err = reader.Load(ctx, s.Volume, 0)
	}
	switch {
	case err != nil:
		return err
	case line.lost:
		return fmt.Errorf("nothing in the archive says where its epoch %d continues: %w", line.Epoch, &line.Problems[0])
	}
	s.state.Volume = s.Volume
	if line.Epoch == 0 {
		return nil
	}
	last := line.path[len(line.path)-1]
	s.state.Head = Head{last.reign, line.tip.LSN, line.tip.Digest}
	if line.head != nil {
		s.state.Head = *line.head
	}
	if open := line.Open; open != nil && open.Epoch == line.Epoch && open.Owner == s.Owner && s.Owner != "" {
		s.state.Nonce = open.Nonce
	}
	s.unheaded, s.unsaved = true, true
	return nil
}

// State returns what the shipper knows. Everything up to State().Last is in the archive.
func (s *Shipper) State() State { return s.state }

// save stores the state if it changed.
func (s *Shipper) save() error {
	if !s.unsaved {
		return nil
	}
	if err := s.Save(s.state); err != nil {
		return fmt.Errorf("save where the tail is: %w", err)
	}
	s.unsaved = false
	return nil
}

// change replaces the state once it is saved.
func (s *Shipper) change(state State) error {
	if err := s.Save(state); err != nil {
		return fmt.Errorf("save where the tail is: %w", err)
	}
	s.state, s.unsaved = state, false
	return nil
}

// fence remembers for ever that another writer has followed (T5).
func (s *Shipper) fence(by string) error {
	s.state.Fenced, s.unsaved = true, true
	err := fmt.Errorf("%s: %w", by, ErrFenced)
	return errors.Join(err, s.save())
}

func newNonce() string {
	var raw [16]byte
	if !seeded(reuseNonce) {
		_, _ = rand.Read(raw[:]) // never fails, says its documentation
	}
	return hex.EncodeToString(raw[:])
}
