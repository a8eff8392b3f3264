package authority

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// What makes runtime of code: artifacts by digest, releases of environments, verdicts on changes, and merges. Evidence
// is looked up here in the state, so that nobody can claim it.

// Limits of a chain's names.
const (
	MaxArtifacts = 16  // of one request, and of one release
	MaxMade      = 128 // bytes of the name of what an upstream made
)

// ArtifactsDigest is what a step artifact.publish has in Args.
func ArtifactsDigest(as []remit.Artifact) remit.Digest { return digestJSON("artifacts", as) }

// DeployDigest is what a step deploy.promote or deploy.rollback has in Args.
func DeployDigest(d remit.Deploy) remit.Digest { return digestJSON("deploy", d) }

// compareArtifacts is the order in which they stand in a request.
func compareArtifacts(a, b remit.Artifact) int {
	return cmp.Or(strings.Compare(string(a.Resource), string(b.Resource)), strings.Compare(a.Digest, b.Digest))
}

// checkArtifacts tells what is wrong with a list of artifacts; empty: nothing.
func checkArtifacts(as []remit.Artifact) string {
	if len(as) == 0 || len(as) > MaxArtifacts {
		return fmt.Sprintf("it names 1 to %d artifacts, not %d", MaxArtifacts, len(as))
	}
	for i, a := range as {
		if err := (remit.Input{Resource: a.Resource, ID: a.Digest}).Check(); err != nil || a.Resource.Type() != "artifact" {
			return "an artifact is artifact:UPSTREAM/NAME with sha256: and 64 lower-case hex digits; a tag moves"
		}
		if i > 0 && compareArtifacts(as[i-1], a) >= 0 {
			return "artifacts are sorted, each named once"
		}
	}
	return ""
}

// checkChain looks at what a request says of artifacts, deployments and reviews: each belongs to the steps that need
// it, and the steps bind it, so that an approval and a policy see the same thing that is carried out.
func checkChain(d *verdict, r remit.Request) {
	bad := func(format string, args ...any) {
		d.malformed = true
		d.deny(remit.BadRequest, "R1", format, args...)
	}
	var publish, deploy, merge, review []remit.Step
	for _, st := range r.Steps {
		st.Effect = false // only the declarations make effects
		switch st.Action {
		case "artifact.publish":
			publish = append(publish, st)
		case "deploy.promote", "deploy.rollback":
			deploy = append(deploy, st)
		case "source.merge":
			merge = append(merge, st)
		case "review.submit":
			review = append(review, st)
		}
	}
	switch why := checkArtifacts(r.Artifacts); {
	case len(publish) == 0 && len(r.Artifacts) == 0:
	case len(publish) == 0:
		bad("artifacts belong to a step artifact.publish")
	case why != "":
		bad("artifact.publish: %s", why)
	case !bindsAll(publish, r.Artifacts):
		bad("each artifact has its step artifact.publish, and each such step its artifact and the digest of them all")
	}
	switch {
	case len(deploy) == 0 && r.Deploy == nil:
	case len(deploy) != 1 || r.Deploy == nil:
		bad("a deployment is one step deploy.promote or deploy.rollback, and says what it deploys")
	default:
		st := r.Deploy.Step()
		st.Args = DeployDigest(*r.Deploy)
		if why := checkDeploy(*r.Deploy); why != "" {
			bad("%s: %s", deploy[0].Action, why)
		} else if deploy[0] != st {
			bad("the step is %s on %s, and has the digest of what it deploys", st.Action, st.Resource)
		}
	}
	if len(merge)+len(review) > 0 && (len(r.Steps) != 1 || len(r.Refs) > 1) {
		bad("a merge or a review is one step on one ref")
	}
	if (len(review) > 0) != (r.Review != "") || r.Review != "" && r.Review != remit.ReviewApprove && r.Review != remit.ReviewReject {
		bad("review.submit says %s or %s, and nothing else does", remit.ReviewApprove, remit.ReviewReject)
	}
}

// bindsAll tells whether steps and artifacts name the same resources, and each step binds all artifacts.
func bindsAll(steps []remit.Step, as []remit.Artifact) bool {
	digest := ArtifactsDigest(as)
	named := func(r remit.Resource) bool {
		return slices.ContainsFunc(as, func(a remit.Artifact) bool { return a.Resource == r })
	}
	asked := func(r remit.Resource) bool {
		return slices.ContainsFunc(steps, func(st remit.Step) bool { return st.Resource == r })
	}
	return !slices.ContainsFunc(steps, func(st remit.Step) bool { return st.Args != digest || !named(st.Resource) }) &&
		!slices.ContainsFunc(as, func(a remit.Artifact) bool { return !asked(a.Resource) })
}

// checkDeploy tells what is wrong with a deployment by itself; empty: nothing.
func checkDeploy(d remit.Deploy) string {
	if why := checkArtifacts(d.Artifacts); why != "" {
		return why
	}
	for i, a := range d.Artifacts[1:] {
		if a.Resource == d.Artifacts[i].Resource {
			return fmt.Sprintf("%s stands twice; a release has one digest of each artifact", a.Resource)
		}
	}
	return ""
}

// stateChain puts into a decision's leaf what checkChain found well-formed.
func (s *State) stateChain(e *remit.Decided, r remit.Request) {
	e.Artifacts, e.Review, e.Change = r.Artifacts, r.Review, s.reviewed(r)
	if r.Deploy != nil {
		e.Deploy = *r.Deploy
	}
	if r.Tool != nil {
		e.Pin = r.Tool.Pin
	}
}

// reviewed is the change that a review or a merge is about; zero for anything else.
func (s *State) reviewed(r remit.Request) remit.Digest {
	if len(r.Steps) != 1 || len(r.Refs) != 1 || r.Steps[0].Action != "source.merge" && r.Steps[0].Action != "review.submit" {
		return remit.Digest{}
	}
	return s.reviewDigest(r.Steps[0].Resource, r.Refs[0])
}

// reviewDigest is what a verdict is on, and what a merge must equal: the changed files with their old and new blobs and
// modes, the branch that they come to, and the head. What the branch points to is not in it: if the files there are the
// same, so is the change.
func (s *State) reviewDigest(repo remit.Resource, c remit.RefChange) remit.Digest {
	return digestJSON("review", struct {
		Origin string
		Repo   remit.Resource
		Ref    string
		Head   string
		Paths  []remit.PathChange
	}{s.Origin, repo, c.Ref, c.New, slices.Clip(append([]remit.PathChange(nil), c.Paths...))})
}

// judgeChain applies the rules on what is deployed and merged. It is part of the judgement at the redemption as well,
// so that what has changed since the votes is seen (R6).
func (s *State) judgeChain(d *verdict, now int64, r remit.Request, task *Task, steps []looked) {
	if task == nil || d.v == remit.Deny || r.Preview {
		return
	}
	for _, l := range steps {
		switch {
		case l.effect != nil:
		case r.Deploy != nil && (l.facts.Step.Action == "deploy.promote" || l.facts.Step.Action == "deploy.rollback"):
			if task.Deploy.Environment != "" && DeployDigest(task.Deploy) != DeployDigest(*r.Deploy) {
				d.deny(remit.OutOfScope, "scope", "task %s was requested for another deployment, and makes no other", task.ID)
			}
			s.judgeDeploy(d, now, *r.Deploy, r.Access)
		case l.facts.Step.Action == "source.merge":
			s.judgeReviews(d, now, l)
		}
	}
}

// judgeDeploy is what an environment asks of a release, before people are asked.
func (s *State) judgeDeploy(d *verdict, now int64, dep remit.Deploy, access remit.ID) {
	env := s.Environments[dep.Environment] // declared: judgeStep has seen to it
	if env.Spec.IsZero() {
		d.deny(remit.UnknownResource, "R1", "environment %s declares no target, so nothing can be deployed to it", dep.Environment)
		return
	}
	for _, a := range dep.Artifacts {
		if !slices.ContainsFunc(env.Artifacts, func(p remit.Pattern) bool { return p.Match(a.Resource) }) {
			d.deny(remit.CrossesBoundary, "R4", "environment %s accepts %v, not %s", dep.Environment, env.Artifacts, a.Resource)
		}
	}
	current, _ := s.CurrentRelease(dep.Environment)
	if dep.From != current.Entry {
		d.deny(remit.Stale, "R6", "it would take the place of %s, and what is in %s now is %s; ask again for that",
			nameRelease(dep.From), dep.Environment, nameRelease(current.Entry))
	}
	if other := s.deploying(dep.Environment, access, now); other != "" {
		d.deny(remit.Stale, "R6", "%s changes %s at this moment; ask again when its outcome is known", other, dep.Environment)
	}
	if dep.Rollback {
		if !s.mayReturn(dep) {
			d.deny(remit.RollbackUnknown, "R6", "no earlier release of %s that was good there had exactly these artifacts", dep.Environment)
		}
		return
	}
	if last, unclear := s.unclear(dep.Environment); unclear && !slices.Equal(last.Artifacts, dep.Artifacts) {
		d.deny(remit.Conflict, "R7", "what came of the release in entry %d is %s: a person looks what is in %s, then rolls it back or asks for the same artifacts again",
			last.Entry, last.Outcome, dep.Environment)
	}
	for _, ev := range EvidenceOf(env.EnvironmentDeclared) {
		if a, lacks := s.lacking(dep, ev); lacks {
			d.deny(remit.EvidenceMissing, "R4", "%s has no evidence %q, which environment %s requires", a, ev, dep.Environment)
		}
	}
}

func nameRelease(n remit.EntryIndex) string {
	if n == 0 {
		return "nothing"
	}
	return fmt.Sprintf("the release in entry %d", n)
}

// CurrentRelease is the last release of an environment that was done, as far as Remit knows.
func (s *State) CurrentRelease(env string) (Release, bool) {
	for _, r := range slices.Backward(s.Releases[env]) {
		if r.Outcome == remit.Done {
			return r, true
		}
	}
	return Release{}, false
}

// unclear is the last release of an environment if nobody knows what came of it, or it was carried out after its
// authority had ended.
func (s *State) unclear(env string) (Release, bool) {
	rs := s.Releases[env]
	if n := len(rs); n > 0 && rs[n-1].Outcome != remit.Done {
		return rs[n-1], true
	}
	return Release{}, false
}

// GoodReleases are the releases of an environment that were done and that no rollback has taken away since: a rollback
// takes away what it leaves, however often that was released before.
func (s *State) GoodReleases(env string) []Release {
	var out []Release
	rs := s.Releases[env]
	for i, r := range rs {
		left := func(o Release) bool {
			return slices.ContainsFunc(rs, func(x Release) bool { return x.Entry == o.From && slices.Equal(x.Artifacts, r.Artifacts) })
		}
		if r.Outcome == remit.Done && !slices.ContainsFunc(rs[i+1:], func(o Release) bool {
			return o.Rollback && o.Outcome == remit.Done && left(o) && !slices.Equal(o.Artifacts, r.Artifacts)
		}) {
			out = append(out, r)
		}
	}
	return out
}

// mayReturn tells whether a rollback goes back to what was good here. What is here now is no way back, unless a later
// release left it unclear what that is.
func (s *State) mayReturn(dep remit.Deploy) bool {
	current, _ := s.CurrentRelease(dep.Environment)
	if _, unclear := s.unclear(dep.Environment); !unclear && slices.Equal(current.Artifacts, dep.Artifacts) {
		return false
	}
	return slices.ContainsFunc(s.GoodReleases(dep.Environment), func(r Release) bool { return slices.Equal(r.Artifacts, dep.Artifacts) })
}

// deploying names what changes an environment right now on another approval: of two promotions that race, one takes the
// place of what the other one was approved for.
func (s *State) deploying(env string, access remit.ID, now int64) remit.ID {
	for _, id := range s.PermitAge {
		if p := s.Permits[id]; p != nil && p.Deploy.Environment == env && p.Access != access && now < p.NotAfter {
			return id
		}
	}
	for _, id := range sorted(s.Attempts) {
		if s.Attempts[id].Deploy.Environment == env {
			return id
		}
	}
	return ""
}

// EvidenceOf is what an environment requires of each artifact: what is declared; where production declares nothing, that
// Remit saw it built.
func EvidenceOf(e remit.EnvironmentDeclared) []string {
	if len(e.Evidence) == 0 && e.Tier == "production" {
		return []string{remit.EvidenceBuilt}
	}
	return e.Evidence
}

// lacking is the first artifact of a deployment for which there is no such evidence.
func (s *State) lacking(dep remit.Deploy, evidence string) (remit.Artifact, bool) {
	has := func(remit.Artifact) bool { return false } // what is not known is not there
	if env, ok := strings.CutPrefix(evidence, remit.EvidenceDeployed); ok {
		// The artifacts were good together: a release that had only some of them says nothing of the others.
		together := slices.ContainsFunc(s.GoodReleases(env), func(r Release) bool {
			return !slices.ContainsFunc(dep.Artifacts, func(a remit.Artifact) bool { return !slices.Contains(r.Artifacts, a) })
		})
		has = func(remit.Artifact) bool { return together }
	}
	switch evidence {
	case remit.EvidenceBuilt:
		has = func(a remit.Artifact) bool { return len(s.origins(a)) > 0 }
	case remit.EvidenceMerged:
		has = func(a remit.Artifact) bool {
			return slices.ContainsFunc(s.origins(a), func(c string) bool { _, ok := s.Merged[c]; return ok })
		}
	}
	for _, a := range dep.Artifacts {
		if !has(a) {
			return a, true
		}
	}
	return remit.Artifact{}, false
}

// deployFacts are what a policy sees of a deployment, looked up as judgeDeploy does.
func (s *State) deployFacts(d *remit.Deploy) DeployFacts {
	if d == nil {
		return DeployFacts{}
	}
	f := DeployFacts{Environment: d.Environment, Artifacts: d.Artifacts, Rollback: d.Rollback, From: d.From, Evidence: []EvidenceFacts{}}
	if env := s.Environments[d.Environment]; env != nil {
		for _, ev := range EvidenceOf(env.EnvironmentDeclared) {
			_, lacks := s.lacking(*d, ev)
			f.Evidence = append(f.Evidence, EvidenceFacts{ev, !lacks})
		}
	}
	return f
}

// origins are the commits, as UPSTREAM/PATH@COMMIT, that an artifact was built from, of repositories that declare it.
func (s *State) origins(a remit.Artifact) []string {
	p := s.Artifacts[a.String()]
	if p == nil {
		return nil
	}
	var out []string
	for _, in := range p.Inputs {
		if s.declares(in.Resource, a.Resource) {
			out = append(out, in.Resource.Name()+"@"+in.ID)
		}
	}
	return out
}

// declares tells whether a repository's declaration has an artifact among those that are built of it.
func (s *State) declares(repo, artifact remit.Resource) bool {
	r := s.Repositories[repo.Name()]
	return repo.Type() == "repo" && r != nil && slices.ContainsFunc(r.Artifacts, func(p remit.Pattern) bool { return p.Match(artifact) })
}

// foreseen tells whether a privileged step needs no person's vote: publishing what the declaration of a repository
// names, built of a commit of it that the task was made for.
func (s *State) foreseen(task *Task, st remit.Step) bool {
	return st.Action == "artifact.publish" &&
		slices.ContainsFunc(task.Inputs, func(in remit.Input) bool { return s.declares(in.Resource, st.Resource) })
}

// deciders is who decides on a privileged step: the approvers of its resource, fewer for the way back to what was good.
func (s *State) deciders(st remit.Step) []remit.Need {
	if env := s.Environments[st.Resource.Name()]; env != nil && st.Action == "deploy.rollback" {
		return rollbackApprovers(env.EnvironmentDeclared)
	}
	return s.approversOf(st.Resource)
}

func rollbackApprovers(e remit.EnvironmentDeclared) []remit.Need {
	switch {
	case len(e.Rollback) > 0:
		return e.Rollback
	case len(e.Approvers) > 0:
		return []remit.Need{{Group: e.Approvers[0].Group, N: 1}}
	}
	return []remit.Need{{Group: remit.Administrators, N: 1}}
}

// judgeReviews is R3 for a merge: so many agents of different owners, none of whom wrote the change, approve of exactly
// it, and none rejects it. A verdict stays until the agent gives another one on the same change.
func (s *State) judgeReviews(d *verdict, now int64, l looked) {
	name := l.facts.Step.Resource.Name()
	repo := s.Repositories[name]
	if repo.Reviews == 0 {
		return
	}
	change := s.reviewDigest(l.facts.Step.Resource, *l.ref)
	var owners []remit.ID
	for _, v := range s.Reviews[name] {
		switch {
		case v.Change != change:
		case !v.Approve:
			d.deny(remit.ReviewMissing, "R3", "agent %s rejects this change; it approves another one, or changes its verdict", v.Agent)
		case s.agentLive(v.Agent, now) && !s.wrote(s.Agents[v.Agent], l.facts) && !s.wrote(s.reviewer(v), l.facts):
			owners = add(owners, s.voice(v))
		}
	}
	if len(owners) < repo.Reviews {
		d.deny(remit.ReviewMissing, "R3", "repository %s asks for %d approving reviews of exactly this change, by agents of different owners who did not write it; there are %d",
			name, repo.Reviews, len(owners))
	}
}

// reviewer is the agent whose work a verdict is: the first of function review in its chain of tasks. What a reviewer hands
// on, or has asked for on a way through others, is its own work, whoever does it: who steers the one has steered them all.
func (s *State) reviewer(v Review) *Agent {
	of := s.Agents[v.Agent]
	if s.Rules < 3 {
		return of
	}
	for t := s.Tasks[v.Task]; t != nil; t = s.Tasks[t.Parent] {
		if a := s.Agents[t.Agent]; a != nil && a.Function == remit.FuncReview {
			of = a
		}
	}
	return of
}

// voice is the owner as whose a verdict counts.
func (s *State) voice(v Review) remit.ID {
	if a := s.reviewer(v); a.Name != v.Agent {
		return a.Owner
	}
	return v.Owner
}

// carry puts what a decision is about into its permit, for what the outcome will make true.
func (s *State) carry(p *Permit, e *remit.Decided) {
	p.Artifacts, p.Deploy, p.Review, p.Change = e.Artifacts, e.Deploy, e.Review, e.Change
	if p.Plan = e.Plan; len(e.Plan.Filed)+len(e.Plan.Used) > 0 {
		p.Rules, p.Policy = e.Rules, e.Policy
	}
	for _, f := range e.Steps {
		if f.Step.Effect || len(f.New) == 0 {
			continue
		}
		p.Head = hex.EncodeToString(f.New)
		name := f.Step.Resource.Name()
		repo := s.Repositories[name]
		if repo == nil || f.Ref != "refs/heads/"+repo.DefaultBranch {
			continue
		}
		p.Merged = append(p.Merged, name+"@"+p.Head)
		if f.Step.Action == "source.merge" {
			p.Into = name
		}
	}
}

// applyOutcome makes true what an attempt did, as far as its outcome tells.
func (s *State) applyOutcome(n remit.EntryIndex, at int64, x *Attempt, e *remit.Recorded) {
	if env := x.Deploy.Environment; env != "" && e.Outcome != remit.NotApplied {
		s.Releases[env] = append(s.Releases[env], Release{Deploy: x.Deploy, Task: x.Task, Access: x.Access, Attempt: x.ID, Outcome: e.Outcome, Entry: n, At: at})
	}
	s.applyPlan(n, x, e)
	if e.Outcome != remit.Done {
		return
	}
	for _, a := range x.Artifacts {
		if s.Artifacts[a.String()] == nil { // who published it first is its provenance
			s.Artifacts[a.String()] = &Published{Artifact: a, Task: x.Task, Agent: x.Agent, Inputs: s.Tasks[x.Task].Inputs, Entry: n, At: at}
		}
	}
	if x.Review != "" {
		s.applyReview(n, x)
	}
	merged := x.Merged
	if x.Into != "" && e.Made != "" {
		merged = append(slices.Clip(merged), x.Into+"@"+e.Made)
	}
	for _, c := range merged {
		if _, known := s.Merged[c]; !known {
			s.Merged[c] = n
		}
	}
}

// applyReview keeps the last verdict of each agent on each change.
func (s *State) applyReview(n remit.EntryIndex, x *Attempt) {
	repo, agent := x.Steps[0].Resource.Name(), s.Agents[x.Agent]
	all := slices.DeleteFunc(s.Reviews[repo], func(v Review) bool { return v.Change == x.Change && v.Agent == x.Agent })
	s.Reviews[repo] = append(all, Review{Change: x.Change, Head: x.Head, Agent: x.Agent, Owner: agent.Owner, Launcher: x.Launcher,
		Task: x.Task, Approve: x.Review == remit.ReviewApprove, Entry: n})
}

// checkMade refuses a name of what an upstream made that is none. A commit that counts as merged is named by its id.
func checkMade(x *Attempt, made string) error {
	if made == "" {
		return nil
	}
	if !plain(made, MaxMade) {
		return remit.Errorf(remit.BadRequest, "what an upstream made has a name of at most %d bytes of text", MaxMade)
	}
	if slices.ContainsFunc(x.Steps, func(st remit.Step) bool { return st.Action == "source.merge" }) && !objectID(made) {
		return remit.Errorf(remit.BadRequest, "what a merge made is a commit: 40 or 64 lower-case hex digits")
	}
	return nil
}
