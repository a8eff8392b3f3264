package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// nowhere is a store that keeps the head and nothing else: what deciding costs without durability.
type nowhere struct {
	mu   sync.Mutex
	head ledger.Head
}

func (n *nowhere) Head(context.Context) (ledger.Head, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.head, nil
}

func (n *nowhere) Append(_ context.Context, _ ledger.Head, b ledger.Batch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.head = b.Next
	return nil
}

func (n *nowhere) Read(context.Context, remit.EntryIndex) iter.Seq2[ledger.Entry, error] {
	return func(func(ledger.Entry, error) bool) {}
}

func (n *nowhere) Payload(context.Context, remit.Digest) (remit.Payload, error) {
	return remit.Payload{}, ledger.ErrNotFound
}

func (n *nowhere) Hashes(context.Context, []int64) ([]tlog.Hash, error) {
	return nil, errors.New("nothing is kept")
}

// decider is an engine with tasks whose decisions are measured.
type decider struct {
	*world.Core
	callers []remit.Caller
}

func newDecider(b *testing.B, store ledger.Store, callers int) *decider {
	c, err := world.OpenCore(b.Context(), world.CoreOptions{Store: store})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Engine.Close)
	d := &decider{Core: c}
	for range callers {
		caller, err := c.Task(b.Context(), "canary", "mia")
		if err != nil {
			b.Fatal(err)
		}
		d.callers = append(d.callers, caller)
	}
	return d
}

// measure gives decisions per second of all callers together. It moves the clock on, so that permits expire as they do
// in a log of some age.
func (d *decider) measure(b *testing.B, each int) float64 {
	var failed atomic.Pointer[error]
	start := time.Now()
	var all sync.WaitGroup
	for _, caller := range d.callers {
		all.Go(func() {
			for range each {
				a, err := d.Engine.Authorize(b.Context(), world.Ask(caller, "probe.write"))
				if err == nil && a.Verdict != remit.Allow {
					err = fmt.Errorf("%s: %s", a.Code, a.Sentence)
				}
				if err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	d.Clock.Advance(2 * authority.PermitLife)
	return float64(each*len(d.callers)) / time.Since(start).Seconds()
}

// BenchmarkDecision compares a decision with its durable entry and command with the same decision that is kept nowhere,
// in alternating rounds of one run.
func BenchmarkDecision(b *testing.B) {
	const rounds = 5
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			each := max(20, 3000/callers)
			for b.Loop() {
				s, err := sqlite.Open(filepath.Join(b.TempDir(), "log.db"), sqlite.Options{})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { s.Close() })
				durable, bare := newDecider(b, s, callers), newDecider(b, &nowhere{head: ledger.Empty()}, callers)
				durable.measure(b, each/10)
				bare.measure(b, each/10)
				var rates, ratios []float64
				for range rounds {
					base := bare.measure(b, each/10)
					rate := durable.measure(b, each/10)
					rates, ratios = append(rates, rate), append(ratios, rate/base)
				}
				b.ReportMetric(median(rates), "decisions/s")
				b.ReportMetric(median(ratios), "ratio")
			}
		})
	}
}

// longLog writes a log of probe decisions with their redemptions and outcomes left out: the state it folds to is what a
// million allows within their tasks' budgets leave behind.
func longLog(b *testing.B, s ledger.Store, entries int) *world.Core {
	b.Helper()
	c, err := world.OpenCore(b.Context(), world.CoreOptions{Store: s})
	if err != nil {
		b.Fatal(err)
	}
	const tasks = 100
	var callers []remit.Caller
	for range tasks {
		caller, err := c.Task(b.Context(), "canary", "mia")
		if err != nil {
			b.Fatal(err)
		}
		callers = append(callers, caller)
	}
	at := c.Clock.Now()
	c.Engine.Close()
	tree, head, err := ledger.OpenTree(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	digest := remit.Hash([]byte("some digest"))
	const batch = 16_384
	for head.Size < uint64(entries) {
		leaves := make([][]byte, min(batch, uint64(entries)-head.Size))
		spread(len(leaves), func(i int) {
			n := head.Size + uint64(i)
			caller := callers[n%tasks]
			when := at.Add(time.Duration(n-tasks) * 10 * time.Millisecond)
			e := &remit.Decided{Verdict: remit.Allow, Gateway: "probe", Instance: caller.Instance, Task: caller.Task, Agent: caller.Agent,
				Steps:  []remit.StepFacts{{Step: remit.Step{Action: "probe.write", Resource: world.Canary}}},
				Effect: digest, Facts: digest, Policy: world.Nothing.Digest(), Permit: remit.ID(fmt.Sprintf("P-%d", n)), Hash: digest,
				NotAfter: when.Add(authority.PermitLife).UnixNano()}
			leaf, err := ledger.Encode(ledger.Leaf{At: when, Command: remit.Hash([]byte(e.Permit)), Event: e})
			if err != nil {
				b.Error(err)
			}
			leaves[i] = leaf
		})
		next, hashes := tree.Append(leaves...)
		append := ledger.Batch{Entries: leaves, Hashes: hashes, Next: next.Head(head.Epoch)}
		if err := s.Append(context.Background(), head, append); err != nil {
			b.Fatal(err)
		}
		tree, head = next, append.Next
	}
	c.Clock.Advance(time.Duration(entries) * 10 * time.Millisecond)
	return c
}

// spread runs f for 0 … n-1 on all cores.
func spread(n int, f func(i int)) {
	var all sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		all.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	all.Wait()
}

// BenchmarkOpen1M opens an engine on a million decisions: both states, and the tree against the head.
func BenchmarkOpen1M(b *testing.B) {
	const entries = 1_000_000
	s, err := sqlite.Open(filepath.Join(b.TempDir(), "log.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	c := longLog(b, s, entries)
	var best, cpu time.Duration
	for b.Loop() {
		runtime.GC()
		start, used := time.Now(), cpuTime()
		again, err := world.OpenCore(b.Context(), world.CoreOptions{Store: s, Clock: c.Clock, Rules: c.Rules})
		if err != nil {
			b.Fatal(err)
		}
		if took := time.Since(start); best == 0 || took < best {
			best = took
		}
		if spent := cpuTime() - used; cpu == 0 || spent < cpu {
			cpu = spent
		}
		again.Engine.View(func(s *authority.State) {
			if s.Next != entries {
				b.Fatalf("%d entries", s.Next)
			}
		})
		again.Engine.Close()
	}
	b.ReportMetric(best.Seconds(), "best-s")
	b.ReportMetric(cpu.Seconds(), "best-cpu-s")
}
