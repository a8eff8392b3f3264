package broker

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// names makes the names of what is made upstream: remit-ORG-l-12. ORG tells this log from every other one, also from
// another organisation's of the same name at the same upstream: what it names must be nobody else's to end.
type names struct{ prefix string }

const maxOrg = 24

func namesOf(s *authority.State) names {
	org := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, string(s.Org))
	tag := remit.Hash([]byte(string(s.Org) + "\n" + s.Origin + "\n" + s.Verifier))
	return names{"remit-" + org[:min(len(org), maxOrg)] + "-" + hex.EncodeToString(tag[:4]) + "-l-"}
}

// of is the name of everything that is made for a lease, at most 63 of a-z 0-9 -: a DNS label (RFC 1123 §2.1), which
// forges and clusters take for names alike.
func (n names) of(lease remit.ID) string {
	_, number, _ := strings.Cut(string(lease), "-")
	return n.prefix + number
}

// lease is the lease that a name is of; ok is false for what this log never named.
func (n names) lease(name string) (remit.ID, bool) {
	number, ok := strings.CutPrefix(name, n.prefix)
	if !ok {
		return "", false
	}
	id := remit.ID("L-" + number)
	_, ok = leaseNumber(id)
	return id, ok
}

// leaseNumber is the entry that a lease's id carries.
func leaseNumber(id remit.ID) (uint64, bool) {
	number, ok := strings.CutPrefix(string(id), "L-")
	n, err := strconv.ParseUint(number, 10, 64)
	return n, ok && err == nil && strconv.FormatUint(n, 10) == number
}

// Prefix is how the names of everything that this log has made upstream begin.
func Prefix(s *authority.State) string { return namesOf(s).prefix }
