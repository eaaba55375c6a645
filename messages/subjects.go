package messages

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// The streams. messages/bus creates and checks them.
const (
	StreamEvents  = "OFFHOOK_EVENTS"  // webhook events and told reports; limits, discard new
	StreamLate    = "OFFHOOK_LATE"    // events that could not be stepped when they came; work queue, discard new
	StreamJobs    = "OFFHOOK_JOBS"    // dial jobs; work queue, discard new, no roll-up
	StreamRecords = "OFFHOOK_RECORDS" // call records; limits, discard new
	StreamFailed  = "OFFHOOK_FAILED"  // what could not be processed; no age limit
)

// The durable consumers.
const (
	ConsumerEvents = "worker" // on StreamEvents, shared by all workers
	// ConsumerLate and a number from 0 to LateLanes-1: on StreamLate, each pinned to
	// one worker at a time.
	ConsumerLate   = "late-"
	ConsumerDirect = "direct" // on StreamJobs, calls placed one by one
)

// Subject patterns of the streams.
const (
	SubjectsEvents  = "offhook.events.*"
	SubjectsLate    = "offhook.late.*"
	SubjectsJobs    = "offhook.dial.>"
	SubjectsRecords = "offhook.records.*"
	SubjectsFailed  = "offhook.failed.*"
)

// SubjectSpooling is where an ingress says, by core NATS, that it has events of an
// outage that are not in the stream yet; the body names the process.
const SubjectSpooling = "offhook.spooling"

// CampaignDirect is the campaign token of calls that belong to no campaign.
const CampaignDirect = "direct"

// ZoneAny is the zone-set token of jobs without a calling window.
const ZoneAny = "any"

// Partitions is how many partition tokens the calls are spread over. One stream
// holds them all today; a stream each is possible without touching publishers or
// consumers. Changing it reorders live calls: it is part of the wire format.
const Partitions = 64

// LateLanes is how many consumers share the partitions of the late lane: as many
// workers can drain it at once. Partition p belongs to lane p modulo LateLanes.
const LateLanes = 8

// Partition is the partition of a call, dial or record id: FNV-1a modulo
// Partitions, as two digits.
func Partition(id string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash never fails to write
	return fmt.Sprintf("%02d", h.Sum32()%Partitions)
}

// EventSubject is where the events of one call are published.
func EventSubject(callID string) string { return "offhook.events." + Partition(callID) }

// LateSubject is where the events of one call wait that could not be stepped when
// they came. Its last token is the call's partition.
func LateSubject(callID string) string { return "offhook.late." + Partition(callID) }

// RecordSubject is where the records of one call are published.
func RecordSubject(callID string) string { return "offhook.records." + Partition(callID) }

// JobSubject is where dial jobs of one campaign and zone set are queued. Both
// must be subject tokens: see ValidToken.
func JobSubject(campaign, zones string) string { return "offhook.dial." + campaign + "." + zones }

// FailedSubject is where failures of one kind are kept.
func FailedSubject(kind FailureKind) string { return "offhook.failed." + string(kind) }

// ValidToken reports whether s may stand as one token of a subject: not empty, at
// most 100 bytes, and letters, digits, '-' and '_' only.
func ValidToken(s string) bool {
	return s != "" && len(s) <= 100 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}
