package analysis

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/sshsig"
)

// The oracle knows nothing of graphs. It plays an attacker against a real state by real commands: every request that
// whoever is held can make, each with a task of its own, until nothing new is held.

// token is a FIDO token in software.
type token struct{ key ed25519.PrivateKey }

func tokenOf(name string) token {
	seed := sha256.Sum256([]byte(name))
	return token{ed25519.NewKeyFromSeed(seed[:])}
}

func (k token) PublicKey() ssh.PublicKey {
	pub, err := ssh.ParsePublicKey(ssh.Marshal(struct{ Type, Key, App string }{ssh.KeyAlgoSKED25519, string(k.key.Public().(ed25519.PublicKey)), "ssh:"}))
	if err != nil {
		panic(err)
	}
	return pub
}

func (k token) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	app, msg := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	rest := []byte{1, 0, 0, 0, 7}
	return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(k.key, slices.Concat(app[:], rest, msg[:])), Rest: rest}, nil
}

// fresh gives an instance that the attacker holds, on a task of its own that rests on a commit where that is asked for.
type fresh func(commit string) (remit.Caller, bool)

type oracle struct {
	t      *testing.T
	s      *authority.State
	set    authority.Set
	now    time.Time
	policy judge
	person string // whom the attacker holds; empty: nobody

	patient bool // they tell apart whose work each agent does that another one asked

	held   map[string]bool
	ways   map[string]map[string]fresh // by agent and errand, by how
	pushed map[string][]author         // by repository, what agents wrote
	did    map[string]bool
	n      int
}

const honest = "abababababababababababababababababababab" // somebody merged it

func (o *oracle) do(c authority.Command) ([]remit.Event, authority.Result, error) {
	o.n++
	events, res, err := authority.Decide(o.s, o.now, c)
	var stale *authority.Stale
	if errors.As(err, &stale) {
		a := c.(*authority.Authorize)
		a.Judged = authority.NewJudged(stale.Facts, o.s.Policy, o.policy(stale.Facts))
		events, res, err = authority.Decide(o.s, o.now, c)
	}
	return events, res, err
}

func (o *oracle) must(c authority.Command) authority.Result {
	o.t.Helper()
	events, res, err := o.do(c)
	if err != nil {
		o.t.Fatalf("%T: %v", c, err)
	}
	o.apply(events)
	return res
}

func (o *oracle) apply(events []remit.Event) {
	o.t.Helper()
	for _, e := range events {
		if err := authority.Apply(o.s, o.now.UnixNano(), e); err != nil {
			o.t.Fatalf("%s: %v", e.Kind(), err)
		}
	}
}

// act carries a request out, with the vote of who is held where one is asked for. made runs between redemption and outcome.
func (o *oracle) act(r remit.Request, made func(attempt remit.ID)) (at remit.EntryIndex, ok bool) {
	o.t.Helper()
	events, res, err := o.do(&authority.Authorize{Request: r, Hash: remit.Hash([]byte("permit"))})
	if err != nil {
		o.t.Fatalf("%v", err)
	}
	switch {
	case res.Decision.Verdict == remit.Deny, res.Decision.Verdict == remit.Hold && o.person == "":
		return 0, false
	case res.Decision.Verdict == remit.Hold:
		o.apply(events)
		id := res.Decision.Access
		a := o.s.Accesses[id]
		st := remit.Statement{Origin: o.s.Origin, Request: id, Approve: true, Effect: a.Effect, Change: a.Change, Card: a.Card, NotAfter: time.Unix(0, a.NotAfter)}.Bytes()
		sig, err := sshsig.Sign(tokenOf(o.person), remit.VoteNamespace, st)
		if err != nil {
			o.t.Fatalf("%v", err)
		}
		voted, _, err := o.do(&authority.CastVote{Access: id, Person: remit.ID("p-" + o.person), Statement: st, Signature: sig})
		if err != nil {
			return 0, false
		}
		o.apply(voted)
		if o.s.Accesses[id].Status != remit.AccessMet {
			return 0, false
		}
		claim := r
		claim.Caller, claim.Access = remit.Caller{Executor: o.s.Executor(a), Task: a.Task}, id
		if events, res, err = o.do(&authority.Authorize{Request: claim, Hash: remit.Hash([]byte("permit"))}); err != nil || res.Decision.Verdict != remit.Allow {
			return 0, false
		}
	}
	o.apply(events)
	x := o.must(&authority.Redeem{Permit: res.Decision.Permit.ID, Proof: remit.Hash([]byte("permit")), Hash: remit.Hash([]byte("proof"))}).Attempt.ID
	if made != nil {
		made(x)
	}
	o.must(&authority.Record{Attempt: x, Outcome: remit.Done})
	return res.Decision.Entry, true
}

func (o *oracle) start(agent string, by remit.ID) (remit.Caller, bool) {
	events, res, err := o.do(&authority.CreateTask{By: by, Agent: agent, Intent: remit.Hash([]byte("words"))})
	if err != nil {
		return remit.Caller{}, false
	}
	o.apply(events)
	return o.launch(res.ID, agent, by), true
}

func (o *oracle) launch(task remit.ID, agent string, by remit.ID) remit.Caller {
	i := o.must(&authority.StartInstance{By: by, Task: task, Confinement: remit.ConfineSandbox, Secret: remit.Hash([]byte("s")), Host: remit.Hash([]byte("h"))}).ID
	return remit.Caller{Instance: i, Agent: agent, Task: task}
}

func (o *oracle) hold(node string) bool {
	if o.held[node] {
		return false
	}
	o.held[node] = true
	return true
}

// learn keeps one more way to an instance.
func (o *oracle) learn(errand, how string, f fresh) bool {
	if o.ways[errand] == nil {
		o.ways[errand] = map[string]fresh{}
	}
	if o.ways[errand][how] != nil {
		return false
	}
	o.ways[errand][how] = f
	o.held["agent:"+errand] = true
	return true
}

func one(c remit.Caller, action remit.Action, on remit.Resource) remit.Request {
	return remit.Request{Gateway: "g", Caller: c, Steps: []remit.Step{{Action: action, Resource: on}}, Order: []byte("o")}
}

// read is a request by which an agent reads a text.
func (o *oracle) read(c remit.Caller, action remit.Action, on remit.Resource) remit.Request {
	r := one(c, action, on)
	if on.Type() == "tool" {
		i := slices.IndexFunc(o.set.Tools, func(t remit.ToolDeclared) bool { return t.Name == on.Name() })
		_, name, _ := strings.Cut(on.Name(), "/")
		r.Tool = &remit.ToolCall{Server: "web", Name: name, Method: "tools/call", Arguments: []byte("{}"), Pin: o.set.Tools[i].Pin}
		r.Steps[0].Args = remit.ToolDigest("tools/call", []byte("{}"))
	}
	return r
}

// play goes on until a round brings nothing.
func (o *oracle) play() {
	for more := true; more; {
		more = false
		for _, a := range o.set.Agents {
			if o.steer(a) {
				more = true
			}
		}
		for _, errand := range sorted(o.ways) {
			for _, how := range sorted(o.ways[errand]) {
				if o.moves(errand, how, o.ways[errand][how]) {
					more = true
				}
			}
		}
	}
}

// steer tries every text that an agent could read and the attacker writes.
func (o *oracle) steer(a remit.AgentDeclared) (any bool) {
	try := func(how, text string, action remit.Action, on remit.Resource) {
		if !o.held[text] || o.ways[a.Name][how] != nil || o.did[a.Name+how+text] {
			return
		}
		o.did[a.Name+how+text] = true
		f := func(string) (remit.Caller, bool) {
			c, ok := o.start(a.Name, a.Owner)
			if !ok {
				return c, false
			}
			_, ok = o.act(o.read(c, action, on), nil)
			return c, ok
		}
		if _, ok := f(""); ok {
			any = o.learn(a.Name, how, f) || any
		}
	}
	for _, r := range o.set.Repositories {
		repo := remit.Resource("repo:" + r.Name)
		try("read", string(repo), "source.read", repo)
		try("read", "branch:"+r.Name, "source.read", repo)
		try("issue-text", "untrusted:issue-text/"+r.Name, "issue.read", repo)
		for _, text := range []string{"untrusted:review-text/" + r.Name, "untrusted:pull-request/" + r.Name, "branch:" + r.Name} {
			try("review-text", text, "review.read", repo)
		}
	}
	for _, t := range o.set.Tools {
		if len(t.Taints) > 0 {
			try("web-page", "untrusted:web-page/"+t.Name, remit.ToolAction(t.Impact), remit.Resource("tool:"+t.Name))
		}
	}
	return any
}

// change is what a push or a merge would bring.
func change(ref, commit, path string, pin bool) remit.RefChange {
	c := remit.RefChange{Ref: ref, Op: remit.RefUpdate, Old: strings.Repeat("1", 40), New: commit, Tree: strings.Repeat("2", 40), Commits: 1,
		Paths: []remit.PathChange{{Path: path, NewMode: 0o100644, New: strings.Repeat("3", 40)}}}
	if pin {
		c.Pinned = c.Paths
	}
	return c
}

func commitOf(words ...any) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(fmt.Sprintln(words...))))[:40]
}

// landed is what follows from a ref that was moved.
func (o *oracle) landed(r remit.RepositoryDeclared, ref, path string, pin bool) (any bool) {
	if !pin {
		if ref == "refs/heads/main" {
			any = o.hold("repo:"+r.Name) || any
		} else {
			any = o.hold("branch:"+r.Name) || any
		}
	}
	for _, e := range r.Effects {
		switch {
		case !e.Refs.Match(remit.Resource(ref)):
		case e.Causes != "build.trigger":
			if !pin {
				any = o.hold(string(e.On)) || any
			}
		case pin && (strings.HasPrefix(path, ".github/") || slices.ContainsFunc(e.Runs, func(p remit.Pattern) bool { return p.MatchPath(path) })):
			any = o.hold(string(e.On)) || any
		}
	}
	return any
}

// moves tries everything with an instance that comes by one way.
func (o *oracle) moves(errand, how string, f fresh) (any bool) {
	agent, _, _ := strings.Cut(errand, "@")
	once := func(key string, g func(c remit.Caller) bool) {
		key = errand + "|" + how + "|" + key
		if o.did[key] {
			return
		}
		o.did[key] = true // nothing else that is held would change the answer
		if c, ok := f(honest); ok && g(c) {
			any = true
		}
	}
	tries := 0
	simple := func(node string, r func(remit.Caller) remit.Request) {
		if tries++; !o.held[node] {
			once(fmt.Sprint(node, tries), func(c remit.Caller) bool { _, ok := o.act(r(c), nil); return ok && o.hold(node) })
		}
	}
	for _, r := range o.set.Repositories {
		repo := remit.Resource("repo:" + r.Name)
		for _, a := range []remit.Action{"issue.comment", "issue.write"} {
			simple("untrusted:issue-text/"+r.Name, func(c remit.Caller) remit.Request { return one(c, a, repo) })
		}
		simple("untrusted:review-text/"+r.Name, func(c remit.Caller) remit.Request { return one(c, "source.propose", repo) })
		simple("untrusted:review-text/"+r.Name, func(c remit.Caller) remit.Request {
			q := one(c, "review.submit", repo)
			q.Review, q.Refs = remit.ReviewApprove, []remit.RefChange{change("refs/heads/main", commitOf("x"), "src/a", false)}
			return q
		})
		for _, ref := range []string{"refs/heads/main", "refs/heads/remit/{task}/x", "refs/heads/rel/1", "refs/heads/else"} {
			for _, path := range []string{"src/a", ".github/workflows/w.yml", "ci/run"} {
				pin := path != "src/a"
				once("push "+r.Name+ref+path, func(c remit.Caller) bool {
					q := one(c, "source.push", repo)
					at := strings.ReplaceAll(ref, "{task}", string(c.Task))
					commit := commitOf(errand, how, at, path)
					q.Refs, q.Bytes = []remit.RefChange{change(at, commit, path, pin)}, 1
					if ref != "refs/heads/main" {
						q.Refs[0].Op, q.Refs[0].Old = remit.RefCreate, ""
					}
					entry, ok := o.act(q, nil)
					if !ok {
						return false
					}
					if key := "pushed " + r.Name + errand + how; !pin && !o.did[key] { // one stands for all of who wrote it
						o.did[key] = true
						o.pushed[r.Name] = append(o.pushed[r.Name], author{pusher: entry, text: agent})
					}
					o.landed(r, at, path, pin)
					return true
				})
				if ref != "refs/heads/remit/{task}/x" {
					any = o.merge(errand, how, r, ref, path, f) || any
				}
			}
		}
	}
	for _, x := range o.set.Secrets {
		for _, a := range []remit.Action{"secret.read", "secret.use"} {
			simple("secret:"+x.Name, func(c remit.Caller) remit.Request { return one(c, a, remit.Resource("secret:"+x.Name)) })
		}
	}
	for _, t := range o.set.Tools {
		simple("tool:"+t.Name, func(c remit.Caller) remit.Request {
			return o.read(c, remit.ToolAction(t.Impact), remit.Resource("tool:"+t.Name))
		})
	}
	for _, art := range []remit.Resource{"artifact:oci/one", "artifact:oci/two"} {
		simple(string(art), func(c remit.Caller) remit.Request { return published(c, art) })
	}
	for _, e := range o.set.Environments {
		simple("environment:"+e.Name, func(c remit.Caller) remit.Request {
			return one(c, "operate.change", remit.Resource("environment:"+e.Name))
		})
		for _, art := range []remit.Resource{"artifact:oci/one", "artifact:oci/two"} {
			if o.held[string(art)] {
				any = o.deploy(errand, how, e, art, f) || any
			}
		}
	}
	return o.requests(errand, agent, how, f) || any
}

func published(c remit.Caller, art remit.Resource) remit.Request {
	q := one(c, "artifact.publish", art)
	q.Artifacts = []remit.Artifact{{Resource: art, Digest: "sha256:" + strings.Repeat("a", 64)}}
	q.Steps[0].Args = authority.ArtifactsDigest(q.Artifacts)
	return q
}

// merge tries a merge of what every author wrote who is held, after every review and build that can be had.
func (o *oracle) merge(errand, how string, r remit.RepositoryDeclared, ref, path string, f fresh) bool {
	pin := path != "src/a"
	var wrote []author
	if o.held["untrusted:pull-request/"+r.Name] {
		wrote = append(wrote, author{})
	}
	for _, w := range append(wrote, o.pushed[r.Name]...) {
		voices := 0
		for _, e := range sorted(o.ways) {
			if i := slices.IndexFunc(o.set.Agents, func(a remit.AgentDeclared) bool { return a.Name == e }); i >= 0 && o.set.Agents[i].Function == remit.FuncReview {
				voices += len(o.ways[e])
			}
		}
		key := fmt.Sprint("merge ", errand, how, r.Name, ref, path, w.pusher, voices, len(o.ways))
		if o.did[key] {
			continue
		}
		o.did[key] = true
		q := one(remit.Caller{}, "source.merge", remit.Resource("repo:"+r.Name))
		q.Refs, q.Bytes = []remit.RefChange{change(ref, commitOf("merge", r.Name, w.pusher), path, pin)}, 1
		if w.pusher != 0 {
			q.Refs[0].Pushers = []remit.EntryIndex{w.pusher}
		}
		c, ok := f(honest)
		if !ok {
			continue
		}
		q.Caller = c
		if _, res, err := o.do(&authority.Authorize{Request: q, Hash: remit.Hash([]byte("permit"))}); err != nil || res.Decision.Verdict == remit.Deny && res.Decision.Code != remit.ReviewMissing {
			continue // no review would change that
		}
		if o.tried(q) {
			return o.landed(r, ref, path, pin)
		}
	}
	return false
}

func (o *oracle) deploy(errand, how string, e remit.EnvironmentDeclared, art remit.Resource, f fresh) bool {
	key := "deploy " + errand + how + e.Name + string(art)
	if o.did[key] || o.held["environment:"+e.Name] {
		return false
	}
	o.did[key] = true
	c, ok := f(honest)
	if !ok {
		return false
	}
	d := remit.Deploy{Environment: e.Name, Artifacts: []remit.Artifact{{Resource: art, Digest: "sha256:" + strings.Repeat("a", 64)}}}
	q := remit.Request{Gateway: "g", Caller: c, Deploy: &d, Steps: []remit.Step{d.Step()}, Order: []byte("o")}
	q.Steps[0].Args = authority.DeployDigest(d)
	_, ok = o.act(q, nil)
	return ok && o.hold("environment:"+e.Name)
}

// requests tries to have work done by every other agent, on no commit and on one of each repository.
func (o *oracle) requests(errand, agent, how string, f fresh) (any bool) {
	for _, other := range o.set.Agents {
		for i := -1; i <= len(o.set.Repositories); i++ {
			name, on := other.Name, ""
			var repo remit.RepositoryDeclared
			if i >= 0 && i < len(o.set.Repositories) {
				repo = o.set.Repositories[i]
				builds := slices.ContainsFunc(other.Entitlements, func(sc remit.Scope) bool {
					return slices.Contains(sc.Actions, "artifact.publish") && slices.ContainsFunc(repo.Artifacts, func(p remit.Pattern) bool { return slices.Contains(sc.Resources, p) })
				})
				if builds {
					on = "@" + repo.Name
				}
			}
			key := fmt.Sprint("request ", errand, how, name, i)
			handed := o.handed(agent, how)
			if o.did[key] || o.ways[name+on][handed] != nil {
				continue
			}
			o.did[key] = true
			get := func(commit string) (remit.Caller, bool) {
				c, ok := f(honest)
				if !ok {
					return c, false
				}
				child := remit.Child{Agent: name, Intent: remit.Hash([]byte("words"))}
				switch {
				case i == len(o.set.Repositories):
					child.Inputs = []remit.Input{{Resource: "artifact:oci/x", ID: "sha256:" + strings.Repeat("a", 64)}}
				case i >= 0:
					child.Inputs = []remit.Input{{Resource: remit.Resource("repo:" + repo.Name), ID: commit}}
				}
				var id remit.ID
				q := one(c, "task.request", remit.Resource("task:"+name))
				q.Child, q.Steps[0].Args = &child, authority.ChildDigest(child)
				if _, ok := o.act(q, func(x remit.ID) { id = o.must(&authority.CreateChild{Attempt: x, Child: child}).ID }); !ok {
					return c, false
				}
				return o.launch(id, name, o.s.Tasks[id].Requester), true
			}
			if _, ok := get(honest); ok {
				any = o.learn(name+on, handed, get) || any
			}
		}
	}
	return any
}

// handed is how an agent works whom another one asked: as that one was held, for whoever its task began with, and as the work
// of the first reviewer among them.
func (o *oracle) handed(agent, how string) string {
	if !o.patient {
		return how
	}
	text, behind, chained := strings.Cut(how, "<")
	root, voice, _ := strings.Cut(behind, "/")
	i := slices.IndexFunc(o.set.Agents, func(a remit.AgentDeclared) bool { return a.Name == agent })
	if !chained {
		if root = string(o.set.Agents[i].Owner); how == "own" {
			root = "p-" + o.person
		}
	}
	if voice == "" && o.set.Agents[i].Function == remit.FuncReview {
		voice = agent
	}
	return text + "<" + root + "/" + voice
}

// tried merges after reviews of everybody who can review. Who is patient has each verdict be whoever's work it can be: in the
// first round in the first way, and so on. A later verdict of an agent takes the place of the one before.
func (o *oracle) tried(q remit.Request) bool {
	var who []string
	rounds := 1
	for _, e := range sorted(o.ways) {
		if i := slices.IndexFunc(o.set.Agents, func(a remit.AgentDeclared) bool { return a.Name == e }); i >= 0 && o.reviews(e, q) {
			who = append(who, e)
			if o.patient {
				rounds = max(rounds, len(o.ways[e]))
			}
		}
	}
	for round := range rounds {
		for _, e := range who {
			hows := sorted(o.ways[e])
			for i := range hows {
				if o.approves(e, hows[(round+i)%len(hows)], q) {
					break
				}
			}
		}
		if _, ok := o.act(q, nil); ok {
			return true
		}
	}
	return false
}

// reviews tells whether an agent is one that could review.
func (o *oracle) reviews(agent string, q remit.Request) bool {
	i := slices.IndexFunc(o.set.Agents, func(a remit.AgentDeclared) bool { return a.Name == agent })
	return slices.ContainsFunc(o.set.Agents[i].Entitlements, func(sc remit.Scope) bool {
		return slices.Contains(sc.Actions, "review.submit") && slices.ContainsFunc(sc.Resources, func(p remit.Pattern) bool { return p.Match(q.Steps[0].Resource) })
	})
}

// approves has an agent approve of what a request merges.
func (o *oracle) approves(agent, how string, q remit.Request) bool {
	c, ok := o.ways[agent][how](honest)
	if !ok {
		return false
	}
	v := q
	v.Caller, v.Review, v.Bytes = c, remit.ReviewApprove, 0
	v.Steps = []remit.Step{{Action: "review.submit", Resource: q.Steps[0].Resource}}
	_, ok = o.act(v, nil)
	return ok
}
