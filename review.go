package remit

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ReviewNamespace is the SSHSIG namespace in which people answer the items of reviews.
const ReviewNamespace = "review@remit"

// Campaign is a review that comes again: on its cadence, everything that the agents in its scope are entitled to becomes
// an item, which somebody keeps, shrinks or removes. What nobody certifies is removed when its time is over.
type Campaign struct {
	Name string `json:"name"` // 1 to 40 of a-z 0-9 -
	// Agents are names, or beginnings of names that end in *; Functions and Owners narrow further. None is all.
	Agents    []string   `json:"agents,omitempty"`
	Functions []Function `json:"functions,omitempty"`
	Owners    []string   `json:"owners,omitempty"` // names of people
	// Cadence is cron's five fields in UTC, with one minute and one hour: `0 9 1 */3 *`.
	Cadence string `json:"cadence"`
	Due     string `json:"due,omitempty"` // how long people have: 1h to 90d; 14d by default
	// Reviewers are groups of whom one answers for each item; the owner of the agent by default. Fallback is the group
	// that answers where none of those may; administrators by default.
	Reviewers []string `json:"reviewers,omitempty"`
	Fallback  string   `json:"fallback,omitempty"`
	// Canaries is how many items of each run are about what no agent has, at most 20: whoever keeps one did not look.
	Canaries int `json:"canaries,omitempty"`
}

// Reviews is what holds for the whole organisation besides its campaigns. Where a set declares neither this nor a
// campaign, nothing is reviewed and no agent suspends itself.
type Reviews struct {
	SuspendAfter string `json:"suspend_after,omitempty"` // an agent does nothing for so long, and suspends itself: 14d by default, at least 1d; off
	RetireAfter  string `json:"retire_after,omitempty"`  // the same, and it retires itself: 60d by default, more than suspend_after; off
	UnusedAfter  string `json:"unused_after,omitempty"`  // an entitlement is used by nobody for so long, and is reviewed: 30d by default, at least 1d
	Due          string `json:"due,omitempty"`           // how long people have for items that no campaign opened; 7d by default
	Fallback     string `json:"fallback,omitempty"`      // the group that answers for those where their owner may not; administrators by default
	// Micro are the events that open an item by themselves, of Causes; all by default, `none` for none of them.
	Micro []string `json:"micro,omitempty"`
}

// Why an item was opened.
const (
	CauseCampaign    = "campaign"
	CauseOwnerLeft   = "owner-left"   // the owner of the agent was killed or removed
	CauseNewFunction = "new-function" // the agent had work of a function done for the first time
	CauseUnused      = "unused"       // nobody used it for unused_after
	CauseWide        = "wide"         // it was granted with a resource that ends in /**
)

// Causes are the events that open an item outside campaigns.
func Causes() []string { return []string{CauseOwnerLeft, CauseNewFunction, CauseUnused, CauseWide} }

// CauseIdle is why an agent suspended or retired itself; CauseRevived why one that had is active again.
const (
	CauseIdle    = "idle"
	CauseRevived = "revived"
)

// Answer is what somebody says to an item.
type Answer string

const (
	Keep   Answer = "keep"   // it stays as it is
	Shrink Answer = "shrink" // it is cut down to what was used
	Remove Answer = "remove"
)

// Valid tells whether a is one of the three.
func (a Answer) Valid() bool { return a == Keep || a == Shrink || a == Remove }

// ItemStatus is the life of an item.
type ItemStatus string

const (
	ItemOpen      ItemStatus = "open"
	ItemKept      ItemStatus = "kept"
	ItemShrunk    ItemStatus = "shrunk"
	ItemRemoved   ItemStatus = "removed"   // somebody said so
	ItemLapsed    ItemStatus = "lapsed"    // nobody certified it, and it was removed
	ItemVoid      ItemStatus = "void"      // there was nothing to take away any more: a canary, or what had gone meanwhile
	ItemRegranted ItemStatus = "regranted" // removed, lapsed or shrunk, and given back
)

// ParseSpan reads a length of time such as 90m, 12h or 14d: a number and one unit, m, h or d.
func ParseSpan(s string) (time.Duration, error) {
	unit := time.Duration(0)
	if s != "" {
		unit = map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[s[len(s)-1]]
	}
	n, err := 0, error(nil)
	if unit != 0 {
		n, err = strconv.Atoi(s[:len(s)-1])
	}
	if unit == 0 || err != nil || n < 1 || n > 100_000 || strconv.Itoa(n) != s[:len(s)-1] {
		return 0, fmt.Errorf("%q is no length of time; write a number and m, h or d: 14d", s)
	}
	return time.Duration(n) * unit, nil
}

// MaxCertified is how many items one statement answers.
const MaxCertified = 200

// Certification is what somebody signs who answers items. Its bytes are kept as signed and verified as signed.
type Certification struct {
	Origin  string // of the log
	Answers []Certified
}

// Certified is the answer to one item.
type Certified struct {
	Item   ID
	Answer Answer
	// Shown is what the item showed: ReviewOpened.Shown. What was used since then is not in it; what a shrink leaves is
	// computed when it is answered, and never less than what was used until then.
	Shown Digest
}

// Bytes is the one encoding of c: a line for the origin and one for each item, `ITEM ANSWER SHOWN`, in the order of c.
func (c Certification) Bytes() []byte {
	b := fmt.Appendf(nil, "remit review v1\norigin: %s\n", c.Origin)
	for _, a := range c.Answers {
		b = fmt.Appendf(b, "%s %s %s\n", a.Item, a.Answer, a.Shown)
	}
	return b
}

// ParseCertification reads what Bytes writes and nothing else: 1 to MaxCertified items, each once.
func ParseCertification(b []byte) (c Certification, err error) {
	bad := func(format string, args ...any) (Certification, error) {
		return Certification{}, Errorf(BadVote, "the statement of a review: "+format, args...)
	}
	if len(b) > 200*MaxCertified {
		return bad("%d bytes; at most %d", len(b), 200*MaxCertified)
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) < 4 || len(lines) > 3+MaxCertified || lines[0] != "remit review v1" {
		return bad("it begins with the line %q, and has a line for its log and 1 to %d for items", "remit review v1", MaxCertified)
	}
	c.Origin, _ = strings.CutPrefix(lines[1], "origin: ")
	for i, l := range lines[2 : len(lines)-1] {
		f := strings.Split(l, " ")
		if len(f) != 3 || f[0] == "" || !Answer(f[1]).Valid() {
			return bad("line %d is %q, not `ITEM keep|shrink|remove DIGEST`", i+3, l)
		}
		a := Certified{Item: ID(f[0]), Answer: Answer(f[1])}
		if err := a.Shown.UnmarshalText([]byte(f[2])); err != nil || a.Shown.IsZero() {
			return bad("line %d: %q is no digest", i+3, f[2])
		}
		if slices.ContainsFunc(c.Answers, func(o Certified) bool { return o.Item == a.Item }) {
			return bad("line %d answers %s a second time", i+3, a.Item)
		}
		c.Answers = append(c.Answers, a)
	}
	if !bytes.Equal(c.Bytes(), b) {
		return bad("it is not in its one encoding")
	}
	return c, nil
}
