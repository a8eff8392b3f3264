package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/remit-dev/remit"
)

// journal notes what is about to be run, so that after a crash it is known what was certainly not begun.
type journal struct {
	dir string
	// fresh: the directory was empty at the start. Then what an older directory knew is lost, and nothing is certain.
	fresh bool
}

// note is written before a command is started.
type note struct {
	Environment string   `json:"environment"`
	Attempt     remit.ID `json:"attempt"`
	Before      []string `json:"before"` // digests that were there
}

func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "begun"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return &journal{dir: dir}, nil
	case err != nil:
		return nil, err
	}
	return &journal{dir: dir, fresh: true}, errors.Join(f.Sync(), f.Close(), syncDir(dir))
}

const (
	noted = ".json"
	keep  = 30 * 24 * time.Hour
)

// path is a file of a thing, whose name may hold what file names may not.
func (j *journal) path(of, ext string) string {
	return filepath.Join(j.dir, remit.Hash([]byte(of)).String()[:32]+ext)
}

// write keeps n durably, or fails: what is not noted is not begun.
func (j *journal) write(n note) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(j.dir, "note-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), j.path(string(n.Attempt), noted)); err != nil {
		return err
	}
	j.forget()
	return syncDir(j.dir)
}

// forget removes the notes of attempts whose outcomes were recorded long ago.
func (j *journal) forget() {
	files, err := os.ReadDir(j.dir)
	if err != nil {
		return // nothing depends on it
	}
	for _, f := range files {
		if i, err := f.Info(); err == nil && filepath.Ext(f.Name()) == noted && time.Since(i.ModTime()) > keep {
			_ = os.Remove(filepath.Join(j.dir, f.Name()))
		}
	}
}

// read gives the note of an attempt; nil says that there is none.
func (j *journal) read(attempt remit.ID) (*note, error) {
	b, err := os.ReadFile(j.path(string(attempt), noted))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var n note
	if err := remit.DecodeStrict(bytes.NewReader(b), 64<<10, &n); err != nil {
		return nil, err
	}
	return &n, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
