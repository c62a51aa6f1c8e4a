package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// maxToken is the most that is read of a token, in bytes.
const maxToken = 1 << 10

// joinLimit is how long a node that joined is waited for, and joinEvery how often it is asked.
const (
	joinLimit = 20 * time.Second
	joinEvery = 100 * time.Millisecond
)

func newJoin(c *cli) *cobra.Command {
	var listen, tokenFile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "join TOKEN ADDR [--listen ADDR]",
		Short: "make this node one of another's cluster",
		Long: `Make this node one of the cluster that a token is of. TOKEN and ADDR are what
"ballast token create" prints on a node of that cluster; ADDR is that node's.
The agent must run here, and have no volumes yet. What is refused has changed
nothing.

Everybody on this machine can read a command's arguments while it runs. Where
that matters, TOKEN is "-" and comes from the standard input, or from a file
with --token-file, which replaces the operand.`,
		Example:           "  ballast join BLST1-… 10.0.0.1:7420\n  ballast join - 10.0.0.1:7420 < token\n  ballast join --token-file /run/token 10.0.0.1:7420 --listen 10.0.0.2",
		ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(cmd *cobra.Command, args []string) error {
			if tokenFile != "" {
				return operands("ADDR")(cmd, args)
			}
			return operands("TOKEN", "ADDR")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := c.joinToken(args, tokenFile)
			if err != nil {
				return err
			}
			res, err := ask(cmd.Context(), doLimit, c.agent().node.Join, &ballastv1.JoinRequest{Token: token, Address: args[len(args)-1], Listen: listen})
			if err != nil {
				return err
			}
			ready := c.awaitJoined(cmd.Context(), res.GetCluster())
			if asJSON {
				return writeJSON(c.stdout, joinedJSON{res.GetCluster(), res.GetNode(), res.GetAddress()})
			}
			if !ready {
				fmt.Fprintln(c.stderr, "ballast: the records of the cluster are not here yet; \"ballast status\" says when they are")
			}
			_, err = fmt.Fprintf(c.stdout, "this is node %s of the cluster now, and other nodes reach it at %s\nsee them all with: ballast node ls\n", res.GetNode(), res.GetAddress())
			return err
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "let other nodes reach this one at `ADDR`, host or host:port (default the address from which it reaches ADDR)")
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "read the token from `FILE`")
	if err := cmd.MarkFlagFilename("token-file"); err != nil {
		panic(err) // the option does not exist: a mistake in this program
	}
	complete(cmd, "listen", nil)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// awaitJoined waits until the agent, which begins anew as a node of the cluster, has its
// records: what is typed next finds them. It reports whether it has.
func (c *cli) awaitJoined(ctx context.Context, cluster string) bool {
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	tick := time.NewTicker(joinEvery)
	defer tick.Stop()
	for {
		s, err := ask(ctx, askLimit, c.agent().node.Status, &ballastv1.StatusRequest{})
		if err == nil && s.GetCluster() == cluster && s.GetRecordsReady() {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// joinToken returns the token, from where the arguments say. It is in no error (G9).
func (c *cli) joinToken(args []string, file string) (string, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", usagef("read the token: %w", err)
		}
		defer f.Close() // read-only: nothing to lose
		return readToken(f)
	}
	if args[0] == "-" {
		return readToken(c.stdin)
	}
	return args[0], nil
}

// readToken reads a token, or the whole line that "token create" printed.
func readToken(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxToken))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(string(b)), "ballast join "))
	if len(words) == 0 {
		return "", usagef("read the token: there is none; it is what \"ballast token create\" prints on a node of the cluster")
	}
	return words[0], nil
}

type joinedJSON struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	Address string `json:"address"`
}
