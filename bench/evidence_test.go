package bench

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/evidence"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// headKey signs heads of a log in memory.
type headKey struct{ ed25519.PrivateKey }

func (k headKey) Public() ed25519.PublicKey { return k.PrivateKey.Public().(ed25519.PublicKey) }

func (k headKey) Sign(m []byte) ([]byte, error) { return ed25519.Sign(k.PrivateKey, m), nil }

// packed proves entries of a log under one head.
type packed struct {
	store      ledger.Store
	key        headKey
	checkpoint []byte
	verifier   string
}

const packOrigin = "remit.example/acme"

func (p packed) Receipt(i remit.EntryIndex) ([]byte, error) {
	return ledger.Receipt(context.Background(), p.store, i, p.checkpoint, p.verifier)
}

func (p packed) Sign(kind string, d remit.Digest) ([]byte, error) {
	return ledger.SignDigest(packOrigin, kind, d, p.key)
}

// BenchmarkEvidence makes a pack of a log of 1,000,000 entries: decisions, what came of them, votes, leases and reviews of
// 200 agents. It reports the seconds, and the ratios to reading the same log entry by entry, with the tree made again and
// each leaf decoded: of the pack as the server makes it, and of verifying it with the log.
func BenchmarkEvidence(b *testing.B) {
	n := atMost(1_000_000, 30_000)
	s, err := sqlite.Open(filepath.Join(b.TempDir(), "log.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	p := packed{store: s, key: headKey{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))}}
	if p.verifier, err = ledger.VerifierKey(packOrigin, p.key.Public()); err != nil {
		b.Fatal(err)
	}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	head := ledger.Empty()
	tree := ledger.Tree{}
	const batch = 4096
	for first := 0; first < n; first += batch {
		leaves := make([][]byte, min(batch, n-first))
		spread(len(leaves), func(k int) {
			leaf, err := ledger.Encode(ledger.Leaf{At: begin.Add(time.Duration(first+k) * time.Second), Event: lived(first+k, p.verifier)})
			if err != nil {
				b.Error(err)
			}
			leaves[k] = leaf
		})
		next, hashes := tree.Append(leaves...)
		if err := s.Append(b.Context(), head, ledger.Batch{Entries: leaves, Hashes: hashes, Next: next.Head(head.Epoch)}); err != nil {
			b.Fatal(err)
		}
		tree, head = next, next.Head(head.Epoch)
	}
	if p.checkpoint, err = ledger.SignCheckpoint(packOrigin, head, p.key); err != nil {
		b.Fatal(err)
	}
	m, err := evidence.Load("owasp-asi-2026")
	if err != nil {
		b.Fatal(err)
	}
	read := func(entry func(remit.EntryIndex, ledger.Leaf) error, verified bool) time.Duration {
		start, again := time.Now(), ledger.Tree{}
		for e, err := range s.Read(b.Context(), 0) {
			if err != nil {
				b.Fatal(err)
			}
			if verified {
				again, _ = again.Append(e.Leaf)
			}
			l, err := ledger.Decode(e.Leaf)
			if err != nil {
				b.Fatal(err)
			}
			if entry != nil {
				if err := entry(e.Index, l); err != nil {
					b.Fatal(err)
				}
			}
		}
		if verified && again.Root() != head.Root {
			b.Fatal("the log is another one")
		}
		return time.Since(start)
	}
	for b.Loop() {
		plain := read(nil, true)
		start := time.Now()
		f, err := evidence.New(begin, begin.Add(time.Duration(n)*time.Second))
		if err != nil {
			b.Fatal(err)
		}
		read(f.Entry, false)
		r, err := f.Report(m, remit.EvidenceSettings{})
		if err != nil {
			b.Fatal(err)
		}
		pack, err := evidence.MakePack(m, r, p.checkpoint, p)
		if err != nil {
			b.Fatal(err)
		}
		made := time.Since(start)
		start = time.Now()
		c, err := evidence.OpenPack(pack, ledger.Trust{Verifier: p.verifier})
		if err != nil {
			b.Fatal(err)
		}
		again, err := c.Recount()
		if err != nil {
			b.Fatal(err)
		}
		read(again.Entry, true)
		if err := again.Compare(); err != nil {
			b.Fatal(err)
		}
		checked := time.Since(start)
		b.ReportMetric(made.Seconds(), "s")
		b.ReportMetric(float64(made)/float64(plain), "ratio-make")
		b.ReportMetric(float64(checked)/float64(plain), "ratio-verify")
		b.ReportMetric(float64(len(pack))/1024, "KiB")
	}
}

// lived is entry i of the log of a house that has been at work for long.
func lived(i int, verifier string) remit.Event {
	const agents = 200
	agent := fmt.Sprint("agent-", i/16%agents)
	task := remit.ID(fmt.Sprintf("T-%d", 300+i/16*16))
	switch {
	case i == 0:
		return &remit.Genesis{Org: "acme", Origin: packOrigin, Verifier: verifier, Profile: remit.Team, Admins: []remit.ID{"p-1", "p-2"}}
	case i == 1:
		return &remit.RulesActivated{Version: 2}
	case i == 2:
		return &remit.PolicyInstalled{Bundle: remit.Hash([]byte("ours")), By: "p-1"}
	case i == 3:
		return &remit.UpstreamDeclared{Name: "forge", Type: remit.KindGitea}
	case i == 4:
		return &remit.RepositoryDeclared{Name: "forge/payments", DefaultBranch: "main", Reviews: 1}
	case i == 5:
		return &remit.EnvironmentDeclared{Name: "payments/production", Tier: "production", Approvers: []remit.Need{{Group: "reviewers", N: 2}}}
	case i < 300:
		return &remit.AgentDeclared{Name: fmt.Sprint("agent-", i%agents), Function: remit.FuncCode, Owner: "p-1", Expires: 1893456000}
	}
	at := func(k int) int { return i - i%16 + k }
	step := remit.StepFacts{Step: remit.Step{Action: "source.push", Resource: "repo:forge/payments"}, Ref: "refs/heads/remit/" + string(task) + "/x", Op: remit.RefUpdate, Old: bytes.Repeat([]byte{1}, 20), New: bytes.Repeat([]byte{2}, 20)}
	deploy := remit.StepFacts{Step: remit.Step{Action: "deploy.promote", Resource: "environment:payments/production"}}
	id := func(letter string, k int) remit.ID { return remit.ID(fmt.Sprintf("%s-%d", letter, at(k))) }
	switch i % 16 {
	case 0:
		return &remit.TaskCreated{ID: task, Requester: "p-1", Agent: agent, Deadline: int64(1) << 60}
	case 1:
		return &remit.InstanceStarted{ID: id("I", 1), Task: task, Agent: agent, Confinement: remit.ConfineSandbox}
	case 2, 5, 8:
		return &remit.Decided{Verdict: remit.Allow, Gateway: "git", Agent: agent, Task: task, Instance: id("I", 1), Steps: []remit.StepFacts{step}, Permit: id("P", i%16), Policy: remit.Hash([]byte("ours")), NotAfter: int64(1) << 60}
	case 3, 6:
		return &remit.Redeemed{ID: id("X", i%16), Permit: id("P", i%16-1)}
	case 4, 7:
		return &remit.Recorded{Attempt: id("X", i%16-1), Outcome: remit.Done}
	case 9:
		return &remit.Decided{Verdict: remit.Deny, Code: remit.RefOutOfScope, Gateway: "git", Agent: agent, Task: task, Instance: id("I", 1), Steps: []remit.StepFacts{step}}
	case 10:
		return &remit.Decided{Verdict: remit.Hold, Gateway: "deploy", Agent: agent, Task: task, Steps: []remit.StepFacts{deploy}, Access: id("A", 11)}
	case 11:
		return &remit.AccessOpened{ID: id("A", 11), Zone: remit.ZoneProduction, Task: task}
	case 12:
		return &remit.VoteCast{Access: id("A", 11), Person: "p-2", Approve: true, Assurance: remit.AssuranceTouch}
	case 13:
		return &remit.AccessMoved{Access: id("A", 11), To: remit.AccessMet}
	case 14:
		return &remit.ReviewOpened{ID: id("R", 14), Agent: agent, Deadline: int64(1) << 60}
	}
	return &remit.TaskEnded{Task: task, Status: remit.TaskCompleted}
}
