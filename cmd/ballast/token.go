package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newToken(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "let other machines join the cluster",
		Long:  "Let other machines join the cluster that this node is in, or make it the first\nnode of one.",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	cmd.AddCommand(newTokenCreate(c))
	return cmd
}

func newTokenCreate(c *cli) *cobra.Command {
	var ttl time.Duration
	var address string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create [--ttl TIME] [--address ADDR]",
		Short: "make a token that lets one machine join, and print the line to type there",
		Long: `Make a token that lets one machine join the cluster, and print the line to type
on that machine. It is good once, and for 15 minutes.

The first token makes a node on its own the first one of a cluster: from then on
it answers other nodes on TCP port 7420. Its volumes go on as they are.

Who has the line can join until it was used or its time is over: give it to
nobody else. It names the authority of the cluster, so that the machine that
joins knows that it speaks with the right one.`,
		Example:           "  ballast token create\n  ssh n2 \"$(ballast token create)\"\n  ballast token create --ttl 1h --address 10.0.0.1",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := &ballastv1.CreateTokenRequest{Address: address}
			if cmd.Flags().Changed("ttl") {
				req.Ttl = durationpb.New(ttl)
			}
			res, err := ask(cmd.Context(), doLimit, c.agent().node.CreateToken, req)
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(c.stdout, tokenJSON{res.GetToken(), res.GetAddress(), toTime(res.GetExpiresAt())})
			}
			return c.printToken(res)
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 15*time.Minute, "let the token be good for `TIME`, from 1m to 24h")
	cmd.Flags().StringVar(&address, "address", "", "let other nodes reach this one at `ADDR`, host or host:port (default as before, at first the address of the default route)")
	jsonFlag(cmd, &asJSON)
	complete(cmd, "ttl", []string{"15m", "1h", "24h"})
	complete(cmd, "address", nil)
	return cmd
}

// printToken prints the line to paste alone, so that a script can use it; a person is told
// what it is for. The token is nowhere but on the standard output (G9).
func (c *cli) printToken(res *ballastv1.CreateTokenResponse) error {
	if c.columns() > 0 {
		fmt.Fprintf(c.stderr, "Type this on the machine that shall join, with its agent running. It is good once, until %s:\n", c.clock(res.GetExpiresAt()))
	}
	_, err := fmt.Fprintf(c.stdout, "ballast join %s %s\n", res.GetToken(), res.GetAddress())
	return err
}

type tokenJSON struct {
	Token     string     `json:"token"`
	Address   string     `json:"address"`
	ExpiresAt *time.Time `json:"expires_at"`
}
