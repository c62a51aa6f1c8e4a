package docker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ballast-io/ballast"
)

func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		e := newEngine(t, fake, Options{})
		if got := e.must(t, "Plugin.Activate", "").Implements; !slices.Equal(got, []string{"VolumeDriver"}) {
			t.Errorf("Implements = %q; want VolumeDriver", got)
		}
		if got := e.must(t, "VolumeDriver.Capabilities", "{}").Capabilities.Scope; got != "global" {
			t.Errorf("scope = %q; want global", got)
		}
		e.must(t, "VolumeDriver.Create", `{"Name":"db","Opts":{"size":"20G"}}`)
		if got := fake.options["db"]["size"]; got != "20G" {
			t.Errorf("size = %q; want 20G", got)
		}
		if got := e.must(t, "VolumeDriver.Path", `{"Name":"db"}`).Mountpoint; got != "" {
			t.Errorf("path of a volume that is not mounted = %q; want none", got)
		}
		if got := e.must(t, "VolumeDriver.Mount", `{"Name":"db","ID":"c1"}`).Mountpoint; got != "/mnt/db" {
			t.Errorf("mountpoint = %q; want /mnt/db", got)
		}
		if got := e.must(t, "VolumeDriver.Path", `{"Name":"db"}`).Mountpoint; got != "/mnt/db" {
			t.Errorf("path = %q; want /mnt/db", got)
		}
		if got := e.must(t, "VolumeDriver.List", "{}").Volumes; len(got) != 1 || got[0].Name != "db" || got[0].Mountpoint != "/mnt/db" {
			t.Errorf("list = %v; want db at /mnt/db", got)
		}
		e.must(t, "VolumeDriver.Unmount", `{"Name":"db","ID":"c1"}`)
		e.must(t, "VolumeDriver.Remove", `{"Name":"db"}`)
		if len(fake.options) != 0 {
			t.Errorf("volumes after remove = %v; want none", fake.options)
		}
	})
}

// TestErrorsAreShownAsTheyAre also shows the status: the Engine puts the name of
// the call in front of an error that comes with another status than 200.
func TestErrorsAreShownAsTheyAre(t *testing.T) {
	const text = `volume "db" is held by c1; stop the container first`
	calls := []string{"Create", "Remove", "Path", "Mount", "Unmount", "List"}
	for _, call := range calls {
		synctest.Test(t, func(t *testing.T) {
			fake := newFake("db")
			fake.hook = func(context.Context, string) error { return errors.New(text) }
			e := newEngine(t, fake, Options{})
			if got := e.refused(t, "VolumeDriver."+call, `{"Name":"db","ID":"c1"}`); got != text {
				t.Errorf("%s: Err = %q; want %q", call, got, text)
			}
		})
	}
}

func TestCreateAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, newFake(), Options{})
		e.must(t, "VolumeDriver.Create", `{"Name":"db","Opts":{"size":"20G"}}`)
		e.must(t, "VolumeDriver.Create", `{"Name":"db","Opts":{"size":"20G"}}`)
		if got := e.refused(t, "VolumeDriver.Create", `{"Name":"db","Opts":{"size":"30G"}}`); !strings.Contains(got, "other options") {
			t.Errorf("Err = %q; want the drift named", got)
		}
	})
}

// TestGoneIsDone is D6.
func TestGoneIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, newFake("db"), Options{})
		e.must(t, "VolumeDriver.Unmount", `{"Name":"db","ID":"never mounted"}`)
		e.must(t, "VolumeDriver.Unmount", `{"Name":"never made","ID":"c1"}`)
		e.must(t, "VolumeDriver.Remove", `{"Name":"db"}`)
		e.must(t, "VolumeDriver.Remove", `{"Name":"db"}`)
	})
}

func TestInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, newFake("db"), Options{})
		e.must(t, "VolumeDriver.Mount", `{"Name":"db","ID":"c1"}`)
		if got := e.refused(t, "VolumeDriver.Remove", `{"Name":"db"}`); !strings.Contains(got, "held by c1") {
			t.Errorf("Err = %q; want the holder named", got)
		}
	})
}

// TestEmptyBody is D2: what Docker sends after a lost connection changes nothing.
func TestEmptyBody(t *testing.T) {
	bodies := []struct{ name, body string }{
		{"drained", ""},
		{"null", "null"},
		{"no fields", "{}"},
		{"empty fields", `{"Name":"","ID":""}`},
		{"cut short", `{"Name":"db","ID":"c1`},
		{"two at once", `{"Name":"db","ID":"c1"}{"Name":"db","ID":"c1"}`},
		{"not an object", `["db"]`},
		{"too long", `{"Name":"db","ID":"c1","Pad":"` + strings.Repeat("x", maxBody) + `"}`},
	}
	for _, call := range []string{"Create", "Remove", "Path", "Mount", "Unmount"} {
		for _, tt := range bodies {
			t.Run(call+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := newFake("db")
					e := newEngine(t, fake, Options{})
					if got := e.refused(t, "VolumeDriver."+call, tt.body); !strings.Contains(got, "nothing was changed") {
						t.Errorf("Err = %q; want that it says nothing was changed", got)
					}
					if got := fake.called(); len(got) != 0 {
						t.Errorf("calls = %q; want none", got)
					}
				})
			})
		}
	}
}

func TestMountNeedsAnID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		e := newEngine(t, fake, Options{})
		e.refused(t, "VolumeDriver.Mount", `{"Name":"db"}`)
		e.refused(t, "VolumeDriver.Unmount", `{"Name":"db"}`)
		if got := fake.called(); len(got) != 0 {
			t.Errorf("calls = %q; want none", got)
		}
	})
}

// TestListWithoutBody: a List sent again is as good as the first.
func TestListWithoutBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, newFake("a", "b"), Options{})
		if got := e.must(t, "VolumeDriver.List", "").Volumes; len(got) != 2 {
			t.Errorf("list = %v; want a and b", got)
		}
	})
}

func TestUnknownFieldsAreTolerated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake()
		e := newEngine(t, fake, Options{})
		e.must(t, "VolumeDriver.Create", `{"Name":"db","Opts":null,"Future":{"a":[1]}}`)
		if _, ok := fake.options["db"]; !ok {
			t.Error("volume db was not made")
		}
	})
}

func TestUnknownCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, newFake(), Options{})
		if got := e.refused(t, "NetworkDriver.GetCapabilities", "{}"); !strings.Contains(got, "volume driver") {
			t.Errorf("Err = %q; want what ballast is", got)
		}
	})
}

// TestPanic is D8.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake("db")
		fake.hook = func(_ context.Context, call string) error {
			if strings.HasPrefix(call, "attach") {
				panic("a bug")
			}
			return nil
		}
		e := newEngine(t, fake, Options{})
		if got := e.refused(t, "VolumeDriver.Mount", `{"Name":"db","ID":"c1"}`); !strings.Contains(got, "bug in ballast") {
			t.Errorf("Err = %q; want a bug admitted", got)
		}
		e.must(t, "VolumeDriver.List", "{}")
	})
}

// TestNotReadyIsWaitedOut: a command typed while the agent starts just works.
func TestNotReadyIsWaitedOut(t *testing.T) {
	for _, call := range []string{"Create", "Get", "Remove", "Path", "Mount", "Unmount", "List"} {
		synctest.Test(t, func(t *testing.T) {
			fake := newFake("db")
			asked := 0
			fake.hook = func(context.Context, string) error {
				if asked++; asked < 20 {
					return ballast.ErrNotReady
				}
				return nil
			}
			newEngine(t, fake, Options{}).must(t, "VolumeDriver."+call, `{"Name":"db","ID":"c1"}`)
		})
	}
}

// TestConnectionsAreNotKept: an idle connection that is closed just when a call is
// sent on it makes Docker send that call again with an empty body.
func TestConnectionsAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, newFake(), Options{})
		resp, err := e.http.Post("http://plugin/VolumeDriver.List", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if !resp.Close {
			t.Error("the connection is kept; want it closed after the answer")
		}
	})
}
