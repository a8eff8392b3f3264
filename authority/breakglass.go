package authority

import (
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

// GlassSkew is how far the time in the statement that opens break-glass may lie from ours: it is signed for now.
const GlassSkew = 5 * time.Minute

// OpenGlass opens break-glass for a task. Reason is the commitment of the words, Words their SHA-256.
type OpenGlass struct {
	By        remit.ID
	Reason    remit.Digest
	Words     remit.Digest
	Statement []byte
	Signature []byte
}

// ReviewGlass is the review that must follow.
type ReviewGlass struct {
	By        remit.ID
	Statement []byte
	Signature []byte
}

func (*OpenGlass) name() string   { return "break-glass.open" }
func (*ReviewGlass) name() string { return "break-glass.review" }

// Glass is declared break-glass.
type Glass struct {
	remit.BreakGlassDeclared
	Changes []Change
}

// Opened is break-glass that was opened.
type Opened struct {
	remit.BreakGlassOpened
	At       int64
	Entry    remit.EntryIndex
	Scope    []remit.Scope      // as it was declared then
	Group    string             // of whom one reviews
	Under    []remit.EntryIndex // decisions that passed under it
	Reviewed remit.ID
	Right    bool
}

// decideOpenGlass is a declared grant that a person opens by a signed act, for one task and a short while. It does not
// open while a review of an earlier one is overdue, nor where nobody could review it.
func decideOpenGlass(s *State, now int64, c *OpenGlass) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	st, err := remit.ParseOpening(c.Statement)
	if err != nil {
		return nil, Result{}, err
	}
	g, task := s.Glasses[st.Name], s.Tasks[st.Task]
	switch {
	case st.Origin != s.Origin:
		return fail(remit.BadVote, "the statement is for log %s, not %s", st.Origin, s.Origin)
	case st.Reason != c.Words || c.Reason.IsZero():
		return fail(remit.BadVote, "the statement is about other words than the reason that is given")
	case max(now-st.At.UnixNano(), st.At.UnixNano()-now) > int64(GlassSkew):
		return fail(remit.Expired, "the statement was not signed within %s; sign it again", GlassSkew)
	case g == nil:
		return fail(remit.NotFound, "no break-glass %q is declared", st.Name)
	case task == nil || !s.TaskLive(st.Task, now):
		return fail(remit.NotLive, "task %s does not exist, or has ended", st.Task)
	case !s.personLive(c.By) || !slices.ContainsFunc(g.Who, func(group string) bool { return s.InGroup(group, c.By, now) }):
		return fail(remit.Forbidden, "break-glass %s is opened by members of %v", st.Name, g.Who)
	}
	for _, id := range sorted(s.Opened) {
		switch o := s.Opened[id]; {
		case o.Statement == remit.Hash(c.Statement):
			return fail(remit.AlreadyUsed, "this statement has opened %s", id)
		case o.Reviewed == "" && now >= o.Due:
			return fail(remit.GlassOverdue, "the review of %s is overdue since %s; until one of %s has signed it, none is opened", id, time.Unix(0, o.Due).UTC().Format(time.RFC3339), o.Group)
		case o.Task == st.Task && now < o.Until:
			return fail(remit.Conflict, "%s is open for task %s", id, st.Task)
		}
	}
	closure, _ := s.closure(task, nil, nil)
	own := electorate{s: s, zone: remit.ZoneProduction, made: s.Next, madeAt: now, now: now}
	key, how, err := own.signed(c.By, c.Statement, c.Signature)
	if err != nil {
		return nil, Result{}, err
	}
	e := &remit.BreakGlassOpened{ID: newID(s, "G", 0), Name: st.Name, Task: st.Task, By: c.By, Reason: c.Reason, Key: key, Assurance: how, Statement: remit.Hash(c.Statement),
		Until: min(now+int64(g.Minutes)*int64(time.Minute), s.lifeEnd(st.Task))}
	e.Due = e.Until + int64(g.ReviewHours)*int64(time.Hour)
	if !s.reviewable(g, closure, c.By, now) {
		return fail(remit.NoApprover, "nobody of %s could review it afterwards: each has a part in it, or no hardware-backed key", g.Reviewers)
	}
	return []remit.Event{e}, Result{ID: e.ID}, nil
}

// reviewable tells whether anybody could review break-glass that by opens for a task with this closure.
func (s *State) reviewable(g *Glass, closure []remit.ID, by remit.ID, now int64) bool {
	after := electorate{s: s, closure: add(slices.Clone(closure), by), needs: []remit.Need{{Group: g.Reviewers, N: 1}}, zone: remit.ZoneProduction, made: s.Next, madeAt: now, now: now}
	may, _ := after.eligible()
	return len(may) > 0
}

// signed finds the key of a person that counts and signed a statement about break-glass. It proves a touch, as what
// people sign for production does.
func (e electorate) signed(p remit.ID, statement, signature []byte) (key remit.Digest, how remit.Assurance, err error) {
	for _, k := range e.s.People[p].Keys {
		pub, perr := sshsig.ParseKey(k.Public)
		if perr != nil || !e.keyCounts(k) {
			continue
		}
		touch, verr := sshsig.Verify(pub, remit.BreakGlassNamespace, statement, signature)
		switch {
		case verr != nil:
		case touch:
			return remit.Hash(k.Public), remit.AssuranceTouch, nil
		case e.s.Profile == remit.Demo:
			return remit.Hash(k.Public), remit.AssuranceNone, nil
		default:
			return remit.Digest{}, "", remit.Errorf(remit.BadVote, "break-glass needs a touch of a hardware-backed key (sk-ssh-… or a passkey)")
		}
	}
	return remit.Digest{}, "", remit.Errorf(remit.BadVote, "no declared key of yours that counts made this signature")
}

// reviewers is who may review break-glass: one of the group, who has no part in the task and did not open it.
func (s *State) reviewers(o *Opened, now int64) electorate {
	closure := []remit.ID{o.By}
	if t := s.Tasks[o.Task]; t != nil {
		all, _ := s.closure(t, nil, nil)
		closure = mergeIDs(closure, all)
	}
	return electorate{s: s, closure: closure, needs: []remit.Need{{Group: o.Group, N: 1}}, zone: remit.ZoneProduction, made: o.Entry, madeAt: o.At, now: now}
}

// MayReviewGlass tells why a person may not review break-glass; empty: they may.
func (s *State) MayReviewGlass(id, p remit.ID, now int64) string {
	o := s.Opened[id]
	switch {
	case o == nil || o.Reviewed != "":
		return "there is no such break-glass, or it is reviewed"
	case now < o.Until:
		return "it is still open"
	}
	return s.reviewers(o, now).whyNot(p)
}

func decideReviewGlass(s *State, now int64, c *ReviewGlass) ([]remit.Event, Result, error) {
	l, err := remit.ParseLooking(c.Statement)
	if err != nil {
		return nil, Result{}, err
	}
	o := s.Opened[l.ID]
	if o == nil {
		return nil, Result{}, remit.Errorf(remit.NotFound, "there is no break-glass %s", l.ID)
	}
	if s.People[c.By] == nil {
		return nil, Result{}, remit.Errorf(remit.UnknownPrincipal, "agents review nothing; people do")
	}
	if why := s.MayReviewGlass(l.ID, c.By, now); why != "" {
		return nil, Result{}, remit.Errorf(remit.NotEligible, "you may not review %s: %s %s", l.ID, c.By, why)
	}
	if l.Origin != s.Origin || l.Steps != remit.StepsDigest(o.Under) {
		return nil, Result{}, remit.Errorf(remit.BadVote, "the statement is for another log, or is not about the %d entries that passed under %s", len(o.Under), l.ID)
	}
	key, how, err := s.reviewers(o, now).signed(c.By, c.Statement, c.Signature)
	if err != nil {
		return nil, Result{}, err
	}
	return []remit.Event{&remit.BreakGlassReviewed{ID: l.ID, By: c.By, Right: l.Right, Key: key, Assurance: how, Statement: remit.Hash(c.Statement)}}, Result{ID: l.ID}, nil
}

// glass lets a held request of a running instance pass under break-glass that is open for its task: where all that it
// changes, and all that it sets off, lies in the declared scope. A tool that is not the one that was admitted still waits, and
// what is deployed is carried out by the executor, on an approval (R4d).
func (s *State) glass(d *verdict, now int64, task *Task, r remit.Request, steps []looked) remit.ID {
	if d.v != remit.Hold || r.Elsewhere || r.Plan != nil || r.Deploy != nil || r.Caller.Instance == "" || slices.Contains(d.rules, "pin") {
		return ""
	}
	for _, id := range sorted(s.Opened) {
		o := s.Opened[id]
		if o.Task != task.ID || now >= o.Until || slices.ContainsFunc(steps, func(l looked) bool { return !o.covers(l, r) }) {
			continue
		}
		d.v = remit.Allow
		return id
	}
	return ""
}

func (o *Opened) covers(l looked, r remit.Request) bool {
	if l.info.Impact == remit.Read && l.effect == nil {
		return true
	}
	ref := l.ref
	if l.effect != nil {
		ref = nil // what a pipeline does is named by its action and on what
	}
	code, _ := inScope(o.Scope, l.facts.Step, ref, r)
	return code == "" && l.child == nil
}

func (s *State) applyGlass(n remit.EntryIndex, at int64, e remit.Event) error {
	switch e := e.(type) {
	case *remit.BreakGlassDeclared:
		old := s.Gone["break-glass/"+e.Name]
		if g := s.Glasses[e.Name]; g != nil {
			old = g.Changes
		}
		if s.Glasses == nil {
			s.Glasses = map[string]*Glass{}
		}
		s.Glasses[e.Name] = &Glass{*e, append(old, Change{e.By, n})}
	case *remit.BreakGlassOpened:
		g, t := s.Glasses[e.Name], s.Tasks[e.Task]
		if g == nil || t == nil || !s.LiveTasks[e.Task] || s.Opened[e.ID] != nil {
			return fmt.Errorf("break-glass %s of live task %s is not declared, or was opened", e.Name, e.Task)
		}
		if s.Opened == nil {
			s.Opened = map[remit.ID]*Opened{}
		}
		o := &Opened{BreakGlassOpened: *e, At: at, Entry: n, Group: g.Reviewers}
		for _, sc := range g.Scope {
			sc.Refs = substitute(orBranches(sc.Refs), s.branchesOf(t))
			o.Scope = append(o.Scope, sc)
		}
		s.Opened[e.ID] = o
		for p := t; p != nil; p = s.Tasks[p.Parent] {
			p.Closure = add(p.Closure, e.By)
		}
	case *remit.BreakGlassReviewed:
		o := s.Opened[e.ID]
		if o == nil || o.Reviewed != "" {
			return fmt.Errorf("break-glass %s was never opened, or is reviewed", e.ID)
		}
		o.Reviewed, o.Right = e.By, e.Right
	}
	return nil
}

// glasses compares declared break-glass.
func (d *differ) glasses() error {
	group := func(name string) bool {
		return name == remit.Administrators || slices.ContainsFunc(d.set.Groups, func(g remit.GroupDeclared) bool { return g.Name == name })
	}
	for i, g := range d.set.BreakGlass {
		path := fmt.Sprintf("break_glass[%d]", i)
		switch {
		case twice(d.set.BreakGlass, i, func(o remit.BreakGlassDeclared) string { return o.Name }):
			return wrong(path+".name", "break-glass %q is declared twice", g.Name)
		case !detectionName(g.Name):
			return wrong(path+".name", "the name of break-glass is 1 to 40 of a-z 0-9 -, not %q", g.Name)
		case len(g.Who) == 0 || !group(g.Reviewers):
			return wrong(path, "it names the groups that open it, and the declared group of which one reviews it")
		case g.Minutes < 1 || g.Minutes > 240 || g.ReviewHours < 1 || g.ReviewHours > 168:
			return wrong(path, "it is open for 1 to 240 minutes, and reviewed within 1 to 168 hours")
		case len(g.Scope) == 0 || len(g.Scope) > MaxScopes:
			return wrong(path+".scope", "it names what passes, in 1 to %d scopes", MaxScopes)
		}
		for j, w := range g.Who {
			if !group(w) {
				return wrong(fmt.Sprintf("%s.who[%d]", path, j), "no group %q is declared", w)
			}
		}
		if d.unreviewed(g) {
			return wrong(path+".reviewers", "whoever opens it does not review it, and one of %v could leave nobody of %s who does; name a group with at least two members, or with somebody who does not open it", g.Who, g.Reviewers)
		}
		for j, sc := range g.Scope {
			if err := checkScope(sc); err != nil {
				return wrong(fmt.Sprintf("%s.scope[%d]", path, j), "%v", err)
			}
		}
		g.By = d.by
		old := d.s.Glasses[g.Name]
		if old == nil {
			d.add("break-glass", g.Name, "add", fmt.Sprintf("break-glass %s is new: under it, what would wait for people does not%s", g.Name, d.shortOf(g)), &g)
			continue
		}
		if g.By = old.By; equal(old.BreakGlassDeclared, g) {
			continue
		}
		g.By = d.by
		d.add("break-glass", g.Name, "change", fmt.Sprintf("break-glass %s changes: under it, what would wait for people does not%s", g.Name, d.shortOf(g)), &g)
	}
	for _, name := range sorted(d.s.Glasses) {
		if !slices.ContainsFunc(d.set.BreakGlass, func(g remit.BreakGlassDeclared) bool { return g.Name == name }) {
			d.remove("break-glass", name, "")
		}
	}
	return nil
}

// members are the people of a declared group who may act; known is false where sign-ins at a provider decide who they are.
func (d *differ) members(group string) (people []remit.ID, known bool) {
	i := slices.IndexFunc(d.set.Groups, func(g remit.GroupDeclared) bool { return g.Name == group })
	if i < 0 {
		return nil, false // administrators who are not declared
	}
	for _, p := range d.set.Groups[i].Members {
		if now := d.s.People[p]; now == nil || !now.Killed {
			people = add(people, p)
		}
	}
	return people, len(d.set.Groups[i].From) == 0
}

// openers are the people who open it, as far as declarations say.
func (d *differ) openers(g remit.BreakGlassDeclared) (people []remit.ID) {
	for _, w := range g.Who {
		who, _ := d.members(w)
		people = mergeIDs(people, who)
	}
	return people
}

// unreviewed tells whether one of those who open it is the only one who could review it (R3): it would be refused when
// there is no time to find that out.
func (d *differ) unreviewed(g remit.BreakGlassDeclared) bool {
	may, known := d.members(g.Reviewers)
	return known && (len(may) == 0 || len(may) == 1 && slices.Contains(d.openers(g), may[0]))
}

// shortOf says whose votes whoever opens it would be missing for: they have a part in its task from then on, and so no vote
// on what of it still waits. That is right, and nobody shall learn it in an emergency.
func (d *differ) shortOf(g remit.BreakGlassDeclared) string {
	openers := d.openers(g)
	var on []string
	look := func(name string, needs []remit.Need) {
		for _, n := range needs {
			may, known := d.members(n.Group)
			if known && len(may) <= n.N && slices.ContainsFunc(may, func(p remit.ID) bool { return slices.Contains(openers, p) }) {
				on = append(on, fmt.Sprintf("%d of %s on %s", n.N, n.Group, name))
			}
		}
	}
	for _, e := range d.set.Environments {
		look(e.Name, environmentApprovers(e))
	}
	for _, r := range d.set.Repositories {
		look(r.Name, repositoryApprovers(r))
	}
	switch len(on) {
	case 0:
		return ""
	case 1:
		return "; once one of them has opened it, nobody can decide for its task as " + on[0]
	}
	return fmt.Sprintf("; once one of them has opened it, nobody can decide for its task as %s, nor %d others", on[0], len(on)-1)
}
