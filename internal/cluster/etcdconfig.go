package cluster

import (
	"fmt"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/features"
	"go.uber.org/zap"
)

// memberConfig is tuned for a few thousand small records: little memory, short
// history, quick start.
func memberConfig(spec memberSpec, log *zap.Logger) (config.ServerConfig, error) {
	cfg := config.ServerConfig{
		Name:                        memberName,
		InitialClusterToken:         memberName,
		NewCluster:                  true,
		ForceNewCluster:             spec.force,
		DataDir:                     spec.dir,
		SnapshotCount:               5000,
		SnapshotCatchUpEntries:      500,
		MaxSnapFiles:                2,
		MaxWALFiles:                 2,
		TickMs:                      50,
		ElectionTicks:               10,
		InitialElectionTickAdvance:  true,
		PreVote:                     true,
		AutoCompactionMode:          "revision",
		AutoCompactionRetention:     1000,
		CompactionBatchLimit:        1000,
		QuotaBackendBytes:           512 << 20,
		MaxTxnOps:                   64,
		MaxRequestBytes:             2 * maxRecord,
		MaxLearners:                 MostMembers,
		StrictReconfigCheck:         true,
		AuthToken:                   "simple",
		BcryptCost:                  10,
		WatchProgressNotifyInterval: 10 * time.Minute,
		DowngradeCheckTime:          time.Minute,
		WarningApplyDuration:        time.Second,
		WarningUnaryRequestDuration: 3 * time.Second,
		V2Deprecation:               config.V2DeprDefault,
		ServerFeatureGate:           features.NewDefaultServerFeatureGate(memberName, log),
		Logger:                      log,
	}
	url := memberURL
	if spec.peering != nil {
		url = spec.peering.url()
		cfg.Name = string(spec.node)
		cfg.PeerTLSInfo = spec.peering.tls()
		// A disk that several share makes a member late by more than half a second now
		// and then, and an election that nobody needed costs more than a later one.
		cfg.TickMs = 100
	}
	urls, err := types.NewURLs([]string{url})
	if err != nil {
		return cfg, fmt.Errorf("address %s: %w", url, err)
	}
	cfg.ClientURLs, cfg.PeerURLs = urls, urls
	cfg.InitialPeerURLsMap = types.URLsMap{cfg.Name: urls}
	if spec.join != nil {
		cfg.NewCluster = false
		cfg.InitialPeerURLsMap, err = peerURLs(spec.join, cfg.Name)
	}
	return cfg, err
}

// peerURLs names every member's URL, as who joins wants it. own is the name of this one,
// whom the others do not know by name yet.
func peerURLs(members []Member, own string) (types.URLsMap, error) {
	all := types.URLsMap{}
	for _, m := range members {
		urls, err := types.NewURLs([]string{m.URL})
		if err != nil {
			return nil, fmt.Errorf("member %x is reached at %s: %w", m.ID, m.URL, err)
		}
		name := string(m.Node)
		if name == "" {
			name = fmt.Sprintf("%x", m.ID)
		}
		all[name] = urls
	}
	if all[own] == nil {
		return nil, fmt.Errorf("this node is not among the %d members", len(members))
	}
	return all, nil
}
