package engine

import (
	"context"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// Backup is an older copy of a log, about to go on.
type Backup struct {
	e        *Engine
	second   ledger.SecondHead
	verifier string

	Head ledger.Head
	// Seen is the newest checkpoint that was signed; nil where none is left that could be read, and Unread says why.
	Seen   *ledger.Checkpoint
	Unread error
}

// OpenBackup reads an older copy of a log and what was signed of it. A log that fits its second head needs no restoring
// and is refused; so is one that grew into something else than what was signed.
func OpenBackup(ctx context.Context, cfg Config, second ledger.SecondHead, verifier string) (*Backup, error) {
	fits := ledger.CheckHead(ctx, cfg.Store, second, verifier)
	if fits == nil {
		return nil, remit.Errorf(remit.Conflict, "the log fits its second head %s; there is nothing to restore", second.Path)
	}
	head, err := cfg.Store.Head(ctx)
	if err != nil {
		return nil, err
	}
	b := &Backup{second: second, verifier: verifier, Head: head}
	signed, err := second.Read()
	if err == nil {
		var seen ledger.Checkpoint
		if seen, err = ledger.OpenCheckpoint(signed, verifier); err == nil {
			b.Seen = &seen
		}
	}
	b.Unread = err
	if b.e, err = Open(ctx, cfg); err != nil {
		return nil, err
	}
	own := ""
	b.e.View(func(s *authority.State) { own = s.Verifier })
	if own != verifier {
		b.Close()
		return nil, remit.Errorf(remit.Conflict, "this is the log of another key (%s): it is no backup of the log that %s signed", own, verifier)
	}
	if b.Seen != nil && head.Size >= b.Seen.Size && !b.Forked() {
		b.Close()
		return nil, fits // forked or changed: no older copy of what was signed
	}
	return b, nil
}

// Forked tells whether the log says already that it goes on, and was interrupted before its head was signed. Where no
// head is left that says what was lost, the fork may be one of years ago: it is signed for again.
func (b *Backup) Forked() (yes bool) {
	if b.Seen == nil {
		return false
	}
	b.e.View(func(s *authority.State) {
		yes = s.Fork.Entry != 0 && s.Fork.Lost == b.Seen.Size && s.Fork.LostRoot == b.Seen.Root
	})
	return yes
}

// Statement is what administrators sign.
func (b *Backup) Statement(at time.Time) remit.RestoreStatement {
	st := remit.RestoreStatement{Size: b.Head.Size, Root: b.Head.Root, Lost: b.Head.Size, At: at.UTC().Truncate(time.Second)}
	b.e.View(func(s *authority.State) { st.Origin = s.Origin })
	if b.Seen != nil {
		st.Lost, st.LostRoot = b.Seen.Size, b.Seen.Root
	}
	return st
}

// Restore writes that the log goes on from here, ends what the backup says is alive, fills the places of what was lost,
// and moves the second head. Interrupted, it is done again, without signatures once the log says so.
func (b *Backup) Restore(ctx context.Context, statement []byte, signatures [][]byte, signer ledger.Signer) (authority.Fork, error) {
	if !b.Forked() {
		st, err := remit.ParseRestoreStatement(statement)
		if err != nil {
			return authority.Fork{}, err
		}
		if want := b.Statement(st.At); string(st.Bytes()) != string(want.Bytes()) {
			return authority.Fork{}, remit.Errorf(remit.Stale, "the statement is of another backup, or of another head, than these:\n%s", want.Bytes())
		}
		if _, err := b.e.Do(ctx, &authority.Restore{Statement: statement, Signatures: signatures}); err != nil {
			return authority.Fork{}, err
		}
	}
	for {
		before, after := remit.EntryIndex(0), remit.EntryIndex(0)
		b.e.View(func(s *authority.State) { before = s.Next })
		if _, err := b.e.Do(ctx, &authority.FillLost{}); err != nil {
			return authority.Fork{}, err
		}
		if b.e.View(func(s *authority.State) { after = s.Next }); after == before {
			break
		}
	}
	head, err := b.e.cfg.Store.Head(ctx)
	if err != nil {
		return authority.Fork{}, err
	}
	var origin string
	var fork authority.Fork
	b.e.View(func(s *authority.State) { origin, fork = s.Origin, s.Fork })
	signed, err := ledger.SignCheckpoint(origin, head, signer)
	if err != nil {
		return authority.Fork{}, err
	}
	return fork, b.second.Write(signed)
}

// Close lets go of the log.
func (b *Backup) Close() { b.e.Close() }
