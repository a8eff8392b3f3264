// Package git is the gateway for git's smart HTTP (gitprotocol-http(5), gitprotocol-pack(5), gitprotocol-v2(5)).
//
// To find where a push is decided, read in this order: routes.go (what is served at all), receive.go (what a push would
// do: one flat function), gateway.Pipeline.Handle (the decision), forward.go (carrying it out), answer.go (what the
// client is told). upload.go passes reads on, upstream.go and local.go reach the upstream.
//
// The client never reaches an upstream: every request is parsed here, and what goes upstream is written anew, with a
// credential that the client never sees.
package git

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/git/internal/gitcmd"
	"github.com/remit-dev/remit/gateway/git/internal/mirror"
	"github.com/remit-dev/remit/gateway/git/internal/pack"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

// Repo is one declared repository, and how to reach it.
type Repo struct {
	Name          string                    // UPSTREAM/PATH; the resource is repo:UPSTREAM/PATH
	URL           string                    // of the repository at its upstream, without a slash at the end
	Transport     http.RoundTripper         // NewLocal or NewRemote; it follows no redirects
	Observer      func(*http.Request) error // adds Remit's own read-only credential; nil: none is needed
	DefaultBranch string                    // main, or refs/heads/main: the history that is trusted
	Watched       []remit.Pattern           // paths that are compared with the trusted ref, whatever a push changes
}

// Resource is the name of r in requests.
func (r Repo) Resource() remit.Resource { return remit.Resource("repo:" + r.Name) }

// Repos finds declared repositories by the name that a client gives, UPSTREAM/PATH. What is not declared is a
// *remit.Error with UNKNOWN_RESOURCE.
type Repos interface {
	Repo(ctx context.Context, name string) (Repo, error)
}

// Blobs keeps packs, so that a held push can be completed later. PutFile and Drop count: a blob goes when it was
// dropped as often as it was put; what a crash leaves is swept by whoever knows which blobs the log names.
type Blobs interface {
	// PutFile takes the file over, durably; afterwards the file may be gone.
	PutFile(ctx context.Context, path string) (remit.Digest, error)
	Open(context.Context, remit.Digest) (r io.ReadCloser, size int64, err error)
	Drop(context.Context, remit.Digest) error
}

// Provenance says which pushes through Remit brought commits to a repository; outside counts those that none brought.
type Provenance interface {
	PushedBy(ctx context.Context, repo remit.Resource, commits []string) (entries []remit.EntryIndex, outside int, err error)
}

// Signers says whose declared key made a commit's signature; ok is false if nobody's did. The signature is the value of
// the gpgsig header, the payload the commit without that header.
type Signers interface {
	Signer(ctx context.Context, payload, signature []byte) (person remit.ID, ok bool, err error)
}

// Config of a Gateway. Repos, Blobs and Dir are required; the zero value of the rest means what stands beside it.
type Config struct {
	Prefix     string // path under which the gateway is mounted, such as /v1/orgs/acme/git; none
	Repos      Repos
	Blobs      Blobs
	Provenance Provenance // nil: no commit's pusher is known
	Signers    Signers    // nil: no signature counts
	Explainer  Explainer  // nil: cards show changes without words about them
	// Preview asks, of the commands alone, whether scope denies; nil: every push is read before it is judged.
	Preview func(context.Context, remit.Request) (remit.Decision, error)

	Git string // path of git 2.36 or later; found in PATH
	Dir string // of spool, mirrors and generated configuration; its own, mode 0700

	MaxPack       int64         // bytes; 512 MiB
	PushesPerTask int           // at a time; 4
	Pushes        int           // at a time, all together; 16
	Stall         time.Duration // without a byte from or to the client; 60 s
	Patience      time.Duration // for the upstream's answer to a push; 10 min
	MirrorBytes   int64         // of one mirror; 4 GiB
	MirrorQuota   int64         // of all mirrors; 32 GiB

	Agent  string // what Remit calls itself, agent=…; remit
	Now    func() time.Time
	Random io.Reader
	Log    *slog.Logger
}

// Gateway is the protocol. Requests come through ServeHTTP of its Handler; work orders through gateway.Pipeline.Complete.
type Gateway struct {
	Config
	git     *gitcmd.Git
	mirrors *mirror.Store
	spool   string

	mu     sync.Mutex
	pushes map[remit.ID]int // that are being handled, by task
	total  int

	unsettled unsettled
}

var _ gateway.Protocol = (*Gateway)(nil)

// New checks c, finds git, and empties the spool of what a crash left there.
func New(ctx context.Context, c Config) (*Gateway, error) {
	if c.Repos == nil || c.Blobs == nil || c.Dir == "" {
		return nil, errors.New("gateway/git: Repos, Blobs and Dir are required")
	}
	setDefault(&c.MaxPack, pack.DefaultLimits.PackBytes)
	setDefault(&c.PushesPerTask, 4)
	setDefault(&c.Pushes, 16)
	setDefault(&c.Stall, time.Minute)
	setDefault(&c.Patience, 10*time.Minute)
	setDefault(&c.Agent, "remit")
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{Config: c, spool: filepath.Join(c.Dir, "spool"), pushes: map[remit.ID]int{}}
	if err := os.RemoveAll(g.spool); err != nil {
		return nil, fmt.Errorf("emptying the spool: %w", err)
	}
	if err := os.MkdirAll(g.spool, 0o700); err != nil {
		return nil, fmt.Errorf("making the spool: %w", err)
	}
	var err error
	if g.git, err = gitcmd.Find(ctx, c.Git, filepath.Join(c.Dir, "config")); err != nil {
		return nil, err
	}
	if g.mirrors, err = mirror.New(mirror.Config{
		Dir: filepath.Join(c.Dir, "mirrors"), Git: g.git, MaxBytes: c.MirrorBytes, Quota: c.MirrorQuota, Now: c.Now, Log: c.Log,
	}); err != nil {
		return nil, err // there is nothing that could be closed
	}
	return g, nil
}

func setDefault[T comparable](v *T, standard T) {
	var zero T
	if *v == zero {
		*v = standard
	}
}

// Close ends the processes of the mirrors.
func (g *Gateway) Close() { g.mirrors.Close() }

// remote is how Remit reads the repository in its own name.
func (r Repo) remote() mirror.Remote {
	return mirror.Remote{URL: r.URL, Transport: r.Transport, Auth: r.Observer}
}

// order is what Forward needs, as kept in remit.Request.Order.
type order struct {
	Service  string            `json:"service"`
	Repo     string            `json:"repo"`
	Commands []pktline.Command `json:"commands,omitempty"`
	Pack     remit.Digest      `json:"pack,omitzero"`
	Bytes    int64             `json:"bytes,omitempty"`
}

// admit counts a push of a task; free gives the place back.
func (g *Gateway) admit(task remit.ID) (free func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pushes[task] >= g.PushesPerTask {
		return nil, remit.Errorf(remit.Overload, "the task has %d pushes under way, which is its limit; let one end first", g.PushesPerTask)
	}
	if g.total >= g.Pushes {
		return nil, remit.Errorf(remit.Overload, "%d pushes are under way, which is the limit; try again in a moment", g.Pushes)
	}
	g.total++
	g.pushes[task]++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.total--
		if g.pushes[task]--; g.pushes[task] == 0 {
			delete(g.pushes, task)
		}
	}), nil
}
