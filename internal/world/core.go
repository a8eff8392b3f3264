package world

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/sshsig"
)

// Core is an organisation with an engine and nothing in front of it: ada and bob administer, mia owns the agents coder
// and canary, devs request their tasks, noa and rio review.
type Core struct {
	Engine *engine.Engine
	Config engine.Config
	Clock  *Clock
	Rules  *Rules
	Set    authority.Set // in force
}

// CoreOptions say over what a core stands. Store is required; the other members have useful zero values.
type CoreOptions struct {
	Store  ledger.Store
	Dir    string // for blobs and pending kills; empty: neither
	Clock  *Clock
	Rules  *Rules
	Random io.Reader
	Log    *slog.Logger
}

// Names of what CoreSet declares.
const (
	App    remit.Resource = "repo:forge/acme/app"
	Canary remit.Resource = "probe:canary"
)

// OpenCore opens an engine over a store. It begins the log if that is empty.
func OpenCore(ctx context.Context, o CoreOptions) (*Core, error) {
	c := &Core{Clock: o.Clock, Rules: o.Rules, Set: CoreSet()}
	if c.Clock == nil {
		c.Clock = NewClock()
	}
	if c.Rules == nil {
		c.Rules = NewRules()
	}
	c.Config = engine.Config{Store: o.Store, Policies: c.Rules, Clock: c.Clock, Log: o.Log, Random: o.Random}
	if c.Config.Log == nil {
		c.Config.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dir != "" {
		blobs, err := ledger.OpenBlobDir(filepath.Join(o.Dir, "blobs"), ledger.BlobOptions{})
		if err != nil {
			return nil, err
		}
		c.Config.Blobs, c.Config.Kills = blobs, filepath.Join(o.Dir, "pending-kills")
	}
	var err error
	if c.Engine, err = engine.Open(ctx, c.Config); err != nil {
		return nil, err
	}
	begun := false
	c.Engine.View(func(s *authority.State) { begun = s.Next > 0 })
	if begun {
		return c, nil
	}
	for _, cmd := range []authority.Command{
		&authority.Init{Org: Org, Origin: "acme.example/log", Verifier: "none", Profile: remit.Team, OPA: "0", Policy: c.Rules.Add(Nothing),
			Admins: []remit.PersonDeclared{CorePerson("ada")}},
		&authority.ApplySet{By: "p-ada", Set: c.Set},
	} {
		if _, err := c.Engine.Do(ctx, cmd); err != nil {
			c.Engine.Close()
			return nil, err
		}
	}
	c.Clock.Advance(time.Minute)
	return c, nil
}

// CoreSet is what a core declares first.
func CoreSet() authority.Set {
	all := []remit.Pattern{"repo:forge/acme/*", "repo:mirror/acme/*"}
	return authority.Set{
		People: []remit.PersonDeclared{CorePerson("ada"), CorePerson("bob"), CorePerson("mia"), CorePerson("noa"), CorePerson("rio")},
		Groups: []remit.GroupDeclared{
			{Name: remit.Administrators, Members: []remit.ID{"p-ada", "p-bob"}},
			{Name: "devs", Members: []remit.ID{"p-mia", "p-noa"}},
			{Name: "reviewers", Members: []remit.ID{"p-noa", "p-rio"}},
		},
		Upstreams: []remit.UpstreamDeclared{{Name: "forge", Type: "http", Spec: remit.Hash([]byte("forge"))},
			{Name: "mirror", Type: "http", Spec: remit.Hash([]byte("mirror"))}},
		Repositories: []remit.RepositoryDeclared{{Name: "forge/acme/app", Path: "acme/app.git", DefaultBranch: "main",
			Approvers: []remit.Need{{Group: "reviewers", N: 1}}, Protected: []remit.Pattern{"deploy/**"}},
			{Name: "mirror/acme/app", Path: "acme/app.git", DefaultBranch: "main"}},
		Agents: []remit.AgentDeclared{
			{Name: "canary", Function: remit.FuncCode, Owner: "p-mia", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
				{Actions: []remit.Action{"probe.read", "probe.write", "probe.privileged"}, Resources: []remit.Pattern{remit.Pattern(Canary)}}}},
			{Name: "coder", Function: remit.FuncCode, Owner: "p-mia", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
				{Actions: []remit.Action{"source.push", "source.read", "issue.read"}, Resources: all},
				{Actions: []remit.Action{"build.read"}, Resources: []remit.Pattern{"pipeline:acme/ci"}}}},
		},
	}
}

// CorePerson declares a person with the key that Touch gives.
func CorePerson(name string) remit.PersonDeclared {
	return remit.PersonDeclared{ID: remit.ID("p-" + name), Name: remit.Hash([]byte(name)), Keys: []remit.Key{{Public: Touch(name).PublicKey().Marshal()}}}
}

// Task requests a task of an agent and launches it.
func (c *Core) Task(ctx context.Context, agent, by string) (remit.Caller, error) {
	res, err := c.Engine.Do(ctx, &authority.CreateTask{By: remit.ID("p-" + by), Agent: agent, Intent: remit.Hash([]byte("words"))})
	if err != nil {
		return remit.Caller{}, err
	}
	return c.Launch(ctx, res.ID, agent, by)
}

// Launch starts an instance of a task.
func (c *Core) Launch(ctx context.Context, task remit.ID, agent, by string) (remit.Caller, error) {
	res, err := c.Engine.Do(ctx, &authority.StartInstance{By: remit.ID("p-" + by), Task: task, Confinement: remit.ConfineUID,
		Secret: remit.Hash(make([]byte, 32)), Host: remit.Hash([]byte("a laptop"))})
	return remit.Caller{Instance: res.ID, Agent: agent, Task: task}, err
}

// Ask is a request for an action on the canary.
func Ask(c remit.Caller, action remit.Action) remit.Request {
	return remit.Request{Gateway: "probe", Caller: c, Steps: []remit.Step{{Action: action, Resource: Canary}}}
}

// Push is a request to move a branch of the caller's task to a tip, changing paths.
func Push(c remit.Caller, branch, tip string, paths ...string) remit.Request {
	oid := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:40] }
	ref := remit.RefChange{Ref: "refs/heads/remit/" + string(c.Task) + "/" + branch, Op: remit.RefCreate, New: oid(tip), Tree: oid("tree " + tip), Commits: 1}
	for _, p := range paths {
		ref.Paths = append(ref.Paths, remit.PathChange{Path: p, NewMode: 0o100644, New: oid("blob " + p + tip)})
	}
	return remit.Request{Gateway: "git", Caller: c, Steps: []remit.Step{{Action: "source.push", Resource: App}},
		Refs: []remit.RefChange{ref}, Bytes: 100, Order: []byte("order")}
}

// Vote casts a person's signed vote.
func (c *Core) Vote(ctx context.Context, access remit.ID, voter string, approve bool) error {
	var st remit.Statement
	found := false
	c.Engine.View(func(s *authority.State) {
		if a := s.Accesses[access]; a != nil {
			found = true
			st = remit.Statement{Origin: s.Origin, Request: access, Approve: approve, Effect: a.Effect, Change: a.Change, Card: a.Card, NotAfter: time.Unix(0, a.NotAfter)}
		}
	})
	if !found {
		return remit.Errorf(remit.NotFound, "there is no access request %s", access)
	}
	sig, err := sshsig.Sign(Touch(voter), remit.VoteNamespace, st.Bytes())
	if err != nil {
		return err
	}
	_, err = c.Engine.Do(ctx, &authority.CastVote{Access: access, Person: remit.ID("p-" + voter), Statement: st.Bytes(), Signature: sig})
	return err
}

// Claim is the executor's request for an approved work order.
func Claim(access remit.ID, r remit.Request) remit.Request {
	r.Caller = remit.Caller{Executor: "executor/source", Task: r.Caller.Task}
	r.Access = access
	return r
}

// token is a FIDO token in software: it signs as PROTOCOL.u2f of OpenSSH says, and always saw a touch.
type token struct{ key ed25519.PrivateKey }

// Touch is the hardware key of a person; the same name has the same key.
func Touch(name string) ssh.Signer {
	seed := sha256.Sum256([]byte("touch " + name))
	return token{ed25519.NewKeyFromSeed(seed[:])}
}

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

// Rule is a policy as a function; its name stands for its text.
type Rule struct {
	Name string
	Says func(authority.Facts) authority.Finding
}

// Nothing adds nothing to the compiled rules.
var Nothing = Rule{"nothing", func(authority.Facts) authority.Finding { return authority.Finding{Verdict: remit.Allow} }}

// Digest stands for the bundle.
func (r Rule) Digest() remit.Digest { return remit.Hash([]byte("rule " + r.Name)) }

// Judge gives the finding.
func (r Rule) Judge(f authority.Facts) authority.Finding { return r.Says(f) }

// Rules keeps policies.
type Rules struct {
	mu    sync.Mutex
	known map[remit.Digest]Rule
	err   error
}

// NewRules knows Nothing.
func NewRules() *Rules {
	r := &Rules{known: map[remit.Digest]Rule{}}
	r.Add(Nothing)
	return r
}

// Add keeps a rule and gives its digest.
func (r *Rules) Add(rule Rule) remit.Digest {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[rule.Digest()] = rule
	return rule.Digest()
}

// Break has every further question answered with err; nil mends it.
func (r *Rules) Break(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Policy finds a policy for the engine.
func (r *Rules) Policy(_ context.Context, d remit.Digest) (authority.Policy, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rule, ok := r.known[d]
	if !ok && r.err == nil {
		return nil, errors.New("no such rule")
	}
	return rule, r.err
}

// SetWall sets the wall clock without time passing, as an operator or a broken NTP server does.
func (c *Clock) SetWall(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}
