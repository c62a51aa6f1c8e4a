package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "explain a command",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || target == nil {
				return usagef("no help for %q", strings.Join(args, " "))
			}
			if len(rest) > 0 {
				return unknownCommand(target, rest[0])
			}
			return target.Help()
		},
		ValidArgsFunction: completeCommands,
	}
}

// newExitCodes is a page of help, not a command.
func newExitCodes() *cobra.Command {
	var b strings.Builder
	b.WriteString("What a script may rely on:\n\n")
	for _, c := range exitCodes() {
		fmt.Fprintf(&b, "  %3d  %s\n", c.code, c.meaning)
	}
	b.WriteString("\nErrors go to the standard error stream, each line beginning with \"ballast: \".\nWhat was asked for goes to the standard output, with --json as one document.")
	return &cobra.Command{Use: "exit-codes", Short: "what a script may rely on", Long: b.String()}
}

// printHelp writes the help of cmd: what it does, how it is called, examples.
func printHelp(w io.Writer, cmd *cobra.Command) {
	fmt.Fprintln(w, or(cmd.Long, cmd.Short))
	if isTopic(cmd) {
		return
	}
	fmt.Fprintf(w, "\nUsage:\n  %s\n", usageLine(cmd))
	printCommands(w, "Commands", cmd, func(c *cobra.Command) bool { return c.IsAvailableCommand() })
	printCommands(w, "Pages", cmd, isTopic)
	section(w, "Options", cmd.LocalNonPersistentFlags().FlagUsagesWrapped(80))
	section(w, "Options of every command", cmd.Root().PersistentFlags().FlagUsagesWrapped(80))
	section(w, "Examples", cmd.Example)
}

// isTopic tells a page of help from a command.
func isTopic(c *cobra.Command) bool { return !c.Runnable() && !c.HasSubCommands() }

func usageLine(cmd *cobra.Command) string {
	if cmd.HasAvailableSubCommands() {
		return cmd.CommandPath() + " COMMAND"
	}
	return commandLine(cmd)
}

// commandLine is how cmd is called: its path and its operands.
func commandLine(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return cmd.Use
	}
	return cmd.Parent().CommandPath() + " " + cmd.Use
}

func section(w io.Writer, title, text string) {
	if text != "" {
		fmt.Fprintf(w, "\n%s:\n%s\n", title, strings.TrimRight(text, "\n"))
	}
}

func printCommands(w io.Writer, title string, cmd *cobra.Command, show func(*cobra.Command) bool) {
	var b strings.Builder
	for _, sub := range cmd.Commands() {
		if show(sub) && !sub.Hidden {
			fmt.Fprintf(&b, "  %-12s %s\n", sub.Name(), sub.Short)
		}
	}
	section(w, title, b.String())
}
