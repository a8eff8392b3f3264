package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// swarm is four agents of noa's that no other person's decisions rest on.
var swarm = []string{"swarm-a", "swarm-b", "swarm-c", "swarm-d"}

// crowd writes a log in which so many tasks of noa's agents live, each with its instance.
func crowd(b *testing.B, s ledger.Store, tasks int) *world.Core {
	b.Helper()
	c, err := world.OpenCore(b.Context(), world.CoreOptions{Store: s})
	if err != nil {
		b.Fatal(err)
	}
	set := c.Set
	scope := []remit.Scope{{Actions: []remit.Action{"probe.write"}, Resources: []remit.Pattern{remit.Pattern(world.Canary)}}}
	for _, name := range swarm {
		set.Agents = append(set.Agents, remit.AgentDeclared{Name: name, Function: remit.FuncCode, Owner: "p-noa", Entitlements: scope})
	}
	res, err := c.Engine.Do(b.Context(), &authority.ApplySet{By: "p-ada", Set: set})
	if err == nil && res.Decision.Verdict == remit.Hold {
		if err = c.Vote(b.Context(), res.Decision.Access, "bob", true); err == nil {
			_, err = c.Engine.Do(b.Context(), &authority.ApplySet{By: "p-ada", Set: set, Access: res.Decision.Access})
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	at := c.Clock.Now()
	c.Engine.Close()
	tree, head, err := ledger.OpenTree(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	digest := remit.Hash([]byte("some digest"))
	const batch = 8192
	for first := 0; first < tasks; first += batch {
		leaves := make([][]byte, 2*min(batch, tasks-first))
		base := remit.EntryIndex(head.Size)
		spread(len(leaves)/2, func(i int) {
			n := base + remit.EntryIndex(2*i)
			task, agent := remit.ID(fmt.Sprintf("T-%d", n)), swarm[(first+i)%len(swarm)]
			for j, ev := range []remit.Event{
				&remit.TaskCreated{ID: task, Requester: "p-noa", Agent: agent, Intent: digest, Grant: scope, Deadline: at.Add(8 * time.Hour).UnixNano()},
				&remit.InstanceStarted{ID: remit.ID(fmt.Sprintf("I-%d", n+1)), Task: task, Agent: agent, Launcher: "p-noa", Confinement: remit.ConfineUID, Secret: digest, Host: digest},
			} {
				leaf, err := ledger.Encode(ledger.Leaf{At: at, Command: remit.Hash([]byte(task), []byte{byte(j)}), Event: ev})
				if err != nil {
					b.Error(err)
				}
				leaves[2*i+j] = leaf
			}
		})
		next, hashes := tree.Append(leaves...)
		append := ledger.Batch{Entries: leaves, Hashes: hashes, Next: next.Head(head.Epoch)}
		if err := s.Append(context.Background(), head, append); err != nil {
			b.Fatal(err)
		}
		tree, head = next, append.Next
	}
	again, err := world.OpenCore(b.Context(), world.CoreOptions{Store: s, Clock: c.Clock, Rules: c.Rules})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(again.Engine.Close)
	return again
}

// live counts the tasks that have not ended.
func live(c *world.Core) (n int) {
	c.Engine.View(func(s *authority.State) { n = len(s.LiveTasks) })
	return n
}

// BenchmarkKillAll kills a person of whose agents 100,000 tasks live, while 16 instances of somebody else's ask all the
// time. It tells how long the kill takes to be durable and in force, how many of the ends that follow from it are written
// down in a second, and the 99th percentile of the others' decisions from the kill on over that before it.
func BenchmarkKillAll(b *testing.B) {
	const callers, each = 16, 8
	tasks, window := atMost(100_000, 1000), atMost(10*time.Second, 200*time.Millisecond)
	for b.Loop() {
		s, err := sqlite.Open(filepath.Join(b.TempDir(), "log.db"), sqlite.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		c := crowd(b, s, tasks)
		others := make([][each]remit.Caller, callers) // a task has 10,000 decisions
		for i := range others {
			for j := range each {
				if others[i][j], err = c.Task(b.Context(), "canary", "mia"); err != nil {
					b.Fatal(err)
				}
			}
		}
		runtime.GC()
		var phase atomic.Int32 // 0 to warm up, 1 before, 2 from the kill on, 3 to stop
		waits := make([][3][]time.Duration, callers)
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				for n := 0; phase.Load() < 3; n++ {
					now, start := phase.Load(), time.Now()
					d, err := c.Engine.Authorize(b.Context(), world.Ask(others[i][n%each], "probe.write"))
					if err != nil || d.Verdict != remit.Allow {
						b.Error(err, d.Code, d.Sentence)
						return
					}
					waits[i][now] = append(waits[i][now], time.Since(start))
				}
			})
		}
		second := func() { // what the server does about once a second
			c.Clock.Advance(time.Second)
			if err := c.Engine.Tick(b.Context()); err != nil {
				b.Error(err)
			}
		}
		wait := func() {
			for end := time.Now().Add(window); time.Now().Before(end); time.Sleep(min(window, time.Second)) {
				second()
			}
			phase.Add(1)
		}
		wait()
		wait()
		start := time.Now()
		if err := c.Engine.Kill(authority.Kill{By: "p-ada", What: "person", ID: "p-noa"}); err != nil {
			b.Fatal(err)
		}
		killed := time.Since(start)
		alive, ended := 0, 0
		c.Engine.View(func(s *authority.State) {
			for id := range s.Tasks {
				if s.TaskLive(id, s.Now) {
					alive++
				}
			}
		})
		if alive != callers*each {
			b.Fatalf("%d tasks are alive after the kill", alive)
		}
		wait()
		swept := time.Since(start)
		all.Wait()
		c.Engine.View(func(s *authority.State) { ended = 2 * (tasks + callers*each - len(s.LiveTasks)) })
		p99 := func(phase int) time.Duration {
			var sum []time.Duration
			for _, w := range waits {
				sum = append(sum, w[phase]...)
			}
			slices.Sort(sum)
			return sum[len(sum)*99/100]
		}
		b.ReportMetric(float64(killed.Microseconds())/1000, "kill-ms")
		b.ReportMetric(float64(ended)/swept.Seconds(), "ends/s")
		b.ReportMetric(float64(p99(1).Microseconds())/1000, "p99-before-ms")
		b.ReportMetric(float64(p99(2))/float64(p99(1)), "ratio-p99")
	}
}

// BenchmarkMemory tells what a live grant, with an instance of it, takes in an engine's two states.
func BenchmarkMemory(b *testing.B) {
	for _, tasks := range []int{atMost(100_000, 1000), atMost(1_000_000, 10_000)} {
		b.Run(fmt.Sprintf("grants=%d", tasks), func(b *testing.B) {
			for b.Loop() {
				s, err := sqlite.Open(filepath.Join(b.TempDir(), "log.db"), sqlite.Options{})
				if err != nil {
					b.Fatal(err)
				}
				heap := func() float64 {
					runtime.GC()
					runtime.GC()
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					return float64(m.HeapAlloc)
				}
				empty := heap()
				c := crowd(b, s, tasks)
				full := heap()
				if n := live(c); n != tasks {
					b.Fatalf("%d tasks live", n)
				}
				b.ReportMetric((full-empty)/float64(tasks), "bytes/grant")
				c.Engine.Close()
				s.Close()
			}
		})
	}
}
