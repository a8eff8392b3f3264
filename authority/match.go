package authority

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// Workflows are the files that the known forges run by themselves.
var Workflows = []remit.Pattern{
	".github", ".github/workflows", ".github/workflows/**", ".github/actions", ".github/actions/**",
	".gitea", ".gitea/workflows", ".gitea/workflows/**", ".forgejo", ".forgejo/workflows", ".forgejo/workflows/**",
	".gitlab-ci.yml", ".gitlab/ci/**", ".circleci", ".circleci/**", ".buildkite", ".buildkite/**", ".woodpecker", ".woodpecker.yml",
	".woodpecker/**", ".woodpecker.yaml", ".drone.yml", ".travis.yml", "Jenkinsfile", "azure-pipelines.yml", "bitbucket-pipelines.yml",
	".cirrus.yml", ".cirrus.star", "appveyor.yml", ".appveyor.yml", ".semaphore", ".semaphore/**", ".builds", ".builds/**", ".build.yml",
}

// ControlSurface are the paths of which a change holds on every branch: what runs by itself, or steers agents, before
// anybody has looked at it.
var ControlSurface = append(slices.Clone(Workflows),
	".gitmodules", "**/.gitattributes", ".lfsconfig", ".githooks", ".githooks/**", ".husky", ".husky/**",
	".pre-commit-config.yaml", "lefthook.yml", ".devcontainer", ".devcontainer/**", ".devcontainer.json",
	".vscode", ".vscode/**", ".idea", ".idea/**", ".envrc",
	"**/AGENTS.md", "**/CLAUDE.md", "**/CLAUDE.local.md", "**/GEMINI.md", "**/.mcp.json", "**/.claude", "**/.claude/**",
	"**/.codex", "**/.codex/**", "**/.gemini", "**/.gemini/**", "**/.cursor", "**/.cursor/**", "**/.cursorrules",
	"**/.windsurfrules", "**/.windsurf/**", "**/.clinerules", "**/.clinerules/**",
	// .github holds instructions to agents, owners, and settings that applications of the forge obey.
	".github/**", ".gitea/**", ".forgejo/**", "CODEOWNERS", "docs/CODEOWNERS",
	// What package managers run or load before anything of the project itself.
	"**/.npmrc", "**/.yarnrc", "**/.yarnrc.yml", "**/.pnpmfile.cjs", "**/.cargo/**",
)

// Match tells which patterns cover at least one of paths, in the order of patterns. A path is also taken as a file
// system that folds case and normalises Unicode would see it. It is a function of its arguments alone: verifying a log
// runs it again.
func Match(patterns []remit.Pattern, paths []remit.PathChange) []remit.Pattern {
	var out []remit.Pattern
	for _, p := range patterns {
		if slices.ContainsFunc(paths, func(c remit.PathChange) bool { return matchPath(p, c) }) {
			out = append(out, p)
		}
	}
	return out
}

func matchPath(p remit.Pattern, c remit.PathChange) bool {
	if p.MatchPath(c.Path) {
		return true
	}
	fold := c.Fold
	if fold == "" {
		fold = strings.ToLower(c.Path)
	}
	lower := strings.ToLower(string(p))
	if remit.Pattern(lower).MatchPath(fold) {
		return true
	}
	// Whoever puts a symbolic link where a directory on the way to p would be decides what p stands for.
	return (c.OldMode == modeLink || c.NewMode == modeLink) && onTheWay(fold, lower)
}

// onTheWay tells whether path is a directory above what pattern covers.
func onTheWay(path, pattern string) bool {
	deep, anywhere := strings.CutPrefix(pattern, "**/")
	if !anywhere {
		return strings.HasPrefix(pattern, path+"/")
	}
	for more := true; more; _, path, more = strings.Cut(path, "/") {
		if strings.HasPrefix(deep, path+"/") {
			return true
		}
	}
	return false
}

// modeLink is git's mode of a symbolic link.
const modeLink = 0o120000

// outside is the first path that none of patterns covers; no patterns is no limit.
func outside(patterns []remit.Pattern, paths []remit.PathChange) (string, bool) {
	if len(patterns) == 0 {
		return "", false
	}
	for _, c := range paths {
		if !slices.ContainsFunc(patterns, func(p remit.Pattern) bool { return p.MatchPath(c.Path) }) {
			return c.Path, true
		}
	}
	return "", false
}

// looked is a step with what the rules need of it: its facts for the leaf, its view for policy, and the ref it is of.
type looked struct {
	facts  remit.StepFacts
	view   StepView
	ref    *remit.RefChange
	effect *remit.Effect
	info   remit.ActionInfo
	bad    remit.Code // why no rule can say anything of it; empty: they can
	scope  remit.Code // why the grant does not cover it; empty: it does
	hint   string     // what of it is bad, or lies outside
	child  *asked     // what a task.request or task.delegate step asks for
}

// look takes a request apart: a step for each ref that it moves, and one for each effect that the repository declares
// for that ref (R4). It never fails; what cannot be understood is denied by judge.
func (s *State) look(task *Task, r remit.Request) []looked {
	var out []looked
	for _, st := range r.Steps {
		st.Effect = false // only the declarations make effects
		if len(r.Refs) == 0 || st.Action != "source.push" && st.Action != "source.merge" {
			out = append(out, s.lookOne(task, r, st, nil, nil))
			continue
		}
		repo := s.Repositories[st.Resource.Name()]
		for i := range r.Refs {
			ref := &r.Refs[i]
			out = append(out, s.lookOne(task, r, st, ref, nil))
			if repo == nil {
				continue
			}
			for j := range repo.Effects {
				if e := &repo.Effects[j]; e.Refs.Match(remit.Resource(ref.Ref)) {
					out = append(out, s.lookOne(task, r, remit.Step{Action: e.Causes, Resource: e.On, Effect: true}, ref, e))
				}
			}
		}
	}
	return out
}

func (s *State) lookOne(task *Task, r remit.Request, st remit.Step, ref *remit.RefChange, effect *remit.Effect) looked {
	info, _ := remit.Lookup(st.Action)
	l := looked{ref: ref, effect: effect, info: info, facts: remit.StepFacts{Step: st}}
	l.bad, l.hint = s.unknown(info, st)
	l.view = StepView{Action: st.Action, Stage: info.Stage, Zone: s.zoneOf(info, st.Resource), Impact: info.Impact, Resource: st.Resource, Effect: st.Effect}
	repo := s.Repositories[st.Resource.Name()]
	if st.Resource.Type() == "environment" {
		if env := s.Environments[st.Resource.Name()]; env != nil {
			l.view.Tier = env.Tier
		}
	}
	if st.Resource.Type() == "repo" && repo != nil {
		l.view.DefaultBranch = "refs/heads/" + repo.DefaultBranch
	}
	if ref != nil {
		l.facts.Ref, l.facts.Op, l.facts.Commits = ref.Ref, ref.Op, ref.Commits
		l.view.Ref, l.view.Op, l.view.Commits = ref.Ref, ref.Op, ref.Commits
		if effect == nil {
			l.facts.Old, l.facts.New = unhex(ref.Old), unhex(ref.New)
			l.facts.Pushers, l.facts.Signers = union(nil, ref.Pushers), union(nil, ref.Signers)
			for _, f := range ref.Findings {
				l.facts.Findings = union(l.facts.Findings, []remit.Code{registered(f.Code, remit.BadObject)})
			}
			l.view.Paths, l.view.Pinned = ref.Paths, ref.Pinned
			l.view.Dependencies, l.view.Workflows, l.view.Owners, l.view.Truncated = ref.Dependencies, ref.Workflows, ref.Owners, ref.Truncated
			if repo != nil {
				l.facts.Protected = Match(append(slices.Clone(ControlSurface), repo.Protected...), ref.Paths)
				l.view.Protected = l.facts.Protected
			}
		}
	}
	if st.Action == "review.submit" { // it moves no ref, and is about who wrote what the refs show
		for i := range r.Refs {
			l.facts.Pushers, l.facts.Signers = union(l.facts.Pushers, r.Refs[i].Pushers), union(l.facts.Signers, r.Refs[i].Signers)
			l.facts.New = unhex(r.Refs[i].New) // the head that it is about
		}
	}
	if effect != nil {
		l.view.Secrets = effect.Secrets
		// The workflow files always count: an old one that runs by itself may not be among those that were declared.
		runs := append(slices.Clone(Workflows), effect.Runs...)
		l.facts.Runs = len(Match(runs, ref.Pinned)) > 0
		l.view.Runs = l.facts.Runs
		return l // an effect needs no entitlement: the pipeline runs under its own identity
	}
	if task != nil && l.bad == "" && asksChild(st.Action) {
		l.child = s.lookChild(task, r.Child, st)
		l.view.ChildFunction, l.view.ChildZone = l.child.facts.Function, l.child.facts.Zone
		if z := l.child.facts.Zone; z != remit.ZoneNone && !slices.Contains(remit.FunctionZones(s.Agents[task.Agent].Function), z) {
			l.view.Impact = remit.Privileged // it crosses into another zone
		}
		return l
	}
	if task != nil && st.Action != remit.ActionPlan {
		if l.bad == "" {
			l.scope, l.hint = inScope(task.Grant, st, ref, r)
		}
		l.facts.OutsideScope = l.scope != ""
		l.facts.OutsideEnvelope = outsideEnvelope(task.Envelope, ref, r)
		l.view.OutsideEnvelope = l.facts.OutsideEnvelope
	}
	return l
}

// unknown is R1 for a step: an action that the catalogue does not have, or a resource that is not declared.
func (s *State) unknown(info remit.ActionInfo, st remit.Step) (remit.Code, string) {
	if info.Action == "" {
		return remit.UnknownAction, fmt.Sprintf("the catalogue has no action %q", st.Action)
	}
	if _, err := remit.ParseResource(string(st.Resource)); err != nil || st.Resource.Type() != info.Resource {
		return remit.UnknownResource, fmt.Sprintf("%s acts on a resource of type %s, not on %q", st.Action, info.Resource, st.Resource)
	}
	switch name := st.Resource.Name(); st.Resource.Type() {
	case "repo":
		if s.Repositories[name] == nil {
			return remit.UnknownResource, fmt.Sprintf("no repository %q is declared", name)
		}
	case "environment":
		if s.Environments[name] == nil {
			return remit.UnknownResource, fmt.Sprintf("no environment %q is declared", name)
		}
	case "secret":
		if s.Secrets[name] == nil {
			return remit.UnknownResource, fmt.Sprintf("no secret %q is declared", name)
		}
	case "task":
		if s.Agents[name] == nil {
			return remit.UnknownResource, fmt.Sprintf("no agent %q is declared", name)
		}
	case "tool":
		server, tool, _ := strings.Cut(name, "/")
		if up := s.Upstreams[server]; tool == "" || server != remit.LocalTools && (up == nil || up.Type != remit.KindMCP) {
			return remit.UnknownResource, fmt.Sprintf("no server of tools %q is declared", server)
		}
	}
	return "", ""
}

// union is a with what of b it lacks, sorted.
func union[T cmp.Ordered](a, b []T) []T {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

// inScope finds a scope of the grant that covers the step whole. If none does, code and hint are those of the scope
// that came nearest.
func inScope(grant []remit.Scope, st remit.Step, ref *remit.RefChange, r remit.Request) (code remit.Code, hint string) {
	if st.Action == "tool.list" && itself(st.Resource) && reaches(grant, remit.ToolServer(st.Resource.Name())) {
		return "", "" // who may use anything of a server may see what it has
	}
	code = remit.OutOfScope
	rank := 0
	miss := func(n int, c remit.Code, h string) {
		if n > rank {
			rank, code, hint = n, c, h
		}
	}
	for _, g := range grant {
		if !slices.Contains(g.Actions, st.Action) || !slices.ContainsFunc(g.Resources, func(p remit.Pattern) bool { return p.Match(st.Resource) }) {
			continue
		}
		if ref == nil {
			return "", ""
		}
		if !slices.ContainsFunc(g.Refs, func(p remit.Pattern) bool { return p.Match(remit.Resource(ref.Ref)) }) {
			miss(1, remit.RefOutOfScope, ref.Ref)
			continue
		}
		if path, out := outside(g.Paths, ref.Paths); out {
			miss(2, remit.PathOutOfScope, path)
			continue
		}
		if len(g.Paths) > 0 && endsShared(ref, r.Caller.Task) {
			miss(2, remit.PathOutOfScope, "every path")
			continue
		}
		if g.MaxBytes != 0 && r.Bytes > g.MaxBytes || g.MaxCommits != 0 && ref.Commits > g.MaxCommits {
			miss(3, remit.OverLimit, ref.Ref)
			continue
		}
		return "", ""
	}
	return code, hint
}

func outsideEnvelope(e remit.Envelope, ref *remit.RefChange, r remit.Request) bool {
	if ref == nil {
		return false
	}
	if len(e.Refs) > 0 && !slices.ContainsFunc(e.Refs, func(p remit.Pattern) bool { return p.Match(remit.Resource(ref.Ref)) }) {
		return true
	}
	_, out := outside(e.Paths, ref.Paths)
	out = out || len(e.Paths) > 0 && endsShared(ref, r.Caller.Task)
	return out || e.MaxBytes != 0 && r.Bytes > e.MaxBytes || e.MaxCommits != 0 && ref.Commits > e.MaxCommits
}

// endsShared tells whether a ref is deleted that is not the task's own. That changes every path of it, although none is
// listed: made anew afterwards, the ref could have any state of the trusted history. A task's own refs bear its id.
func endsShared(ref *remit.RefChange, task remit.ID) bool {
	return ref.Op == remit.RefDelete && !slices.Contains(strings.Split(ref.Ref, "/"), string(task))
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

// FactsOf is what a policy judges for a request at t.
func FactsOf(s *State, r remit.Request, now int64) Facts {
	task := s.Tasks[r.Caller.Task]
	return s.factsOf(r, task, s.look(task, r), now)
}

func (s *State) factsOf(r remit.Request, task *Task, steps []looked, now int64) Facts {
	f := Facts{Org: s.Org, Profile: s.Profile, Minute: now / 60e9, Gateway: r.Gateway, Bytes: r.Bytes}
	agent := r.Caller.Agent
	if i := s.Instances[r.Caller.Instance]; i != nil {
		f.Instance = InstanceFacts{ID: i.ID, Confinement: i.Confinement, Launcher: i.Launcher}
	}
	if a := s.Accesses[r.Access]; a != nil && r.Access != "" {
		// A work order is judged as what it is: the act of the agent that asked for it.
		agent = a.Agent
		f.Instance = InstanceFacts{ID: a.Instance, Confinement: a.Confined, Launcher: a.Launcher}
		for _, v := range a.Votes {
			if x := v.Signed; !x.IsZero() {
				f.Approval.Votes = append(f.Approval.Votes, VoteFacts{v.Person, v.Approve, v.Assurance, x.Method, x.Provider, x.ACR, x.AMR, x.Age})
			}
		}
	}
	if a := s.Agents[agent]; a != nil {
		f.Agent = AgentFacts{Name: a.Name, Function: a.Function, Owner: a.Owner}
	}
	if task != nil {
		f.Instance.Ungoverned = len(task.Ungoverned) > 0
		f.Task = TaskFacts{ID: task.ID, Requester: task.Requester, Envelope: task.Envelope, OpenHolds: len(s.HoldsOf(task.ID)),
			Parent: task.Parent, Inputs: task.Inputs, Delegated: task.Delegated, Depth: s.depth(task), History: s.history(task)}
	}
	if c := r.Tool; c != nil && (len(c.Arguments) == 0 || json.Valid(c.Arguments)) { // what is no JSON is denied, and cannot be encoded
		f.Tool = *c
	}
	f.Artifacts, f.Deploy = r.Artifacts, s.deployFacts(r.Deploy)
	if r.Review != "" && len(r.Refs) == 1 {
		f.Review = ReviewFacts{Verdict: r.Review, Into: r.Refs[0].Ref, Base: r.Refs[0].Old, Head: r.Refs[0].New}
	}
	f.Steps = make([]StepView, 0, len(steps))
	for _, l := range steps {
		l.view.Debt = s.inDebt(s.upstreamOf(l.view.Resource), f.Minute*60e9)
		f.Steps = append(f.Steps, l.view)
	}
	f.Plan = s.planState(task, f.Minute*60e9, r, steps)
	if r.Plan != nil && task != nil {
		f.Steps = append(f.Steps, s.plannedViews(task, r)...)
	}
	return f
}
