package remit

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// BreakGlassNamespace is the SSHSIG namespace in which break-glass is opened and reviewed.
const BreakGlassNamespace = "break-glass@remit"

// BreakGlass is a declared way on when there is no time to ask people: for a short while, what of a task lies in Scope and
// would wait for them does not. Whoever opens it signs for it, every step under it is marked, and somebody who has no part
// in it looks at all of them afterwards. It opens nothing that the task's own grant does not cover.
type BreakGlass struct {
	Name        string   `json:"name"`         // 1 to 40 of a-z 0-9 -
	Who         []string `json:"who"`          // groups whose members open it
	Scope       []Scope  `json:"scope"`        // what passes, effects of a push or merge included
	Minutes     int      `json:"minutes"`      // 1 to 240
	Reviewers   string   `json:"reviewers"`    // the group of whom one reviews
	ReviewHours int      `json:"review_hours"` // 1 to 168; while a review is overdue, none is opened
}

type (
	// BreakGlassDeclared declares one.
	BreakGlassDeclared struct {
		Name        string   `cbor:"1,keyasint"`
		Who         []string `cbor:"2,keyasint"`
		Scope       []Scope  `cbor:"3,keyasint"`
		Minutes     int      `cbor:"4,keyasint"`
		Reviewers   string   `cbor:"5,keyasint"`
		ReviewHours int      `cbor:"6,keyasint"`
		By          ID       `cbor:"7,keyasint,omitempty"`
	}
	// BreakGlassOpened: a person opened one for a task.
	BreakGlassOpened struct {
		ID        ID        `cbor:"1,keyasint"`
		Name      string    `cbor:"2,keyasint"`
		Task      ID        `cbor:"3,keyasint"`
		By        ID        `cbor:"4,keyasint"`
		Reason    Digest    `cbor:"5,keyasint"` // commitment of the words
		Until     int64     `cbor:"6,keyasint"` // Unix nanoseconds
		Due       int64     `cbor:"7,keyasint"` // by when it has to be reviewed
		Key       Digest    `cbor:"8,keyasint"` // SHA-256 of the public key
		Assurance Assurance `cbor:"9,keyasint"`
		Statement Digest    `cbor:"10,keyasint"` // of the bytes as signed
	}
	// BreakGlassReviewed: somebody who has no part in it has looked at what was done under it.
	BreakGlassReviewed struct {
		ID        ID        `cbor:"1,keyasint"`
		By        ID        `cbor:"2,keyasint"`
		Right     bool      `cbor:"3,keyasint,omitempty"` // it was right to open it, and what was done was
		Key       Digest    `cbor:"4,keyasint"`
		Assurance Assurance `cbor:"5,keyasint"`
		Statement Digest    `cbor:"6,keyasint"`
	}
)

// Kind is part of Event.
func (*BreakGlassDeclared) Kind() string { return "break-glass.declared" }

// Kind is part of Event.
func (*BreakGlassOpened) Kind() string { return "break-glass.opened" }

// Kind is part of Event.
func (*BreakGlassReviewed) Kind() string { return "break-glass.reviewed" }

// Opening is what somebody signs to open break-glass.
type Opening struct {
	Origin string // of the log
	Name   string
	Task   ID
	Reason Digest // SHA-256 of the words
	At     time.Time
}

// Bytes is the one encoding of o.
func (o Opening) Bytes() []byte {
	return fmt.Appendf(nil, "remit break-glass v1\norigin: %s\nname: %s\ntask: %s\nreason: %s\nat: %s\n", o.Origin, o.Name, o.Task, o.Reason, o.At.UTC().Format(time.RFC3339))
}

// ParseOpening reads what Bytes writes and nothing else.
func ParseOpening(b []byte) (o Opening, err error) {
	values, err := signedLines(b, "remit break-glass v1", "origin", "name", "task", "reason", "at")
	if err != nil {
		return o, err
	}
	o.Origin, o.Name, o.Task = values[0], values[1], ID(values[2])
	if err := o.Reason.UnmarshalText([]byte(values[3])); err != nil {
		return o, Errorf(BadVote, "the reason of the statement: %w", err)
	}
	if o.At, err = time.Parse(time.RFC3339, values[4]); err != nil {
		return o, Errorf(BadVote, "the time of the statement: %w", err)
	}
	if !bytes.Equal(o.Bytes(), b) {
		return o, Errorf(BadVote, "the statement is not in its one encoding")
	}
	return o, nil
}

// Looking is what somebody signs who reviews what was done under break-glass.
type Looking struct {
	Origin string
	ID     ID
	Steps  Digest // of the entries that passed under it
	Right  bool
}

// Bytes is the one encoding of l.
func (l Looking) Bytes() []byte {
	verdict := "wrong"
	if l.Right {
		verdict = "right"
	}
	return fmt.Appendf(nil, "remit break-glass review v1\norigin: %s\nbreak-glass: %s\nsteps: %s\nverdict: %s\n", l.Origin, l.ID, l.Steps, verdict)
}

// ParseLooking reads what Bytes writes and nothing else.
func ParseLooking(b []byte) (l Looking, err error) {
	values, err := signedLines(b, "remit break-glass review v1", "origin", "break-glass", "steps", "verdict")
	if err != nil {
		return l, err
	}
	l.Origin, l.ID, l.Right = values[0], ID(values[1]), values[3] == "right"
	if err := l.Steps.UnmarshalText([]byte(values[2])); err != nil {
		return l, Errorf(BadVote, "the steps of the statement: %w", err)
	}
	if !bytes.Equal(l.Bytes(), b) {
		return l, Errorf(BadVote, "the statement is not in its one encoding")
	}
	return l, nil
}

// StepsDigest is what a review binds of the entries that passed.
func StepsDigest(entries []EntryIndex) Digest { return digestJSON("break-glass", entries) }

// signedLines reads a first line and NAME: VALUE lines, each ended by LF.
func signedLines(b []byte, first string, names ...string) ([]string, error) {
	lines := strings.Split(string(b), "\n")
	if len(b) > 1024 || len(lines) != len(names)+2 || lines[0] != first {
		return nil, Errorf(BadVote, "not a statement of at most 1,024 bytes that begins with the line %q and has %d more", first, len(names))
	}
	values := make([]string, len(names))
	for i, n := range names {
		v, ok := strings.CutPrefix(lines[i+1], n+": ")
		if !ok {
			return nil, Errorf(BadVote, "line %d of the statement is %q; it begins with %q", i+2, lines[i+1], n+": ")
		}
		values[i] = v
	}
	return values, nil
}

// OpenGlassRequest opens break-glass; Statement is an Opening over the words of Reason.
type OpenGlassRequest struct {
	Reason    string `json:"reason"` // 1 to 4,096 bytes
	Statement []byte `json:"statement"`
	Signature []byte `json:"signature"` // armored SSHSIG
}

// ReviewGlassRequest reviews it; Statement is a Looking.
type ReviewGlassRequest struct {
	Statement []byte `json:"statement"`
	Signature []byte `json:"signature"`
}

// GlassView is break-glass that was opened.
type GlassView struct {
	ID       ID           `json:"id"`
	Name     string       `json:"name"`
	Task     ID           `json:"task"`
	By       string       `json:"by"`
	Reason   string       `json:"reason"` // in the words of who opened it
	Opened   time.Time    `json:"opened"`
	Until    time.Time    `json:"until"`
	Due      time.Time    `json:"due"`
	Overdue  bool         `json:"overdue,omitempty"`
	Entries  []EntryIndex `json:"entries"` // decisions that passed under it
	Steps    Digest       `json:"steps"`   // what a review binds
	Reviewed string       `json:"reviewed,omitempty"`
	Right    bool         `json:"right,omitempty"` // the review says
	YouMay   bool         `json:"you_may"`         // review it
	WhyNot   string       `json:"why_not,omitempty"`
}
