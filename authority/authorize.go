package authority

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// verdict gathers what the rules say of a request; the worst wins.
type verdict struct {
	v         remit.Verdict
	code      remit.Code // of the first reason at the level of v
	rules     []string
	sentences []string
	needs     []remit.Need
	zone      remit.Zone // the strictest of the steps
	limit     bool       // the deny is of class limit: not to be derived again, and no judgement of the request itself
	malformed bool       // nothing of the request can stand in a leaf
	policy    []string   // rules of the policy that hold
	observed  []remit.Observation
}

func (d *verdict) deny(code remit.Code, rule, format string, args ...any) {
	if d.v != remit.Deny {
		d.v, d.code, d.rules, d.sentences = remit.Deny, code, nil, nil
	}
	d.say(rule, format, args...)
}

func (d *verdict) hold(code remit.Code, rule string, needs []remit.Need, format string, args ...any) {
	if d.v == remit.Deny {
		return
	}
	if d.v == remit.Allow {
		d.v, d.code = remit.Hold, code
	}
	d.needs = mergeNeeds(d.needs, needs)
	d.say(rule, format, args...)
}

func (d *verdict) say(rule, format string, args ...any) {
	if !slices.Contains(d.rules, rule) {
		d.rules = append(d.rules, rule)
	}
	if s := fmt.Sprintf(format, args...); !slices.Contains(d.sentences, s) {
		d.sentences = append(d.sentences, s)
	}
}

// decideAuthorize is the hot path of the authority: who asks (R1, R2), for what (scope, R4), what it would set off, what
// policy adds, and who would have to agree (R3, R6).
func decideAuthorize(s *State, now int64, c *Authorize) ([]remit.Event, Result, error) {
	return s.authorize(now, c, func(f Facts) (*Judged, error) {
		if c.Judged == nil || !c.Judged.on(&f) || c.Judged.policy != s.Policy {
			return nil, &Stale{Facts: f}
		}
		return c.Judged, nil
	})
}

// authorize decides with what judged says that the policy in force found over the facts.
func (s *State) authorize(now int64, c *Authorize, judged func(Facts) (*Judged, error)) ([]remit.Event, Result, error) {
	r := c.Request
	d := &verdict{v: remit.Allow}

	task := s.checkCaller(d, now, r)
	s.checkShape(d, r)
	steps := s.look(task, r)
	for _, l := range steps {
		s.judgeStep(d, r, task, l)
		s.judgeChild(d, now, r, task, l)
	}
	s.judgeChain(d, now, r, task, steps)
	s.judgePlan(d, r, task)
	s.checkBudget(d, r, task)

	if r.Preview {
		if d.v != remit.Deny {
			return nil, Result{Decision: remit.Decision{Verdict: remit.Allow}}, nil
		}
		return s.decided(now, c, task, steps, d, remit.Digest{})
	}

	var facts remit.Digest
	if d.v != remit.Deny { // a policy can only narrow, so there is nothing left for it to say of a deny
		if s.Policy.IsZero() {
			d.deny(remit.NoPolicy, "R1", "no policy is in force")
			return s.decided(now, c, task, steps, d, facts)
		}
		found, err := judged(s.factsOf(r, task, steps, now))
		if err != nil {
			return nil, Result{}, err
		}
		facts = found.digest
		s.addFinding(d, found.finding)
	}
	return s.decided(now, c, task, steps, d, facts)
}

// checkCaller is R1 and R2: an unknown or ended caller is denied, each with its own code. It gives the task that the
// caller acts for, nil if they are not who they say.
func (s *State) checkCaller(d *verdict, now int64, r remit.Request) *Task {
	if r.Access != "" {
		a := s.Accesses[r.Access]
		if r.Caller.Executor == "" || r.Caller.Instance != "" || r.Caller.Agent != "" || a == nil || a.Task == "" || a.Task != r.Caller.Task {
			d.deny(remit.UnknownPrincipal, "R6", "only an executor claims a work order, and only one that exists")
			return nil
		}
		if !s.checkClaimer(d, a, r.Caller.Executor) {
			return nil
		}
		if a.Status != remit.AccessMet || now >= a.NotAfter {
			d.deny(remit.AlreadyUsed, "R6", "access request %s is %s; an approval is good once, in its time", r.Access, a.statusAt(now))
		}
		if !s.stands(a, now) {
			d.deny(remit.NotLive, "R2", "task %s, its agent or a person behind it has ended", a.Task)
		}
		return s.Tasks[a.Task]
	}
	if r.Caller.Executor != "" && r.Caller.Instance == "" {
		return s.checkExecutor(d, now, r)
	}
	i := s.Instances[r.Caller.Instance]
	if i == nil || i.Agent != r.Caller.Agent || i.Task != r.Caller.Task || r.Caller.Executor != "" {
		d.deny(remit.UnknownPrincipal, "R1", "the caller is no running instance of an agent")
		return nil
	}
	if !s.InstanceLive(i.ID, now) {
		d.deny(remit.NotLive, "R2", "task %s, its agent or a person behind it has ended", i.Task)
	}
	return s.Tasks[i.Task]
}

// judgeStep applies the compiled rules to one step.
func (s *State) judgeStep(d *verdict, r remit.Request, task *Task, l looked) {
	st := l.facts.Step
	if l.bad != "" {
		d.deny(l.bad, "R1", "%s", l.hint)
		return
	}
	if !readBesides(r.Tool != nil, l.info) {
		d.zone = stricter(d.zone, s.zoneOf(l.info, st.Resource))
	}
	if l.effect != nil {
		s.judgeEffect(d, r, l)
		return
	}
	if task == nil || l.child != nil || st.Action == remit.ActionPlan {
		return // denied already, or judgeChild's and judgePlan's: these rest on no scope
	}
	if l.scope != "" {
		d.deny(l.scope, "scope", "%s", s.scopeLesson(task, l))
		return
	}
	agent := s.Agents[task.Agent]
	if err := s.checkBoundary(agent.Function, []remit.Scope{{Actions: []remit.Action{st.Action}, Resources: []remit.Pattern{remit.Pattern(st.Resource)}}}); err != nil {
		var e *remit.Error
		errors.As(err, &e)
		d.deny(e.Code, "R4", "%s", e.Sentence)
		return
	}
	var contained *remit.Error
	if errors.As(s.checkContained(s.upstreamOf(st.Resource)), &contained) {
		d.deny(contained.Code, "R11", "%s", contained.Sentence)
		return
	}
	if why := s.misplaced(l.info, st); why != "" {
		d.deny(remit.CrossesBoundary, "R4", "%s", why)
		return
	}
	if l.ref != nil {
		s.judgeRef(d, r, l)
	}
	s.judgeTool(d, r, l)
	if (st.Action == "source.merge" || st.Action == "review.submit") && s.wrote(agent, l.facts) {
		d.deny(remit.Separation, "R3", "agent %s, or its owner, wrote this change; somebody else reviews and merges it", agent.Name)
	}
	if l.info.Impact == remit.Privileged && !s.foreseen(task, st) {
		d.hold(remit.ImpactHeld, "R6", s.deciders(st), "%s on %s needs a person", st.Action, st.Resource)
	}
}

// wrote tells whether an agent or its owner is in the authorship of a change: pushed it, launched or owned what pushed
// it, or signed it.
func (s *State) wrote(agent *Agent, f remit.StepFacts) bool {
	if slices.Contains(f.Signers, agent.Owner) {
		return true
	}
	return slices.ContainsFunc(f.Pushers, func(p remit.EntryIndex) bool {
		push := s.Pushes[p]
		by := s.Agents[push.Agent]
		return push.Launcher == agent.Owner || by != nil && by.Owner == agent.Owner // an agent has the owner that it has itself
	})
}

// judgeRef applies the rules on what a push does to one ref.
func (s *State) judgeRef(d *verdict, r remit.Request, l looked) {
	for _, f := range l.ref.Findings {
		d.deny(registered(f.Code, remit.BadObject), "content", "%s: %s", l.ref.Ref, f.Sentence)
	}
	if r.Preview {
		return
	}
	if p := l.facts.Protected; len(p) > 0 {
		d.hold(remit.PathProtected, "protected", s.approversOf(l.facts.Step.Resource),
			"%s changes %s, which runs by itself or is protected", l.ref.Ref, firstMatch(p[0], l.ref.Paths))
	}
	if l.facts.OutsideEnvelope {
		d.hold(remit.OutOfEnvelope, "envelope", s.approversOf(l.facts.Step.Resource),
			"the push to %s goes beyond what the task was described to do", l.ref.Ref)
	}
}

func firstMatch(p remit.Pattern, paths []remit.PathChange) string {
	for _, c := range paths {
		if matchPath(p, c) {
			return c.Path
		}
	}
	return string(p)
}

// judgeEffect is R4 for what a push or merge sets off by itself.
func (s *State) judgeEffect(d *verdict, r remit.Request, l looked) {
	st := l.facts.Step
	if r.Preview {
		return
	}
	switch {
	case s.zoneOf(l.info, st.Resource) == remit.ZoneProduction:
		d.hold(remit.EffectHeld, "R4", s.approversOf(st.Resource), "pushing %s causes %s on %s", l.ref.Ref, st.Action, st.Resource)
	case st.Action == "build.trigger" && l.effect.Secrets == "none":
	case st.Action == "build.trigger":
		if l.facts.Runs {
			d.hold(remit.EffectHeld, "R4", s.approversOf(l.repoResource(r)),
				"pushing %s runs %s with secrets, and what it runs differs from the trusted branch", l.ref.Ref, st.Resource)
		}
	case l.info.Impact != remit.Read:
		d.hold(remit.EffectHeld, "R4", s.approversOf(l.repoResource(r)), "pushing %s causes %s on %s", l.ref.Ref, st.Action, st.Resource)
	}
}

// repoResource is the repository that the push step names.
func (l looked) repoResource(r remit.Request) remit.Resource {
	for _, st := range r.Steps {
		if st.Resource.Type() == "repo" {
			return st.Resource
		}
	}
	return ""
}

// scopeLesson tells an agent what it may do instead.
func (s *State) scopeLesson(task *Task, l looked) string {
	st := l.facts.Step
	switch l.scope {
	case remit.RefOutOfScope:
		var refs []string
		for _, g := range task.Grant {
			if slices.Contains(g.Actions, st.Action) {
				for _, p := range g.Refs {
					refs = append(refs, string(p))
				}
			}
		}
		return fmt.Sprintf("task %s may not push to %s; push to %s instead, for instance %s",
			task.ID, l.hint, strings.Join(refs, " or "), strings.Replace(strings.TrimPrefix(refs[0], "refs/heads/"), "**", "work", 1))
	case remit.PathOutOfScope:
		return fmt.Sprintf("task %s may not change %s on %s", task.ID, l.hint, l.ref.Ref)
	case remit.OverLimit:
		return fmt.Sprintf("the push to %s is larger than the grant of task %s allows; push it in parts", l.hint, task.ID)
	}
	return fmt.Sprintf("task %s may not take %s on %s; its requester can ask for a task that does", task.ID, st.Action, st.Resource)
}

// checkBudget keeps one task from filling the house.
func (s *State) checkBudget(d *verdict, r remit.Request, task *Task) {
	if task == nil {
		return
	}
	most := MaxDecisions
	if task.Budget.Decisions > 0 {
		most = task.Budget.Decisions
	}
	if task.Used.Decisions >= most && r.Access == "" {
		d.deny(remit.OverBudget, "budget", "task %s has used its %d decisions", task.ID, most)
	}
	if task.Budget.Bytes > 0 && task.Used.Bytes+r.Bytes > task.Budget.Bytes && r.Access == "" {
		d.deny(remit.OverBudget, "budget", "task %s has used %d of its %d bytes", task.ID, task.Used.Bytes, task.Budget.Bytes)
	}
}

func (s *State) addFinding(d *verdict, f Finding) {
	d.observed = f.Observed[:min(len(f.Observed), remit.MaxObserved)]
	rules := f.Rules
	if len(rules) == 0 {
		rules = []string{"policy"}
	}
	for _, rule := range rules {
		switch f.Verdict {
		case remit.Allow: // nothing to add
		case remit.Hold:
			votes := slices.DeleteFunc(slices.Clone(f.Votes), func(n remit.Need) bool { return n.N < 1 })
			if len(votes) == 0 {
				votes = []remit.Need{{Group: remit.Administrators, N: 1}}
			}
			d.policy = append(d.policy, rule)
			d.hold(registered(f.Code, remit.PolicyHeld), rule, votes, "%s", f.Sentence)
		case remit.Deny:
			d.limit = d.limit || f.Limit
			d.deny(registered(f.Code, remit.PolicyDenied), rule, "%s", f.Sentence)
		default:
			d.deny(remit.PolicyResult, rule, "the policy gave a verdict that does not exist")
		}
	}
}

// registered is code, or instead where the registry has no such code: entries carry codes that mean something.
func registered(code, instead remit.Code) remit.Code {
	if code.Info().Code != code {
		return instead
	}
	return code
}

// approversOf is who decides over a resource: what is declared, or else an administrator (two for production).
func (s *State) approversOf(r remit.Resource) []remit.Need {
	switch r.Type() {
	case "repo":
		if repo := s.Repositories[r.Name()]; repo != nil {
			return repositoryApprovers(repo.RepositoryDeclared)
		}
	case "environment":
		if env := s.Environments[r.Name()]; env != nil {
			return environmentApprovers(env.EnvironmentDeclared)
		}
	case "secret":
		if x := s.Secrets[r.Name()]; x != nil {
			return secretApprovers(x.SecretDeclared)
		}
	case "tool":
		if t := s.ToolOf(r); t != nil {
			return toolApprovers(t.ToolDeclared)
		}
	}
	return []remit.Need{{Group: remit.Administrators, N: 1}}
}

func repositoryApprovers(r remit.RepositoryDeclared) []remit.Need {
	if len(r.Approvers) > 0 {
		return r.Approvers
	}
	return []remit.Need{{Group: remit.Administrators, N: 1}}
}

func environmentApprovers(e remit.EnvironmentDeclared) []remit.Need {
	switch {
	case len(e.Approvers) > 0:
		return e.Approvers
	case e.Tier == "production":
		return []remit.Need{{Group: remit.Administrators, N: 2}}
	}
	return []remit.Need{{Group: remit.Administrators, N: 1}}
}

// mergeNeeds takes the larger number for each group, in the order of groups, of people who are signed in as both ask. What
// no one sign-in can be is asked of two.
func mergeNeeds(a, b []remit.Need) []remit.Need {
	out := slices.Clone(a)
	for _, n := range b {
		if i := slices.IndexFunc(out, func(o remit.Need) bool {
			_, ok := o.StepUp.And(n.StepUp)
			return o.Group == n.Group && ok
		}); i >= 0 {
			if out[i].N = max(out[i].N, n.N); out[i].Evidence != n.Evidence || out[i].InProduction != n.InProduction || !out[i].StepUp.Equal(n.StepUp) {
				out[i].Evidence, out[i].InProduction = "", false // who is asked for two reasons is asked
			}
			out[i].StepUp, _ = out[i].StepUp.And(n.StepUp)
		} else {
			out = append(out, n)
		}
	}
	slices.SortStableFunc(out, func(a, b remit.Need) int { return strings.Compare(a.Group, b.Group) })
	return out
}

// effectDigest is what an approval binds: canonical steps, what they set off included, and for each ref its old value,
// new value and resulting tree. Where a declaration adds an effect after the vote, the approval is stale. Artifacts and
// deployments are bound by the digests of them in their steps, which checkChain compares; a merge is bound to what was reviewed.
func (s *State) effectDigest(r remit.Request, steps []looked) remit.Digest {
	type ref struct {
		Ref, Old, New, Tree string
		Op                  remit.RefOp
	}
	type step struct {
		remit.Step
		Ref string
	}
	doc := struct {
		Origin string
		Org    remit.Org
		Task   remit.ID
		Steps  []step
		Refs   []ref
		Review string       `json:",omitempty"`
		Child  remit.Digest `json:",omitzero"` // its grant, which hangs on declarations
		Change remit.Digest `json:",omitzero"` // what was reviewed
		Pin    remit.Digest `json:",omitzero"` // the definition of the tool that was called

		Elsewhere bool `json:",omitempty"` // whoever asked carries it out
	}{Origin: s.Origin, Org: s.Org, Task: r.Caller.Task, Review: r.Review, Change: s.reviewed(r), Elsewhere: r.Elsewhere}
	for _, l := range steps {
		doc.Steps = append(doc.Steps, step{l.facts.Step, l.facts.Ref})
		if l.child != nil {
			doc.Child = l.child.facts.Grant
		}
	}
	if r.Tool != nil {
		doc.Pin = r.Tool.Pin
	}
	for _, c := range r.Refs {
		doc.Refs = append(doc.Refs, ref{c.Ref, c.Old, c.New, c.Tree, c.Op})
	}
	slices.SortStableFunc(doc.Steps, func(a, b step) int {
		return cmp.Or(compareSteps(a.Step, b.Step), strings.Compare(a.Ref, b.Ref))
	})
	slices.SortFunc(doc.Refs, func(a, b ref) int { return strings.Compare(a.Ref, b.Ref) })
	return digestJSON("effect", doc)
}

func compareSteps(a, b remit.Step) int {
	return cmp.Or(strings.Compare(string(a.Action), string(b.Action)), strings.Compare(string(a.Resource), string(b.Resource)),
		strings.Compare(fmt.Sprint(a.Effect), fmt.Sprint(b.Effect)), bytes.Compare(a.Args[:], b.Args[:]))
}

// changeDigest is the same for the same change whatever it is based on: steps with what they set off, refs, changed
// paths with their old and new blobs and modes, and what else the pipelines would run that differs from the trusted
// branch: an older base may bring that along. It is zero for what is not a change of files.
func (s *State) changeDigest(r remit.Request, steps []remit.StepFacts) remit.Digest {
	if len(r.Refs) == 0 {
		return remit.Digest{}
	}
	type ref struct {
		Ref    string
		Op     remit.RefOp
		Old    string // of what is deleted: it has no paths that would tell
		Paths  []remit.PathChange
		Pinned []remit.PathChange
	}
	doc := struct {
		Origin string
		Steps  []remit.Step
		Refs   []ref
	}{Origin: s.Origin}
	for _, f := range steps {
		doc.Steps = append(doc.Steps, f.Step)
	}
	slices.SortStableFunc(doc.Steps, compareSteps)
	for _, c := range r.Refs {
		change := ref{Ref: c.Ref, Op: c.Op, Paths: c.Paths, Pinned: c.Pinned}
		switch c.Op {
		case remit.RefForce:
			change.Op = remit.RefUpdate // the same change on another base is pushed by force
		case remit.RefDelete:
			change.Old = c.Old
		}
		doc.Refs = append(doc.Refs, change)
	}
	slices.SortFunc(doc.Refs, func(a, b ref) int { return strings.Compare(a.Ref, b.Ref) })
	return digestJSON("change", doc)
}

func digestJSON(domain string, v any) remit.Digest {
	b, err := json.Marshal(v)
	if err != nil {
		panic("authority: only plain values are digested: " + err.Error())
	}
	return remit.Hash([]byte("remit "+domain+" v1\n"), b)
}
