package evidence_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/evidence"
	"github.com/remit-dev/remit/ledger"
)

// sealed writes a pack as remit evidence does, with a signature by that key; nil leaves the one that it has.
func sealed(t *testing.T, p remit.EvidencePack, key ledger.Signer) []byte {
	t.Helper()
	encode := func() []byte {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(p); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if key != nil {
		p.Signature = ""
		s, err := ledger.SignDigest(origin, evidence.PackKind, remit.Hash([]byte(evidence.PackKind+"\n"), encode()), key)
		if err != nil {
			t.Fatal(err)
		}
		p.Signature = string(s)
	}
	return encode()
}

// attacked is a pack with what an attacker has: the log that it is of, and another log of the same origin, with one entry
// changed, under a key of its own and under the log's key (a fork).
type attacked struct {
	pack        remit.EvidencePack
	log         maker
	other, fork maker
	report      remit.EvidenceReport
	forked      *book
}

func attack(t *testing.T) attacked {
	t.Helper()
	b := full()
	m := b.maker(t)
	x := attacked{log: m, report: b.report(t, "owasp-asi-2026", begin, end)}
	if err := json.Unmarshal(m.pack(t, x.report), &x.pack); err != nil {
		t.Fatal(err)
	}
	x.forked = full()
	for _, l := range x.forked.leaves {
		if d, ok := l.Event.(*remit.Decided); ok && d.Code == remit.RefOutOfScope {
			d.Code = remit.OverBudget // what was refused is another thing
		}
	}
	x.fork = x.forked.maker(t)
	theirs := *x.forked
	x.other = theirs.maker(t)
	x.other.key = stranger
	key, err := ledger.VerifierKey(origin, stranger.Public())
	if err != nil {
		t.Fatal(err)
	}
	x.other.trust.Verifier = key
	head, err := ledger.OpenCheckpoint(x.other.checkpoint, m.trust.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	if x.other.checkpoint, err = ledger.SignCheckpoint(origin, ledger.Head{Size: head.Size, Root: head.Root}, stranger); err != nil {
		t.Fatal(err)
	}
	return x
}

// stranger is a key that nobody was told to trust.
var stranger = plainKey{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))}

// receipts proves what a report lists in another log.
func receipts(t *testing.T, m maker, r remit.EvidenceReport) (out []string) {
	t.Helper()
	for _, i := range evidence.Listed(r) {
		b, err := m.Receipt(i)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

// TestAttacksOnPacks: each attack is tried three times. Whoever has only the pack changes it and leaves the signature; then
// they sign it anew with a key of their own; and at last the holder of the log's own key does it, who can sign what they
// like: then the pack's own proofs are what refuses it.
func TestAttacksOnPacks(t *testing.T) {
	for name, x := range map[string]struct {
		do func(*testing.T, *attacked)
		// owner is what the pack says even when the log's key signs it.
		owner string
	}{
		"an entry is changed": {func(t *testing.T, a *attacked) {
			lines := strings.SplitN(a.pack.Receipts[9], "\n", 4)
			leaf, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
			if err != nil {
				t.Fatal(err)
			}
			leaf[len(leaf)-1] ^= 1
			lines[1] = "extra " + base64.StdEncoding.EncodeToString(leaf)
			a.pack.Receipts[9] = strings.Join(lines, "\n")
		}, "receipt 9: the receipt does not prove that the log has this entry"},
		"an entry is left out": {func(_ *testing.T, a *attacked) {
			a.pack.Receipts = append(a.pack.Receipts[:5:5], a.pack.Receipts[6:]...)
		},
			"entries, and there are"},
		"an entry is left out of proofs and list": {func(_ *testing.T, a *attacked) {
			for i := range a.pack.Report.Controls {
				for j := range a.pack.Report.Controls[i].Figures {
					x := &a.pack.Report.Controls[i].Figures[j]
					if x.Name == "production.held" {
						x.Entries.Listed = x.Entries.Listed[:0]
					}
				}
			}
			a.pack.Receipts = nil
			for _, i := range evidence.Listed(a.pack.Report) {
				b, err := a.log.Receipt(i)
				if err != nil {
					panic(err)
				}
				a.pack.Receipts = append(a.pack.Receipts, string(b))
			}
		}, "of 1 entries, 0 are listed, and not 1"},
		"an entry is exchanged for another of the log": {func(_ *testing.T, a *attacked) { a.pack.Receipts[5] = a.pack.Receipts[6] }, "receipt 5 is of entry"},
		"a figure is edited":                           {func(_ *testing.T, a *attacked) { a.pack.Report.Controls[0].Figures[0].Value += 7 }, "and rests on"},
		"a state is edited":                            {func(_ *testing.T, a *attacked) { a.pack.Report.Controls[2].State = remit.EvidenceNotSeen }, "and its reasons make it"},
		"an item is edited":                            {func(_ *testing.T, a *attacked) { a.pack.Report.Items[2].State = remit.EvidenceNotSeen }, "and its controls make it"},
		"the map is edited":                            {func(_ *testing.T, a *attacked) { a.pack.Map = strings.Replace(a.pack.Map, "approvals", "budgets", 1) }, "its report names another framework than its map"},
		"the period is edited":                         {func(_ *testing.T, a *attacked) { a.pack.Report.Until = begin.Add(30 * time.Second) }, "which is not of the period"},
		"the map is another framework's": {func(t *testing.T, a *attacked) {
			m, err := evidence.Load("maestro")
			if err != nil {
				t.Fatal(err)
			}
			a.pack.Map = string(m.Text)
		}, "its report names another framework than its map"},
		"the proofs are of another log": {func(t *testing.T, a *attacked) { a.pack.Receipts = receipts(t, a.other, a.report) }, "receipt 0 is not under the pack's own head"},
		"proofs and head are of another log": {func(t *testing.T, a *attacked) {
			a.pack.Receipts, a.pack.Checkpoint = receipts(t, a.other, a.report), string(a.other.checkpoint)
		}, "the checkpoint is not signed by the key of the log"},
		"the head is signed by another key": {func(_ *testing.T, a *attacked) { a.pack.Checkpoint = string(a.other.checkpoint) }, "the checkpoint is not signed by the key of the log"},
		"the head is of fewer entries": {func(t *testing.T, a *attacked) {
			b, err := ledger.SignCheckpoint(origin, ledger.Head{Size: 7, Root: remit.Hash([]byte("r"))}, a.log.key)
			if err != nil {
				t.Fatal(err)
			}
			a.pack.Checkpoint = string(b)
		}, "its checkpoint is over 7 entries"},
		"the head is a signature of something else": {func(_ *testing.T, a *attacked) { a.pack.Checkpoint = a.pack.Signature }, "the checkpoint is not signed by the key of the log"},
	} {
		t.Run(name, func(t *testing.T) {
			a := attack(t)
			if _, err := evidence.OpenPack(sealed(t, a.pack, nil), a.log.trust); err != nil {
				t.Fatalf("the pack itself: %v", err)
			}
			x.do(t, &a)
			for who, try := range map[string]struct {
				key  ledger.Signer
				says string
			}{
				"whoever has the pack":        {nil, "the signature is for something else than this"},
				"with a key of their own":     {stranger, "the signature is not of the log's key"},
				"the holder of the log's key": {a.log.key, x.owner},
			} {
				_, err := evidence.OpenPack(sealed(t, a.pack, try.key), a.log.trust)
				if err == nil || !strings.Contains(err.Error(), "the pack is wrong: ") || !strings.Contains(err.Error(), try.says) {
					t.Errorf("%s: %v; it does not say %q", who, err, try.says)
				}
			}
		})
	}
}

// TestSignaturesOfOtherThings: one key signs checkpoints and packs, and nothing that it signed as the one counts as the
// other: what is signed begins with a line that says what it is, and a checkpoint's first line is never such a line.
func TestSignaturesOfOtherThings(t *testing.T) {
	a := attack(t)
	d := remit.Hash([]byte(evidence.PackKind+"\n"), sealed(t, func() remit.EvidencePack { p := a.pack; p.Signature = ""; return p }(), nil))
	if err := ledger.OpenDigest([]byte(a.pack.Signature), evidence.PackKind, d, a.log.trust.Verifier); err != nil {
		t.Fatalf("the signature is not over this digest: %v", err)
	}
	replayed := map[string]string{"the head of the log": a.pack.Checkpoint}
	// A log whose root is the digest that a pack's signature is over.
	head, err := ledger.SignCheckpoint(origin, ledger.Head{Size: 1, Root: d}, a.log.key)
	if err != nil {
		t.Fatal(err)
	}
	replayed["a head with the pack's digest as its root"] = string(head)
	for _, kind := range []string{"remit evidence pack v2", "remit access card v1", "remit evidence"} {
		s, err := ledger.SignDigest(origin, kind, d, a.log.key)
		if err != nil {
			t.Fatal(err)
		}
		replayed["the same digest as "+kind] = string(s)
	}
	for name, s := range replayed {
		p := a.pack
		p.Signature = s
		if _, err := evidence.OpenPack(sealed(t, p, nil), a.log.trust); err == nil || !strings.Contains(err.Error(), "the pack is wrong: ") {
			t.Errorf("%s stands for a pack: %v", name, err)
		}
	}
	if _, err := ledger.OpenCheckpoint([]byte(a.pack.Signature), a.log.trust.Verifier); err == nil {
		t.Error("the signature of a pack is a head of the log")
	}
	for _, kind := range []string{origin, "", "two\nlines"} {
		if s, err := ledger.SignDigest(origin, kind, d, a.log.key); err == nil {
			t.Errorf("%q is a kind: %s", kind, s)
		}
	}
}

// TestAForkedLog: the holder of the log's key keeps two logs. Whoever saw the head of the other one refuses the pack of this
// one, and the other log does not bear it out.
func TestAForkedLog(t *testing.T) {
	a := attack(t)
	r := a.forked.report(t, "owasp-asi-2026", begin, end)
	pack := a.fork.pack(t, r)
	c, err := evidence.OpenPack(pack, a.log.trust)
	if err != nil {
		t.Fatalf("a verifier who saw no head cannot tell: %v", err)
	}
	saw := a.log.trust
	saw.Checkpoint = a.log.checkpoint
	if _, err := evidence.OpenPack(pack, saw); err == nil || !strings.Contains(err.Error(), "the log was forked") {
		t.Errorf("who saw the head: %v", err)
	}
	var p remit.EvidencePack
	if err := json.Unmarshal(pack, &p); err != nil {
		t.Fatal(err)
	}
	for i := range p.Report.Controls { // a report that lists nothing has no proof that could show it
		c := &p.Report.Controls[i]
		for j := range c.Why {
			c.Why[j].Entries = remit.NewEvidenceEntries(nil)
		}
		for j := range c.Figures {
			c.Figures[j].Value, c.Figures[j].Entries = 0, remit.NewEvidenceEntries(nil)
		}
		c.Silent = true
	}
	p.Receipts = []string{}
	if _, err := evidence.OpenPack(sealed(t, p, a.fork.key), saw); err == nil || !strings.Contains(err.Error(), "the log was forked") {
		t.Errorf("who saw the head, and nothing is listed: %v", err)
	}
	if err := recount(t, c, full()); err == nil || !strings.Contains(err.Error(), "the log says otherwise") {
		t.Errorf("the other log: %v", err)
	}
}
