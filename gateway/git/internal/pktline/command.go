package pktline

import (
	"bytes"
	"io"
	"strings"

	"golang.org/x/text/cases"

	"github.com/remit-dev/remit"
)

// Limits of the command section of a push.
const (
	MaxCommands     = 50
	MaxCommandBytes = 1 << 20
)

// Command is one ref update of a push. Old and New are lower-case object ids, empty where there is none.
type Command struct {
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
	Ref string `json:"ref"`
}

// Delete tells whether c removes its ref.
func (c Command) Delete() bool { return c.New == "" }

// Create tells whether c makes its ref.
func (c Command) Create() bool { return c.Old == "" }

// Push is the command section of a push.
type Push struct {
	Commands []Command
	// What the client asked for on its first command line.
	Report, ReportV2, Sideband, Quiet, Atomic bool
	Agent                                     string
}

// HasPack tells whether a pack follows: always, unless every command deletes.
func (p *Push) HasPack() bool {
	for _, c := range p.Commands {
		if !c.Delete() {
			return true
		}
	}
	return false
}

// ReadPush reads the command section up to its flush packet; what follows is the pack. A section of nothing but the
// flush packet gives a Push without commands: the probe that git sends before a large push.
//
// Lines "shallow OID" are read and dropped. A client in a shallow clone must send them, and they would let the server
// accept history with a hole; the upstream sees none of them, and ancestry is judged by the objects alone.
func ReadPush(r io.Reader) (*Push, io.Reader, error) {
	limited := &io.LimitedReader{R: r, N: MaxCommandBytes}
	in := NewReader(limited)
	p := &Push{}
	seen := map[string]string{}
	fold := cases.Fold()
	for {
		line, ok, err := in.Line()
		if err != nil && limited.N <= 0 {
			return p, nil, remit.Errorf(remit.TooLargeToJudge, "the commands of a push have at most %d bytes; push fewer refs at a time", MaxCommandBytes)
		}
		if err != nil {
			return p, nil, err
		}
		if !ok {
			break
		}
		if err := p.line(string(line), seen, fold); err != nil {
			return p, nil, err
		}
	}
	// The limit held for the commands only.
	limited.N = 1<<63 - 1
	return p, in.Rest(), nil
}

func (p *Push) line(line string, seen map[string]string, fold cases.Caser) error {
	if rest, ok := strings.CutPrefix(line, "shallow "); ok {
		if !validOID(rest) || len(p.Commands) > 0 {
			return remit.Errorf(remit.BadRequest, "a shallow line stands before the commands and carries 40 lower-case hexadecimal digits")
		}
		return nil
	}
	if strings.HasPrefix(line, "push-cert") {
		return remit.Errorf(remit.BadRequest, "signed pushes are not taken, and were not offered; push without --signed")
	}
	line, caps, hasCaps := strings.Cut(line, "\x00")
	switch {
	case hasCaps && len(p.Commands) > 0:
		return remit.Errorf(remit.BadRequest, "command %d carries capabilities; only the first may", len(p.Commands)+1)
	case hasCaps:
		if err := p.capabilities(caps); err != nil {
			return err
		}
	}
	if len(p.Commands) == MaxCommands {
		return remit.Errorf(remit.TooLargeToJudge, "a push changes at most %d refs; push fewer at a time", MaxCommands)
	}
	c, err := parseCommand(line, len(p.Commands)+1)
	if err != nil {
		return err
	}
	folded := fold.String(c.Ref)
	if other, twice := seen[folded]; twice {
		if other == c.Ref {
			return remit.Errorf(remit.BadRef, "the push names %q twice; name each ref once", c.Ref)
		}
		return remit.Errorf(remit.BadRef, "the push names %q and %q, which many file systems take for the same", other, c.Ref)
	}
	seen[folded] = c.Ref
	p.Commands = append(p.Commands, c)
	return nil
}

func parseCommand(line string, n int) (Command, error) {
	const oid = len(zeroOID)
	if len(line) < 2*oid+3 || line[oid] != ' ' || line[2*oid+1] != ' ' {
		return Command{}, remit.Errorf(remit.BadRequest, "command %d is not OLD NEW REF, with object ids of 40 digits", n)
	}
	c := Command{Old: line[:oid], New: line[oid+1 : 2*oid+1], Ref: line[2*oid+2:]}
	if !validOID(c.Old) || !validOID(c.New) {
		return Command{}, remit.Errorf(remit.BadRequest, "command %d: an object id is 40 lower-case hexadecimal digits", n)
	}
	if c.Old == zeroOID {
		c.Old = ""
	}
	if c.New == zeroOID {
		c.New = ""
	}
	if c.Old == c.New {
		return Command{}, remit.Errorf(remit.BadRequest, "command %d changes nothing: old and new are the same", n)
	}
	return c, nil
}

// capabilities reads what a client asks for; it may ask for what WriteAdvert offers and nothing else.
func (p *Push) capabilities(s string) error {
	for name := range strings.FieldsSeq(s) {
		switch {
		case name == "report-status":
			p.Report = true
		case name == "report-status-v2":
			p.Report, p.ReportV2 = true, true
		case name == "side-band-64k":
			p.Sideband = true
		case name == "quiet":
			p.Quiet = true
		case name == "atomic":
			p.Atomic = true
		case name == "ofs-delta", name == "delete-refs", name == "no-thin", name == "object-format=sha1":
		case strings.HasPrefix(name, "agent="):
			p.Agent = name[len("agent="):]
		case name == "push-options":
			return remit.Errorf(remit.BadRequest, "push options are not taken, and were not offered; push without -o")
		case strings.HasPrefix(name, "object-format="):
			return remit.Errorf(remit.BadRequest, "the client speaks %.40q; this repository is of SHA-1", name)
		default:
			return remit.Errorf(remit.BadRequest, "the client asks for %.80q, which was not offered", name)
		}
	}
	return nil
}

// AppendPush adds the command section that goes upstream: the commands as they were judged, and caps.
func AppendPush(dst []byte, commands []Command, caps []string) []byte {
	var line bytes.Buffer
	for i, c := range commands {
		line.Reset()
		line.WriteString(orZero(c.Old) + " " + orZero(c.New) + " " + c.Ref)
		if i == 0 {
			line.WriteString("\x00 " + strings.Join(caps, " "))
		}
		dst = Append(dst, line.String())
	}
	return AppendFlush(dst)
}

func orZero(oid string) string {
	if oid == "" {
		return zeroOID
	}
	return oid
}
