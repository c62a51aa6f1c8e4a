package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// completeLimit keeps the Tab key quick when the agent is slow or stopped.
const completeLimit = time.Second

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:       "completion bash|zsh|fish",
		Short:     "print a shell's completion script",
		Long:      "Print the script that teaches a shell to complete commands, options and volume\nnames.",
		Example:   "  ballast completion bash > /etc/bash_completion.d/ballast\n  ballast completion zsh > \"${fpath[1]}/_ballast\"\n  ballast completion fish > ~/.config/fish/completions/ballast.fish",
		Args:      operands("SHELL"),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root, w := cmd.Root(), cmd.OutOrStdout(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			}
			return usagef("unknown shell %q; known are %s", args[0], strings.Join(cmd.ValidArgs, ", "))
		},
	}
}

// completeCommands completes the operands of "help".
func completeCommands(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	target, _, err := cmd.Root().Find(args)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, sub := range target.Commands() {
		if sub.IsAvailableCommand() || isTopic(sub) {
			names = append(names, sub.Name()+"\t"+sub.Short)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// complete completes the values of an option; what ends in "=" or "." goes on.
func complete(cmd *cobra.Command, flag string, values []string) {
	directive := cobra.ShellCompDirectiveNoFileComp
	if slices.ContainsFunc(values, func(v string) bool { return strings.HasSuffix(v, "=") }) {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, directive))
	if err != nil {
		panic(err) // the option does not exist: a mistake in this program
	}
}

// completeVolumes completes the names of volumes, or of those in the trash; at
// most limit of them.
func (c *cli) completeVolumes(limit int, trash bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= limit {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.volumeNames(cmd.Context(), trash), cobra.ShellCompDirectiveNoFileComp
	}
}

// volumeNames asks the agent; a shell that completes is told nothing rather
// than an error.
func (c *cli) volumeNames(ctx context.Context, trash bool) []string {
	ctx, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	res, err := c.agent().volumes.List(ctx, connect.NewRequest(&ballastv1.ListRequest{Trash: trash}))
	if err != nil {
		return nil
	}
	var names []string
	for _, v := range res.Msg.GetVolumes() {
		names = append(names, v.GetName())
	}
	return names
}
