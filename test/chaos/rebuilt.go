package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"time"
)

// learn reads in the logs of the primary's engine and of the follower's agent how the
// follower was brought up to date since then.
func (r *round) learn(since time.Time) error {
	engine, err := os.Open(r.primary.Outside(r.primary.Path("ballast", "volumes", r.id, "engine.log")))
	if err != nil {
		return err
	}
	defer engine.Close() // read-only: nothing to lose
	seen := map[string]bool{resized: r.rebuilt.grown}
	chunks, missing, followed := false, false, false
	for lines := bufio.NewScanner(engine); lines.Scan(); {
		var said struct {
			Time    time.Time
			Msg     string
			Node    string
			Cut     uint64
			Missing uint64
			Void    uint64
			Full    bool
		}
		if json.Unmarshal(lines.Bytes(), &said) != nil || said.Time.Before(since) || said.Node != r.follower.Name {
			continue // of something else
		}
		switch said.Msg {
		case "copy follows the log":
			followed, missing = true, missing || said.Missing > 0
			seen[cutOff] = seen[cutOff] || said.Cut > 0
		case "copy gets chunks":
			chunks = true
			seen[byFirst] = seen[byFirst] || said.Full
			seen[byChange] = seen[byChange] || !said.Full
			seen[cutOff] = seen[cutOff] || said.Void > 0
		case "copy has chunks of an attempt that broke off":
			seen[resumed] = true
		}
	}
	seen[byLog] = missing && !chunks
	for name, was := range seen {
		if was {
			r.rebuilt.ways = append(r.rebuilt.ways, name)
		}
	}
	slices.Sort(r.rebuilt.ways)
	if !chunks && !followed {
		return errors.New("the engine's log does not say how the copy came to be in sync")
	}
	return nil
}
