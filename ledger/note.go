package ledger

import (
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/remit-dev/remit"
)

// SignDigest gives a signed note (C2SP signed-note) by which a log's key stands for a digest: of a document of the kind
// that its first line names. A checkpoint's first line is the log's origin, which has no space and so is never a kind.
func SignDigest(origin, kind string, d remit.Digest, s Signer) ([]byte, error) {
	key, err := VerifierKey(origin, s.Public())
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, err
	}
	text, err := digestNote(kind, d)
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: text}, noteSigner{v, s})
	if err != nil {
		return nil, fmt.Errorf("signing a digest: %w", err)
	}
	return signed, OpenDigest(signed, kind, d, key)
}

// OpenDigest tells whether a note is the signature of a log's key for a digest, in its one encoding.
func OpenDigest(signed []byte, kind string, d remit.Digest, verifierKey string) error {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return remit.Errorf(remit.BadRequest, "not a verifier key (origin+hash+key, as remit log checkpoint prints it): %q", verifierKey)
	}
	text, err := digestNote(kind, d)
	if err != nil {
		return err
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return remit.Errorf(remit.BadRequest, "the signature is not of the log's key: %w", err)
	}
	if n.Text != text {
		return remit.Errorf(remit.BadRequest, "the signature is for something else than this (sha256:%s)", d)
	}
	if len(n.Sigs) == 1 && len(n.UnverifiedSigs) == 0 {
		raw, _ := base64.StdEncoding.DecodeString(n.Sigs[0].Base64) // the last digit has bits that mean nothing
		if string(signed) == fmt.Sprintf("%s\n— %s %s\n", text, n.Sigs[0].Name, base64.StdEncoding.EncodeToString(raw)) {
			return nil
		}
	}
	return remit.Errorf(remit.BadRequest, "the signature is not in its one encoding")
}

func digestNote(kind string, d remit.Digest) (string, error) {
	if !strings.Contains(kind, " ") || strings.ContainsAny(kind, "\n") || d.IsZero() {
		return "", remit.Errorf(remit.Internal, "a kind of document is a line of several words, not %q", kind)
	}
	return fmt.Sprintf("%s\nsha256:%s\n", kind, d), nil
}
