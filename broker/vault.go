package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/remit-dev/remit"
)

// Box seals what is secret, for the place that a label names. Room seal has one.
type Box interface {
	SealFor(label string, plain []byte) ([]byte, error)
	OpenFor(label string, sealed []byte) ([]byte, error)
}

// vault keeps what is needed to end a lease after a crash, one sealed file for each lease that has not ended. It is on
// disk before the log says so: what the log calls minted can be taken up again.
type vault struct {
	dir string
	box Box
}

// kept is a lease as it was asked for, and its credential once there is one. The upstream's declaration is part of it,
// because a lease must also be ended where its upstream is no longer declared.
type kept struct {
	Asked  Asked   `json:"asked"`
	Secret *Secret `json:"secret,omitempty"`
}

const maxKept = 256 << 10

func openVault(dir string, box Box) (*vault, error) {
	if dir == "" || box == nil {
		return nil, errors.New("broker: credentials of providers are kept in a directory, sealed; Dir and Box are required")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, remit.Errorf(remit.Internal, "the directory of sealed credentials: %w", err)
	}
	fi, err := os.Lstat(dir)
	if err != nil || !fi.IsDir() {
		return nil, remit.Errorf(remit.Internal, "%s, where sealed credentials are kept, is no directory (%v)", dir, err)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, remit.Errorf(remit.Forbidden, "%s, where sealed credentials are kept, is open to other users (mode %04o); say: chmod 700 %s", dir, fi.Mode().Perm(), dir)
	}
	return &vault{dir, box}, nil
}

func label(id remit.ID) string { return "lease/" + string(id) }

func (v *vault) path(id remit.ID) string { return filepath.Join(v.dir, string(id)) }

// put keeps k, durably.
func (v *vault) put(id remit.ID, k kept) error {
	plain, err := json.Marshal(k)
	if err != nil {
		return remit.Errorf(remit.Internal, "keeping the credential of lease %s: %w", id, err)
	}
	sealed, err := v.box.SealFor(label(id), plain)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(v.dir, ".new-*") // mode 0600
	if err != nil {
		return remit.Errorf(remit.NoSpace, "keeping the credential of lease %s: %w", id, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(sealed)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), v.path(id))
	}
	if err == nil {
		err = v.sync()
	}
	if err != nil {
		return remit.Errorf(remit.NoSpace, "keeping the credential of lease %s: %w", id, err)
	}
	return nil
}

// get gives what was kept; ok is false where nothing was, or it cannot be opened: the lease is then ended by its name.
func (v *vault) get(id remit.ID) (k kept, ok bool, err error) {
	fi, err := os.Lstat(v.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return k, false, nil
	}
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > maxKept {
		return k, false, fmt.Errorf("the sealed credential of lease %s is no file of at most %d bytes (%v)", id, maxKept, err)
	}
	sealed, err := os.ReadFile(v.path(id))
	if err != nil {
		return k, false, err
	}
	plain, err := v.box.OpenFor(label(id), sealed)
	if err != nil {
		return k, false, err
	}
	if err := remit.DecodeStrict(bytes.NewReader(plain), maxKept, &k); err != nil {
		return kept{}, false, errors.New("the sealed credential of lease " + string(id) + " is malformed")
	}
	return k, k.Asked.Lease == id, nil
}

// remove forgets a lease that has ended.
func (v *vault) remove(id remit.ID) error {
	err := os.Remove(v.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, v.sync())
}

// list gives the leases of which something is kept.
func (v *vault) list() (ids []remit.ID, err error) {
	entries, err := os.ReadDir(v.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".new-") { // a crash was between
			err = errors.Join(err, os.Remove(filepath.Join(v.dir, e.Name())))
			continue
		}
		if _, ok := leaseNumber(remit.ID(e.Name())); ok {
			ids = append(ids, remit.ID(e.Name()))
		}
	}
	return ids, err
}

func (v *vault) sync() error {
	d, err := os.Open(v.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
