// Package world is for tests only: an organisation in a directory of its own, with a clock that stands still until it
// is told to go on, people with keys, an agent, and the API behind TLS.
package world

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/console"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/identity/signin"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
	"github.com/remit-dev/remit/server"
	"github.com/remit-dev/remit/sshsig"
)

// Org is the organisation of every world.
const Org remit.Org = "acme"

// Repo is the repository that Team declares.
const Repo remit.Resource = "repo:forge/payments"

// World is one organisation with everything that a server needs.
type World struct {
	T        testing.TB
	Clock    *Clock
	Store    *sqlite.Store
	Blobs    *ledger.BlobDir
	Engine   *engine.Engine
	CA       *identity.CA
	Tokens   *identity.Tokens
	Sessions *identity.Sessions
	Follow   *follow.Follower
	Bundles  *Bundles
	Server   *server.Server
	URL      string
	Answers  *Answers // what the server said so far

	origin string
	signer *ledger.FileKey
	keys   map[string]ssh.Signer
}

// Options change a world; the zero value is a team.
type Options struct {
	Profile remit.Profile
	Mounts  map[string]http.Handler // besides git and probe, which say who they think is calling
	Jobs    server.Jobs             // that start CI jobs; the engine

	PublicLog bool        // as of server.Config
	Scan      server.Scan // as of server.Config

	Providers []signin.Provider // at which people sign in

	Host string // by which browsers know the server, such as localhost: an address has no passkeys; 127.0.0.1

	Certificates func() time.Time // that the CA goes by; the clock. Weeks cannot pass where clients go by the machine's
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// New begins a log whose first administrator is ada, and serves it.
func New(t testing.TB, o Options) *World {
	t.Helper()
	if o.Profile == "" {
		o.Profile = remit.Team
	}
	dir := t.TempDir()
	ctx := context.Background()
	w := &World{T: t, Clock: NewClock(), origin: "acme.example/log", keys: map[string]ssh.Signer{}, Answers: &Answers{}}
	w.signer = must[*ledger.FileKey](t)(ledger.GenerateKey(filepath.Join(dir, "log.key")))
	verifier := must[string](t)(ledger.VerifierKey(w.origin, w.signer.Public()))
	w.Store = must[*sqlite.Store](t)(sqlite.Open(filepath.Join(dir, "log.db"), sqlite.Options{}))
	w.Blobs = must[*ledger.BlobDir](t)(ledger.OpenBlobDir(filepath.Join(dir, "blobs"), ledger.BlobOptions{}))
	w.Bundles = &Bundles{files: map[remit.Digest][]remit.PolicyFile{}}
	if o.Certificates == nil {
		o.Certificates = w.Clock.Now
	}
	w.CA = must[*identity.CA](t)(identity.CreateCA(filepath.Join(dir, "ca"), Org, o.Certificates))
	w.Engine = must[*engine.Engine](t)(engine.Open(ctx, engine.Config{Store: w.Store, Blobs: w.Blobs, Policies: w.Bundles, Clock: w.Clock,
		Log: slog.New(slog.DiscardHandler), Kills: filepath.Join(dir, "pending-kills")}))
	first := must[remit.Digest](t)(w.Bundles.Install(ctx, []remit.PolicyFile{{Name: "first.rego", Text: "package remit.any\n"}}))
	name := must[remit.Payload](t)(w.Engine.NewPayload(follow.NameBody("ada")))
	if _, err := w.Engine.Do(ctx, &authority.Init{Org: Org, Origin: w.origin, Verifier: verifier, Profile: o.Profile, OPA: "0", Policy: first,
		Admins: []remit.PersonDeclared{{ID: follow.PersonID(name), Name: name.Commitment(),
			Keys: []remit.Key{{Public: w.Key("ada").PublicKey().Marshal()}}}}}, name); err != nil {
		t.Fatal(err)
	}
	w.Follow = follow.New(w.Engine, nil)
	known := server.Authority{Engine: w.Engine}
	front := httptest.NewUnstartedServer(nil)
	front.EnableHTTP2 = true
	front.TLS = must[*tls.Config](t)(w.CA.TLSConfig("127.0.0.1", "localhost"))
	front.TLS.Certificates = []tls.Certificate{*must[*tls.Certificate](t)(front.TLS.GetCertificate(nil))} // or httptest takes its own
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	front.StartTLS()
	w.URL = strings.Replace(front.URL, "127.0.0.1", cmp.Or(o.Host, "127.0.0.1"), 1)
	w.Tokens = identity.NewTokens(identity.TokensConfig{Domain: w.CA.TrustDomain(), Instances: known, Now: w.Clock.Now, Base: w.URL, Key: [32]byte{2}})
	w.Sessions = must[*identity.Sessions](t)(identity.NewSessions(w.URL, Org, known, w.Clock.Now))
	mounts := map[string]http.Handler{"git": w.echo("git"), "probe": w.echo("probe")}
	for name, h := range o.Mounts {
		mounts[name] = h
	}
	w.Server = server.New(server.Config{Engine: w.Engine, Follow: w.Follow, CA: w.CA, Sessions: w.Sessions, Tokens: w.Tokens, Bundles: w.Bundles,
		Log: logbook{w}, Jobs: o.Jobs, Base: w.URL, Key: [32]byte{1}, Version: "test", Mounts: mounts, Clock: w.Clock, PublicLog: o.PublicLog, Scan: o.Scan, Card: console.CardPage,
		Providers: must[*signin.Providers](t)(signin.NewProviders(w.URL+"/v1/orgs/"+string(Org), o.Providers, w.Clock.Now))})
	pages := http.NewServeMux()
	pages.Handle("/", w.Server)
	pages.Handle(console.Base+"/", console.New(console.Config{API: w.Server, Org: Org, Now: w.Clock.Now}))
	front.Config.Handler = w.Answers.record(pages)
	t.Cleanup(func() {
		w.Server.Close()
		front.CloseClientConnections()
		front.Close()
		w.Engine.Close()
		if err := w.Store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// echo is a gateway that answers who calls.
func (w *World) echo(name string) http.Handler {
	authn := w.Tokens.Authenticator(name)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c, err := authn.Authenticate(r)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(rw).Encode(c)
	})
}

// Key is the key of a person by that name; the same name has the same key.
func (w *World) Key(name string) ssh.Signer {
	if k := w.keys[name]; k != nil {
		return k
	}
	seed := remit.Hash([]byte("key of " + name))
	w.keys[name] = must[ssh.Signer](w.T)(ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed[:])))
	return w.keys[name]
}

// Person declares a person with their key.
func (w *World) Person(name string) remit.Person {
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(w.Key(name).PublicKey())), "\n")
	return remit.Person{Name: name, Keys: []string{line}}
}

// Client is a client of the server before anybody has signed in.
func (w *World) Client() *client.Client {
	return must[*client.Client](w.T)(client.New(w.URL, Org, w.CA.PEM()))
}

// SignIn signs a person in.
func (w *World) SignIn(name string) *client.Client {
	w.T.Helper()
	key := w.Key(name)
	c, _, err := w.Client().SignIn(w.T.Context(), key.PublicKey().Marshal(), func(text []byte) ([]byte, error) {
		return sshsig.Sign(key, identity.SignInNamespace, text)
	})
	if err != nil {
		w.T.Fatalf("signing %s in: %v", name, err)
	}
	return c
}

// Team is two administrators, a developer, an agent of theirs and the repository that it works on.
func (w *World) Team() remit.Declarations {
	return remit.Declarations{
		People: []remit.Person{w.Person("ada"), w.Person("ben"), w.Person("cleo")},
		Groups: []remit.Group{{Name: remit.Administrators, Members: []string{"ada", "ben"}}, {Name: "developers", Members: []string{"cleo"}},
			{Name: "reviewers", Members: []string{"ben", "cleo"}}},
		Agents: []remit.Agent{{Name: "coder", Function: remit.FuncCode, Owner: "cleo", Purpose: "fixes bugs", Requesters: []string{"developers"},
			Expires: "2030-01-31", Entitlements: []remit.Scope{{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{remit.Pattern(Repo)}}}}},
		Upstreams: []remit.Upstream{{Name: "forge", Kind: "http", Location: "https://forge.example", Write: remit.Source{From: "env", Name: "FORGE_TOKEN"}}},
		Repositories: []remit.Repository{{Name: "forge/payments", DefaultBranch: "main", Effects: &[]remit.Effect{},
			Approvers: []remit.Need{{Group: "reviewers", N: 1}}}},
	}
}

// Declare has ada apply declarations, which must come into force at once.
func (w *World) Declare(d remit.Declarations) {
	w.T.Helper()
	a, err := w.SignIn("ada").Apply(w.T.Context(), remit.ApplyRequest{Declarations: d})
	if err != nil || a.Decision.Verdict != remit.Allow {
		w.T.Fatalf("applying: %v, %+v", err, a.Decision)
	}
}

// Task has a person request a task of agent coder.
func (w *World) Task(by string) remit.TaskView {
	w.T.Helper()
	t, err := w.SignIn(by).CreateTask(w.T.Context(), remit.TaskRequest{Agent: "coder", Intent: "fix the rounding of refunds"})
	if err != nil {
		w.T.Fatal(err)
	}
	return t
}

// Instance has a person launch a task.
func (w *World) Instance(by string, task remit.ID) client.Instance {
	w.T.Helper()
	i, err := w.SignIn(by).Session().StartInstance(w.T.Context(), client.InstanceStart{Task: task, Confinement: remit.ConfineNone})
	if err != nil {
		w.T.Fatal(err)
	}
	return i
}

// Push asks, as gateway/git would, for a push of an instance that changes paths on a branch of its task.
func (w *World) Push(i client.Instance, shown remit.Shown, paths ...string) remit.Decision {
	w.T.Helper()
	body := must[[]byte](w.T)(json.Marshal(shown))
	card := must[remit.Payload](w.T)(w.Engine.NewPayload(body))
	id := strings.Repeat("ab", 20)
	change := remit.RefChange{Ref: i.Branch + "/fix", Op: remit.RefCreate, New: id, Tree: strings.Repeat("cd", 20), Commits: 1, Outside: 1, Brought: []string{id}}
	for _, p := range paths {
		change.Paths = append(change.Paths, remit.PathChange{Path: p, NewMode: 0o100644, New: strings.Repeat("ef", 20)})
	}
	d, err := w.Engine.Authorize(w.T.Context(), remit.Request{Gateway: "gateway/git", Caller: remit.Caller{Instance: i.ID, Agent: i.Agent, Task: i.Task},
		Steps: []remit.Step{{Action: "source.push", Resource: Repo}}, Refs: []remit.RefChange{change}, Bytes: 100, Card: card.Commitment()}, card)
	if err != nil {
		w.T.Fatal(err)
	}
	return d
}

// Finish redeems a permit and records an outcome.
func (w *World) Finish(p remit.Permit, o remit.Outcome, said string) {
	w.T.Helper()
	a, err := w.Engine.Redeem(w.T.Context(), p)
	if err != nil {
		w.T.Fatal(err)
	}
	if err := w.Engine.Record(w.T.Context(), a, o, "", []byte(said), ""); err != nil {
		w.T.Fatal(err)
	}
}

// Vote signs what a card binds and hands it in.
func (w *World) Vote(by string, v remit.AccessView, approve bool) (remit.AccessView, error) {
	w.T.Helper()
	statement, sig := w.Statement(by, v, approve)
	return w.SignIn(by).Vote(w.T.Context(), v.ID, remit.VoteRequest{Statement: statement, Signature: sig})
}

// Cast has a vote counted without the server's knowing of it.
func (w *World) Cast(by string, v remit.AccessView, approve bool) {
	w.T.Helper()
	statement, sig := w.Statement(by, v, approve)
	who, _ := server.Authority{Engine: w.Engine}.ByKey(w.Key(by).PublicKey().Marshal())
	if _, err := w.Engine.Do(w.T.Context(), &authority.CastVote{Access: v.ID, Person: who, Statement: statement, Signature: sig}); err != nil {
		w.T.Fatal(err)
	}
}

// Statement is a vote as somebody signs it.
func (w *World) Statement(by string, v remit.AccessView, approve bool) (statement, signature []byte) {
	w.T.Helper()
	statement = remit.Statement{Origin: w.origin, Request: v.ID, Approve: approve, Effect: v.Effect, Change: v.Change, Card: v.Card, NotAfter: v.NotAfter}.Bytes()
	return statement, must[[]byte](w.T)(sshsig.Sign(w.Key(by), remit.VoteNamespace, statement))
}

// Waits returns when n wait for the clock.
func (w *World) Waits(n int) {
	w.T.Helper()
	for w.Clock.Waiting() < n {
		if err := w.T.Context().Err(); err != nil {
			w.T.Fatal(err)
		}
		runtime.Gosched()
	}
}

// logbook is the log as a whole.
type logbook struct{ w *World }

func (l logbook) Head(ctx context.Context) (h remit.LogHead, err error) {
	head, err := l.w.Store.Head(ctx)
	if err != nil {
		return h, err
	}
	note, err := ledger.SignCheckpoint(l.w.origin, head, l.w.signer)
	if err != nil {
		return h, err
	}
	verifier, err := ledger.VerifierKey(l.w.origin, l.w.signer.Public())
	return remit.LogHead{Size: head.Size, Root: head.Root, Checkpoint: string(note), Verifier: verifier,
		Trust: string(ledger.Trust{Verifier: verifier, Checkpoint: note}.Bytes())}, err
}

func (l logbook) Tile(ctx context.Context, t ledger.Tile) ([]byte, error) {
	head, err := l.w.Store.Head(ctx)
	if err != nil {
		return nil, err
	}
	return ledger.ReadTile(ctx, l.w.Store, head.Size, t)
}

func (l logbook) Receipt(ctx context.Context, i remit.EntryIndex) ([]byte, error) {
	h, err := l.Head(ctx)
	if err != nil {
		return nil, err
	}
	return ledger.Receipt(ctx, l.w.Store, i, []byte(h.Checkpoint), h.Verifier)
}

// Export stands for a bundle: what is in one is package ledger's to test.
func (l logbook) Export(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, "bundle")
	return err
}

// Answers keeps everything that a server said, to look for what it must not say.
type Answers struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (a *Answers) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&recorder{w, a}, r) })
}

// Contain tells whether s was ever said.
func (a *Answers) Contain(s string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return bytes.Contains(a.said.Bytes(), []byte(s))
}

// Count tells how often s was said.
func (a *Answers) Count(s string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return bytes.Count(a.said.Bytes(), []byte(s))
}

type recorder struct {
	http.ResponseWriter
	a *Answers
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) Write(b []byte) (int, error) {
	r.a.mu.Lock()
	r.a.said.Write(b)
	r.a.mu.Unlock()
	return r.ResponseWriter.Write(b)
}
