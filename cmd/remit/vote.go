package main

import (
	"bytes"
	"context"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/sshsig"
)

// maxFixed bounds the fixed part of a card, in bytes.
const maxFixed = 64 << 10

// ballot is a card that was checked, with what its voter signs.
type ballot struct {
	card      remit.AccessView
	org       remit.Org
	statement remit.Statement
}

// prepareVote fetches a card and binds a vote to it.
func prepareVote(ctx context.Context, c *client.Client, id remit.ID, approve bool) (ballot, error) {
	org, err := c.Org(ctx)
	if err != nil {
		return ballot{}, err
	}
	card, err := c.Access(ctx, id)
	if err != nil {
		return ballot{}, err
	}
	st, err := bindVote(card, id, org, approve)
	return ballot{card, org.Org, st}, err
}

// bindVote makes the statement of a vote from the fixed part of a card, after checking that this part has the digest
// that the server says, and that what the card shows is what the fixed part binds. The server is not believed: a card
// that shows one thing and binds another is refused before anything is signed.
func bindVote(v remit.AccessView, id remit.ID, org remit.OrgInfo, approve bool) (remit.Statement, error) {
	var fixed authority.Card
	if err := remit.DecodeStrict(bytes.NewReader(v.Fixed), maxFixed, &fixed); err != nil {
		return remit.Statement{}, remit.Errorf(remit.BadVote, "the fixed part of the card of %s cannot be read, so nothing was signed: %w", visible(string(id)), err)
	}
	if d := fixed.Digest(); d != v.Card {
		return remit.Statement{}, remit.Errorf(remit.BadVote, "the fixed part of the card of %s has the digest %s, and the server says %s; nothing was signed", visible(string(id)), d, v.Card)
	}
	for _, c := range []struct {
		what         string
		shown, fixed string
	}{
		{"request", string(v.ID), string(fixed.Request)},
		{"request", string(id), string(fixed.Request)},
		{"log", org.Origin, fixed.Origin},
		{"organisation", string(org.Org), string(fixed.Org)},
		{"profile", string(v.Profile), string(fixed.Profile)},
		{"effect", v.Effect.String(), fixed.Effect.String()},
		{"change", v.Change.String(), fixed.Change.String()},
		{"end", v.NotAfter.UTC().Format(time.RFC3339), time.Unix(0, fixed.NotAfter).UTC().Format(time.RFC3339)},
		{"task", string(v.Task), string(fixed.Task)},
		{"agent", v.Agent, fixed.Agent},
		{"function", string(v.Function), string(fixed.Function)},
		{"confinement", string(v.Confinement), string(fixed.Confinement)},
		{"zone", string(v.Zone), string(fixed.Zone)},
	} {
		if c.shown != c.fixed {
			return remit.Statement{}, remit.Errorf(remit.BadVote, "the card of %s shows the %s %q and binds %q; nothing was signed", visible(string(id)), c.what, visible(c.shown), visible(c.fixed))
		}
	}
	return remit.Statement{Origin: fixed.Origin, Request: fixed.Request, Approve: approve, Effect: fixed.Effect, Change: fixed.Change,
		Card: v.Card, NotAfter: time.Unix(0, fixed.NotAfter).UTC()}, nil
}

// cast signs the vote and hands it in; it gives the card after it.
func (b ballot) cast(ctx context.Context, c *client.Client, sign func([]byte) ([]byte, error)) (remit.AccessView, error) {
	text := b.statement.Bytes()
	sig, err := sign(text)
	if err != nil {
		return remit.AccessView{}, err
	}
	return c.Vote(ctx, b.statement.Request, remit.VoteRequest{Statement: text, Signature: sig})
}

// castVote votes without asking anybody: the key at keyPath has no passphrase and needs no touch.
func castVote(ctx context.Context, c *client.Client, id remit.ID, keyPath string, approve bool) (remit.AccessView, error) {
	b, err := prepareVote(ctx, c, id, approve)
	if err != nil {
		return remit.AccessView{}, err
	}
	return b.cast(ctx, c, func(text []byte) ([]byte, error) {
		return sshsig.SignFile(ctx, keyPath, remit.VoteNamespace, text, sshsig.Person{})
	})
}
