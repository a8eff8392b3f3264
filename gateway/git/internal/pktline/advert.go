package pktline

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// Ref is a ref as a server advertises it.
type Ref struct {
	Name string
	OID  string
}

// Advert reads a ref advertisement of protocol version 0 or 1, line by line.
type Advert struct {
	in    *Reader
	caps  []string
	first *Ref
	limit int64
	ended bool
}

// MaxAdvert is the largest ref advertisement that is read, in bytes: about a million refs.
const MaxAdvert = 96 << 20

// ReadAdvert reads the start of the answer to GET info/refs?service=SERVICE: service line, flush packet, capabilities.
func ReadAdvert(r io.Reader, service string) (*Advert, error) {
	a := &Advert{in: NewReader(io.LimitReader(r, MaxAdvert)), limit: MaxAdvert}
	line, ok, err := a.in.Line()
	if err != nil {
		return nil, upstream(err)
	}
	if !ok || string(line) != "# service="+service {
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream's answer should begin with %q, not %.60q", "# service="+service, line)
	}
	if _, ok, err = a.in.Line(); err != nil || ok {
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream's service line is not followed by a flush packet")
	}
	line, ok, err = a.in.Line()
	if err == nil && ok && string(line) == "version 1" {
		line, ok, err = a.in.Line()
	}
	if err != nil {
		return nil, upstream(err)
	}
	if !ok {
		a.ended = true
		return a, nil
	}
	if msg, isErr := strings.CutPrefix(string(line), "ERR "); isErr {
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream refuses: %.200q", msg)
	}
	head, caps, _ := strings.Cut(string(line), "\x00")
	a.caps = strings.Fields(caps)
	if f := a.value("object-format"); f != "" && f != "sha1" {
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream's repository has object ids of %.20q; only sha1 is known", f)
	}
	ref, err := parseRef(head)
	if err != nil {
		return nil, err
	}
	a.first = &ref
	return a, nil
}

// Has tells whether the server offers a capability without a value.
func (a *Advert) Has(name string) bool { return slices.Contains(a.caps, name) }

func (a *Advert) value(name string) string {
	for _, c := range a.caps {
		if v, ok := strings.CutPrefix(c, name+"="); ok {
			return v
		}
	}
	return ""
}

// Next gives the refs one after another, and io.EOF at their end. Names of alternates (.have), shallow lines and the
// placeholder of an empty repository are left out.
func (a *Advert) Next() (Ref, error) {
	for {
		ref, err := a.next()
		if err != nil {
			return Ref{}, err
		}
		if ref.Name != ".have" && ref.Name != "capabilities^{}" && ref.Name != "" {
			return ref, nil
		}
	}
}

func (a *Advert) next() (Ref, error) {
	if a.first != nil {
		ref := *a.first
		a.first = nil
		return ref, nil
	}
	if a.ended {
		return Ref{}, io.EOF
	}
	line, ok, err := a.in.Line()
	if err != nil {
		if a.in.Offset() >= a.limit {
			return Ref{}, remit.Errorf(remit.TooLargeToJudge, "the upstream's list of refs is longer than %d bytes", a.limit)
		}
		return Ref{}, upstream(err)
	}
	if !ok {
		a.ended = true
		return Ref{}, io.EOF
	}
	if strings.HasPrefix(string(line), "shallow ") {
		return Ref{}, nil
	}
	return parseRef(string(line))
}

func parseRef(line string) (Ref, error) {
	oid, name, ok := strings.Cut(line, " ")
	if !ok || !validOID(oid) || name == "" || strings.ContainsAny(name, "\x00\n\r") {
		return Ref{}, remit.Errorf(remit.UpstreamDown, "the upstream lists %.100q where a ref was expected", line)
	}
	return Ref{Name: name, OID: oid}, nil
}

// offered is what Remit answers for in a push. Left out on purpose: push-cert (nobody here checks it), push-options (they
// steer pipelines and merge requests), session-id, and whatever else is new.
const offered = "report-status report-status-v2 side-band-64k quiet atomic ofs-delta delete-refs"

// WriteAdvert makes of the advertisement a of an upload-pack what a client that pushes is told: the same refs, and the
// capabilities that Remit can answer for. Who may only read is not shown a receive-pack by any forge, and this is a read.
// What the upstream's receive-pack lacks is found out when a push goes there. no-thin asks for packs whose deltas have
// their bases in the pack, so that it can be judged as it lies.
func WriteAdvert(w io.Writer, a *Advert, agent string) error {
	tail := "\x00" + offered + " no-thin object-format=sha1 agent=" + agent + "\n"
	out := bufio.NewWriterSize(w, 32<<10)
	line := AppendFlush(Append(nil, "# service=git-receive-pack\n"))
	first := true
	for {
		ref, err := a.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if ref.Name == "HEAD" || strings.HasSuffix(ref.Name, "^{}") {
			continue // not of the refs that a push moves
		}
		text := ref.OID + " " + ref.Name
		if first {
			text += tail
		} else {
			text += "\n"
		}
		line = Append(line, text)
		first = false
		if _, err := out.Write(line); err != nil {
			return err
		}
		line = line[:0]
	}
	if first {
		line = Append(line, zeroOID+" capabilities^{}"+tail)
	}
	if _, err := out.Write(AppendFlush(line)); err != nil {
		return err
	}
	return out.Flush()
}

// upstream makes the fault of a parser one of the upstream.
func upstream(err error) error {
	var e *remit.Error
	if errors.As(err, &e) {
		return &remit.Error{Code: remit.UpstreamDown, Sentence: "the upstream's answer cannot be read: " + e.Sentence, Err: e.Err}
	}
	return remit.Errorf(remit.UpstreamDown, "the upstream's answer cannot be read: %w", err)
}
