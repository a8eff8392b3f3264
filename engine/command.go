package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// inBlob is the payload of a command that is too large to be one: it names the blob that has it, after a salt of its own.
// So no two commands share a blob, and one can be erased without the other.
type inBlob struct {
	Blob remit.Digest `json:"blob"`
}

// saltSize is how many bytes stand before a command in its blob.
const saltSize = 32

// storeCommand makes the payload to which a command's first entry commits. A command that is too large for a payload
// is put as a blob first.
func (e *Engine) storeCommand(ctx context.Context, c authority.Command) (remit.Payload, error) {
	var p remit.Payload
	if _, err := io.ReadFull(e.cfg.Random, p.Salt[:]); err != nil {
		return p, remit.Errorf(remit.Internal, "no randomness: %w", err)
	}
	body, err := authority.EncodeCommand(c)
	if err != nil {
		return p, remit.Errorf(remit.Internal, "%w", err)
	}
	if len(body) > remit.MaxPayload {
		var salt [saltSize]byte
		if _, err := io.ReadFull(e.cfg.Random, salt[:]); err != nil {
			return p, remit.Errorf(remit.Internal, "no randomness: %w", err)
		}
		d, _, err := e.cfg.Blobs.Put(context.WithoutCancel(ctx), io.MultiReader(bytes.NewReader(salt[:]), bytes.NewReader(body)))
		if err != nil {
			return p, err
		}
		if body, err = json.Marshal(inBlob{d}); err != nil {
			return p, remit.Errorf(remit.Internal, "%w", err)
		}
	}
	p.Body = body
	return p, nil
}

// LoadCommand gives back the command that commitment stands for.
func LoadCommand(ctx context.Context, s ledger.Store, blobs ledger.Blobs, commitment remit.Digest) (authority.Command, error) {
	p, err := s.Payload(ctx, commitment)
	if err != nil {
		return nil, err
	}
	return decodeCommand(p.Body, func(d remit.Digest) ([]byte, error) { return readBlob(ctx, blobs, d) })
}

// Attached tells which blob the payload of a command stands for, if any.
func Attached(body []byte) []remit.Digest {
	var in inBlob
	if err := remit.DecodeStrict(bytes.NewReader(body), remit.MaxPayload, &in); err != nil || in.Blob.IsZero() {
		return nil
	}
	return []remit.Digest{in.Blob}
}

func readBlob(ctx context.Context, blobs ledger.Blobs, d remit.Digest) ([]byte, error) {
	r, _, err := blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func decodeCommand(body []byte, blob func(remit.Digest) ([]byte, error)) (authority.Command, error) {
	var blobs []remit.Digest
	if !bytes.HasPrefix(body, []byte(`{"command":`)) { // what stands for a blob has no such member
		blobs = Attached(body)
	}
	for _, d := range blobs {
		b, err := blob(d)
		if err != nil {
			return nil, fmt.Errorf("the command's blob %s: %w", d, err)
		}
		if len(b) < saltSize {
			return nil, fmt.Errorf("the command's blob %s has %d bytes", d, len(b))
		}
		body = b[saltSize:]
	}
	return authority.DecodeCommand(body)
}

// Entry reads one entry with its command; the command is nil where the entry is not the first of one or its payload is
// gone.
func (e *Engine) Entry(ctx context.Context, i remit.EntryIndex) (ledger.Leaf, authority.Command, error) {
	for entry, err := range e.cfg.Store.Read(ctx, i) {
		if err != nil {
			return ledger.Leaf{}, nil, err
		}
		l, err := ledger.Decode(entry.Leaf)
		if err != nil || l.Command.IsZero() {
			return l, nil, err
		}
		c, err := LoadCommand(ctx, e.cfg.Store, e.cfg.Blobs, l.Command)
		if errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNotFound) {
			return l, nil, nil // any other error is none of these: an erasure would pass over what it cannot read
		}
		return l, c, err
	}
	return ledger.Leaf{}, nil, remit.Errorf(remit.NotFound, "the log has no entry %d", i)
}

// Text gives the payload of a commitment, such as an intent or a name; ok is false if it is gone.
func (e *Engine) Text(ctx context.Context, commitment remit.Digest) (_ []byte, ok bool) {
	p, err := e.cfg.Store.Payload(ctx, commitment)
	return p.Body, err == nil
}

// NewPayload makes a payload with a fresh salt.
func (e *Engine) NewPayload(body []byte) (remit.Payload, error) {
	p := remit.Payload{Body: body}
	if len(body) > remit.MaxPayload {
		return p, remit.Errorf(remit.TooLarge, "a text of %d bytes; at most %d", len(body), remit.MaxPayload)
	}
	if _, err := io.ReadFull(e.cfg.Random, p.Salt[:]); err != nil {
		return p, remit.Errorf(remit.Internal, "no randomness: %w", err)
	}
	return p, nil
}
