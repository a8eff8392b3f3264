package server

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

const maxFindings = 500

// Format writes an entry for others to collect, as one line without its end. view is the leaf's JSON view.
type Format func(i remit.EntryIndex, at time.Time, e remit.Event, view []byte) ([]byte, error)

// listFindings reads the newest findings out of the log, newest first.
func listFindings(s *Server, c *call) ([]remit.FindingView, error) {
	done, err := s.work(c.r.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	out := []remit.FindingView{}
	err = s.leaseEntries(c.r.Context(), 0, func(i remit.EntryIndex, l ledger.Leaf) bool {
		e, ok := l.Event.(*remit.Found)
		if !ok {
			return true
		}
		if len(out) >= 2*maxFindings {
			out = append(out[:0], out[maxFindings:]...)
		}
		out = append(out, remit.FindingView{Entry: i, At: l.At.UTC(), Detection: e.Detection, Agent: e.Agent, Task: e.Task, Instance: e.Instance,
			Entries: e.Entries, Count: e.Count, Suspended: e.Suspended})
		return true
	})
	slices.Reverse(out)
	return out[:min(len(out), maxFindings)], err
}
