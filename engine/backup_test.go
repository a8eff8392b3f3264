package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
	"github.com/remit-dev/remit/sshsig"
)

const origin = "acme.example/log"

// lost is a log of which the newest part is gone: an older copy of it, and its second head.
type lost struct {
	*world.Core // over the log as it was; closed
	key         *ledger.FileKey
	verifier    string
	second      ledger.SecondHead
	backup      *ledgertest.Memory
	caller      remit.Caller // alive in the backup
	signed      ledger.Head  // what the second head covers
}

func loseSome(t *testing.T) *lost {
	t.Helper()
	dir, store := t.TempDir(), &ledgertest.Memory{}
	l := &lost{second: ledger.SecondHead{Path: filepath.Join(dir, "second-head")}}
	l.key, l.verifier = newKey(t)
	c := open(t, world.CoreOptions{Store: begun(t, store, l.verifier), Dir: dir})
	do(t, c, &authority.ApplySet{By: "p-ada", Set: c.Set})
	l.Core, l.caller = c, launch(t, c, "canary")
	l.backup = copied(t, store)
	l.signed = l.sign(t, store)
	if err := ledger.CheckHead(t.Context(), l.backup, l.second, l.verifier); err != nil {
		t.Fatal(err)
	}
	do(t, c, &authority.Kill{By: "p-mia", What: "task", ID: l.caller.Task})
	launch(t, c, "coder")
	l.signed = l.sign(t, store)
	c.Engine.Close()
	return l
}

func newKey(t *testing.T) (*ledger.FileKey, string) {
	t.Helper()
	k, err := ledger.GenerateKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := ledger.VerifierKey(origin, k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k, v
}

// begun writes the genesis of a log that a key signs.
func begun(t *testing.T, store ledger.Store, verifier string) ledger.Store {
	t.Helper()
	rules := world.NewRules()
	e, err := engine.Open(t.Context(), engine.Config{Store: store, Policies: rules, Clock: world.NewClock()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Do(t.Context(), &authority.Init{Org: world.Org, Origin: origin, Verifier: verifier, Profile: remit.Team, OPA: "0",
		Policy: world.Nothing.Digest(), Admins: []remit.PersonDeclared{world.CorePerson("ada")}}); err != nil {
		t.Fatal(err)
	}
	return store
}

// copied is a backup of a log.
func copied(t *testing.T, from ledger.Store) *ledgertest.Memory {
	t.Helper()
	to := &ledgertest.Memory{}
	var b ledger.Batch
	for e, err := range from.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		b.Entries = append(b.Entries, e.Leaf)
		if p, err := from.Payload(t.Context(), l.Command); err == nil {
			b.Payloads = append(b.Payloads, p)
		}
	}
	tree, hashes := ledger.Tree{}.Append(b.Entries...)
	b.Hashes, b.Next = hashes, tree.Head(0)
	if err := to.Append(t.Context(), ledger.Empty(), b); err != nil {
		t.Fatal(err)
	}
	return to
}

// sign writes the second head of a log.
func (l *lost) sign(t *testing.T, s ledger.Store) ledger.Head {
	t.Helper()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ledger.SignCheckpoint(origin, head, l.key)
	if err == nil {
		err = l.second.Write(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func (l *lost) open(s ledger.Store) (*engine.Backup, error) {
	cfg := l.Config
	cfg.Store, cfg.Kills = s, ""
	return engine.OpenBackup(context.Background(), cfg, l.second, l.verifier)
}

func (l *lost) mustOpen(t *testing.T, s ledger.Store) *engine.Backup {
	t.Helper()
	b, err := l.open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// statement is what people sign of a backup now.
func (l *lost) statement(t *testing.T, b *engine.Backup, by ...string) (text []byte, signatures [][]byte) {
	t.Helper()
	text = b.Statement(l.Clock.Now()).Bytes()
	for _, name := range by {
		sig, err := sshsig.Sign(world.Touch(name), remit.RestoreNamespace, text)
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, sig)
	}
	return text, signatures
}

// goesOn opens a restored log and tells what it says.
func (l *lost) goesOn(t *testing.T, s ledger.Store) *world.Core {
	t.Helper()
	if err := ledger.CheckHead(t.Context(), s, l.second, l.verifier); err != nil {
		t.Fatalf("the server would not start: %v", err)
	}
	c := open(t, world.CoreOptions{Store: s, Clock: l.Clock, Rules: l.Rules})
	check(t, c)
	return c
}

func forks(t *testing.T, s ledger.Store) (n int) {
	t.Helper()
	for e, err := range s.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if l, err := ledger.Decode(e.Leaf); err == nil && l.Event.Kind() == (&remit.LogForked{}).Kind() {
			n++
		}
	}
	return n
}

func TestALogGoesOnFromItsBackupOnTheWordOfTwo(t *testing.T) {
	l := loseSome(t)
	b := l.mustOpen(t, l.backup)
	if b.Seen == nil || b.Seen.Size != l.signed.Size || b.Unread != nil || b.Forked() {
		t.Fatalf("%+v %v", b.Seen, b.Unread)
	}
	text, one := l.statement(t, b, "ada")
	before := readSecond(t, l)
	for _, refused := range []struct {
		text       []byte
		signatures [][]byte
		code       remit.Code
	}{
		{text, one, remit.NotEligible},
		{text, append(one, one...), remit.NotEligible},
		{[]byte("yes"), one, remit.BadRequest},
		{[]byte(strings.Replace(string(text), "backup: ", "backup: 1", 1)), one, remit.Stale},
		{[]byte(strings.Replace(string(text), "lost-root: "+b.Seen.Root.String(), "lost-root: "+b.Head.Root.String(), 1)), one, remit.Stale},
	} {
		_, err := b.Restore(t.Context(), refused.text, refused.signatures, l.key)
		coded(t, err, refused.code)
	}
	if forks(t, l.backup) != 0 || readSecond(t, l) != before {
		t.Fatal("what was refused was done")
	}
	text, both := l.statement(t, b, "ada", "bob")
	fork, err := b.Restore(t.Context(), text, both, l.key)
	if err != nil {
		t.Fatal(err)
	}
	if uint64(fork.Entry) != b.Head.Size || fork.Lost != l.signed.Size || fork.LostRoot != l.signed.Root {
		t.Fatalf("%+v", fork)
	}
	b.Close()
	c := l.goesOn(t, l.backup)
	c.Engine.View(func(s *authority.State) {
		if len(s.LiveTasks) > 0 || len(s.Instances) > 0 {
			t.Error("what nobody can tell the end of goes on")
		}
		if uint64(s.Next) < l.signed.Size+authority.LostMargin {
			t.Errorf("entry %d could be one that was lost", s.Next)
		}
	})
	if d := ask(t, c, world.Ask(l.caller, "probe.read")); d.Verdict != remit.Deny {
		t.Fatalf("%+v", d)
	}
	allow(t, c, world.Ask(launch(t, c, "canary"), "probe.read"))
	c.Engine.Close()
	_, err = l.open(l.backup)
	coded(t, err, remit.Conflict) // it fits: there is nothing to restore
}

func readSecond(t *testing.T, l *lost) string {
	t.Helper()
	b, err := l.second.Read()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOnlyAnOlderCopyIsABackup: a log that was changed does not go on as if it had been lost.
func TestOnlyAnOlderCopyIsABackup(t *testing.T) {
	l := loseSome(t)
	_, err := l.open(l.Config.Store)
	coded(t, err, remit.Conflict)
	if !strings.Contains(err.Error(), "nothing to restore") {
		t.Error(err)
	}

	longer := open(t, world.CoreOptions{Store: copied(t, l.backup), Clock: l.Clock, Rules: l.Rules})
	for range l.signed.Size {
		do(t, longer, &authority.CreateTask{By: "p-noa", Agent: "canary"})
	}
	longer.Engine.Close()
	_, err = l.open(longer.Config.Store)
	coded(t, err, remit.LedgerDown)
	if !strings.Contains(err.Error(), "forked or changed") {
		t.Error(err)
	}

	_, other := newKey(t)
	alien := open(t, world.CoreOptions{Store: begun(t, &ledgertest.Memory{}, other), Clock: l.Clock, Rules: l.Rules})
	alien.Engine.Close()
	_, err = l.open(alien.Config.Store)
	coded(t, err, remit.Conflict)
	if !strings.Contains(err.Error(), "the log of another key ("+other+")") {
		t.Error(err)
	}

	down := errors.New("the disk is gone")
	_, err = l.open(headless{l.backup, down})
	if !errors.Is(err, down) {
		t.Error(err)
	}
	l.Rules.Break(down)
	if _, err = l.open(l.backup); !errors.Is(err, down) {
		t.Errorf("a backup without its policy: %v", err)
	}
}

// headless is a store of which the head cannot be read.
type headless struct {
	ledger.Store
	err error
}

func (h headless) Head(context.Context) (ledger.Head, error) { return ledger.Head{}, h.err }

// TestARestoreThatWasCutShortIsDoneAgain: once the log says that it goes on, nobody signs again, and it says so once.
func TestARestoreThatWasCutShortIsDoneAgain(t *testing.T) {
	l := loseSome(t)
	store := &stops{Store: l.backup}
	b := l.mustOpen(t, store)
	text, both := l.statement(t, b, "ada", "bob")
	before := readSecond(t, l)
	for n, left := range []int{0, 1} { // it stops before the log says so, then before the places are filled
		store.left = left
		_, err := b.Restore(t.Context(), text, both, l.key)
		coded(t, err, remit.NoSpace)
		if got := forks(t, l.backup); got != n {
			t.Fatalf("%d forks after %d appends", got, left)
		}
	}
	b.Close()
	store.left = 1000
	b = l.mustOpen(t, store)
	if !b.Forked() {
		t.Fatal("it is to be signed again")
	}
	if readSecond(t, l) != before {
		t.Fatal("the second head moved before the places were filled")
	}
	if _, err := b.Restore(t.Context(), nil, nil, mute{l.key}); err == nil || readSecond(t, l) != before {
		t.Fatalf("a signer that fails: %v", err)
	}
	elsewhere := *l
	elsewhere.second.Path = filepath.Join(t.TempDir(), "gone", "second-head")
	if err := errors.Join(os.Mkdir(filepath.Dir(elsewhere.second.Path), 0o700), elsewhere.second.Write([]byte(before))); err != nil {
		t.Fatal(err)
	}
	b2 := elsewhere.mustOpen(t, copied(t, store))
	if err := os.RemoveAll(filepath.Dir(elsewhere.second.Path)); err != nil {
		t.Fatal(err)
	}
	_, err := b2.Restore(t.Context(), nil, nil, l.key)
	coded(t, err, remit.LedgerDown) // its second head cannot be written
	if _, err := b.Restore(t.Context(), nil, nil, l.key); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if got := forks(t, store); got != 1 {
		t.Fatalf("the log says %d times that it was forked", got)
	}
	l.goesOn(t, store)
}

// stops takes a number of appends and then has no space.
type stops struct {
	ledger.Store
	left int
}

func (s *stops) Append(ctx context.Context, expect ledger.Head, b ledger.Batch) error {
	if s.left--; s.left < 0 {
		return ledger.Refused(remit.NoSpace, "the disk is full")
	}
	return s.Store.Append(ctx, expect, b)
}

// mute is a signer whose device is gone.
type mute struct{ ledger.Signer }

func (mute) Sign([]byte) ([]byte, error) { return nil, errors.New("the device is gone") }

// TestALogThatWasRestoredOnceIsNotRestoredUnsignedLater: that it went on from a backup years ago says nothing of the
// backup that is put back today, also where no second head is left that tells them apart.
func TestALogThatWasRestoredOnceIsNotRestoredUnsignedLater(t *testing.T) {
	l := loseSome(t)
	b := l.mustOpen(t, l.backup)
	text, both := l.statement(t, b, "ada", "bob")
	if _, err := b.Restore(t.Context(), text, both, l.key); err != nil {
		t.Fatal(err)
	}
	b.Close()
	c := l.goesOn(t, l.backup)
	alive := launch(t, c, "canary")
	c.Engine.Close()
	again := copied(t, l.backup)
	if err := os.Remove(l.second.Path); err != nil {
		t.Fatal(err)
	}
	b = l.mustOpen(t, again)
	if b.Seen != nil || b.Unread == nil {
		t.Fatalf("%+v %v", b.Seen, b.Unread)
	}
	if _, err := b.Restore(t.Context(), nil, nil, l.key); err == nil {
		t.Error("nobody signed")
	}
	text, both = l.statement(t, b, "ada", "bob")
	if _, err := b.Restore(t.Context(), text, both, l.key); err != nil {
		t.Fatal(err)
	}
	b.Close()
	c = l.goesOn(t, again)
	if d := ask(t, c, world.Ask(alive, "probe.read")); d.Verdict != remit.Deny {
		t.Fatalf("%+v", d)
	}
	if got := forks(t, again); got != 2 {
		t.Fatalf("the log says %d times that it was forked", got)
	}
}
