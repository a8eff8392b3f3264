package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

type plainKey struct{ ed25519.PrivateKey }

func (k plainKey) Public() ed25519.PublicKey { return k.PrivateKey.Public().(ed25519.PublicKey) }

func (k plainKey) Sign(m []byte) ([]byte, error) { return ed25519.Sign(k.PrivateKey, m), nil }

// TestSignedDigests: a note stands for one digest of one kind by one key, and no byte of it may change. A checkpoint is
// none, and it is no checkpoint.
func TestSignedDigests(t *testing.T) {
	const origin, kind = "remit.example/acme", "remit evidence pack v1"
	k, other := plainKey{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))}, plainKey{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))}
	d := remit.Hash([]byte("a document"))
	signed, err := ledger.SignDigest(origin, kind, d, k)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ledger.VerifierKey(origin, k.Public())
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := ledger.VerifierKey(origin, other.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.OpenDigest(signed, kind, d, key); err != nil {
		t.Fatal(err)
	}
	if ledger.OpenDigest(signed, kind, remit.Hash([]byte("another")), key) == nil || ledger.OpenDigest(signed, "remit other thing v1", d, key) == nil || ledger.OpenDigest(signed, kind, d, otherKey) == nil {
		t.Error("it stands for something else, or by somebody else")
	}
	for i := range signed {
		changed := bytes.Clone(signed)
		changed[i] ^= 1
		if ledger.OpenDigest(changed, kind, d, key) == nil {
			t.Fatalf("byte %d changed: %q", i, changed)
		}
	}
	if _, err := ledger.OpenCheckpoint(signed, key); err == nil {
		t.Error("it is a checkpoint")
	}
	checkpoint, err := ledger.SignCheckpoint(origin, ledger.Empty(), k)
	if err != nil {
		t.Fatal(err)
	}
	if ledger.OpenDigest(checkpoint, kind, d, key) == nil {
		t.Error("a checkpoint is it")
	}
	if _, err := ledger.SignDigest(origin, origin, d, k); err == nil {
		t.Error("a kind without a space could be an origin")
	}
}
