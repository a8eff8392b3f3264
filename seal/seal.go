// Package seal is the envelope of every secret that Remit keeps: a file that only the user that Remit runs as may read
// has the identities, and what they seal can lie anywhere, in a backup too. The format is age (age-encryption.org/v1),
// so that a secret can be opened with the age tool and the key file alone, should Remit be gone.
package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/age"

	"github.com/remit-dev/remit"
)

// KeyFile is the name of the file of identities within a box's directory: the first of them seals, all of them open.
const KeyFile = "seal.key"

// Limits, in bytes.
const (
	MaxPlain  = 1 << 20
	maxSealed = MaxPlain + 64<<10
	maxKeys   = 64 << 10
	maxLabel  = 256
)

// Box seals and opens. It may be used by many goroutines; one process owns its directory.
type Box struct {
	path string
	mu   sync.RWMutex
	ids  []*age.X25519Identity // never empty; the first seals
}

// New is the box whose key lies in dir, which is made with a new key where there is none. A key that anybody else may
// read is refused: what it sealed must be taken for known.
func New(dir string) (*Box, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, remit.Errorf(remit.Internal, "the directory of the sealing key: %w", err)
	}
	b := &Box{path: filepath.Join(dir, KeyFile)}
	_, err := os.Lstat(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		id, gerr := age.GenerateX25519Identity()
		if gerr != nil {
			return nil, remit.Errorf(remit.Internal, "making a sealing key: %w", gerr)
		}
		// Another process may have been first; its key is then ours.
		if werr := b.write([]*age.X25519Identity{id}, os.Link); werr != nil && !errors.Is(werr, fs.ErrExist) {
			return nil, werr
		}
	}
	if b.ids, err = b.read(); err != nil {
		return nil, err
	}
	return b, nil
}

// Seal is SealFor without a label.
func (b *Box) Seal(plain []byte) ([]byte, error) { return b.SealFor("", plain) }

// Open is OpenFor without a label.
func (b *Box) Open(sealed []byte) ([]byte, error) { return b.OpenFor("", sealed) }

// SealFor seals plain, at most MaxPlain bytes, for the place that label names. It opens under the same label only, so
// that what was sealed for one name cannot be put in the place of another.
func (b *Box) SealFor(label string, plain []byte) ([]byte, error) {
	if len(plain) > MaxPlain || len(label) > maxLabel {
		return nil, remit.Errorf(remit.TooLarge, "what is sealed has %d bytes under a name of %d; at most %d under %d", len(plain), len(label), MaxPlain, maxLabel)
	}
	b.mu.RLock()
	to := b.ids[0].Recipient()
	b.mu.RUnlock()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "sealing: %w", err)
	}
	head := binary.BigEndian.AppendUint16(nil, uint16(len(label)))
	for _, part := range [][]byte{head, []byte(label), plain} {
		if _, err := w.Write(part); err != nil {
			return nil, remit.Errorf(remit.Internal, "sealing: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, remit.Errorf(remit.Internal, "sealing: %w", err)
	}
	return out.Bytes(), nil
}

// OpenFor opens what SealFor made under the same label, with any identity of the box.
func (b *Box) OpenFor(label string, sealed []byte) ([]byte, error) {
	if len(sealed) > maxSealed {
		return nil, remit.Errorf(remit.TooLarge, "what is to be opened has %d bytes; at most %d", len(sealed), maxSealed)
	}
	b.mu.RLock()
	ids := make([]age.Identity, len(b.ids))
	for i, id := range b.ids {
		ids[i] = id
	}
	b.mu.RUnlock()
	r, err := age.Decrypt(bytes.NewReader(sealed), ids...)
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "opening what is sealed with %s failed; it is damaged, or of another key: %w", b.path, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, MaxPlain+maxLabel+3))
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "what is sealed is damaged: %w", err)
	}
	if len(plain) < 2 {
		return nil, remit.Errorf(remit.Internal, "what is sealed was not sealed by Remit")
	}
	n := int(binary.BigEndian.Uint16(plain))
	if plain = plain[2:]; n > len(plain) || string(plain[:n]) != label {
		return nil, remit.Errorf(remit.Internal, "what is sealed was sealed for another name")
	}
	return plain[n:], nil
}

// Rotate makes a new identity, which seals from now on; the old ones still open. Seal again what must not be opened by
// them, then Retire.
func (b *Box) Rotate() error {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return remit.Errorf(remit.Internal, "making a sealing key: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	// The file is what counts: another process may have turned the key meanwhile.
	ids, err := b.read()
	if err != nil {
		return err
	}
	ids = append([]*age.X25519Identity{id}, ids...)
	if err := b.write(ids, os.Rename); err != nil {
		return err
	}
	b.ids = ids
	return nil
}

// Retire forgets all identities but the one that seals. What they sealed can never be opened again.
func (b *Box) Retire() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids, err := b.read()
	if err != nil {
		return err
	}
	if err := b.write(ids[:1], os.Rename); err != nil {
		return err
	}
	b.ids = ids[:1]
	return nil
}

// read reads the file that it opened and judged, so a swap between look and read changes nothing.
func (b *Box) read() ([]*age.X25519Identity, error) {
	f, err := os.OpenFile(b.path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, remit.Errorf(remit.Forbidden, "the sealing key: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	switch {
	case err != nil:
		return nil, remit.Errorf(remit.Internal, "looking at the sealing key: %w", err)
	case !fi.Mode().IsRegular():
		return nil, remit.Errorf(remit.Forbidden, "%s, the sealing key, is not a regular file", b.path)
	case !ownedByUs(fi):
		return nil, remit.Errorf(remit.Forbidden, "%s, the sealing key, belongs to another user than the one that Remit runs as; say: chown %d %s", b.path, os.Geteuid(), b.path)
	case fi.Mode().Perm()&0o077 != 0:
		return nil, remit.Errorf(remit.Forbidden, "%s, the sealing key, is open to other users (mode %04o); take its secrets for known, change them, and say: chmod 600 %s", b.path, fi.Mode().Perm(), b.path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxKeys+1))
	if err != nil || len(raw) > maxKeys {
		return nil, remit.Errorf(remit.Internal, "reading the sealing key %s: it has more than %d bytes, or %v", b.path, maxKeys, err)
	}
	ids, err := parse(raw)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "%s is no file of sealing keys: %w", b.path, err)
	}
	return ids, nil
}

// parse reads identities, one a line; lines that begin with # say what the file is. Errors never quote a line.
func parse(raw []byte) (ids []*age.X25519Identity, err error) {
	for n, line := range strings.Split(string(raw), "\n") {
		if line = strings.TrimRight(line, "\r"); line == "" || line[0] == '#' {
			continue
		}
		id, err := age.ParseX25519Identity(line)
		if err != nil {
			return nil, fmt.Errorf("line %d is no age X25519 identity", n+1)
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, errors.New("it has no age X25519 identity")
	}
	return ids, nil
}

// write makes the file whole or not at all: put is os.Link for a first key, which never replaces one, or os.Rename.
func (b *Box) write(ids []*age.X25519Identity, put func(from, to string) error) error {
	text := []byte("# Remit's sealing keys, newest first. What is sealed is lost without them; keep a copy apart from the data.\n")
	for _, id := range ids {
		text = append(text, id.String()+"\n"...)
	}
	dir := filepath.Dir(b.path)
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return remit.Errorf(remit.Internal, "writing the sealing key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return remit.Errorf(remit.Internal, "writing the sealing key: %w", err)
	}
	if err := put(f.Name(), b.path); err != nil {
		return remit.Errorf(remit.Internal, "the sealing key is not written: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return remit.Errorf(remit.Internal, "writing the sealing key: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return remit.Errorf(remit.Internal, "writing the sealing key: %w", err)
	}
	return nil
}
