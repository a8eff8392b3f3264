package card

import (
	"bytes"
	"time"

	"github.com/remit-dev/remit"
)

// maxFixed bounds the fixed part of a card, in bytes.
const maxFixed = 64 << 10

// fixed is the fixed part of a card as the authority digests it: the digest is over this JSON, byte for byte.
type fixed struct {
	Origin      string
	Org         remit.Org
	Profile     remit.Profile
	Request     remit.ID
	Task        remit.ID
	By          remit.ID
	Requester   remit.ID
	Intent      remit.Digest
	Agent       string
	Function    remit.Function
	Owner       remit.ID
	Instance    remit.ID
	Launcher    remit.ID
	Confinement remit.Confinement
	Ungoverned  []string
	Effect      remit.Digest
	Change      remit.Digest
	Shown       remit.Digest
	Needs       []remit.Need
	Rules       []string
	Zone        remit.Zone
	NotAfter    int64
}

// Bind tells whether what a card shows is what a vote on it binds: the fixed part has the digest that the card names, and
// says what is shown. A card that shows one thing and binds another must not be voted on.
func Bind(v remit.AccessView, org remit.OrgInfo) error {
	var f fixed
	if err := remit.DecodeStrict(bytes.NewReader(v.Fixed), maxFixed, &f); err != nil {
		return remit.Errorf(remit.BadVote, "the fixed part of the card of %s cannot be read: %w", v.ID, err)
	}
	if d := remit.Hash([]byte("remit card v1\n"), v.Fixed); d != v.Card {
		return remit.Errorf(remit.BadVote, "the fixed part of the card of %s has the digest %s, and the card says %s", v.ID, d, v.Card)
	}
	for _, c := range []struct{ what, shown, fixed string }{
		{"request", string(v.ID), string(f.Request)},
		{"log", org.Origin, f.Origin},
		{"organisation", string(org.Org), string(f.Org)},
		{"profile", string(v.Profile), string(f.Profile)},
		{"effect", v.Effect.String(), f.Effect.String()},
		{"change", v.Change.String(), f.Change.String()},
		{"end", v.NotAfter.UTC().Format(time.RFC3339), time.Unix(0, f.NotAfter).UTC().Format(time.RFC3339)},
		{"task", string(v.Task), string(f.Task)},
		{"agent", v.Agent, f.Agent},
		{"function", string(v.Function), string(f.Function)},
		{"confinement", string(v.Confinement), string(f.Confinement)},
		{"zone", string(v.Zone), string(f.Zone)},
	} {
		if c.shown != c.fixed {
			return remit.Errorf(remit.BadVote, "the card of %s shows the %s %q and binds %q", v.ID, c.what, Visible(c.shown), Visible(c.fixed))
		}
	}
	return nil
}
