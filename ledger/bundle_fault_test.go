package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// TestABundleThatCannotBeWholeIsNotWritten: what is left out would look like what was never there.
func TestABundleThatCannotBeWholeIsNotWritten(t *testing.T) {
	s := newStory(t)
	genesis, err := ledger.Decode(first(t, s.store))
	if err != nil {
		t.Fatal(err)
	}
	var large remit.Digest
	for b := range s.blobs.List(t.Context()) {
		large = b.Digest
	}
	_, other := key(t)
	cut := remit.Hash([]byte("package remit.any"))
	for name, test := range map[string]struct {
		spoil func(*ledger.BundleSource)
		want  string
	}{
		"a checkpoint of another key": {func(b *ledger.BundleSource) { b.Verifier = other }, "not signed by the key"},
		"a checkpoint of nothing":     {func(b *ledger.BundleSource) { b.Checkpoint = sign(t, s.key, ledger.Empty()) }, "nothing to export"},
		"a checkpoint of another log": {func(b *ledger.BundleSource) {
			b.Checkpoint = sign(t, s.key, ledger.Head{Size: s.head.Size, Root: remit.Digest{1}})
		}, "do not have the root"},
		"a checkpoint ahead of it": {func(b *ledger.BundleSource) {
			b.Checkpoint = sign(t, s.key, ledger.Head{Size: s.head.Size + 1, Root: s.head.Root})
		}, "do not have the root"},
		"a policy that is missing": {func(b *ledger.BundleSource) {
			b.Policies = map[remit.Digest][]byte{}
			for d, text := range s.policies {
				if d != cut {
					b.Policies[d] = text
				}
			}
		}, "the policy " + cut.String() + ", which the log installs, was not given"},
		"a policy too many": {func(b *ledger.BundleSource) {
			b.Policies = map[remit.Digest][]byte{remit.Hash(nil): nil}
			for d, text := range s.policies {
				b.Policies[d] = text
			}
		}, "3 policies were given for the bundle, the log installs 2"},
		"a policy that is too large": {func(b *ledger.BundleSource) { b.Policies = map[remit.Digest][]byte{cut: make([]byte, 64<<20+1)} }, "do not fit into a bundle"},
		"a command that is missing": {func(b *ledger.BundleSource) {
			b.Store = sick{Store: s.store, payload: func(d remit.Digest) error {
				if d == genesis.Command {
					return ledger.ErrNotFound
				}
				return nil
			}}
		}, "is missing and was not erased"},
		"a payload that cannot be read": {func(b *ledger.BundleSource) {
			b.Store = sick{Store: s.store, payload: func(d remit.Digest) error {
				if d == s.intent {
					return errDisk
				}
				return nil
			}}
		}, "entry 4: input/output"},
		"an entry that cannot be read": {func(b *ledger.BundleSource) { b.Store = sick{Store: s.store, read: failsAt(5, errDisk)} }, "input/output"},
		"no blobs":                     {func(b *ledger.BundleSource) { b.Blobs = nil }, "no blobs were given"},
		"a blob that is gone": {func(b *ledger.BundleSource) {
			empty, err := ledger.OpenBlobDir(filepath.Join(t.TempDir(), "blobs"), ledger.BlobOptions{})
			if err != nil {
				t.Fatal(err)
			}
			b.Blobs = empty
		}, "blob " + large.String()},
		"a blob that is too large": {func(b *ledger.BundleSource) { b.Blobs = huge{s.blobs} }, "at most 67108864 fit into a bundle"},
	} {
		src := s.source(sign(t, s.key, s.head))
		test.spoil(&src)
		if err := ledger.WriteBundle(t.Context(), io.Discard, src); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", name, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ledger.WriteBundle(ctx, io.Discard, s.source(sign(t, s.key, s.head))); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if err := ledger.WriteBundle(t.Context(), full{}, s.source(sign(t, s.key, s.head))); !errors.Is(err, errDisk) {
		t.Errorf("a disk that is full: %v", err)
	}
}

func first(t *testing.T, s ledger.Store) []byte {
	t.Helper()
	for e, err := range s.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		return e.Leaf
	}
	t.Fatal("an empty log")
	return nil
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errDisk }

// huge has blobs that are said to be larger than a bundle takes.
type huge struct{ ledger.Blobs }

func (h huge) Open(ctx context.Context, d remit.Digest) (io.ReadSeekCloser, int64, error) {
	r, _, err := h.Blobs.Open(ctx, d)
	return r, 64<<20 + 1, err
}

// TestWhoVerifiesABundleIsToldWhyItEnded: a disk that fails is no forged bundle, and a verifier's own refusal names the
// entry.
func TestWhoVerifiesABundleIsToldWhyItEnded(t *testing.T) {
	s := newStory(t)
	b := s.bundle(t)
	for _, at := range []int{0, 3, len(b) / 2, len(b) - 1} {
		_, err := ledger.VerifyBundle(t.Context(), io.MultiReader(bytes.NewReader(b[:at]), unreadable{}), ledger.Trust{}, nil)
		if !errors.Is(err, errDisk) || strings.Contains(err.Error(), "bundle is wrong") {
			t.Errorf("after %d bytes: %v", at, err)
		}
	}
	no := errors.New("not what it says")
	_, err := ledger.VerifyBundle(t.Context(), bytes.NewReader(b), ledger.Trust{}, func(bundle *ledger.Bundle, i remit.EntryIndex, _ ledger.Leaf) error {
		if _, err := bundle.Payload(remit.Digest{1}); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("a payload that no entry names: %v", err)
		}
		if _, err := bundle.Blob(remit.Digest{1}); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("a blob that no payload names: %v", err)
		}
		if i == 4 {
			return no
		}
		return nil
	})
	if !errors.Is(err, no) || !strings.HasPrefix(err.Error(), "entry 4: ") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ledger.VerifyBundle(ctx, bytes.NewReader(b), ledger.Trust{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if _, err := verify(t, b, ledger.Trust{Verifier: s.verifier, Checkpoint: []byte("x")}); err == nil || !strings.Contains(err.Error(), "the trusted checkpoint") {
		t.Errorf("a trusted checkpoint that is none: %v", err)
	}
	early := sign(t, s.key, s.head)
	rep, err := verify(t, b, ledger.Trust{Verifier: s.verifier, Checkpoint: early})
	if err != nil || !strings.HasSuffix(rep.String(), "an extension of the 14 entries seen before") {
		t.Errorf("%s, %v", rep, err)
	}
	// The header says for whom the log is; so does the genesis.
	src := s.source(sign(t, s.key, s.head))
	src.Org = "elsewhere"
	var moved bytes.Buffer
	if err := ledger.WriteBundle(t.Context(), &moved, src); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, moved.Bytes(), ledger.Trust{Verifier: s.verifier}); err == nil || !strings.Contains(err.Error(), "another organisation, origin or key than its genesis") {
		t.Errorf("the bundle of another organisation: %v", err)
	}
}

type unreadable struct{}

func (unreadable) Read([]byte) (int, error) { return 0, errDisk }

// TestALogBeginsOnce: a genesis in the middle, or none at the start, is another log's.
func TestALogBeginsOnce(t *testing.T) {
	genesis := &remit.Genesis{Org: "acme", Origin: "log.example/acme", Profile: remit.Team}
	for name, events := range map[string][]remit.Event{
		"none":  {&remit.ClockConfirmed{By: "p1"}},
		"twice": {genesis, genesis},
	} {
		s := &story{store: new(ledgertest.Memory), head: ledger.Empty(), policies: map[remit.Digest][]byte{}}
		s.key, s.verifier = key(t)
		genesis.Verifier = s.verifier
		for i, e := range events {
			s.add(t, nil, strings.Repeat("x", i+1), nil, e)
		}
		if _, err := verify(t, s.bundle(t), ledger.Trust{Verifier: s.verifier}); err == nil || !strings.Contains(err.Error(), "its genesis first and only there") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhoSawWhatWasLostIsToldThatItWas: a log that went on from a backup does not extend what was signed before, and its
// own entry says so.
func TestWhoSawWhatWasLostIsToldThatItWas(t *testing.T) {
	s := newStory(t)
	size := s.head.Size
	at := uint64(s.head.Size)
	s.add(t, nil, "restore", nil, &remit.LogForked{By: []remit.ID{"p1"}, Size: at, Lost: at + 1, Statement: remit.Hash(nil)})
	s.add(t, nil, "work", nil, &remit.DenialRepeated{Count: 1})
	seen := sign(t, s.key, ledger.Head{Size: at + 1, Root: remit.Digest{7}})
	_, err := verify(t, s.bundle(t), ledger.Trust{Verifier: s.verifier, Checkpoint: seen})
	if err == nil || !strings.Contains(err.Error(), "log.forked, says that the log went on from a backup of") {
		t.Errorf("%v", err)
	}
	// What was seen at the backup, or before, it does extend.
	var early ledger.Tree
	for e, err := range s.store.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if early.Size() < size {
			early, _ = early.Append(e.Leaf)
		}
	}
	if _, err := verify(t, s.bundle(t), ledger.Trust{Verifier: s.verifier, Checkpoint: sign(t, s.key, early.Head(0))}); err != nil {
		t.Error(err)
	}
}
