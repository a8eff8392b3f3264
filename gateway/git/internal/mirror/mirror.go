// Package mirror keeps one bare repository per upstream repository, with what Remit has read there in its own name, so
// that a push is judged against objects that no agent can write. A mirror is a cache: it is never shared between
// repositories, has no alternates, and can be deleted and is rebuilt at any time.
package mirror

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/gitcmd"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// Config of a Store; zero limits take the defaults that stand beside them.
type Config struct {
	Dir      string // the mirrors' own, mode 0700
	Git      *gitcmd.Git
	MaxBytes int64 // of one mirror; 4 GiB
	Quota    int64 // of all together; 32 GiB
	Now      func() time.Time
	Log      *slog.Logger
}

// Store is all mirrors of one directory.
type Store struct {
	Config
	mu      sync.Mutex
	mirrors map[string]*mirror
}

// New opens the directory, which it makes if need be, and takes over the mirrors that lie there.
func New(c Config) (*Store, error) {
	if c.MaxBytes <= 0 {
		c.MaxBytes = 4 << 30
	}
	if c.Quota <= 0 {
		c.Quota = 32 << 30
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	c.Dir = dir
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the mirrors: %w", err)
	}
	s := &Store{Config: c, mirrors: map[string]*mirror{}}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("reading the directory of the mirrors: %w", err)
	}
	for _, e := range entries {
		m := s.open(e.Name())
		if info, err := e.Info(); err == nil {
			m.used = info.ModTime()
		}
		m.size, _ = packBytes(m.dir)
	}
	return s, nil
}

// Close ends all processes. Views that are still open fail from then on.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mirrors {
		m.mu.Lock()
		m.gone = true
		m.mu.Unlock()
		m.stop()
	}
}

// mirror is one repository.
type mirror struct {
	git  *gitcmd.Git
	dir  string
	gate chan struct{} // held by whoever observes or fetches

	// Under the gate.
	loaded   bool
	refs     map[string]object.OID // complete in the mirror
	asked    bool                  // for the upstream's capabilities
	blobless bool

	mu    sync.Mutex // over what follows
	idle  []*reader
	views int
	gone  bool

	size int64     // under Store.mu
	used time.Time // under Store.mu
}

// open gives the mirror of that directory name; the caller holds s.mu or is alone.
func (s *Store) open(name string) *mirror {
	m := s.mirrors[name]
	if m == nil {
		m = &mirror{git: s.Git, dir: filepath.Join(s.Dir, name), gate: make(chan struct{}, 1)}
		s.mirrors[name] = m
	}
	return m
}

// Observe reads the upstream's refs, fetches what the mirror lacks, and gives a View of that moment. Nothing is
// fetched when the refs are as they were. The View is to be closed.
func (s *Store) Observe(ctx context.Context, name string, r Remote) (*View, error) {
	// A repository that moved is another repository.
	sum := remit.Hash([]byte(name + "\n" + r.URL))
	s.mu.Lock()
	m := s.open(hex.EncodeToString(sum[:16]))
	m.used = s.Now()
	m.mu.Lock()
	m.views++
	m.mu.Unlock()
	s.mu.Unlock()

	v := &View{m: m, s: s, remote: r}
	if err := m.lock(ctx); err != nil {
		v.Close()
		return nil, err
	}
	defer m.unlock()
	refs, err := s.update(ctx, m, r)
	if err != nil {
		v.Close()
		return nil, err
	}
	v.refs, v.blobless = refs, m.blobless
	return v, nil
}

func (m *mirror) lock(ctx context.Context) error {
	select {
	case m.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *mirror) unlock() { <-m.gate }

func (s *Store) update(ctx context.Context, m *mirror, r Remote) (Refs, error) {
	if err := m.prepare(ctx); err != nil {
		return Refs{}, err
	}
	if !m.asked {
		filter, err := r.canFilter(ctx)
		if err != nil {
			return Refs{}, err
		}
		// Once without blobs, a mirror needs an upstream that gives them one by one.
		if m.blobless && !filter {
			if err := m.reset(ctx); err != nil {
				return Refs{}, err
			}
		}
		if len(m.refs) == 0 && filter {
			if err := os.WriteFile(filepath.Join(m.dir, bloblessMark), nil, 0o600); err != nil {
				return Refs{}, err
			}
			m.blobless = true
		}
		m.asked = true
	}
	refs, err := r.Refs(ctx)
	if err != nil || maps.Equal(refs.OIDs, m.refs) {
		return refs, err
	}
	err = s.fetchTips(ctx, m, r, refs.OIDs)
	var known *remit.Error
	if err != nil && ctx.Err() == nil && !errors.As(err, &known) && !errors.Is(err, errFull) {
		// A mirror that cannot take a pack may be damaged: once more, from nothing.
		s.log(ctx, "a mirror is rebuilt", "dir", m.dir, "err", err)
		if err = m.reset(ctx); err == nil {
			err = s.fetchTips(ctx, m, r, refs.OIDs)
		}
	}
	if err != nil {
		return refs, err
	}
	if err := m.writeRefs(refs.OIDs); err != nil {
		return refs, fmt.Errorf("keeping the refs of a mirror: %w", err)
	}
	m.refs = refs.OIDs
	if s.Log != nil { // observations are Remit's own acts
		s.Log.InfoContext(ctx, "observed", "identity", "remit:observer", "url", r.URL, "refs", len(refs.OIDs))
	}
	return refs, nil
}

func (s *Store) log(ctx context.Context, msg string, args ...any) {
	if s.Log != nil {
		s.Log.WarnContext(ctx, msg, args...)
	}
}

func (s *Store) fetchTips(ctx context.Context, m *mirror, r Remote, refs map[string]object.OID) error {
	have := unique(m.refs)
	known := make(map[object.OID]bool, len(have))
	for _, oid := range have {
		known[oid] = true
	}
	want := slices.DeleteFunc(unique(refs), func(o object.OID) bool { return known[o] })
	if len(want) == 0 {
		return nil
	}
	return s.fetch(ctx, m, r, want, have)
}

// fetch brings objects into the mirror; the caller holds the gate.
func (s *Store) fetch(ctx context.Context, m *mirror, r Remote, want, have []object.OID) error {
	before, err := packBytes(m.dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, err := m.git.Command(ctx, m.dir, "index-pack", "--stdin")
	if err != nil {
		return err
	}
	var complaint bytes.Buffer
	cmd.Stderr = &limitedBuffer{&complaint}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting git index-pack: %w", err)
	}
	err = r.fetch(ctx, want, have, m.blobless, s.MaxBytes-before, in)
	in.Close()
	if err != nil {
		cancel()
		cmd.Wait() // it was told to end
		if errors.Is(err, errFull) {
			return remit.Errorf(remit.NoSpace, "the repository needs more than the %d bytes that a mirror may have; raise the limit or make it smaller", s.MaxBytes)
		}
		return err
	}
	if err := cmd.Wait(); err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("git index-pack: %w: %.300q", err, complaint.String()))
	}
	return s.account(ctx, m)
}

// account measures the mirror, joins its packs when they are many, and makes room.
func (s *Store) account(ctx context.Context, m *mirror) error {
	packs, err := filepath.Glob(filepath.Join(m.dir, "objects", "pack", "*.pack"))
	if err != nil {
		return err
	}
	if len(packs) > maxPacks {
		cmd, err := m.git.Command(ctx, m.dir, "repack", "--geometric=2", "-d", "-q")
		if err == nil {
			err = cmd.Run()
		}
		if err != nil {
			s.log(ctx, "joining the packs of a mirror", "dir", m.dir, "err", err)
		}
		m.stop()
	}
	size, err := packBytes(m.dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.size = size
	for s.total() > s.Quota {
		if !s.evict(m) {
			return remit.Errorf(remit.NoSpace, "the mirrors of all repositories in use need more than their quota of %d bytes", s.Quota)
		}
	}
	return nil
}

const (
	maxPacks     = 40
	bloblessMark = "blobless"
)

func (s *Store) total() (sum int64) {
	for _, m := range s.mirrors {
		sum += m.size
	}
	return sum
}

// evict deletes the mirror that was unused for longest; false if all are in use.
func (s *Store) evict(keep *mirror) bool {
	var oldest *mirror
	for _, m := range s.mirrors {
		m.mu.Lock()
		free := m.views == 0 && m != keep && m.size > 0
		m.mu.Unlock()
		if free && (oldest == nil || m.used.Before(oldest.used)) {
			oldest = m
		}
	}
	if oldest == nil {
		return false
	}
	oldest.mu.Lock()
	oldest.gone = true
	oldest.mu.Unlock()
	oldest.stop()
	os.RemoveAll(oldest.dir)
	delete(s.mirrors, filepath.Base(oldest.dir))
	return true
}

// prepare makes the repository if it is not there, and reads what it holds.
func (m *mirror) prepare(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(m.dir, "HEAD")); errors.Is(err, fs.ErrNotExist) {
		m.stop()
		return m.reset(ctx)
	}
	if m.loaded {
		return nil
	}
	refs, err := readRefs(filepath.Join(m.dir, "packed-refs"))
	if err != nil {
		return m.reset(ctx)
	}
	_, err = os.Stat(filepath.Join(m.dir, bloblessMark))
	m.refs, m.loaded, m.blobless = refs, true, err == nil
	return nil
}

// reset makes the mirror anew, with nothing in it.
func (m *mirror) reset(ctx context.Context) error {
	m.stop()
	if err := os.RemoveAll(m.dir); err != nil {
		return fmt.Errorf("removing a mirror: %w", err)
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("making a mirror: %w", err)
	}
	cmd, err := m.git.Command(ctx, m.dir, "init", "--bare", "--quiet", "--template=", "--object-format=sha1")
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making a mirror: %w: %.200q", err, out)
	}
	m.refs, m.loaded, m.asked, m.blobless = map[string]object.OID{}, true, m.asked && !m.blobless, false
	return nil
}

// writeRefs replaces packed-refs (gitrepository-layout(5)): one file, written by nobody else.
func (m *mirror) writeRefs(refs map[string]object.OID) error {
	f, err := os.CreateTemp(m.dir, "refs-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "# pack-refs with: sorted ")
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		fmt.Fprintf(w, "%s %s\n", refs[name], name)
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(m.dir, "packed-refs"))
}

func readRefs(name string) (map[string]object.OID, error) {
	refs := map[string]object.OID{}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return refs, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		oid, ref, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if refs[ref], err = object.ParseOID(oid); err != nil || ref == "" {
			return nil, fmt.Errorf("packed-refs has a line %q", line)
		}
	}
	return refs, nil
}

// packBytes is what the packs of a mirror take.
func packBytes(dir string) (sum int64, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, "objects", "pack"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
	}
	return sum, err
}

// limitedBuffer keeps the first 4 KiB. Like capped it does not embed the buffer.
type limitedBuffer struct{ kept *bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := 4096 - b.kept.Len(); room > 0 {
		b.kept.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
