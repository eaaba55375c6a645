package store

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
)

// keys builds every key this package writes:
//
//	pattern                        type   TTL                               written by
//	<prefix>:call:{<call>}         list   CallRetention after a commit      CommitCall
//	<prefix>:intent:{<pp>}:<id>    hash   CallRetention after NotAfter or   CreateIntent, BeginTry,
//	                                      the last change, the later one    ResolveTry, ClaimIntent
//	<prefix>:due:{<pp>}            zset   no shorter than any intent's      BeginTry adds; ResolveTry,
//	                                      in it                             ClaimIntent, ClearDue remove
//	<prefix>:flow:{flows}:<hash>   string twice CallRetention after a use   PutFlow
//	<prefix>:names:{flows}         hash   twice CallRetention after a use   PutFlow
//	                                      of any flow
//
// What is in braces is the hash tag: keys that change together share one, so that
// they live on one node of a cluster. <pp> is messages.Partition of the intent's
// id. Ids and hashes stand as they are when they are plain, as a digest otherwise:
// see plain.
//
// A call is one list: revision, state, outbox, then its log. Of all layouts of
// Redis this is the smallest for values of some hundred bytes (a hash of such
// values costs a table, an entry and an allocation each), and one key means one
// expiry: no part of a call can outlive another.
type keys struct{ prefix string }

func (k keys) call(id string) string { return k.prefix + ":call:{" + plain(id) + "}" }

func (k keys) intent(id string) string {
	return k.prefix + ":intent:{" + messages.Partition(id) + "}:" + plain(id)
}

// due is the due set of one partition: ids of intents that were begun and not
// settled, by the time in Unix milliseconds at which somebody should look.
func (k keys) due(partition string) string { return k.prefix + ":due:{" + partition + "}" }

func (k keys) flow(hash string) string { return k.prefix + ":flow:{flows}:" + plain(hash) }

func (k keys) flowNames() string { return k.prefix + ":names:{flows}" }

const maxPlain = 64

// plain is id itself if it is 1 to 64 letters, digits, '_' and '-', which all of
// ours and TeleSign's are as far as documented; else '~' and 32 hex digits of its
// SHA-256, so that a stranger's id can neither break a hash tag nor grow a key.
func plain(id string) string {
	if id != "" && len(id) <= maxPlain && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == "" {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "~" + hex.EncodeToString(sum[:16])
}

// flowRetention is how long a flow is kept after its last use. A worker that holds
// a flow in memory uses it without asking Redis, so a flow must outlive the calls
// whose states name it, even if it is only refreshed once per CallRetention.
func (c Config) flowRetention() time.Duration { return 2 * c.CallRetention }
