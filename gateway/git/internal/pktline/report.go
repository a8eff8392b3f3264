package pktline

import (
	"io"
	"strings"

	"github.com/remit-dev/remit"
)

// RefStatus is what a server says of one ref of a push. Why is empty if it was updated.
type RefStatus struct {
	Ref     string
	Why     string
	Options []string // lines "option ..." of report-status-v2, without that word
}

// Report is the report-status of a push (gitprotocol-pack(5)).
type Report struct {
	Unpack string // "ok", or why the pack was refused
	Refs   []RefStatus
}

// MaxReport is the largest report that is read, in bytes.
const MaxReport = 1 << 20

// ReadReport reads a report-status, of version 1 or 2, up to its flush packet.
func ReadReport(r io.Reader) (*Report, error) {
	in := NewReader(io.LimitReader(r, MaxReport))
	line, ok, err := in.Line()
	if err != nil {
		return nil, upstream(err)
	}
	unpack, isUnpack := strings.CutPrefix(string(line), "unpack ")
	if !ok || !isUnpack {
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream's report should begin with \"unpack\", not %.60q", line)
	}
	rep := &Report{Unpack: unpack}
	for {
		line, ok, err := in.Line()
		if err != nil {
			return nil, upstream(err)
		}
		if !ok {
			return rep, nil
		}
		if err := rep.line(string(line)); err != nil {
			return nil, err
		}
	}
}

func (rep *Report) line(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	bad := remit.Errorf(remit.UpstreamDown, "the upstream's report has a line %.100q", line)
	switch {
	case rest == "":
		return bad
	case word == "ok":
		rep.Refs = append(rep.Refs, RefStatus{Ref: rest})
	case word == "ng":
		ref, why, _ := strings.Cut(rest, " ")
		if why == "" {
			why = "refused without a reason"
		}
		rep.Refs = append(rep.Refs, RefStatus{Ref: ref, Why: why})
	case word == "option" && len(rep.Refs) > 0:
		last := &rep.Refs[len(rep.Refs)-1]
		last.Options = append(last.Options, rest)
	default:
		return bad
	}
	return nil
}

// Append adds the report in pkt-lines, with option lines if v2. Texts must be free of control characters.
func (rep *Report) Append(dst []byte, v2 bool) []byte {
	dst = Append(dst, "unpack "+rep.Unpack+"\n")
	for _, s := range rep.Refs {
		if s.Why != "" {
			dst = Append(dst, "ng "+s.Ref+" "+s.Why+"\n")
			continue
		}
		dst = Append(dst, "ok "+s.Ref+"\n")
		for _, o := range s.Options {
			if v2 {
				dst = Append(dst, "option "+o+"\n")
			}
		}
	}
	return AppendFlush(dst)
}
