// Package detect finds, in the log alone, what no single decision shows: an agent that keeps being refused, feels its
// way along its limits, works from two places or at hours when its people never do, a ref that moved outside Remit, a
// broad grant that nobody uses. A detection is a fold over committed entries: the same log gives the same findings,
// before and after a restart. What follows on a finding (an agent suspended, or only a line in the log) is declared, and
// decided elsewhere.
package detect

import (
	"cmp"
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// Entry is an entry of the log, as a detection reads it.
type Entry struct {
	Index remit.EntryIndex
	At    time.Time
	Event remit.Event
}

// Finding is what a detection saw. Members that do not apply are empty: nobody that Remit knows moved a ref outside it.
type Finding struct {
	Detection string
	Agent     string
	Task      remit.ID
	Instance  remit.ID
	Entries   []remit.EntryIndex // in which it shows, ascending, at most MaxEntries: the first ones and the last
	Count     int                // how often it shows; at least as often as in those entries
}

// Last is the entry that completed the finding: every fold of the same log finds it there again.
func (f Finding) Last() remit.EntryIndex { return f.Entries[len(f.Entries)-1] }

// MaxEntries is how many entries a finding names.
const MaxEntries = 16

// Detections folds entries through every shipped detection. Make one with New.
type Detections struct {
	all []interface{ fold(Entry) []Finding }
}

// New is all detections before the first entry.
func New() *Detections {
	return &Detections{[]interface{ fold(Entry) []Finding }{newDenialBurst(), newProbing(), newInstanceTwice(), newOutsideHours(), newRefMoved(), newUnusedGrant()}}
}

// Fold takes the next entry and gives what it completes.
func (d *Detections) Fold(e Entry) (found []Finding) {
	for _, one := range d.all {
		found = append(found, one.fold(e)...)
	}
	return found
}

// found makes a finding of entries.
func found(detection string, d *remit.Decided, entries []remit.EntryIndex, count int) Finding {
	f := Finding{Detection: detection, Entries: some(entries), Count: count}
	if d != nil {
		f.Agent, f.Task, f.Instance = d.Agent, d.Task, d.Instance
	}
	return f
}

// ordered is entries ascending, each once.
func ordered(entries []remit.EntryIndex) []remit.EntryIndex {
	return slices.Compact(slices.Sorted(slices.Values(entries)))
}

// some is entries without those in the middle that are too many.
func some(entries []remit.EntryIndex) []remit.EntryIndex {
	entries = ordered(entries)
	if n := len(entries); n > MaxEntries {
		entries = append(entries[:MaxEntries-1:MaxEntries-1], entries[n-1])
	}
	return entries
}

// sight is one thing that was seen.
type sight struct {
	at    time.Time
	entry remit.EntryIndex
	n     int
	what  string
}

// recent are sights within a time, oldest first.
type recent []sight

// add puts s to them and lets go of those that are older than within, and of the oldest beyond maxSights.
func (r recent) add(s sight, within time.Duration) recent {
	r = append(r, s)
	old := 0
	for old < len(r) && (s.at.Sub(r[old].at) > within || len(r)-old > maxSights) {
		old++
	}
	return slices.Delete(r, 0, old)
}

func (r recent) entries() []remit.EntryIndex {
	out := make([]remit.EntryIndex, len(r))
	for i, s := range r {
		out[i] = s.entry
	}
	return out
}

func (r recent) count() (n int) {
	for _, s := range r {
		n += s.n
	}
	return n
}

// maxSights bounds what is kept of one task: far more than any detection needs.
const maxSights = 256

// who is by whom things are counted: the task, and for what has none the agent.
func who(d *remit.Decided) string { return cmp.Or(string(d.Task), d.Agent) }
