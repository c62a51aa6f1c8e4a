package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ballast-io/ballast"
)

const manDir = "../../docs/man"

// TestManPages holds docs/man against the commands' own help; with UPDATE=1 in
// the environment it writes them.
func TestManPages(t *testing.T) {
	pages := map[string][]byte{}
	eachCommand(newRoot(here()), func(cmd *cobra.Command) { pages[manName(cmd)+".1"] = manPage(cmd) })
	if os.Getenv("UPDATE") != "" {
		writePages(t, pages)
	}
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(manDir, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/man/%s is not what the help says: run UPDATE=1 go test ./cmd/ballast", name)
		}
	}
	there, err := filepath.Glob(filepath.Join(manDir, "*"))
	if err != nil || len(there) != len(pages) {
		t.Errorf("docs/man holds %d pages (%v); want %d", len(there), err, len(pages))
	}
}

func writePages(t *testing.T, pages map[string][]byte) {
	t.Helper()
	if err := os.MkdirAll(manDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(manDir, name), page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDocumentedExitCodes holds docs/operations/cli.md against the codes.
func TestDocumentedExitCodes(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range exitCodes() {
		if row := fmt.Sprintf("| %d | %s |", c.code, c.meaning); !strings.Contains(string(page), row) {
			t.Errorf("docs/operations/cli.md has no line %q", row)
		}
	}
}

// TestEveryCommandExplainsItself keeps the help complete.
func TestEveryCommandExplainsItself(t *testing.T) {
	eachCommand(newRoot(here()), func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.ToUpper(cmd.Short[:1]) == cmd.Short[:1] || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short help %q; want a phrase", cmd.CommandPath(), cmd.Short)
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Short) {
			if len([]rune(strings.TrimRight(line, "\n"))) > 80 {
				t.Errorf("%s: the line %q is too long for a terminal", cmd.CommandPath(), line)
			}
		}
	})
}

// TestHelpKnowsTheOptions keeps the help of create from lagging behind.
func TestHelpKnowsTheOptions(t *testing.T) {
	cmd, _, err := newRoot(here()).Find([]string{"volume", "create"})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range slices.Concat(words("", ballast.Classes()), words("", ballast.Filesystems())) {
		if !strings.Contains(cmd.Long, word) {
			t.Errorf("the help of volume create does not know %q", word)
		}
	}
}

// eachCommand visits cmd and everything below it that people see.
func eachCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "help" && !isTopic(sub) {
			eachCommand(sub, visit)
		}
	}
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage renders the help of cmd for man(1).
func manPage(cmd *cobra.Command) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".\\\" Generated from the command's help: UPDATE=1 go test ./cmd/ballast\n")
	fmt.Fprintf(&b, ".TH %s 1 \"\" Ballast \"Ballast\"\n", strings.ToUpper(roff(manName(cmd))))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(cmd)), roff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(usageLine(cmd)))
	manText(&b, "DESCRIPTION", or(cmd.Long, cmd.Short+"."))
	manCommands(&b, cmd)
	manFlags(&b, "OPTIONS", cmd.LocalNonPersistentFlags())
	manFlags(&b, "COMMON OPTIONS", cmd.Root().PersistentFlags())
	if cmd.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(cmd.Example))
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, c := range exitCodes() {
		fmt.Fprintf(&b, ".TP\n%d\n%s\n", c.code, roff(c.meaning))
	}
	if cmd.HasParent() {
		fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)\n", roff(manName(cmd.Parent())))
	}
	return b.Bytes()
}

func manText(b *bytes.Buffer, title, text string) {
	fmt.Fprintf(b, ".SH %s\n", title)
	for par := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(par, "  ") {
			fmt.Fprintf(b, ".PP\n.nf\n%s\n.fi\n", roff(par))
		} else {
			fmt.Fprintf(b, ".PP\n%s\n", roff(par))
		}
	}
}

func manCommands(b *bytes.Buffer, cmd *cobra.Command) {
	subs := slices.DeleteFunc(slices.Clone(cmd.Commands()), func(c *cobra.Command) bool {
		return c.Hidden || isTopic(c) || c.Name() == "help"
	})
	if len(subs) == 0 {
		return
	}
	b.WriteString(".SH COMMANDS\n")
	for _, sub := range subs {
		fmt.Fprintf(b, ".TP\n.BR %s (1)\n%s\n", roff(manName(sub)), roff(sub.Short))
	}
}

func manFlags(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	if !flags.HasFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if value != "" {
			name += " " + value
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(usage))
	})
}

// roff escapes what man(1) would take for its own.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
