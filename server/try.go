package server

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/follow"
)

const (
	trySamples = 200
	tryMost    = 5000 // differences in an answer
)

// tryPolicy judges past requests again under a bundle, or under declarations, that are not in force, and writes down the
// result if it is asked to.
func tryPolicy(s *Server, c *call, in remit.TryRequest) (out remit.TryAnswer, err error) {
	ctx := c.r.Context()
	if in.Samples < 0 || in.Samples > tryMost {
		return out, remit.Errorf(remit.BadRequest, "samples is 1 to %d, or left out for %d", tryMost, trySamples)
	}
	trial, set, names, err := s.trial(ctx, in)
	if err != nil {
		return out, err
	}
	done, err := s.work(ctx)
	if err != nil {
		return out, err
	}
	defer done()
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{}) // as long as it takes, and as the caller waits
	if out, err = s.cfg.Engine.Try(ctx, trial); err != nil {
		return out, err
	}
	out.Set = set
	if in.Record {
		if out.Recorded, err = s.recordTrial(c, out); err != nil {
			return out, err
		}
	}
	for i := range out.Differences {
		out.Differences[i].Sentence = named(names, out.Differences[i].Sentence)
	}
	out.Differences = append([]remit.TryDifference{}, out.Differences...)
	return out, nil
}

// trial is what a request wants tried, with the digest of the declarations in it.
func (s *Server) trial(ctx context.Context, in remit.TryRequest) (t engine.Trial, digest remit.Digest, names follow.Directory, err error) {
	t.Since, t.Samples, names = in.Since, in.Samples, s.people(ctx)
	files := in.Files
	switch {
	case in.Access != "" && (in.Declarations != nil || len(files) > 0):
		return t, digest, names, remit.Errorf(remit.BadRequest, "try a change that waits, or one that you send: access stands alone")
	case in.Access != "":
		if t.Set, err = s.pendingSet(ctx, in.Access); err != nil {
			return t, digest, names, err
		}
		if !t.Set.Policy.IsZero() {
			if files, err = s.cfg.Bundles.Files(ctx, t.Set.Policy); err != nil {
				return t, digest, names, err
			}
		}
	case in.Declarations != nil:
		declared := *in.Declarations
		if len(files) > 0 {
			declared.Policy = files
		}
		d, err := s.declare(ctx, declared, true)
		if err != nil {
			return t, digest, names, err
		}
		t.Set, names, files = &d.set, d.names, declared.Policy
	case len(files) == 0:
		return t, digest, names, remit.Errorf(remit.BadRequest, "there is nothing to try: give the files of a bundle, declarations, or the access request of a change that waits")
	}
	if len(files) > 0 {
		if t.Policy, err = s.cfg.Bundles.Compile(ctx, files); err != nil {
			return t, digest, names, err
		}
	}
	if t.Set == nil {
		return t, digest, names, nil
	}
	s.view(func(st *authority.State) {
		digest = authority.TrialDigest(st, t.Set)
		_, err = authority.Diff(st, t.Set)
	})
	return t, digest, names, err
}

// pendingSet is the set of a change of declarations that waits for a vote.
func (s *Server) pendingSet(ctx context.Context, id remit.ID) (*authority.Set, error) {
	var entry remit.EntryIndex
	found := false
	s.view(func(st *authority.State) {
		if a := st.Accesses[id]; a != nil && a.Task == "" && st.OpenHolds[id] {
			entry, found = a.Entry, true
		}
	})
	if !found {
		return nil, remit.Errorf(remit.NotFound, "access request %.32s is no change of declarations that waits", id)
	}
	_, cmd, err := s.cfg.Engine.Entry(ctx, entry)
	if err != nil {
		return nil, err
	}
	apply, ok := cmd.(*authority.ApplySet)
	if !ok {
		return nil, remit.Errorf(remit.BadRequest, "access request %.32s is another control step than a change of declarations", id)
	}
	return &apply.Set, nil
}

// maxTrialReport is the part of a payload that the sample of differences may take.
const maxTrialReport = remit.MaxPayload - 1024

// recordTrial writes what a trial counted to the log. The answer is a payload beside it, with as many of the differences
// and shares as fit.
func (s *Server) recordTrial(c *call, a remit.TryAnswer) (remit.EntryIndex, error) {
	t := remit.PolicyTried{By: c.person, Bundle: a.Digest, Set: a.Set, Since: max(a.Since.UnixNano(), 0), Until: a.Until.UnixNano(), Size: a.Size,
		Judged: a.Judged, Unjudged: a.Unjudged, Asked: a.Asked, WouldAsk: a.WouldAsk}
	if a.Since.Before(time.Unix(0, 0)) {
		t.Since = 0
	}
	for _, ch := range a.Changes {
		switch ch.Would {
		case remit.Deny:
			t.Denied += ch.Requests
		case remit.Hold:
			t.Held += ch.Requests
		case remit.Allow:
			t.Allowed += ch.Requests
		}
	}
	a.Differences = slices.Clone(a.Differences)
	for i := range a.Differences {
		a.Differences[i].Sentence = "" // it may quote what somebody wrote; the entry that it is about can be explained
	}
	body, err := json.Marshal(a)
	for err == nil && len(body) > maxTrialReport {
		switch {
		case len(a.Differences) > 0:
			a.Differences = a.Differences[:len(a.Differences)/2]
		case len(a.By) > 0:
			a.By = a.By[:len(a.By)/2]
		default:
			a.Questions = a.Questions[:len(a.Questions)/2]
		}
		body, err = json.Marshal(a)
	}
	if err != nil {
		return 0, err
	}
	report, err := s.cfg.Engine.NewPayload(body)
	if err != nil {
		return 0, err
	}
	t.Report = report.Commitment()
	res, err := s.cfg.Engine.Do(c.r.Context(), &authority.RecordTrial{PolicyTried: t}, report)
	return res.Decision.Entry, err
}

// trials are the results that were written down, newest first.
func trials(s *Server, c *call) ([]remit.TrialView, error) {
	out := []remit.TrialView{}
	d := s.people(c.r.Context())
	s.view(func(st *authority.State) {
		for _, t := range st.Tried {
			out = append(out, trialView(d, t))
		}
	})
	slices.SortFunc(out, func(a, b remit.TrialView) int { return cmp.Compare(b.Entry, a.Entry) })
	return out, nil
}

// trialReport is what a trial showed, as it was written down.
func trialReport(s *Server, c *call) (out remit.TryAnswer, err error) {
	n, err := strconv.ParseUint(c.r.PathValue("entry"), 10, 63)
	if err != nil {
		return out, remit.Errorf(remit.BadRequest, "%.20q is no entry", c.r.PathValue("entry"))
	}
	i := remit.EntryIndex(n)
	l, err := s.leaf(c.r.Context(), i)
	if err != nil {
		return out, err
	}
	t, ok := l.Event.(*remit.PolicyTried)
	if !ok {
		return out, remit.Errorf(remit.NotFound, "entry %d is %s, not a trial", i, l.Event.Kind())
	}
	body, ok := s.cfg.Engine.Text(c.r.Context(), t.Report)
	if !ok {
		return out, remit.Errorf(remit.NotFound, "what the trial in entry %d showed was erased; the entry has its numbers", i)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, remit.Errorf(remit.Internal, "what the trial in entry %d showed cannot be read: %w", i, err)
	}
	out.Recorded = i
	return out, nil
}

func trialView(d follow.Directory, t authority.Tried) remit.TrialView {
	return remit.TrialView{Entry: t.Entry, At: time.Unix(0, t.At).UTC(), By: d.Name(t.By), Digest: t.Bundle, Set: t.Set,
		Since: time.Unix(0, t.Since).UTC(), Judged: t.Judged, Unjudged: t.Unjudged, Denied: t.Denied, Held: t.Held, Allowed: t.Allowed, Asked: t.Asked, WouldAsk: t.WouldAsk}
}

// newestTrial is the newest trial of exactly a set, or of its bundle alone.
func (s *Server) newestTrial(d follow.Directory, set *authority.Set) (out *remit.TrialView) {
	s.view(func(st *authority.State) {
		for _, digest := range []remit.Digest{authority.TrialDigest(st, set), set.Policy} {
			if t, ok := st.Tried[digest]; ok && (out == nil || t.Entry > out.Entry) {
				v := trialView(d, t)
				out = &v
			}
		}
	})
	return out
}
