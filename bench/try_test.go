package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
	"github.com/remit-dev/remit/policy"
)

// BenchmarkTry tries a bundle on a log of 100,000 decisions (REMIT_BENCH_DECISIONS says another number), half of them
// pushes that it judges by their steps and half calls that it cannot tell apart. It reports the seconds and those of all
// cores, the second in microseconds a decision as well, and the ratio to reading the same log and decoding its entries and
// commands, one after the other.
func BenchmarkTry(b *testing.B) {
	n := atMost(100_000, 2000)
	if more := os.Getenv("REMIT_BENCH_DECISIONS"); more != "" {
		var err error
		if n, err = strconv.Atoi(more); err != nil || n < 1 {
			b.Fatalf("REMIT_BENCH_DECISIONS is %q; write a number of decisions", more)
		}
	}
	s, err := sqlite.Open(filepath.Join(b.TempDir(), "log.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	c := past(b, s, n)
	files := append(policy.Builtin(), remit.PolicyFile{Name: "trial.rego", Text: "package remit.any\n\ndeny contains {\"rule\": \"never\", \"text\": \"no\"} if input.agent.name == \"nobody\"\n"})
	bundle, err := policy.Compile(b.Context(), files)
	if err != nil {
		b.Fatal(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(300)) // as the server does
	for b.Loop() {
		start := time.Now()
		entries, commands := 0, 0
		for e, err := range s.Read(b.Context(), 0) {
			if err != nil {
				b.Fatal(err)
			}
			l, err := ledger.Decode(e.Leaf)
			if err != nil {
				b.Fatal(err)
			}
			if entries++; (engine.Trial{}).Wants(l) {
				if _, err := c.Engine.Command(b.Context(), l.Command); err != nil {
					b.Fatal(err)
				}
				commands++
			}
		}
		read := time.Since(start)
		start, used := time.Now(), cpuTime()
		got, err := c.Engine.Try(b.Context(), engine.Trial{Policy: bundle})
		if err != nil || got.Judged != commands || got.Different != 0 || got.Unjudged != 0 {
			b.Fatalf("%+v %v", got, err)
		}
		took, cores := time.Since(start), cpuTime()-used
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(cores.Seconds(), "cpu-s")
		b.ReportMetric(float64(cores.Microseconds())/float64(commands), "cpu-µs/decision")
		b.ReportMetric(float64(took)/float64(read), "ratio")
		b.ReportMetric(float64(commands), "decisions")
	}
}

// past writes a log of n allowed decisions of seven hours, each with its command.
func past(b *testing.B, s ledger.Store, n int) *world.Core {
	b.Helper()
	c, err := world.OpenCore(b.Context(), world.CoreOptions{Store: s})
	if err != nil {
		b.Fatal(err)
	}
	var callers []remit.Caller
	for range max(1, n/4000) { // a task has 10,000 decisions
		for _, agent := range []string{"canary", "coder"} {
			caller, err := c.Task(b.Context(), agent, "mia")
			if err != nil {
				b.Fatal(err)
			}
			callers = append(callers, caller)
		}
	}
	begin, span := c.Clock.Now(), 7*time.Hour // a task lasts eight
	state := authority.New()
	for e, err := range s.Read(b.Context(), 0) {
		if err != nil {
			b.Fatal(err)
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			b.Fatal(err)
		}
		if err := authority.Apply(state, l.At.UnixNano(), l.Event); err != nil {
			b.Fatal(err)
		}
	}
	c.Engine.Close()
	tree, head, err := ledger.OpenTree(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	const batch = 4096
	for first := 0; first < n; first += batch {
		leaves, payloads := make([][]byte, min(batch, n-first)), make([]remit.Payload, min(batch, n-first))
		spread(len(leaves), func(i int) {
			caller, at := callers[(first+i)%len(callers)], begin.Add(span/time.Duration(n)*time.Duration(first+i))
			r := world.Ask(caller, "probe.write")
			if caller.Agent == "coder" {
				r = world.Push(caller, fmt.Sprint("b", first+i), fmt.Sprint(first+i), "main.go", "go.mod", "README.md")
			}
			cmd := &authority.Authorize{Request: r, Hash: remit.Hash([]byte{1})}
			f := authority.FactsOf(state, r, at.UnixNano())
			cmd.Judged = authority.NewJudged(f, state.Policy, authority.Finding{Verdict: remit.Allow})
			events, _, err := authority.Decide(state, at, cmd)
			if err != nil {
				b.Error(err)
				return
			}
			d := *events[0].(*remit.Decided)
			index := head.Size + uint64(i)
			d.Permit = remit.ID(fmt.Sprintf("P-%d", index))
			body, err := authority.EncodeCommand(cmd)
			if err != nil {
				b.Error(err)
			}
			payloads[i] = remit.Payload{Body: body}
			payloads[i].Salt = remit.Hash(body)
			if leaves[i], err = ledger.Encode(ledger.Leaf{At: at, Command: payloads[i].Commitment(), Event: &d}); err != nil {
				b.Error(err)
			}
		})
		next, hashes := tree.Append(leaves...)
		batch := ledger.Batch{Entries: leaves, Hashes: hashes, Payloads: payloads, Next: next.Head(head.Epoch)}
		if err := s.Append(context.Background(), head, batch); err != nil {
			b.Fatal(err)
		}
		tree, head = next, batch.Next
	}
	c.Clock.Advance(span)
	again, err := world.OpenCore(b.Context(), world.CoreOptions{Store: s, Clock: c.Clock, Rules: c.Rules})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(again.Engine.Close)
	return again
}
