package main

import (
	"net/http"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdDocker serves recorded answers of a Docker Engine until the script ends:
// "docker FOLDER" answers GET /a/b with the file FOLDER/a/b.json, or with 404, on
// docker.sock.
func cmdDocker(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: docker FOLDER")
	}
	folder := http.Dir(ts.MkAbs(args[0]))
	serveUnix(ts, ts.MkAbs("docker.sock"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := folder.Open(r.URL.Path + ".json")
		if err != nil {
			http.Error(w, `{"message":"no such thing"}`, http.StatusNotFound)
			return
		}
		defer f.Close()
		http.ServeContent(w, r, "answer.json", testNow, f)
	}))
}
