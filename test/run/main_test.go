package main

import (
	"fmt"
	"os"
	"strings"
)

func Example() {
	const events = `
{"Action":"pass","Package":"github.com/ballast-io/ballast/internal/volume","Test":"TestOpen"}
{"Action":"pass","Package":"github.com/ballast-io/ballast/internal/volume","Elapsed":1.5}
{"Action":"output","Package":"github.com/ballast-io/ballast/internal/device","Test":"TestAttach","Output":"    attach_test.go:7: no such device\n"}
{"Action":"fail","Package":"github.com/ballast-io/ballast/internal/device","Test":"TestAttach"}
{"Action":"pass","Package":"github.com/ballast-io/ballast/internal/vfs","Elapsed":12.3}
{"Action":"output","Package":"github.com/ballast-io/ballast/test/lab","Test":"TestMachine","Output":"    lab_test.go:9: left out: a lab machine needs root\n"}
{"Action":"output","Package":"github.com/ballast-io/ballast/test/lab","Test":"TestMachine","Output":"--- SKIP: TestMachine (0.00s)\n"}
{"Action":"skip","Package":"github.com/ballast-io/ballast/test/lab","Test":"TestMachine"}`
	r := newRun(os.Stdout)
	if err := r.read(strings.NewReader(strings.TrimSpace(events))); err != nil {
		fmt.Println(err)
	}
	r.summarize()
	// Output:
	// ok    internal/volume                       1.5s
	// FAIL  github.com/ballast-io/ballast/internal/device TestAttach
	//           attach_test.go:7: no such device
	// ok    internal/vfs                         12.3s
	//
	// Left out:
	//   because a lab machine needs root:
	//     test/lab.TestMachine
	//
	// Slowest: internal/vfs 12 s, internal/volume 2 s
	//
	// 1 tests passed, 1 failed, 1 left out.
}
