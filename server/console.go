package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/ledger"
)

const (
	inboxPage  = 50
	inboxBatch = 500 // requests that are looked at in one go
	logPage    = 100
	maxScan    = 20_000 // entries that one search reads
	scanChunk  = 1_000
	maxQuery   = 200
	maxEntryIx = remit.EntryIndex(1) << 62
)

// before reads the cursor of a list that goes from the newest to the oldest.
func (c *call) before() (remit.EntryIndex, error) {
	text := c.r.URL.Query().Get("before")
	if text == "" {
		return maxEntryIx, nil
	}
	n, err := strconv.ParseUint(text, 10, 62)
	if err != nil {
		return 0, remit.Errorf(remit.BadRequest, "before is the index of an entry, not %.32q", text)
	}
	return remit.EntryIndex(n), nil
}

// listed is an access request in a list, as it stood.
type listed struct {
	remit.InboxRow
	intent   remit.Digest
	decision remit.EntryIndex
	by, who  remit.ID
}

// inbox is a page of the access requests. It derives nothing: a list is for choosing, the card for deciding.
func inbox(s *Server, c *call) (out remit.Inbox, err error) {
	before, err := c.before()
	if err != nil {
		return out, err
	}
	which := c.r.URL.Query().Get("show")
	if which != "" && which != "mine" && which != "settled" {
		return out, remit.Errorf(remit.BadRequest, "show is mine or settled, not %.32q", which)
	}
	type place struct {
		id    remit.ID
		entry remit.EntryIndex
	}
	var list []place
	s.view(func(st *authority.State) {
		out.Size = st.Next
		if n, ends := st.ReviewsFor(c.person, s.now().UnixNano()); n > 0 {
			out.Reviews = &remit.ReviewsWaiting{Items: n, Ends: time.Unix(0, ends).UTC()}
		}
		take := func(a *authority.Access, want bool) {
			if want && a.Entry < before {
				list = append(list, place{a.ID, a.Entry})
			}
		}
		for id := range st.OpenHolds {
			if a := st.Accesses[id]; pending(a.Status) {
				out.Waiting++
				take(a, which != "settled")
			}
		}
		if which == "settled" {
			for _, a := range st.Accesses {
				take(a, !pending(a.Status))
			}
		}
	})
	slices.SortFunc(list, func(a, b place) int { return cmp.Compare(b.entry, a.entry) })
	var rows []listed
	now := s.now().UnixNano()
	for at := 0; at < len(list) && out.Before == 0; at += inboxBatch { // the writer does not wait for all of them
		s.view(func(st *authority.State) {
			for _, p := range list[at:min(at+inboxBatch, len(list))] {
				a, why := st.Accesses[p.id], ""
				if a.Status == remit.AccessOpen {
					why = st.MayVote(a.ID, c.person, now)
				}
				if which == "mine" && (a.Status != remit.AccessOpen || why != "") {
					continue
				}
				if len(rows) == inboxPage {
					out.Before = rows[len(rows)-1].Entry
					return
				}
				rows = append(rows, rowOf(st, a, why))
			}
		})
	}
	d := s.people(c.r.Context())
	out.Rows = []remit.InboxRow{}
	for _, r := range rows {
		if err := s.fillRow(c.r.Context(), &r, d); err != nil {
			return out, err
		}
		out.Rows = append(out.Rows, r.InboxRow)
	}
	return out, nil
}

func rowOf(st *authority.State, a *authority.Access, why string) listed {
	r := listed{InboxRow: remit.InboxRow{ID: a.ID, Status: a.Status, Why: a.Why, Outcome: a.Outcome, Zone: a.Zone, Steps: []remit.Step{}, Refs: slices.Clone(a.Refs),
		Task: a.Task, Agent: a.Agent, Needs: append([]remit.Need{}, a.Needs...), YouMay: a.Status == remit.AccessOpen && why == "", WhyNot: why,
		Opened: time.Unix(0, a.At).UTC(), NotAfter: time.Unix(0, a.NotAfter).UTC(), Entry: a.Entry}, decision: a.Decision, by: a.By}
	for _, v := range a.Votes {
		if v.Approve {
			r.Approvals++
		}
	}
	for _, f := range a.Steps {
		r.Steps = append(r.Steps, f.Step)
	}
	if t := st.Tasks[a.Task]; t != nil {
		r.intent, r.who = t.Intent, t.Requester
	}
	return r
}

// fillRow adds names, words and, where the state has let go of them, the steps.
func (s *Server) fillRow(ctx context.Context, r *listed, d follow.Directory) error {
	r.WhyNot = named(d, r.WhyNot)
	r.Intent = s.text(ctx, r.intent)
	if r.who != "" {
		r.Requester = d.Name(r.who)
	}
	if r.by != "" {
		r.By = d.Name(r.by)
	}
	if len(r.Steps) > 0 {
		return nil
	}
	l, err := s.leaf(ctx, r.decision)
	if err != nil {
		return err
	}
	if e, ok := l.Event.(*remit.Decided); ok {
		for _, f := range e.Steps {
			r.Steps = append(r.Steps, f.Step)
		}
	}
	if len(r.Steps) == 0 { // a person asked for it
		r.Steps = append(r.Steps, remit.Step{Action: "control", Resource: "control:remit"})
	}
	return nil
}

// searchLog finds entries that say something, from the newest on: a kind, an id, a name. A person's name finds the
// entries that name their id.
func searchLog(s *Server, c *call) (out remit.LogPage, err error) {
	before, err := c.before()
	if err != nil {
		return out, err
	}
	ctx, q := c.r.Context(), c.r.URL.Query().Get("q")
	if len(q) > maxQuery {
		return out, remit.Errorf(remit.BadRequest, "q has at most %d bytes", maxQuery)
	}
	words := bytes.Fields([]byte(strings.ToLower(q)))
	d := s.people(ctx)
	for i, w := range words {
		if id, ok := d.ID(string(w)); ok {
			words[i] = []byte(id)
		}
	}
	s.view(func(st *authority.State) { out.Size = st.Next })
	out.Entries = []remit.LogEntry{}
	low := min(before, out.Size)
	for scanned := 0; low > 0 && scanned < maxScan && len(out.Entries) < logPage; {
		high := low
		low = max(high, scanChunk) - scanChunk
		found, err := s.matching(ctx, low, high, words)
		if err != nil {
			return out, err
		}
		scanned += int(high - low)
		slices.Reverse(found)
		if over := len(out.Entries) + len(found) - logPage; over > 0 {
			found = found[:len(found)-over]
			low = found[len(found)-1].Entry
		}
		out.Entries = append(out.Entries, found...)
	}
	out.Before = low
	return out, nil
}

// matching gives the entries in [low, high) whose view has every word.
func (s *Server) matching(ctx context.Context, low, high remit.EntryIndex, words [][]byte) ([]remit.LogEntry, error) {
	var out []remit.LogEntry
	for e, err := range s.cfg.Engine.Read(ctx, low) {
		if err != nil {
			return nil, err
		}
		if e.Index >= high {
			break
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			return nil, err
		}
		view, err := ledger.View(l)
		if err != nil {
			return nil, err
		}
		folded := bytes.ToLower(view)
		if slices.ContainsFunc(words, func(w []byte) bool { return !bytes.Contains(folded, w) }) {
			continue
		}
		out = append(out, remit.LogEntry{Entry: e.Index, Leaf: json.RawMessage(view), Hash: tlog.RecordHash(e.Leaf).String()})
	}
	return out, nil
}

// maxUse is how many entries, the newest, are read for what an agent did.
const maxUse = 200_000

// agentUse counts what an agent did under each of its entitlements: what nobody used can go.
func agentUse(s *Server, c *call) (out remit.AgentUse, err error) {
	ctx, name := c.r.Context(), c.r.PathValue("name")
	found := false
	s.view(func(st *authority.State) {
		a := st.Agents[name]
		if a == nil {
			return
		}
		found, out.Size, out.From = true, st.Next, max(st.Next, maxUse)-maxUse
		for _, sc := range scopes(a.Entitlements) {
			out.Entitlements = append(out.Entitlements, remit.ScopeUse{Scope: sc})
		}
	})
	if !found {
		return out, remit.Errorf(remit.NotFound, "there is no agent %.64q", name)
	}
	done, err := s.work(ctx)
	if err != nil {
		return out, err
	}
	defer done()
	used := make([]map[remit.Action]bool, len(out.Entitlements))
	err = s.leaseEntries(ctx, out.From, func(i remit.EntryIndex, l ledger.Leaf) bool {
		e, ok := l.Event.(*remit.Decided)
		if !ok || e.Agent != name || e.Advice {
			return i+1 < out.Size
		}
		if e.Verdict == remit.Deny {
			out.Denied++
			return i+1 < out.Size
		}
		for _, f := range e.Steps {
			n := slices.IndexFunc(out.Entitlements, func(u remit.ScopeUse) bool { return inScope(u.Scope, f, e.Task) })
			if n < 0 {
				continue
			}
			u, at := &out.Entitlements[n], l.At.UTC()
			if u.Last, u.At = i, &at; e.Verdict == remit.Allow {
				u.Allowed++
			} else {
				u.Held++
			}
			if used[n] == nil {
				used[n] = map[remit.Action]bool{}
			}
			used[n][f.Step.Action] = true
		}
		return i+1 < out.Size
	})
	for n := range out.Entitlements {
		for _, a := range out.Entitlements[n].Scope.Actions {
			if !used[n][a] {
				out.Entitlements[n].Unused = append(out.Entitlements[n].Unused, a)
			}
		}
	}
	return out, err
}

// inScope tells whether a step lies in an entitlement, as far as the log says.
func inScope(sc remit.Scope, f remit.StepFacts, task remit.ID) bool {
	return !f.Step.Effect && slices.Contains(sc.Actions, f.Step.Action) &&
		slices.ContainsFunc(sc.Resources, func(p remit.Pattern) bool { return p.Match(f.Step.Resource) }) &&
		(f.Ref == "" || len(sc.Refs) == 0 || slices.ContainsFunc(sc.Refs, func(p remit.Pattern) bool {
			return remit.Pattern(strings.ReplaceAll(string(p), "{task}", string(task))).Match(remit.Resource(f.Ref))
		}))
}
