package docker

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzDecode: whatever arrives, what is let through carries what the call needs (D2).
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "null", "{}", `{"Name":"db"}`, `{"Name":"db","ID":"c1"}`, `{"name":"db","Opts":{"size":"1G"}}`,
		`{"Name":"db","Opts":null,"Future":1}`, `{"Name":1}`, `{"Name":"db"`, `[]`, "\x00", `{"Name":"\u0000"}`,
	} {
		f.Add([]byte(seed), uint8(fieldName|fieldID))
	}
	f.Fuzz(func(t *testing.T, body []byte, needs uint8) {
		req, err := decode(body, fields(needs))
		if err != nil {
			return
		}
		if fields(needs)&fieldName != 0 && req.Name == "" {
			t.Error("a request without a name was let through")
		}
		if fields(needs)&fieldID != 0 && req.ID == "" {
			t.Error("a request without an ID was let through")
		}
	})
}

// FuzzCall: every call answers with JSON or drops the connection, and List works
// ever after.
func FuzzCall(f *testing.F) {
	f.Add("VolumeDriver.Create", `{"Name":"db","Opts":{"size":"1G"}}`)
	f.Add("VolumeDriver.Mount", `{"Name":"db","ID":"c1"}`)
	f.Add("VolumeDriver.Get", "")
	f.Add("Plugin.Activate", "")
	f.Fuzz(func(t *testing.T, call, body string) {
		d := New(newFake("db"), Options{})
		mayAbort(func() { answerJSON(t, d, call, body) })
		answerJSON(t, d, "VolumeDriver.List", "{}")
	})
}

func answerJSON(t *testing.T, d *Driver, call, body string) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	req.URL.Path = "/" + call
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, req)
	if rec.Code < 300 || rec.Code >= 400 { // a path like //x is redirected
		var a answer
		if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil {
			t.Errorf("%s %q: answer %q: %v", call, body, rec.Body, err)
		}
	}
}

// mayAbort runs a call that may drop its connection.
func mayAbort(f func()) {
	defer func() {
		p := recover()
		if err, _ := p.(error); p != nil && !errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
	}()
	f()
}
