package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// story is a small log with everything that a bundle can hold: policies, payloads named by a leaf and by a payload, and
// a command that lies in a blob.
type story struct {
	store    *ledgertest.Memory
	key      *ledger.FileKey
	verifier string
	blobs    *ledger.BlobDir
	policies map[remit.Digest][]byte
	tree     ledger.Tree
	head     ledger.Head
	intent   remit.Digest
	payloads []remit.Payload // all that went in
}

func (s *story) add(t testing.TB, erase []remit.Digest, command string, also []remit.Payload, events ...remit.Event) {
	t.Helper()
	p := remit.Payload{Salt: [32]byte{byte(s.tree.Size()), 1}, Body: []byte(command)}
	b := ledger.Batch{Payloads: append(also, p), Erase: erase}
	s.payloads = append(s.payloads, b.Payloads...)
	for i, e := range events {
		l := ledger.Leaf{At: time.Unix(1_790_000_000+int64(s.tree.Size()), 0), Event: e}
		if i == 0 {
			l.Command = p.Commitment()
		}
		leaf, err := ledger.Encode(l)
		if err != nil {
			t.Fatal(err)
		}
		b.Entries = append(b.Entries, leaf)
	}
	next, hashes := s.tree.Append(b.Entries...)
	b.Hashes, b.Next = hashes, next.Head(0)
	if err := s.store.Append(t.Context(), s.head, b); err != nil {
		t.Fatal(err)
	}
	s.tree, s.head = next, b.Next
}

func attached(body []byte) []remit.Digest {
	rest, ok := bytes.CutPrefix(body, []byte(`{"blob":"`))
	var d remit.Digest
	if !ok || d.UnmarshalText(rest[:64]) != nil {
		return nil
	}
	return []remit.Digest{d}
}

func newStory(t testing.TB) *story {
	t.Helper()
	s := &story{store: new(ledgertest.Memory), head: ledger.Empty(), policies: map[remit.Digest][]byte{}}
	s.key, s.verifier = key(t)
	var err error
	if s.blobs, err = ledger.OpenBlobDir(t.TempDir()+"/blobs", ledger.BlobOptions{}); err != nil {
		t.Fatal(err)
	}
	large, _, err := s.blobs.Put(t.Context(), strings.NewReader("a large command"))
	if err != nil {
		t.Fatal(err)
	}
	var installed []remit.Event
	for _, text := range []string{"package remit.any", "package remit.source.push"} {
		d := remit.Hash([]byte(text))
		s.policies[d] = []byte(text)
		installed = append(installed, &remit.PolicyInstalled{Bundle: d})
	}
	name := remit.Payload{Salt: [32]byte{5}, Body: []byte("Ada")}
	intent := remit.Payload{Salt: [32]byte{6}, Body: []byte("fix the rounding")}
	s.intent = intent.Commitment()
	s.add(t, nil, `{"init":1}`, nil, append([]remit.Event{&remit.Genesis{Org: "acme", Origin: "log.example/acme", Verifier: s.verifier, Profile: remit.Team}}, installed...)...)
	s.add(t, nil, `{"person":1}`, []remit.Payload{name}, &remit.PersonDeclared{ID: "p1", Name: name.Commitment()})
	s.add(t, nil, fmt.Sprintf(`{"task":{"intent":"%s"}}`, s.intent), []remit.Payload{intent}, &remit.TaskEnded{Task: "T1", Status: remit.TaskOpen})
	s.add(t, nil, fmt.Sprintf(`{"blob":"%s"}`, large), nil, &remit.ClockConfirmed{By: "p1"})
	for i := range 4 {
		s.add(t, nil, fmt.Sprintf(`{"n":%d}`, i), nil, &remit.DenialRepeated{Count: i}, &remit.DenialRepeated{Entry: 1, Count: i})
	}
	return s
}

func (s *story) bundle(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := ledger.WriteBundle(t.Context(), &b, s.source(sign(t, s.key, s.head))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (s *story) source(checkpoint []byte) ledger.BundleSource {
	return ledger.BundleSource{Store: s.store, Blobs: s.blobs, Org: "acme", Verifier: s.verifier, Checkpoint: checkpoint, Policies: s.policies, Attached: attached}
}

func verify(t testing.TB, b []byte, trust ledger.Trust) (ledger.Report, error) {
	t.Helper()
	return ledger.VerifyBundle(t.Context(), bytes.NewReader(b), trust, nil)
}

func TestABundleGivesEntriesPayloadsAndPoliciesInOrder(t *testing.T) {
	s := newStory(t)
	b := s.bundle(t)
	if again := s.bundle(t); !bytes.Equal(b, again) {
		t.Fatal("one log has two bundles")
	}
	var seen []string
	rep, err := ledger.VerifyBundle(t.Context(), bytes.NewReader(b), ledger.Trust{Verifier: s.verifier}, func(b *ledger.Bundle, i remit.EntryIndex, l ledger.Leaf) error {
		if int(i) != len(seen) {
			t.Errorf("entry %d after %d", i, len(seen))
		}
		line := l.Event.Kind()
		if !l.Command.IsZero() {
			p, err := b.Payload(l.Command)
			if err != nil {
				t.Errorf("entry %d: %v", i, err)
			}
			line += " " + string(p.Body)
			for _, d := range attached(p.Body) {
				content, err := b.Blob(d)
				if err != nil {
					t.Errorf("entry %d: %v", i, err)
				}
				line += " " + string(content)
			}
		}
		switch e := l.Event.(type) {
		case *remit.PolicyInstalled:
			text, ok := b.Policy(e.Bundle)
			if !ok {
				t.Errorf("entry %d: no policy", i)
			}
			line += " " + string(text)
		case *remit.PersonDeclared:
			if p, err := b.Payload(e.Name); err != nil || string(p.Body) != "Ada" {
				t.Errorf("entry %d: %v", i, err)
			}
		case *remit.TaskEnded:
			if p, err := b.Payload(s.intent); err != nil || string(p.Body) != "fix the rounding" {
				t.Errorf("entry %d: %v", i, err)
			}
		case *remit.ClockConfirmed:
			if _, err := b.Payload(s.intent); err != nil {
				t.Errorf("the payload of the command before: %v", err)
			}
		case *remit.DenialRepeated:
			if _, err := b.Payload(s.intent); i > 6 && !errors.Is(err, ledger.ErrNotFound) {
				t.Errorf("a payload of long ago: %v", err)
			}
		}
		seen = append(seen, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Size != s.head.Size || rep.Root != s.head.Root || rep.Payloads != 10 || !rep.Trusted || !strings.Contains(rep.String(), "signed by the trusted key") {
		t.Errorf("%+v", rep)
	}
	if seen[2] != "policy.installed package remit.source.push" || !strings.HasSuffix(seen[5], "a large command") {
		t.Errorf("%q", seen)
	}
	rep, err = verify(t, b, ledger.Trust{})
	if err != nil || !strings.Contains(rep.String(), "self-consistent only") {
		t.Errorf("without trust: %v, %v", rep, err)
	}
}

func TestEveryChangedBitOfABundleIsFound(t *testing.T) {
	s := newStory(t)
	good := s.bundle(t)
	trust := ledger.Trust{Verifier: s.verifier}
	bad := bytes.Clone(good)
	for i := range bad {
		for bit := range 8 {
			bad[i] ^= 1 << bit
			if _, err := verify(t, bad, trust); err == nil {
				t.Fatalf("bit %d of byte %d of %d changed, accepted", bit, i, len(bad))
			}
			bad[i] ^= 1 << bit
		}
		for _, mask := range []byte{0xff, 0x55} {
			bad[i] ^= mask
			if _, err := verify(t, bad, trust); err == nil {
				t.Fatalf("byte %d of %d changed by %#x, accepted", i, len(bad), mask)
			}
			bad[i] ^= mask
		}
		if _, err := verify(t, good[:i], trust); err == nil {
			t.Fatalf("cut to %d bytes, accepted", i)
		}
	}
	if _, err := verify(t, append(bad, 0), trust); err == nil {
		t.Fatal("with a byte after it, accepted")
	}
}

func TestACheckpointSeenBeforeFindsCutsAndForks(t *testing.T) {
	s := newStory(t)
	early := sign(t, s.key, s.head)
	short := s.bundle(t)
	s.add(t, nil, `{"more":1}`, nil, &remit.ClockConfirmed{By: "p1"})
	late := sign(t, s.key, s.head)
	long := s.bundle(t)
	if rep, err := verify(t, long, ledger.Trust{Verifier: s.verifier, Checkpoint: early}); err != nil || rep.Since != rep.Size-1 {
		t.Fatalf("an extension: %+v, %v", rep, err)
	}
	if _, err := verify(t, short, ledger.Trust{Verifier: s.verifier, Checkpoint: late}); err == nil || !strings.Contains(err.Error(), "cut") {
		t.Fatalf("a cut: %v", err)
	}
	// The holder of the key signs another history.
	fork := newStory(t)
	fork.key, fork.verifier = s.key, s.verifier
	fork.store, fork.tree, fork.head = new(ledgertest.Memory), ledger.Tree{}, ledger.Empty()
	fork.policies = nil
	fork.add(t, nil, `{"init":1}`, nil, &remit.Genesis{Org: "acme", Origin: "log.example/acme", Verifier: s.verifier})
	for i := range 20 {
		fork.add(t, nil, fmt.Sprintf(`{"x":%d}`, i), nil, &remit.ClockConfirmed{By: "p2"})
	}
	if _, err := verify(t, fork.bundle(t), ledger.Trust{Verifier: s.verifier}); err != nil {
		t.Fatalf("against the key alone a fork cannot be told: %v", err)
	}
	if _, err := verify(t, fork.bundle(t), ledger.Trust{Verifier: s.verifier, Checkpoint: late}); err == nil || !strings.Contains(err.Error(), "forked") {
		t.Fatalf("a fork: %v", err)
	}
	_, other := key(t)
	if _, err := verify(t, long, ledger.Trust{Verifier: other}); err == nil {
		t.Fatal("a bundle is accepted under another key")
	}
}

// Whoever holds the key can sign what never was. Against the key alone that passes: nobody can tell. Against a checkpoint
// that an outsider kept, each cut and each change before it is found, whatever is signed anew.
func TestWhoHoldsTheKeyCannotTakeBackWhatWasSeen(t *testing.T) {
	s := newStory(t)
	seen := ledger.Trust{Verifier: s.verifier, Checkpoint: sign(t, s.key, s.head)}
	var leaves [][]byte
	for e, err := range s.store.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, e.Leaf)
	}
	cut, forked := 0, 0
	for k := 1; k < len(leaves); k++ {
		tree, _ := ledger.Tree{}.Append(leaves[:k]...)
		src := s.source(sign(t, s.key, tree.Head(0)))
		for d := range s.policies {
			if !slices.ContainsFunc(leaves[:k], func(leaf []byte) bool { return bytes.Contains(leaf, d[:]) }) {
				src.Policies = maps.Clone(src.Policies)
				delete(src.Policies, d)
			}
		}
		var b bytes.Buffer
		if err := ledger.WriteBundle(t.Context(), &b, src); err != nil {
			t.Fatalf("%d entries: %v", k, err)
		}
		if _, err := verify(t, b.Bytes(), ledger.Trust{Verifier: s.verifier}); err != nil {
			t.Fatalf("the first %d entries, signed anew, against the key alone: %v", k, err)
		}
		if _, err := verify(t, b.Bytes(), seen); err == nil || !strings.Contains(err.Error(), "cut") {
			t.Fatalf("the first %d entries, signed anew: %v", k, err)
		}
		cut++
	}
	for i := 1; i < len(leaves); i++ {
		for _, more := range []int{0, 3} { // of the same length, and a longer one
			l, err := ledger.Decode(leaves[i])
			if err != nil {
				t.Fatal(err)
			}
			l.At = l.At.Add(1)
			fork := *s
			fork.store, fork.tree, fork.head = new(ledgertest.Memory), ledger.Tree{}, ledger.Empty()
			all := slices.Clone(leaves)
			if all[i], err = ledger.Encode(l); err != nil {
				t.Fatal(err)
			}
			b := ledger.Batch{Entries: all, Payloads: s.payloads}
			fork.tree, b.Hashes = fork.tree.Append(all...)
			b.Next = fork.tree.Head(0)
			if err := fork.store.Append(t.Context(), fork.head, b); err != nil {
				t.Fatal(err)
			}
			fork.head = b.Next
			for range more {
				fork.add(t, nil, `{"more":1}`, nil, &remit.ClockConfirmed{By: "p1"})
			}
			again := fork.bundle(t)
			if _, err := verify(t, again, ledger.Trust{Verifier: s.verifier}); err != nil {
				t.Fatalf("entry %d changed and signed anew, against the key alone: %v", i, err)
			}
			if _, err := verify(t, again, seen); err == nil || !strings.Contains(err.Error(), "forked") {
				t.Fatalf("entry %d changed, %d entries after it: %v", i, more, err)
			}
			forked++
		}
	}
	if cut < 10 || forked < 20 {
		t.Fatalf("%d cuts, %d forks", cut, forked)
	}
}

func TestPayloadsDoNotDisappear(t *testing.T) {
	s := newStory(t)
	s.add(t, []remit.Digest{s.intent}, `{"forget":1}`, nil, &remit.ClockConfirmed{By: "p1"})
	if _, err := verify(t, s.bundle(t), ledger.Trust{Verifier: s.verifier}); err == nil || !strings.Contains(err.Error(), "no entry says that it was erased") {
		t.Fatalf("erased without an entry that says so: %v", err)
	}
	src := s.source(sign(t, s.key, s.head))
	src.Policies = nil
	if err := ledger.WriteBundle(t.Context(), new(bytes.Buffer), src); err == nil {
		t.Error("a bundle without the policies that its entries install")
	}
	src = s.source(sign(t, s.key, ledger.Head{Size: 3, Root: remit.Digest{1}}))
	if err := ledger.WriteBundle(t.Context(), new(bytes.Buffer), src); err == nil {
		t.Error("a bundle whose checkpoint signs another root")
	}
}

func TestABundleCutAtTheCheckpointIsWhole(t *testing.T) {
	s := newStory(t)
	checkpoint := sign(t, s.key, s.head)
	before := s.bundle(t)
	s.add(t, nil, `{"later":1}`, nil, &remit.ClockConfirmed{By: "p1"})
	var b bytes.Buffer
	if err := ledger.WriteBundle(t.Context(), &b, s.source(checkpoint)); err != nil || !bytes.Equal(b.Bytes(), before) {
		t.Fatal("the bundle up to an old checkpoint differs from the one made then", err)
	}
}

func FuzzBundle(f *testing.F) {
	s := newStory(f)
	f.Add(s.bundle(f))
	f.Fuzz(func(t *testing.T, b []byte) { verify(t, b, ledger.Trust{}) })
}

func TestTrustFilesHaveOneEncoding(t *testing.T) {
	k, verifier := key(t)
	checkpoint := sign(t, k, ledger.Head{Size: 3, Root: remit.Digest{2}})
	for _, trust := range []ledger.Trust{{Verifier: verifier}, {Verifier: verifier, Checkpoint: checkpoint}} {
		back, err := ledger.ParseTrust(trust.Bytes())
		if err != nil || !bytes.Equal(back.Bytes(), trust.Bytes()) {
			t.Fatal(err)
		}
	}
	_, other := key(t)
	for name, text := range map[string]string{
		"nothing":                      "",
		"no end of line":               verifier,
		"two keys":                     verifier + "\n" + verifier + "\n",
		"a space":                      verifier + " \n",
		"an empty line":                verifier + "\n\n",
		"no empty line":                verifier + "\n" + string(checkpoint),
		"a checkpoint of another key":  other + "\n\n" + string(checkpoint),
		"bytes after the checkpoint":   verifier + "\n\n" + string(checkpoint) + "\n",
		"a checkpoint without its end": verifier + "\n\n" + string(checkpoint[:len(checkpoint)-1]),
	} {
		if _, err := ledger.ParseTrust([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
