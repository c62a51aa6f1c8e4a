package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	// mediaType is what the Engine accepts; versions 1.1 and 1.2 read it too.
	mediaType = "application/vnd.docker.plugins.v1+json"
	// maxBody bounds a request, in bytes. The Engine's own are below 10 KiB.
	maxBody = 1 << 20
	// readLimit bounds how long a request may take to arrive.
	readLimit = 10 * time.Second
)

// request is the body of every call; each uses the fields it needs. Fields that a
// newer Engine adds are ignored.
type request struct {
	Name string            `json:"Name"`
	ID   string            `json:"ID"`
	Opts map[string]string `json:"Opts"`
}

// response is the body of every answer; each fills in its own fields.
type response struct {
	Err          string        `json:"Err"`
	Implements   []string      `json:"Implements,omitempty"`
	Capabilities *capabilities `json:"Capabilities,omitempty"`
	Mountpoint   string        `json:"Mountpoint,omitempty"`
	Volume       *volumeBody   `json:"Volume,omitempty"`
	Volumes      []volumeBody  `json:"Volumes,omitempty"`
}

type capabilities struct {
	Scope string `json:"Scope"`
}

type volumeBody struct {
	Name       string         `json:"Name"`
	Mountpoint string         `json:"Mountpoint,omitempty"`
	CreatedAt  time.Time      `json:"CreatedAt,omitzero"`
	Status     map[string]any `json:"Status,omitempty"`
}

// fields says what a request must carry.
type fields uint8

const (
	fieldName fields = 1 << iota
	fieldID
)

var (
	errEmpty = errors.New("the request arrived empty, as Docker's do when it repeats one after a lost connection; " +
		"nothing was changed. Run the command again")
	errNoID = errors.New("the request names no mount ID; nothing was changed. " +
		"Docker Engine 1.12 or newer is needed")
)

// read takes the whole body: net/http notices that a client has gone only once
// its request is read to the end (D4). The limit on its time is set here and not
// in the server, whose limit would go on during the call and look like a client
// that has gone.
func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	conn := http.NewResponseController(w)
	// A writer without a connection, as in tests, needs no limit either.
	_ = conn.SetReadDeadline(time.Now().Add(readLimit))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = conn.SetReadDeadline(time.Time{})
	if err != nil {
		return nil, fmt.Errorf("read request: %w; nothing was changed", err)
	}
	return body, nil
}

// decode reads a request and refuses one that lacks what it needs (D2).
func decode(body []byte, needs fields) (request, error) {
	var req request
	if len(body) > 0 {
		if err := json.Unmarshal(body, &req); err != nil {
			return request{}, fmt.Errorf("decode request: %w; nothing was changed", err)
		}
	}
	if needs&fieldName != 0 && req.Name == "" {
		return request{}, errEmpty
	}
	if needs&fieldID != 0 && req.ID == "" {
		return request{}, errNoID
	}
	return req, nil
}

// reply sends an answer and reports whether it left for a client that is still
// there. The status is 200 also for errors: the Engine then shows Err as it is,
// and would put the name of the call before it otherwise.
func reply(w http.ResponseWriter, status int, resp response) error {
	body, err := json.Marshal(resp)
	if err != nil {
		// Only a Status can be at fault. An answer that is cut short would read
		// as "no such volume" (D1).
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("send answer: %w", err)
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		return fmt.Errorf("send answer: %w", err)
	}
	return nil
}
