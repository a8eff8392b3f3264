package ledger

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
)

// VerifierKey is the public half of a log's key as others are given it: a C2SP signed-note verifier key,
// "origin+hash+base64". The origin names the log; it stands in the first line of its checkpoints.
func VerifierKey(origin string, public ed25519.PublicKey) (string, error) {
	key, err := note.NewEd25519VerifierKey(origin, public)
	if err != nil {
		return "", remit.Errorf(remit.BadRequest, "an origin is a name without spaces and '+', such as remit.example.com/acme, not %q: %w", origin, err)
	}
	if _, err := note.NewVerifier(key); err != nil {
		return "", remit.Errorf(remit.BadRequest, "an origin is a name without spaces and '+', such as remit.example.com/acme, not %q: %w", origin, err)
	}
	return key, nil
}

// noteSigner lets a Signer sign notes under the log's origin.
type noteSigner struct {
	note.Verifier
	Signer
}

func (s noteSigner) Sign(msg []byte) ([]byte, error) { return s.Signer.Sign(msg) }

// SignCheckpoint gives the signed head of a log: a C2SP tlog-checkpoint, a signed note that anyone can keep.
func SignCheckpoint(origin string, h Head, s Signer) ([]byte, error) {
	key, err := VerifierKey(origin, s.Public())
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, err
	}
	c := torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: int64(h.Size), Hash: tlog.Hash(h.Root)}}
	signed, err := note.Sign(&note.Note{Text: c.String()}, noteSigner{v, s})
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint of %d entries: %w", h.Size, err)
	}
	if _, err := OpenCheckpoint(signed, key); err != nil {
		return nil, fmt.Errorf("the signer made a signature that its own key does not verify: %w", err)
	}
	return signed, nil
}

// Checkpoint is what a verified checkpoint says.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   remit.Digest
}

// OpenCheckpoint verifies a signed checkpoint against a verifier key. The signature is by that key under that origin, the
// checkpoint is in its one encoding, and nothing follows it.
func OpenCheckpoint(signed []byte, verifierKey string) (Checkpoint, error) {
	policy, err := verifyWith(verifierKey)
	if err != nil {
		return Checkpoint{}, err
	}
	c, n, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return Checkpoint{}, remit.Errorf(remit.BadRequest, "the checkpoint is not signed by the key of the log: %w", err)
	}
	// A note may carry signatures of others and extension lines; ours has neither.
	again := n.Text + "\n"
	for _, s := range n.Sigs {
		raw, _ := base64.StdEncoding.DecodeString(s.Base64) // the last digit has bits that mean nothing
		again += fmt.Sprintf("— %s %s\n", s.Name, base64.StdEncoding.EncodeToString(raw))
	}
	if again != string(signed) || c.String() != n.Text || c.Extension != "" || len(n.Sigs) != 1 {
		return Checkpoint{}, remit.Errorf(remit.BadRequest, "the checkpoint is not in its one encoding")
	}
	return Checkpoint{c.Origin, uint64(c.N), remit.Digest(c.Hash)}, nil
}

// verifyWith accepts what is signed by a key under the key's own name.
func verifyWith(verifierKey string) (torchwood.Policy, error) {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "not a verifier key (origin+hash+key, as remit log checkpoint prints it): %q", verifierKey)
	}
	return torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(v.Name()), torchwood.SingleVerifierPolicy(v)), nil
}

// SecondHead is a file that holds the newest checkpoint outside the database, best on another volume or host: a restored
// old copy of the database does not fit it. In the same directory it protects against accidents only.
type SecondHead struct{ Path string }

// Write replaces the checkpoint, durably: after a crash the file holds the old one or the new one.
func (s SecondHead) Write(checkpoint []byte) error {
	if err := writeFile(s.Path, checkpoint); err != nil {
		return remit.Errorf(remit.LedgerDown, "the second head %s cannot be written: %w", s.Path, err)
	}
	return nil
}

// Read gives the checkpoint; the error is fs.ErrNotExist when none was written yet.
func (s SecondHead) Read() ([]byte, error) {
	b, err := os.ReadFile(s.Path)
	if err != nil {
		return nil, remit.Errorf(remit.LedgerDown, "the second head %s cannot be read: %w", s.Path, err)
	}
	return b, nil
}

// CheckHead compares a log with its second head at start. It refuses a log that is shorter than what was signed (an old
// copy was restored), one with another root at the same size, and one that did not grow out of what was signed.
// A log with entries and without a second head is refused too: remove both, or neither.
func CheckHead(ctx context.Context, s Store, second SecondHead, verifierKey string) error {
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	signed, err := second.Read()
	if errors.Is(err, fs.ErrNotExist) {
		if head.Size == 0 {
			return nil
		}
		return remit.Errorf(remit.LedgerDown, "the log has %d entries and its second head %s is gone, so nobody can tell whether an old copy was restored; put the file back, or, if it is lost for good, say: remit restore: %w", head.Size, second.Path, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	seen, err := OpenCheckpoint(signed, verifierKey)
	if err != nil {
		return remit.Errorf(remit.LedgerDown, "the second head %s is damaged or of another log; put the file back, or, if it is lost for good, say: remit restore: %w", second.Path, err)
	}
	switch {
	case head.Size < seen.Size:
		return remit.Errorf(remit.LedgerDown, "the log has %d entries, but %d were signed (%s): an old copy of it was put back; stop, and put the newest log.db back. If that is lost, the way back is: remit restore", head.Size, seen.Size, second.Path)
	case head.Size == seen.Size && head.Root != seen.Root:
		return remit.Errorf(remit.LedgerDown, "the log has other entries than those that were signed at %d entries (%s): it was forked or changed; put back the log.db that was signed", seen.Size, second.Path)
	case seen.Size == 0:
		return nil
	}
	proof, err := Consistency(ctx, s, seen.Size, head.Size)
	if err == nil {
		err = tlog.CheckTree(proof, int64(head.Size), tlog.Hash(head.Root), int64(seen.Size), tlog.Hash(seen.Root))
	}
	if err != nil {
		return remit.Errorf(remit.LedgerDown, "the log with %d entries did not grow out of the %d that were signed (%s): it was forked or changed; put back the log.db that was signed: %w", head.Size, seen.Size, second.Path, err)
	}
	return nil
}

// writeFile replaces a file by another, durably.
func writeFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".head-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it was renamed
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
