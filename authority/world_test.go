package authority_test

import (
	"bytes"
	"cmp"
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
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/sshsig"
)

// token is a FIDO token in software: it signs as PROTOCOL.u2f of OpenSSH says, and always saw a touch.
type token struct{ key ed25519.PrivateKey }

func (k token) PublicKey() ssh.PublicKey {
	wire := ssh.Marshal(struct{ Type, Key, App string }{ssh.KeyAlgoSKED25519, string(k.key.Public().(ed25519.PublicKey)), "ssh:"})
	pub, err := ssh.ParsePublicKey(wire)
	if err != nil {
		panic(err)
	}
	return pub
}

func (k token) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	app, msg := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	rest := []byte{1, 0, 0, 0, 7}
	signed := append(append(append([]byte{}, app[:]...), rest...), msg[:]...)
	return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(k.key, signed), Rest: rest}, nil
}

// touch and soft are keys that hang on their name alone: one in hardware, one in a file.
func touch(name string) ssh.Signer {
	seed := sha256.Sum256([]byte("touch " + name))
	return token{ed25519.NewKeyFromSeed(seed[:])}
}

func soft(name string) ssh.Signer {
	seed := sha256.Sum256([]byte("soft " + name))
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		panic(err)
	}
	return s
}

func key(s ssh.Signer) remit.Key { return remit.Key{Public: s.PublicKey().Marshal()} }

func person(name string, keys ...ssh.Signer) remit.PersonDeclared {
	p := remit.PersonDeclared{ID: remit.ID("p-" + name), Name: remit.Hash([]byte(name))}
	for _, k := range keys {
		p.Keys = append(p.Keys, key(k))
	}
	return p
}

// tb is what both testing.TB and rapid.T are.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

// entry is an event at its place in the log.
type entry struct {
	at    int64
	event remit.Event
	bytes []byte
}

// world is an authority with its log, its clock, its declarations and its policy.
type world struct {
	t      tb
	s      *authority.State
	log    []entry
	now    time.Time
	set    authority.Set
	policy func(authority.Facts) authority.Finding
	quick  bool // leave out what is checked at every command
}

var (
	start  = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	bundle = remit.Hash([]byte("bundle"))
	secret = remit.Hash([]byte("secret of a permit"))
	proof  = remit.Hash([]byte("secret of an attempt"))
	host   = remit.Hash([]byte("mia's laptop"))
)

const (
	payments   = remit.Resource("repo:forge/acme/payments")
	docs       = remit.Resource("repo:forge/acme/docs")
	production = remit.Resource("environment:payments/production")
	staging    = remit.Resource("environment:payments/staging")
)

// declarations are those of a small company: mia owns the coder; noa, rio and tom review; rio and sam release. noa has no
// key in hardware.
func declarations() authority.Set {
	return authority.Set{
		People: []remit.PersonDeclared{person("ada", touch("ada")), person("bob", touch("bob")), person("mia", soft("mia"), touch("mia")),
			person("noa", soft("noa")), person("rio", soft("rio"), touch("rio")), person("sam", touch("sam")), person("tom", touch("tom"))},
		Groups: []remit.GroupDeclared{
			{Name: remit.Administrators, Members: []remit.ID{"p-ada", "p-bob"}},
			{Name: "devs", Members: []remit.ID{"p-mia", "p-noa"}},
			{Name: "reviewers", Members: []remit.ID{"p-noa", "p-rio", "p-tom"}},
			{Name: "release", Members: []remit.ID{"p-rio", "p-sam"}},
		},
		Upstreams: []remit.UpstreamDeclared{{Name: "forge", Type: "http", Spec: remit.Hash([]byte("forge"))}},
		Environments: []remit.EnvironmentDeclared{
			{Name: "payments/production", Tier: "production", Approvers: []remit.Need{{Group: "release", N: 2}}},
			{Name: "payments/staging", Tier: "staging", Approvers: []remit.Need{{Group: "release", N: 1}}},
		},
		Repositories: []remit.RepositoryDeclared{
			{Name: "forge/acme/payments", Path: "acme/payments.git", DefaultBranch: "main", Approvers: []remit.Need{{Group: "reviewers", N: 1}},
				Protected: []remit.Pattern{"deploy/**"}, Effects: []remit.Effect{
					{Refs: "refs/heads/main", Causes: "deploy.promote", On: production},
					{Refs: "refs/heads/**", Causes: "build.trigger", On: "pipeline:payments/ci", Secrets: "exposed"},
					{Refs: "refs/heads/remit/**", Causes: "build.trigger", On: "pipeline:payments/lint", Secrets: "none"}}},
			{Name: "forge/acme/docs", Path: "acme/docs.git", DefaultBranch: "main"},
		},
		Agents: []remit.AgentDeclared{
			{Name: "coder", Function: remit.FuncCode, Owner: "p-mia", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
				{Actions: []remit.Action{"source.push", "source.read", "build.read"}, Resources: []remit.Pattern{"repo:forge/acme/*", "pipeline:payments/*"}},
				{Actions: []remit.Action{"probe.write", "probe.privileged"}, Resources: []remit.Pattern{"probe:canary"}}}},
			{Name: "merger", Function: remit.FuncCode, Owner: "p-ada", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
				{Actions: []remit.Action{"source.merge"}, Resources: []remit.Pattern{"repo:forge/acme/**"}, Refs: []remit.Pattern{"refs/heads/**"}}}},
			{Name: "critic", Function: remit.FuncReview, Owner: "p-noa", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
				{Actions: []remit.Action{"review.submit", "review.read"}, Resources: []remit.Pattern{"repo:forge/acme/**"}}}},
			{Name: "pilot", Function: remit.FuncDeploy, Owner: "p-ada", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
				{Actions: []remit.Action{"deploy.promote", "deploy.read", "secret.read"}, Resources: []remit.Pattern{"environment:payments/**", "secret:vault/**"}}}},
		},
	}
}

func newWorld(t tb, profile remit.Profile, changes ...func(*authority.Set)) *world {
	t.Helper()
	w := &world{t: t, s: authority.New(), now: start, set: declarations()}
	w.must(&authority.Init{Org: "acme", Origin: "log.acme.example", Verifier: "v", Profile: profile, OPA: "1.0",
		Admins: []remit.PersonDeclared{person("ada", touch("ada"))}, Policy: bundle})
	for _, c := range changes {
		c(&w.set)
	}
	w.must(&authority.ApplySet{By: "p-ada", Set: w.set})
	w.now = w.now.Add(time.Minute)
	return w
}

// do decides a command, checks what must hold of every decision, and appends and applies what it made true.
func (w *world) do(c authority.Command) (authority.Result, error) {
	w.t.Helper()
	var before []byte
	if !w.quick {
		before = w.s.Encode()
	}
	events, res, err := w.decide(c)
	if !w.quick {
		if !bytes.Equal(before, w.s.Encode()) {
			w.t.Fatalf("Decide changed the state at %T", c)
		}
		w.same(c, events, err)
	}
	for _, e := range events {
		b, err := ledger.Encode(ledger.Leaf{At: w.now, Event: e})
		if err != nil {
			w.t.Fatalf("%s cannot be recorded: %v", e.Kind(), err)
		}
		l, err := ledger.Decode(b)
		if err != nil {
			w.t.Fatalf("%s cannot be read: %v", e.Kind(), err)
		}
		if err := authority.Apply(w.s, w.now.UnixNano(), l.Event); err != nil {
			w.t.Fatalf("%T made %s, which does not apply: %v", c, e.Kind(), err)
		}
		w.log = append(w.log, entry{w.now.UnixNano(), l.Event, b})
	}
	return res, err
}

func (w *world) decide(c authority.Command) ([]remit.Event, authority.Result, error) {
	w.t.Helper()
	events, res, err := authority.Decide(w.s, w.now, c)
	var stale *authority.Stale
	if errors.As(err, &stale) {
		if stale.Error() == "" {
			w.t.Fatalf("an error says something")
		}
		a := c.(*authority.Authorize)
		a.Judged = authority.NewJudged(stale.Facts, w.s.Policy, w.judge(stale.Facts))
		events, res, err = authority.Decide(w.s, w.now, c)
	}
	return events, res, err
}

func (w *world) judge(f authority.Facts) authority.Finding {
	if w.policy == nil {
		return authority.Finding{Verdict: remit.Allow}
	}
	return w.policy(f)
}

// same checks that a command gives the same events again, as it is and as it is stored.
func (w *world) same(c authority.Command, events []remit.Event, failed error) {
	w.t.Helper()
	b, err := authority.EncodeCommand(c)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	stored, err := authority.DecodeCommand(b)
	if err != nil {
		w.t.Fatalf("stored %T: %v", c, err)
	}
	for _, again := range []authority.Command{c, stored} {
		got, _, err := w.decide(again)
		if fmt.Sprint(err) != fmt.Sprint(failed) {
			w.t.Fatalf("%T: %v, and again %v", c, failed, err)
		}
		if !bytes.Equal(encodeAll(w, events), encodeAll(w, got)) {
			w.t.Fatalf("%T gives other events when it is decided again", c)
		}
	}
}

func encodeAll(w *world, events []remit.Event) []byte {
	w.t.Helper()
	var all []byte
	for _, e := range events {
		b, err := ledger.Encode(ledger.Leaf{At: w.now, Event: e})
		if err != nil {
			w.t.Fatalf("%s cannot be recorded: %v", e.Kind(), err)
		}
		all = append(all, b...)
	}
	return all
}

func (w *world) must(c authority.Command) authority.Result {
	w.t.Helper()
	res, err := w.do(c)
	if err != nil {
		w.t.Fatalf("%T: %v", c, err)
	}
	return res
}

// refuse expects an error with a code whose sentence has some words.
func (w *world) refuse(c authority.Command, code remit.Code, words string) {
	w.t.Helper()
	_, err := w.do(c)
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Sentence, words) {
		w.t.Fatalf("%T: %v; want %s with %q", c, err, code, words)
	}
}

func (w *world) later(d time.Duration) *world {
	w.now = w.now.Add(d)
	return w
}

func (w *world) tick() { w.t.Helper(); w.must(&authority.Tick{}) }

// apply puts changed declarations in force; bob approves where that is asked for.
func (w *world) apply(change func(*authority.Set)) {
	w.t.Helper()
	w.set = clone(w.set)
	change(&w.set)
	res := w.must(&authority.ApplySet{By: "p-ada", Set: w.set})
	if res.Decision.Verdict == remit.Hold {
		w.vote(res.Decision.Access, "bob", touch("bob"), true)
		w.must(&authority.ApplySet{By: "p-ada", Set: w.set, Access: res.Decision.Access})
	}
	w.later(time.Second)
}

// clone lets a change replace members without touching those in force.
func clone(s authority.Set) authority.Set {
	s.People, s.Groups, s.Agents = slices.Clone(s.People), slices.Clone(s.Groups), slices.Clone(s.Agents)
	s.Repositories, s.Environments, s.Upstreams = slices.Clone(s.Repositories), slices.Clone(s.Environments), slices.Clone(s.Upstreams)
	s.Boundaries, s.Secrets = slices.Clone(s.Boundaries), slices.Clone(s.Secrets)
	return s
}

// caller is an instance of a task.
type caller = remit.Caller

// task requests work of an agent and starts an instance of it.
func (w *world) task(agent string, by remit.ID, changes ...func(*authority.CreateTask)) caller {
	w.t.Helper()
	c := &authority.CreateTask{By: by, Agent: agent, Intent: remit.Hash([]byte("words"))}
	for _, change := range changes {
		change(c)
	}
	id := w.must(c).ID
	return w.launch(id, agent, by)
}

func (w *world) launch(task remit.ID, agent string, by remit.ID) caller {
	w.t.Helper()
	i := w.must(&authority.StartInstance{By: by, Task: task, Confinement: remit.ConfineUID, Secret: secret, Host: host}).ID
	return caller{Instance: i, Agent: agent, Task: task}
}

func oid(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:40] }

// paths are changed files.
func paths(names ...string) []remit.PathChange {
	var out []remit.PathChange
	for _, n := range names {
		out = append(out, remit.PathChange{Path: n, NewMode: 0o100644, New: oid("blob " + n)})
	}
	return out
}

// branch is a ref of a task's own.
func branch(c caller, name string) string { return "refs/heads/remit/" + string(c.Task) + "/" + name }

// push is a request that moves one ref of payments.
func push(c caller, ref, tip string, names ...string) remit.Request {
	return remit.Request{Gateway: "git", Caller: c, Steps: []remit.Step{{Action: "source.push", Resource: payments}},
		Refs:  []remit.RefChange{{Ref: ref, Op: remit.RefCreate, New: oid(tip), Tree: oid("tree " + tip), Commits: 1, Paths: paths(names...)}},
		Bytes: 100, Order: []byte("order")}
}

// step is a request for one action.
func step(c caller, action remit.Action, r remit.Resource) remit.Request {
	return remit.Request{Gateway: "web", Caller: c, Steps: []remit.Step{{Action: action, Resource: r}}}
}

func (w *world) ask(r remit.Request) remit.Decision {
	w.t.Helper()
	return w.must(&authority.Authorize{Request: r, Hash: remit.Hash(secret[:])}).Decision
}

func (w *world) allow(r remit.Request) remit.Decision {
	w.t.Helper()
	d := w.ask(r)
	if d.Verdict != remit.Allow || d.Permit.ID == "" && !r.Preview {
		w.t.Fatalf("%s %s: %s; want an allow", d.Verdict, d.Code, d.Sentence)
	}
	return d
}

func (w *world) deny(r remit.Request, code remit.Code, words string) remit.Decision {
	w.t.Helper()
	d := w.ask(r)
	if d.Verdict != remit.Deny || d.Code != code || !strings.Contains(d.Sentence, words) || d.Permit.ID != "" {
		w.t.Fatalf("%s %s: %s; want a deny %s with %q", d.Verdict, d.Code, d.Sentence, code, words)
	}
	if d.Code.Info().Code != d.Code {
		w.t.Fatalf("code %s is not registered", d.Code)
	}
	return d
}

func (w *world) hold(r remit.Request, code remit.Code, needs ...remit.Need) remit.ID {
	w.t.Helper()
	d := w.ask(r)
	if d.Verdict != remit.Hold || d.Code != code || d.Access == "" {
		w.t.Fatalf("%s %s: %s; want a hold %s", d.Verdict, d.Code, d.Sentence, code)
	}
	if a := w.s.Accesses[d.Access]; len(needs) > 0 && !slices.EqualFunc(a.Needs, needs, remit.Need.Equal) {
		w.t.Fatalf("it needs %v, not %v", a.Needs, needs)
	}
	return d.Access
}

// ballot is the vote that a person would send.
func (w *world) ballot(access remit.ID, voter string, k ssh.Signer, approve bool) *authority.CastVote {
	w.t.Helper()
	a := w.s.Accesses[access]
	if a == nil {
		w.t.Fatalf("there is no request %s", access)
	}
	st := remit.Statement{Origin: w.s.Origin, Request: access, Approve: approve, Effect: a.Effect, Change: a.Change, Card: a.Card,
		NotAfter: time.Unix(0, a.NotAfter)}.Bytes()
	sig, err := sshsig.Sign(k, remit.VoteNamespace, st)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	return &authority.CastVote{Access: access, Person: remit.ID("p-" + voter), Statement: st, Signature: sig}
}

func (w *world) vote(access remit.ID, voter string, k ssh.Signer, approve bool) {
	w.t.Helper()
	w.must(w.ballot(access, voter, k, approve))
}

// claim is the executor's request for an approved work order.
func (w *world) claim(access remit.ID, r remit.Request) remit.Request {
	r.Caller = remit.Caller{Executor: "executor/source", Task: r.Caller.Task}
	r.Access = access
	return r
}

func (w *world) redeem(permit remit.ID) authority.Result {
	w.t.Helper()
	return w.must(&authority.Redeem{Permit: permit, Proof: remit.Hash(secret[:]), Hash: proof})
}

func (w *world) status(access remit.ID, status remit.AccessStatus, why remit.Code) {
	w.t.Helper()
	a := w.s.Accesses[access]
	if a == nil || a.Status != status || status == remit.AccessVoid && a.Why != why {
		w.t.Fatalf("access request %s is %+v; want %s %s", access, a, status, why)
	}
}

// shorter lets a hold end in a moment, as a shorter time for holds would.
func (w *world) shorter(id remit.ID) {
	at := w.now.UnixNano() + 1
	w.s.Accesses[id].NotAfter = at
	for i, x := range w.s.Timers.Heap {
		if x.ID == id {
			w.s.Timers.Heap[i].At = at
		}
	}
	slices.SortFunc(w.s.Timers.Heap, func(a, b authority.Timer) int { return cmp.Compare(a.At, b.At) }) // a sorted list is a heap
}

// each runs rows of a table, one fresh world for each.
type row struct {
	name string
	run  func(t *testing.T, w *world)
}

func each(t *testing.T, profile remit.Profile, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, profile)
			r.run(t, w)
			w.replay()
		})
	}
}

// replay folds the log into a new state and compares.
func (w *world) replay() {
	w.t.Helper()
	s := authority.New()
	for _, e := range w.log {
		l, err := ledger.Decode(e.bytes)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		if err := authority.Apply(s, e.at, l.Event); err != nil {
			w.t.Fatalf("replay: %v", err)
		}
	}
	if !bytes.Equal(s.Encode(), w.s.Encode()) {
		w.t.Fatalf("the replayed state differs")
	}
}

var _ = testing.Short

// without leaves a person out, with every mention of them.
func without(id remit.ID) func(*authority.Set) {
	return func(s *authority.Set) {
		var people []remit.PersonDeclared
		for _, p := range s.People {
			if p.ID != id {
				people = append(people, p)
			}
		}
		s.People = people
		for i := range s.Groups {
			var members []remit.ID
			for _, m := range s.Groups[i].Members {
				if m != id {
					members = append(members, m)
				}
			}
			s.Groups[i].Members = members
		}
		for i := range s.Agents {
			if s.Agents[i].Owner == id {
				s.Agents[i].Owner = "p-sam"
			}
		}
	}
}
