package remit

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// VoteNamespace is the SSHSIG namespace of a vote (PROTOCOL.sshsig of OpenSSH): a signature over anything else, or for
// anything else, is not a vote.
const VoteNamespace = "vote@remit"

// Statement is what a voter signs. Its bytes are kept as signed and verified as signed, never re-encoded.
type Statement struct {
	Origin   string // of the log
	Request  ID     // the access request
	Approve  bool
	Effect   Digest
	Change   Digest
	Card     Digest // of the card that was shown
	NotAfter time.Time
}

// Bytes is the one encoding of s: a line each, in this order, every line ended by LF.
func (s Statement) Bytes() []byte {
	vote := "deny"
	if s.Approve {
		vote = "approve"
	}
	return fmt.Appendf(nil, "remit vote v1\norigin: %s\nrequest: %s\nvote: %s\neffect: %s\nchange: %s\ncard: %s\nnot-after: %s\n",
		s.Origin, s.Request, vote, s.Effect, s.Change, s.Card, s.NotAfter.UTC().Format(time.RFC3339))
}

// ParseStatement reads what Bytes writes and nothing else.
func ParseStatement(b []byte) (Statement, error) {
	var s Statement
	if len(b) > 1024 {
		return s, Errorf(BadVote, "a vote's statement has at most 1,024 bytes, not %d", len(b))
	}
	lines := strings.Split(string(b), "\n")
	names := []string{"origin", "request", "vote", "effect", "change", "card", "not-after"}
	if len(lines) != len(names)+2 || lines[0] != "remit vote v1" {
		return s, Errorf(BadVote, "not a vote's statement: it begins with the line %q and has %d more", "remit vote v1", len(names))
	}
	values := make([]string, len(names))
	for i, n := range names {
		v, ok := strings.CutPrefix(lines[i+1], n+": ")
		if !ok {
			return s, Errorf(BadVote, "line %d of the statement is %q; it begins with %q", i+2, lines[i+1], n+": ")
		}
		values[i] = v
	}
	s.Origin, s.Request, s.Approve = values[0], ID(values[1]), values[2] == "approve"
	for i, d := range []*Digest{&s.Effect, &s.Change, &s.Card} {
		if err := d.UnmarshalText([]byte(values[3+i])); err != nil {
			return s, Errorf(BadVote, "line %d of the statement: %w", 5+i, err)
		}
	}
	t, err := time.Parse(time.RFC3339, values[6])
	if err != nil {
		return s, Errorf(BadVote, "line 8 of the statement: %w", err)
	}
	s.NotAfter = t
	if !bytes.Equal(s.Bytes(), b) {
		return s, Errorf(BadVote, "the statement is not in its one encoding")
	}
	return s, nil
}
