package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeCreate(c *cli) *cobra.Command {
	var size, class string
	var asJSON bool
	var options []string
	cmd := &cobra.Command{
		Use:   "create NAME [--size SIZE] [--class CLASS] [-o KEY=VALUE]...",
		Short: "create a volume",
		Long: `Create a volume. It takes disk space only for what is written to it.

The options are those of "docker volume create -d ballast": size (20G, 20GiB; a
bare number is GB; default 10G), fs (ext4, xfs), class (primary, clustered,
cache, scratch), repl (copies in all, on as many nodes; by default 2 for class
primary where there are two nodes), min_copies (in-sync copies below which
writes wait, by default 1), uid, gid, mode, label.KEY, keep ("any second for
24h, hourly 7d, daily 30d": which of its history the archive keeps), from (db,
db@10:42:06, db@TAG: begin as that volume was then). Creating a volume that
exists with the same options is no error.`,
		Example:           "  ballast volume create db\n  ballast volume create db --size 20G -o fs=xfs -o label.team=shop\n  ballast volume create db -o repl=3 -o min_copies=2",
		Args:              operands("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := volumeOptions(size, class, options)
			if err != nil {
				return err
			}
			res, err := ask(cmd.Context(), doLimit, c.agent().volumes.Create, &ballastv1.CreateRequest{Name: args[0], Options: opts})
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(c.stdout, toVolumeJSON(res.GetVolume()))
			}
			_, err = fmt.Fprintln(c.stdout, res.GetVolume().GetName())
			return err
		},
	}
	cmd.Flags().StringVar(&size, "size", "", "the same as -o size=`SIZE`")
	cmd.Flags().StringVar(&class, "class", "", "the same as -o class=`CLASS`")
	cmd.Flags().StringArrayVarP(&options, "opt", "o", nil, "set an option, as with \"docker volume create\": `KEY=VALUE`")
	jsonFlag(cmd, &asJSON)
	complete(cmd, "class", words("", ballast.Classes()))
	complete(cmd, "opt", slices.Concat(words("class=", ballast.Classes()), words("fs=", ballast.Filesystems()), []string{"size=", "uid=", "gid=", "mode=", "repl=", "min_copies=", "keep=", "from=", "label."}))
	return cmd
}

// words are what a shell can complete an option to.
func words[T ~string](prefix string, values []T) []string {
	var all []string
	for _, v := range values {
		all = append(all, prefix+string(v))
	}
	return all
}

// volumeOptions merges the three ways to say an option into the map that the
// agent judges.
func volumeOptions(size, class string, options []string) (map[string]string, error) {
	all := map[string]string{}
	for _, o := range options {
		k, v, _ := strings.Cut(o, "=")
		if was, twice := all[k]; twice && was != v {
			return nil, usagef("option %q is given twice: %q and %q", k, was, v)
		}
		all[k] = v
	}
	for k, v := range map[string]string{"size": size, "class": class} {
		if was, twice := all[k]; v != "" && twice && was != v {
			return nil, usagef("option %q is given twice: %q and %q", k, was, v)
		}
		if v != "" {
			all[k] = v
		}
	}
	return all, nil
}
