package authority

import (
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

// Limits of going on from a backup.
const (
	// RestoreWithin is how old the statement of a restore may be, and how far ahead its clock.
	RestoreWithin = 24 * time.Hour
	// LostMargin is how many entries may have been written that no checkpoint covers.
	LostMargin = 4096
	lostAtOnce = 16 << 10 // entries of one command
)

// decideRestore lets a log go on from a backup of itself. Two administrators sign for it, or the one that there is.
// Nobody can tell what was granted, approved and ended since, so everything that the backup says is alive ends.
func decideRestore(s *State, now int64, c *Restore) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	st, err := remit.ParseRestoreStatement(c.Statement)
	if err != nil {
		return nil, Result{}, err
	}
	switch {
	case st.Origin != s.Origin:
		return fail(remit.BadRequest, "the statement is for log %s, not %s", st.Origin, s.Origin)
	case st.Size != uint64(s.Next):
		return fail(remit.Stale, "the statement is for a backup of %d entries, and this one has %d", st.Size, s.Next)
	case st.Lost < st.Size:
		return fail(remit.BadRequest, "a backup of %d entries lost nothing of %d", st.Size, st.Lost)
	case time.Unix(0, now).Sub(st.At).Abs() > RestoreWithin:
		return fail(remit.Expired, "the statement is of %s; it is good for a day", st.At.UTC().Format(time.RFC3339))
	}
	var by []remit.ID
	for _, sig := range c.Signatures {
		who := s.signedRestore(c.Statement, sig, now)
		if who == "" {
			return fail(remit.NotEligible, "a signature over the statement is not by a key of a living administrator that counts, in namespace %s", remit.RestoreNamespace)
		}
		by = add(by, who)
	}
	admins := 0
	for _, p := range sorted(s.People) {
		if s.IsAdmin(p) {
			admins++
		}
	}
	if want := min(admins, 2); len(by) < want || want == 0 {
		return fail(remit.NotEligible, "%d administrators signed, and it needs %d", len(by), want)
	}
	end := s.ending("")
	end.events = []remit.Event{&remit.LogForked{By: by, Size: st.Size, Lost: st.Lost, LostRoot: st.LostRoot, Statement: remit.Hash(c.Statement),
		Exposed: now + int64(TaskLongest) + int64(LeaseSkew)}}
	end.all()
	for _, id := range sorted(s.Leases) {
		if l := s.Leases[id]; l.Status != remit.LeaseRevoking {
			end.events = append(end.events, &remit.LeaseMoved{Lease: id, To: remit.LeaseRevoking, Tries: l.Tries})
		}
	}
	return end.events, Result{Decision: remit.Decision{Entry: s.Next, Verdict: remit.Allow}}, nil
}

// signedRestore is the administrator whose key signed; empty: none. A key counts once it was confirmed, or when its time
// has come.
func (s *State) signedRestore(statement, signature []byte, now int64) remit.ID {
	for _, id := range sorted(s.People) {
		if !s.IsAdmin(id) {
			continue
		}
		for _, k := range s.People[id].Keys {
			if !k.Confirmed && (k.Usable == 0 || now < k.Usable) {
				continue
			}
			pub, err := sshsig.ParseKey(k.Public)
			if err != nil {
				continue
			}
			if _, err := sshsig.Verify(pub, remit.RestoreNamespace, statement, signature); err == nil {
				return id
			}
		}
	}
	return ""
}

// lostTo is the first entry after a fork that was certainly not written before it.
func (s *State) lostTo() remit.EntryIndex {
	if s.Fork.Entry == 0 {
		return 0
	}
	return remit.EntryIndex(s.Fork.Lost + LostMargin)
}

// decideFillLost writes some of the entries that stand for those that were lost; none when all are there.
func decideFillLost(s *State) []remit.Event {
	var events []remit.Event
	for i := s.Next; i < s.lostTo() && len(events) < lostAtOnce; i++ {
		events = append(events, &remit.EntryLost{})
	}
	return events
}
