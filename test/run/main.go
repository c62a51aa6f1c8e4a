// Command run is "go test" that tells people what they need to know: a line per
// package, the output of every test that failed, and at the end every test that
// was left out, with its reason, and the slowest packages. It takes the arguments of "go test", and fails
// when a test failed.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// event is what the testing tool says about one moment of a test run.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64 // seconds

	ImportPath string // of a package that is being built
}

func main() {
	r, err := test(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "run tests:", err)
		os.Exit(2)
	}
	if r.failed > 0 {
		os.Exit(1)
	}
}

// test runs "go test" with args and tells w about it. The error is about the
// running, not about the tests.
func test(args []string, w io.Writer) (*run, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = w
	events, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := newRun(w)
	err = r.read(events)
	werr := cmd.Wait()
	r.summarize()
	if werr != nil && r.failed == 0 {
		err = errors.Join(err, fmt.Errorf("go test failed, and no test did: %w", werr))
	}
	return r, err
}

// run is a test run so far.
type run struct {
	w       io.Writer
	output  map[string][]string // what each test printed, until it ends
	reasons map[string][]string // why tests were left out: the tests by reason
	took    map[string]float64  // seconds, by package
	passed  int
	failed  int
}

func newRun(w io.Writer) *run {
	return &run{w: w, output: map[string][]string{}, reasons: map[string][]string{}, took: map[string]float64{}}
}

func (r *run) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(r.w, lines.Text()) // from the tool itself, such as a broken package
			continue
		}
		r.take(e)
	}
	return lines.Err()
}

func (r *run) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		r.output[key] = append(r.output[key], e.Output)
	case "build-output":
		fmt.Fprint(r.w, e.Output)
	case "build-fail":
		r.failed++
	case "pass", "fail", "skip":
		r.end(e, r.output[key])
		delete(r.output, key)
	}
}

func (r *run) end(e event, output []string) {
	if e.Test == "" {
		r.endPackage(e, output)
		return
	}
	switch e.Action {
	case "pass":
		r.passed++
	case "skip":
		why := reason(output)
		r.reasons[why] = append(r.reasons[why], strings.TrimPrefix(e.Package, module)+"."+e.Test)
	case "fail":
		r.failed++
		fmt.Fprintf(r.w, "FAIL  %s %s\n%s", e.Package, e.Test, indent(output))
	}
}

const module = "github.com/ballast-io/ballast/"

func (r *run) endPackage(e event, output []string) {
	name := strings.TrimPrefix(e.Package, module)
	r.took[name] = e.Elapsed
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.w, "ok    %-34s %6.1fs\n", name, e.Elapsed)
	case "fail":
		r.failed++
		fmt.Fprintf(r.w, "FAIL  %s\n%s", name, indent(output))
	}
}

// reason finds what a test said when it was left out.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "=== ") || line == "" {
			continue
		}
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			_, text, _ = strings.Cut(text, ": ")
			return strings.TrimPrefix(text, "left out: ")
		}
		return line
	}
	return "no reason given"
}

func indent(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("      " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

func (r *run) summarize() {
	if len(r.reasons) > 0 {
		fmt.Fprintln(r.w, "\nLeft out:")
	}
	for _, why := range slices.Sorted(maps.Keys(r.reasons)) {
		fmt.Fprintf(r.w, "  because %s:\n", why)
		for _, test := range r.reasons[why] {
			fmt.Fprintf(r.w, "    %s\n", test)
		}
	}
	if slowest := r.slowest(); slowest != "" {
		fmt.Fprintln(r.w, "\nSlowest:", slowest)
	}
	fmt.Fprintf(r.w, "\n%d tests passed, %d failed, %d left out.\n", r.passed, r.failed, r.leftOut())
}

// slowest names the packages that the run waits for, when it had several.
func (r *run) slowest() string {
	if len(r.took) < 2 {
		return ""
	}
	names := slices.SortedFunc(maps.Keys(r.took), func(a, b string) int { return cmp.Compare(r.took[b], r.took[a]) })
	var words []string
	for _, name := range names[:min(len(names), 5)] {
		words = append(words, fmt.Sprintf("%s %.0f s", name, r.took[name]))
	}
	return strings.Join(words, ", ")
}

func (r *run) leftOut() int {
	n := 0
	for _, tests := range r.reasons {
		n += len(tests)
	}
	return n
}
