package ledger

import (
	"bytes"
	"strings"

	"github.com/remit-dev/remit"
)

// Trust is what a verifier brings: the log's key, and the newest checkpoint that it saw, if any. Its file has the
// verifier key in the first line; then, if there is a checkpoint, an empty line and the checkpoint as it was printed.
type Trust struct {
	Verifier   string
	Checkpoint []byte
}

// ParseTrust reads what Bytes writes and nothing else; the checkpoint is signed by the key.
func ParseTrust(b []byte) (Trust, error) {
	line, rest, ok := strings.Cut(string(b), "\n")
	if !ok {
		return Trust{}, remit.Errorf(remit.BadRequest, "a trust file has a verifier key in its first line, as remit log checkpoint prints it")
	}
	t := Trust{Verifier: line}
	if _, err := verifyWith(line); err != nil {
		return Trust{}, err
	}
	if rest == "" {
		return t, nil
	}
	checkpoint, ok := strings.CutPrefix(rest, "\n")
	if !ok || checkpoint == "" {
		return Trust{}, remit.Errorf(remit.BadRequest, "in a trust file an empty line and a checkpoint follow the verifier key, or nothing does")
	}
	t.Checkpoint = []byte(checkpoint)
	if _, err := OpenCheckpoint(t.Checkpoint, t.Verifier); err != nil {
		return Trust{}, err
	}
	if !bytes.Equal(t.Bytes(), b) {
		return Trust{}, remit.Errorf(remit.BadRequest, "the trust file is not as remit log checkpoint prints it")
	}
	return t, nil
}

// Bytes is the one encoding of t.
func (t Trust) Bytes() []byte {
	b := append([]byte(t.Verifier), '\n')
	if len(t.Checkpoint) > 0 {
		b = append(append(b, '\n'), t.Checkpoint...)
	}
	return b
}
