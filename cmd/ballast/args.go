package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// group is what a command does that only holds others: help, or say which of
// them was probably meant.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	return &failure{
		code: exitUsage,
		err:  fmt.Errorf("unknown command %q%s", name, didYouMean(name, names)),
		hint: fmt.Sprintf("try %q", helpLine(cmd)),
	}
}

// helpLine is what shows the help of cmd.
func helpLine(cmd *cobra.Command) string {
	return strings.TrimSpace(cmd.Root().Name() + " help " + shortPath(cmd))
}

// shortPath is the path of cmd without the name of the program.
func shortPath(cmd *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()), " ")
}

// operands demands exactly the named operands.
func operands(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return missing(cmd, names[len(args)])
		}
		return noMore(cmd, args[len(names):])
	}
}

// oneOrMore demands at least one operand of that name.
func oneOrMore(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return missing(cmd, name)
		}
		return nil
	}
}

// optional allows one operand.
func optional(cmd *cobra.Command, args []string) error {
	return noMore(cmd, args[min(1, len(args)):])
}

func missing(cmd *cobra.Command, name string) error {
	return &failure{exitUsage, fmt.Errorf("%s: %s is missing", shortPath(cmd), name), "usage: " + commandLine(cmd)}
}

func noMore(cmd *cobra.Command, extra []string) error {
	if len(extra) == 0 {
		return nil
	}
	return &failure{exitUsage, fmt.Errorf("%s: %q is one argument too many", shortPath(cmd), extra[0]), "usage: " + commandLine(cmd)}
}
