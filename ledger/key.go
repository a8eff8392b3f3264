package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/remit-dev/remit"
)

// Signer holds the key of a log: in a file, or behind a process or device that signs.
type Signer interface {
	Public() ed25519.PublicKey
	Sign(message []byte) ([]byte, error) // Ed25519, RFC 8032 §5.1
}

// FileKey is a Signer whose key lies in a file: PKCS #8 in PEM, mode 0600.
type FileKey struct{ key ed25519.PrivateKey }

// Public is the public half.
func (k *FileKey) Public() ed25519.PublicKey { return k.key.Public().(ed25519.PublicKey) }

// Sign signs a message.
func (k *FileKey) Sign(message []byte) ([]byte, error) { return ed25519.Sign(k.key, message), nil }

// GenerateKey makes a key in a new file; it never replaces one.
func GenerateKey(path string) (*FileKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, remit.Errorf(remit.Conflict, "there is a key in %s already; it is not replaced", path)
	}
	if err != nil {
		return nil, remit.Errorf(remit.LedgerDown, "the log's key cannot be made: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path))); err != nil {
		return nil, remit.Errorf(remit.LedgerDown, "the log's key cannot be written: %w", errors.Join(err, os.Remove(path)))
	}
	return &FileKey{key}, nil
}

// LoadKey reads a key. It refuses a file that others may read.
func LoadKey(path string) (*FileKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, remit.Errorf(remit.LedgerDown, "the log's key cannot be read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, remit.Errorf(remit.LedgerDown, "the log's key cannot be read: %w", err)
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o077 != 0 {
		return nil, remit.Errorf(remit.LedgerDown, "others may use the log's key %s (mode %v): chmod 600 %s", path, mode, path)
	}
	if info.Size() > 4<<10 {
		return nil, notKey(path)
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, remit.Errorf(remit.LedgerDown, "the log's key cannot be read: %w", err)
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		return nil, notKey(path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, notKey(path)
	}
	return &FileKey{key}, nil
}

func notKey(path string) error {
	return remit.Errorf(remit.LedgerDown, "%s holds no Ed25519 key (PKCS #8 in PEM), as remit init makes it", path)
}
