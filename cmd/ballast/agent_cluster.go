package main

import (
	"github.com/spf13/pflag"

	"github.com/ballast-io/ballast/internal/agent"
)

// clusterFlags declares the options that say how this node is with others.
func clusterFlags(f *pflag.FlagSet, cfg *agent.Config) {
	f.StringVar(&cfg.Listen, "listen", "", "answer other nodes at `HOST:PORT`; nothing listens before the first token (default the node's address, port "+agent.DefaultPort+")")
	f.StringVar(&cfg.Advertise, "advertise", "", "tell other nodes that this one is at `HOST:PORT` (default the address of the default route)")
	f.DurationVar(&cfg.Lease, "lease", agent.DefaultLease, "let others take over what this node has when it is silent for `TIME`")
	f.DurationVar(&cfg.ReplaceAfter, "replace-after", agent.DefaultReplaceAfter, "make the copies of a node anew that stays away for `TIME`")
	f.IntVar(&cfg.EtcdMembers, "etcd-members", agent.DefaultEtcdMembers, "keep the records on up to `N` nodes: 1, 3 or 5")
	f.StringSliceVar(&cfg.Etcd, "etcd", nil, "keep the records in an etcd of your own at `URL`, https only; may be given several times")
	f.StringVar(&cfg.EtcdCA, "etcd-ca", "", "believe that etcd by the authority in `FILE`")
	f.StringVar(&cfg.EtcdCert, "etcd-cert", "", "show that etcd the certificate in `FILE`")
	f.StringVar(&cfg.EtcdKey, "etcd-key", "", "whose key is in `FILE`")
	f.BoolVar(&cfg.ForceNewCluster, "force-new-cluster", false, "for one start: the other nodes that kept the records are lost for good, go on with what this one has, or knows; the latter is shown as a plan first")
}
