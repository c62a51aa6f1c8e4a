package main

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// The types below are what --json prints. Their field names are those of the
// API and stay; numbers are numbers, times are RFC 3339.

type listJSON struct {
	Volumes []volumeJSON `json:"volumes"`
}

type volumeJSON struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	SizeBytes  uint64            `json:"size_bytes"`
	UsedBytes  uint64            `json:"used_bytes"`
	FS         string            `json:"fs"`
	Class      string            `json:"class"`
	Labels     map[string]string `json:"labels"`
	UID        uint32            `json:"uid"`
	GID        uint32            `json:"gid"`
	Mode       string            `json:"mode"` // octal, as the option
	CreatedAt  *time.Time        `json:"created_at"`
	RemovedAt  *time.Time        `json:"removed_at,omitempty"`
	State      string            `json:"state"`
	Epoch      uint64            `json:"epoch"`
	Primary    string            `json:"primary"`
	Copies     []copyJSON        `json:"copies"`     // on every node that has one or is to have one
	Replicas   uint32            `json:"replicas"`   // how many in-sync copies there shall be
	MinCopies  uint32            `json:"min_copies"` // in-sync copies below which writes wait
	Forced     []forcedJSON      `json:"forced"`     // failovers that an operator forced, oldest first
	Mountpoint string            `json:"mountpoint"`
	Holders    []string          `json:"holders"`
	Origin     string            `json:"origin,omitempty"`
	Archive    *archivedJSON     `json:"archive,omitempty"`
	Hydration  *hydrationJSON    `json:"hydration,omitempty"` // absent when everything is here
	Engine     *engineJSON       `json:"engine,omitempty"`
	Conditions []conditionJSON   `json:"conditions"`
}

type engineJSON struct {
	PID              int32  `json:"pid"`
	Device           string `json:"device"`
	LastLSN          uint64 `json:"last_lsn"`
	DurableLSN       uint64 `json:"durable_lsn"`
	CommittedLSN     uint64 `json:"committed_lsn"`
	AppliedLSN       uint64 `json:"applied_lsn"`
	LogBytes         uint64 `json:"log_bytes"`
	LogCapacityBytes uint64 `json:"log_capacity_bytes"`
	ImageBytes       uint64 `json:"image_bytes"`
	Reads            uint64 `json:"reads"`
	Writes           uint64 `json:"writes"`
	Flushes          uint64 `json:"flushes"`
	ReadBytes        uint64 `json:"read_bytes"`
	WrittenBytes     uint64 `json:"written_bytes"`
	Error            string `json:"error"`
}

type conditionJSON struct {
	Code  string     `json:"code"`
	Title string     `json:"title"`
	Since *time.Time `json:"since"`
	Hint  string     `json:"hint"`
}

func volumesJSON(volumes []*ballastv1.Volume) []volumeJSON {
	all := make([]volumeJSON, 0, len(volumes))
	for _, v := range volumes {
		all = append(all, toVolumeJSON(v))
	}
	return all
}

func toVolumeJSON(v *ballastv1.Volume) volumeJSON {
	labels := v.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	return volumeJSON{
		Name: v.GetName(), ID: v.GetId(), SizeBytes: v.GetSizeBytes(), UsedBytes: v.GetUsedBytes(),
		FS: v.GetFs(), Class: v.GetClass(), Labels: labels,
		UID: v.GetUid(), GID: v.GetGid(), Mode: fmt.Sprintf("%04o", v.GetMode()),
		CreatedAt: toTime(v.GetCreatedAt()), RemovedAt: toTime(v.GetRemovedAt()),
		State: v.GetState(), Epoch: v.GetEpoch(), Primary: v.GetPrimary(), Mountpoint: v.GetMountpoint(),
		Copies: toCopiesJSON(v.GetCopies()), Replicas: v.GetReplicas(), MinCopies: v.GetMinCopies(), Forced: toForcedJSON(v.GetForced()),
		Holders: append([]string{}, v.GetHolders()...),
		Origin:  v.GetOrigin(), Archive: toArchivedJSON(v.GetArchive()), Hydration: toHydrationJSON(v.GetHydration()),
		Engine: toEngineJSON(v.GetEngine()), Conditions: conditionsJSON(v.GetConditions()),
	}
}

func toEngineJSON(e *ballastv1.EngineStatus) *engineJSON {
	if e == nil {
		return nil
	}
	return &engineJSON{
		PID: e.GetPid(), Device: e.GetDevice(),
		LastLSN: e.GetLastLsn(), DurableLSN: e.GetDurableLsn(), CommittedLSN: e.GetCommittedLsn(), AppliedLSN: e.GetAppliedLsn(),
		LogBytes: e.GetLogBytes(), LogCapacityBytes: e.GetLogCapacityBytes(), ImageBytes: e.GetImageBytes(),
		Reads: e.GetReads(), Writes: e.GetWrites(), Flushes: e.GetFlushes(),
		ReadBytes: e.GetReadBytes(), WrittenBytes: e.GetWrittenBytes(), Error: e.GetError(),
	}
}

func conditionsJSON(conditions []*ballastv1.Condition) []conditionJSON {
	all := make([]conditionJSON, 0, len(conditions))
	for _, c := range conditions {
		all = append(all, conditionJSON{c.GetCode(), c.GetTitle(), toTime(c.GetSince()), c.GetHint()})
	}
	return all
}

func toTime(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime()
	return &at
}
