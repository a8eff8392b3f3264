package brokertest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/brokertest"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
	"github.com/remit-dev/remit/seal"
)

// bubble is the clock of the synctest bubble.
type bubble struct{}

func (bubble) Now() time.Time                         { return time.Now() }
func (bubble) After(d time.Duration) <-chan time.Time { return time.After(d) }

// gate lets a machine do a number of steps, each a call upstream or a line in the log, and then kills it: nothing that
// it does later has any effect. The last step happens; whether its answer is still seen depends.
type gate struct {
	mu    sync.Mutex
	n, at int  // at 0: it never dies
	seen  bool // the answer to the last step
	died  chan struct{}
	steps []string
}

var errKilled = errors.New("killed")

func newGate(at int, seen bool) *gate { return &gate{at: at, seen: seen, died: make(chan struct{})} }

func (g *gate) pass(step string, work func() error) error {
	g.mu.Lock()
	if g.at > 0 && g.n >= g.at {
		g.mu.Unlock()
		return errKilled
	}
	g.n++
	g.steps = append(g.steps, step)
	last := g.n == g.at
	g.mu.Unlock()
	err := work()
	if last {
		close(g.died)
		if !g.seen {
			return errKilled
		}
	}
	return err
}

// books are a real engine's, behind a gate.
type books struct {
	core *world.Core
	gate *gate
}

func (b books) Open(ctx context.Context, c authority.OpenLease) (id remit.ID, err error) {
	err = b.gate.pass("intended", func() error {
		res, err := b.core.Engine.Do(ctx, &c)
		id = res.ID
		return err
	})
	if err != nil {
		id = ""
	}
	return id, err
}

func (b books) Move(ctx context.Context, m authority.MoveLease, receipt []byte) error {
	return b.gate.pass(string(m.To), func() error {
		var payloads []remit.Payload
		if receipt != nil {
			p, err := b.core.Engine.NewPayload(receipt)
			if err != nil {
				return err
			}
			m.Receipt, payloads = p.Commitment(), append(payloads, p)
		}
		_, err := b.core.Engine.Do(ctx, &m, payloads...)
		return err
	})
}

func (b books) View(f func(*authority.State)) { b.core.Engine.View(f) }

func (b books) Wait(ctx context.Context, f func(*authority.State) bool) error {
	return b.core.Engine.Wait(ctx, f)
}

// gated is a provider behind a gate.
type gated struct {
	up   *brokertest.Upstream
	gate *gate
}

func (g gated) Traits() broker.Traits { return g.up.Traits() }

func (g gated) Anchor(ctx context.Context, a broker.Asked) error {
	return g.gate.pass("anchor", func() error { return g.up.Anchor(ctx, a) })
}

func (g gated) Mint(ctx context.Context, a broker.Asked) (s broker.Secret, err error) {
	err = g.gate.pass("mint", func() (err error) { s, err = g.up.Mint(ctx, a); return err })
	if err != nil {
		s = broker.Secret{}
	}
	return s, err
}

func (g gated) Revoke(ctx context.Context, a broker.Asked, s *broker.Secret) error {
	return g.gate.pass("revoke", func() error { return g.up.Revoke(ctx, a, s) })
}

func (g gated) Probe(ctx context.Context, a broker.Asked, s *broker.Secret) (l broker.Life, err error) {
	err = g.gate.pass("probe", func() (err error) { l, err = g.up.Probe(ctx, a, s); return err })
	if err != nil {
		l = broker.Unknown
	}
	return l, err
}

// Sweep only reads, so that a crash around it is like one before it.
func (g gated) Sweep(ctx context.Context, u remit.Upstream) ([]string, error) {
	return g.up.Sweep(ctx, u)
}

func (g gated) Contain(ctx context.Context, u remit.Upstream) error {
	return g.gate.pass("contain", func() error { return g.up.Contain(ctx, u) })
}

// forge is what is declared of the one upstream.
type forge struct{}

func (forge) Upstream(_ context.Context, name string) (remit.Upstream, error) {
	if name == "forge" || name == "mirror" {
		return remit.Upstream{Name: name, Kind: remit.KindGitea, Location: "https://" + name + ".example"}, nil
	}
	return remit.Upstream{}, remit.Errorf(remit.UnknownResource, "no upstream %q is declared", name)
}

// house is what outlives a crash: the log, the vault, the upstream.
type house struct {
	t      *testing.T
	store  *ledgertest.Memory
	dir    string
	box    *seal.Box
	up     *brokertest.Upstream
	caller remit.Caller
	wrap   func(gated) broker.Provider // around the provider; nil: none

	mu    sync.Mutex
	wrong []string
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, store: &ledgertest.Memory{}, dir: t.TempDir(), up: brokertest.New(time.Now)}
	var err error
	if h.box, err = seal.New(filepath.Join(h.dir, "key")); err != nil {
		t.Fatal(err)
	}
	// Whatever comes into being upstream was named by the log before.
	h.up.Made = func(name string) {
		named := map[string]bool{}
		for id := range h.statuses() {
			_, n, _ := strings.Cut(string(id), "-")
			named[n] = true
		}
		if !named[name[strings.LastIndex(name, "-")+1:]] {
			h.fail("%s came into being and the log does not name it", name)
		}
	}
	return h
}

func (h *house) fail(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

// statuses are the last status of every lease that the log ever named, from the log alone.
func (h *house) statuses() map[remit.ID]remit.LeaseStatus {
	out := map[remit.ID]remit.LeaseStatus{}
	for e, err := range h.store.Read(context.Background(), 0) {
		if err != nil {
			h.fail("%v", err)
			return out
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			h.fail("%v", err)
			return out
		}
		switch ev := l.Event.(type) {
		case *remit.LeaseOpened:
			out[ev.ID] = remit.LeaseIntended
		case *remit.LeaseMoved:
			out[ev.Lease] = ev.To
			if (ev.To == remit.LeaseRevoked || ev.To == remit.LeaseExpired) && ev.Receipt.IsZero() {
				h.fail("the end of %s has no receipt", ev.Lease)
			}
		}
	}
	return out
}

// process is one life of the server: engine, broker and the gate that may kill it.
type process struct {
	*house
	core   *world.Core
	gate   *gate
	broker *broker.Broker
	stop   func()
}

// start begins a life of the server over what the last one left.
func (h *house) start(g *gate) *process {
	h.t.Helper()
	core, err := world.OpenCore(h.t.Context(), world.CoreOptions{Store: h.store})
	if err != nil {
		h.t.Fatal(err)
	}
	p := &process{house: h, core: core, gate: g}
	if h.caller.Task == "" {
		<-time.After(time.Minute) // by which a fresh core is ahead
		if h.caller, err = core.Task(h.t.Context(), "coder", "mia"); err != nil {
			h.t.Fatal(err)
		}
	} else {
		// As at every start: what was under way is reconciled.
		var open []remit.ID
		core.Engine.View(func(s *authority.State) {
			for id := range s.Attempts {
				open = append(open, id)
			}
		})
		for _, id := range open {
			if _, err := core.Engine.Do(h.t.Context(), &authority.Record{Attempt: id, Outcome: remit.Ambiguous}); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	var provider broker.Provider = gated{h.up, g}
	if h.wrap != nil {
		provider = h.wrap(gated{h.up, g})
	}
	p.broker, err = broker.Open(broker.Config{Upstreams: forge{}, Providers: map[string]broker.Provider{remit.KindGitea: provider},
		Books: books{core, g}, Box: h.box, Dir: filepath.Join(h.dir, "vault"), Clock: bubble{}})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	ran := make(chan struct{})
	go func() { _ = p.broker.Run(ctx); close(ran) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-ran
		p.broker.Close()
		core.Engine.Close()
	})
	h.t.Cleanup(p.stop)
	return p
}

// attempt redeems a push, and gives it back with its secret.
func (p *process) attempt() remit.Attempt {
	p.t.Helper()
	d, err := p.core.Engine.Authorize(p.t.Context(), world.Push(p.caller, "fix", fmt.Sprint(time.Now().UnixNano()), "main.go"))
	if err != nil || d.Verdict != remit.Allow {
		p.t.Fatalf("%+v %v", d, err)
	}
	a, err := p.core.Engine.Redeem(p.t.Context(), d.Permit)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *process) lease(a remit.Attempt) (*broker.Lease, error) {
	p.t.Helper()
	r, err := p.core.Engine.Take(p.t.Context(), a)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.broker.Lease(p.t.Context(), r)
}

func (p *process) record(a remit.Attempt) {
	p.t.Helper()
	if err := p.core.Engine.Record(p.t.Context(), a, remit.Done, "", nil, ""); err != nil {
		p.t.Fatal(err)
	}
}

// push leases, uses and ends a credential for one attempt.
func (p *process) push() error {
	a := p.attempt()
	defer p.record(a)
	l, err := p.lease(a)
	if err != nil {
		return err
	}
	defer l.End(p.t.Context())
	return l.Use(func(s broker.Secret) error {
		if !p.up.Accepts(s.Value) {
			return errors.New("the credential is dead")
		}
		return nil
	})
}

func (p *process) live() (live bool) {
	p.core.Engine.View(func(s *authority.State) { live = s.LiveTasks[p.caller.Task] })
	return live
}

// endTask ends the task, and with it all that it may use.
func (p *process) endTask() {
	if !p.live() {
		return
	}
	if _, err := p.core.Engine.Do(p.t.Context(), &authority.EndTask{By: "p-mia", Task: p.caller.Task, Status: remit.TaskCompleted}); err != nil {
		p.t.Fatal(err)
	}
}

// settle waits until no lease is left that has not ended, or the process is killed.
func (p *process) settle() {
	ctx, cancel := context.WithCancel(p.t.Context())
	defer cancel()
	go func() {
		select {
		case <-p.gate.died:
			cancel()
		case <-ctx.Done():
		}
	}()
	_ = p.core.Engine.Wait(ctx, func(s *authority.State) bool { return len(s.Leases) == 0 })
	synctest.Wait() // what follows on the last line: the vault
}

// sound says what must be true once everything has settled.
func (h *house) sound(t *testing.T) {
	t.Helper()
	if left := h.up.There(); len(left) > 0 {
		t.Errorf("left alive upstream: %v", left)
	}
	for id, st := range h.statuses() {
		if st != remit.LeaseRevoked && st != remit.LeaseExpired {
			t.Errorf("the log has %s as %s", id, st)
		}
	}
	kept, err := os.ReadDir(filepath.Join(h.dir, "vault"))
	if err != nil || len(kept) > 0 {
		t.Errorf("the vault still has %v (%v)", kept, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.wrong {
		t.Error(w)
	}
}

// story is one life: two pushes that share a lease, then the end of the task.
func (p *process) story() {
	for range 2 {
		if p.live() {
			_ = p.push()
		}
	}
	p.endTask()
	p.settle()
}

// crashes runs a story that is killed after step at, and then one that is killed after step again, and then one that is
// not. It gives the steps of the first.
func crashes(t *testing.T, shape func(*brokertest.Upstream), at, again int, seen bool) (steps []string) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		shape(h.up)
		for _, g := range []*gate{newGate(at, seen), newGate(again, !seen), newGate(0, true)} {
			p := h.start(g)
			p.story()
			p.stop()
			if steps == nil {
				steps = g.steps
			}
		}
		h.sound(t)
		if t.Failed() {
			t.Logf("killed after step %d, then after %d; steps %v", at, again, steps)
		}
	})
	return steps
}

// TestNoCrashLeavesALiveOrphan kills the machine after every step of a lease's life, and once more in what follows.
func TestNoCrashLeavesALiveOrphan(t *testing.T) {
	twice := map[string]bool{"anchored": true, "failing": true}
	for name, shape := range map[string]func(*brokertest.Upstream){
		"anchored":  func(*brokertest.Upstream) {},
		"bare":      func(u *brokertest.Upstream) { u.Kind.Anchored = false },
		"dies late": func(u *brokertest.Upstream) { u.DiesAfter = 2 },
		"wider":     func(u *brokertest.Upstream) { u.Fail("mint", brokertest.Wider, brokertest.Longer, brokertest.Endless) },
		"failing": func(u *brokertest.Upstream) {
			u.Fail("anchor", brokertest.Applied, brokertest.NotApplied)
			u.Fail("mint", brokertest.Applied, brokertest.SlowDone)
			u.Fail("revoke", brokertest.NotApplied, brokertest.Lies, brokertest.Applied)
			u.Fail("probe", brokertest.NotApplied)
		},
	} {
		t.Run(name, func(t *testing.T) {
			steps := crashes(t, shape, 0, 0, true)
			if len(steps) < 8 {
				t.Fatalf("the story has the steps %v only", steps)
			}
			for at := 1; at <= len(steps); at++ {
				for again := range 7 {
					if again > 0 && !twice[name] {
						break
					}
					for _, seen := range []bool{true, false} {
						crashes(t, shape, at, again, seen)
					}
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}
