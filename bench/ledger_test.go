// Package bench holds the measurements behind the project's performance goals. They are benchmarks, not tests: figures
// depend on the machine, so each is printed beside a baseline of the same run.
package bench

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/torchwood"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// entryBytes is the size of an entry in the group-commit measurements.
const entryBytes = 600

// appender makes a group of entries durable.
type appender func(entries [][]byte) error

// groupCommit lets writers wait, each for the durable acknowledgement of one entry at a time, and one committer drain
// the queue: no timer, nobody is held to wait for more. It gives entries per second and the 99th percentile of the
// waiting time.
func groupCommit(writers, total int, commit appender) (perSecond float64, p99 time.Duration, err error) {
	type request struct {
		entry []byte
		done  chan error
	}
	queue := make(chan request, writers)
	waits := make([][]time.Duration, writers)
	var group sync.WaitGroup
	start := time.Now()
	for w := range writers {
		group.Go(func() {
			entry, done := make([]byte, entryBytes), make(chan error, 1)
			rand.Read(entry)
			for range total / writers {
				asked := time.Now()
				queue <- request{entry, done}
				if err := <-done; err != nil {
					return
				}
				waits[w] = append(waits[w], time.Since(asked))
			}
		})
	}
	go func() {
		group.Wait()
		close(queue)
	}()
	var batch []request
	var entries [][]byte
	for first := range queue {
		batch, entries = append(batch[:0], first), append(entries[:0], first.entry)
		for more := true; more && len(batch) < writers; {
			select {
			case r, ok := <-queue:
				if more = ok; ok {
					batch, entries = append(batch, r), append(entries, r.entry)
				}
			default:
				more = false
			}
		}
		e := commit(entries)
		err = errors.Join(err, e)
		for _, r := range batch {
			r.done <- e
		}
	}
	took := time.Since(start)
	all := slices.Concat(waits...)
	if len(all) == 0 {
		return 0, 0, err
	}
	slices.Sort(all)
	return float64(len(all)) / took.Seconds(), all[len(all)*99/100], err
}

// rawFile is the baseline: a preallocated file, one write of the same bytes and one fdatasync for each group.
func rawFile(b *testing.B, dir string, size int64, payload int) appender {
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	zero := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zero)) {
		if _, err := f.WriteAt(zero, at); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	at := int64(0)
	var buf []byte
	return func(entries [][]byte) error {
		buf = buf[:0]
		for _, e := range entries {
			buf = append(buf, e...)
			buf = append(buf, zero[:payload]...)
		}
		if at+int64(len(buf)) > size {
			at = 0
		}
		_, err := f.WriteAt(buf, at)
		at += int64(len(buf))
		return errors.Join(err, syscall.Fdatasync(int(f.Fd())))
	}
}

// ledgerStore is the log: tree, hashes and head in the same commit, and one payload of that size for each entry.
func ledgerStore(b *testing.B, dir string, payload int) appender {
	s, err := sqlite.Open(filepath.Join(dir, "log.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	tree, head, err := ledger.OpenTree(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	return func(entries [][]byte) error {
		next, hashes := tree.Append(entries...)
		batch := ledger.Batch{Entries: entries, Hashes: hashes, Next: next.Head(head.Epoch)}
		if payload > 0 {
			for range entries {
				p := remit.Payload{Body: make([]byte, payload)}
				rand.Read(p.Salt[:])
				batch.Payloads = append(batch.Payloads, p)
			}
		}
		if err := s.Append(context.Background(), head, batch); err != nil {
			return err
		}
		tree, head = next, batch.Next
		return nil
	}
}

// BenchmarkGroupCommit compares the log with the raw file on the same disk in alternating rounds; ratio is entries per
// second over the raw file's, ratio-p99 the 99th percentile of the waiting time over the raw file's.
func BenchmarkGroupCommit(b *testing.B) {
	const rounds = 5
	for _, payload := range []int{0, 1 << 10} {
		for _, writers := range []int{1, 16, 128} {
			b.Run(fmt.Sprintf("payload=%d/writers=%d", payload, writers), func(b *testing.B) {
				total := min(1000*writers, 40_000)
				for b.Loop() {
					dir := b.TempDir()
					raw, store := rawFile(b, dir, int64(total)*int64(entryBytes+payload), payload), ledgerStore(b, dir, payload)
					var ratios, p99s, rates []float64
					for range rounds {
						rawRate, rawP99, err := groupCommit(writers, total, raw)
						if err != nil {
							b.Fatal(err)
						}
						rate, p99, err := groupCommit(writers, total, store)
						if err != nil {
							b.Fatal(err)
						}
						rates, ratios, p99s = append(rates, rate), append(ratios, rate/rawRate), append(p99s, float64(p99)/float64(rawP99))
					}
					b.ReportMetric(median(rates), "entries/s")
					b.ReportMetric(median(ratios), "ratio")
					b.ReportMetric(median(p99s), "ratio-p99")
				}
			})
		}
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// decisionLeaves makes the entries of one gateway request each: decision, redemption, record.
func decisionLeaves(b *testing.B, from, n int) [][]byte {
	digest := func(i int) remit.Digest { return remit.Hash(fmt.Append(nil, i)) }
	var leaves [][]byte
	for i := from - from%3; len(leaves) < n+from%3; i += 3 {
		at := time.Unix(1_790_000_000, int64(i))
		for k, e := range []remit.Event{
			&remit.Decided{Verdict: remit.Allow, Gateway: "git", Instance: "I1234", Task: "T1233", Agent: "refactorer",
				Steps: []remit.StepFacts{{Step: remit.Step{Action: "source.push", Resource: "repo:forge/acme/payments"},
					Ref: "refs/heads/remit/T1233/fix", Op: remit.RefUpdate, Old: make([]byte, 20), New: make([]byte, 20), Commits: 1}},
				Effect: digest(1), Facts: digest(2), Policy: digest(3), Permit: remit.ID(fmt.Sprintf("P%d", i)), Hash: digest(4),
				Bytes: 1400, NotAfter: at.Add(time.Minute).UnixNano()},
			&remit.Redeemed{ID: remit.ID(fmt.Sprintf("X%d", i+1)), Permit: remit.ID(fmt.Sprintf("P%d", i)), NotAfter: at.UnixNano(), Hash: digest(5)},
			&remit.Recorded{Attempt: remit.ID(fmt.Sprintf("X%d", i+1)), Outcome: remit.Done, Receipt: digest(6)},
		} {
			leaf, err := ledger.Encode(ledger.Leaf{At: at, Command: digest(i + k), Event: e})
			if err != nil {
				b.Fatal(err)
			}
			leaves = append(leaves, leaf)
		}
	}
	return leaves[from%3:][:n]
}

// BenchmarkStart1M reads, decodes and hashes a log of a million entries and checks it against its head, as a start does.
// Rows of one entry are the worst case: a log that never had two requests at once.
func BenchmarkStart1M(b *testing.B) {
	const entries = 1_000_000
	for _, row := range []int{1, 16} {
		b.Run(fmt.Sprintf("row=%d", row), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "log.db")
			fill(b, path, entries, row)
			var best, cpu time.Duration
			for b.Loop() {
				s, err := sqlite.Open(path, sqlite.Options{})
				if err != nil {
					b.Fatal(err)
				}
				count, start, used := 0, time.Now(), cpuTime()
				_, _, err = ledger.Replay(b.Context(), s, ledger.Tree{}, func(remit.EntryIndex, ledger.Leaf) error { count++; return nil })
				if took := time.Since(start); best == 0 || took < best {
					best = took
				}
				if spent := cpuTime() - used; cpu == 0 || spent < cpu {
					cpu = spent
				}
				if err := errors.Join(err, s.Close()); err != nil || count != entries {
					b.Fatal(count, err)
				}
			}
			b.ReportMetric(best.Seconds(), "best-s")
			b.ReportMetric(cpu.Seconds(), "best-cpu-s")
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size())/entries, "B/entry")
		})
	}
}

// fill writes the rows that Append would have written, in large transactions: a million commits take minutes.
func fill(b *testing.B, path string, entries, row int) {
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(OFF)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback()
	insert, err := tx.Prepare(`INSERT INTO batch (first, leaves, hashes, payloads) VALUES (?, ?, ?, x'')`)
	if err != nil {
		b.Fatal(err)
	}
	var tree ledger.Tree
	for n := 0; n < entries; n += row {
		leaves := decisionLeaves(b, n, row)
		next, hashes := tree.Append(leaves...)
		var bundle, stored []byte
		for _, l := range leaves {
			bundle, _ = torchwood.AppendTileEntry(bundle, l)
		}
		for _, h := range hashes {
			stored = append(stored, h[:]...)
		}
		if _, err := insert.Exec(n, bundle, stored); err != nil {
			b.Fatal(err)
		}
		tree = next
	}
	root := tree.Root()
	if _, err := tx.Exec(`UPDATE head SET size = ?, root = ?`, entries, root[:]); err != nil {
		b.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}

// cpuTime is what this process has used of all cores: the figure that other load on the machine changes least.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
