package remit

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ScanAccepted is what somebody knows of one upstream and lives with for a while, so that a scan fails on what is new. It is
// a file beside other files of the organisation, and no declaration: it changes nothing that Remit does.
type ScanAccepted struct {
	Upstream string       `json:"upstream"` // that it is about
	Accepted []ScanAccept `json:"accepted"`
}

// ScanAccept is one finding, by Rule and Subject, or one thing that could not be seen, by Unseen and Code: exactly, without
// patterns.
type ScanAccept struct {
	Rule    string `json:"rule,omitempty"`
	Subject string `json:"subject,omitempty"`
	Where   string `json:"where,omitempty"` // of a finding; empty: wherever it lies
	Unseen  string `json:"unseen,omitempty"`
	Code    string `json:"code,omitempty"`
	Reason  string `json:"reason"` // for who reads it next
	Until   string `json:"until"`  // the last day on which it is accepted, in UTC: 2027-03-31
}

// Limits of what is accepted.
const (
	MaxScanAccepts    = 2000
	MaxAcceptReason   = 500 // bytes
	MaxAcceptDuration = 366 * 24 * time.Hour
)

// Name is what it accepts, for people.
func (a ScanAccept) Name() string {
	switch {
	case a.Unseen != "":
		return a.Unseen + " (" + a.Code + ")"
	case a.Where != "":
		return a.Rule + " " + a.Subject + " in " + a.Where
	}
	return a.Rule + " " + a.Subject
}

// end is when it is accepted no more.
func (a ScanAccept) end() time.Time {
	day, err := time.Parse(time.DateOnly, a.Until)
	if err != nil {
		return time.Time{}
	}
	return day.AddDate(0, 0, 1)
}

// Wrong is all that is wrong with s by itself: each with the path of its member.
func (s *ScanAccepted) Wrong() (all []*DeclarationError) {
	wrong := func(path, format string, args ...any) {
		all = append(all, &DeclarationError{Path: path, Sentence: fmt.Sprintf(format, args...)})
	}
	if s.Upstream == "" {
		wrong("upstream", "empty; it is the name of the upstream that is scanned")
	}
	if len(s.Accepted) > MaxScanAccepts {
		wrong("accepted", "there are %d, and at most %d", len(s.Accepted), MaxScanAccepts)
		return all
	}
	first := map[ScanAccept]int{}
	for i, a := range s.Accepted {
		path := fmt.Sprintf("accepted[%d]", i)
		finding, gap := a.Rule != "" || a.Subject != "" || a.Where != "", a.Unseen != "" || a.Code != ""
		switch {
		case finding == gap:
			wrong(path, "it is a finding (rule and subject), or something that could not be seen (unseen and code)")
		case finding && (a.Rule == "" || a.Subject == ""):
			wrong(path, "a finding is named by rule and subject, as remit inventory scan -o json has them")
		case gap && (a.Unseen == "" || a.Code == ""):
			wrong(path, "what could not be seen is named by unseen and code, as remit inventory scan -o json has them")
		}
		key := a
		key.Reason, key.Until = "", ""
		if at, twice := first[key]; twice {
			wrong(path, "it stands twice; it is accepted by accepted[%d] already", at)
		}
		first[key] = i
		if strings.TrimSpace(a.Reason) == "" || len(a.Reason) > MaxAcceptReason || !utf8.ValidString(a.Reason) {
			wrong(path+".reason", "say in 1 to %d bytes why it is accepted", MaxAcceptReason)
		}
		if a.end().IsZero() {
			wrong(path+".until", "%q is no day; write one such as 2027-03-31", a.Until)
		}
	}
	return all
}

// ScanKnown is a report laid beside what is accepted.
type ScanKnown struct {
	Accepted []ScanAccept  `json:"accepted"` // that a finding or a gap of the report is, and that still hold
	Expired  []ScanAccept  `json:"expired"`  // that one is, and that hold no more: it counts as new
	Unmet    []ScanAccept  `json:"unmet"`    // that nothing in the report is
	New      []ScanFinding `json:"new"`      // findings that nothing accepts
	Unseen   []ScanGap     `json:"unseen"`   // that nothing accepts
}

// Judge lays a report beside what is accepted at a moment. What is accepted for longer than MaxAcceptDuration from then is not
// accepted yet: it counts as expired, so that nothing is accepted for ever. Its error is about a report of another upstream.
func (s *ScanAccepted) Judge(r ScanReport, now time.Time) (ScanKnown, error) {
	k := ScanKnown{Accepted: []ScanAccept{}, Expired: []ScanAccept{}, Unmet: []ScanAccept{}, New: []ScanFinding{}, Unseen: []ScanGap{}}
	if s.Upstream != r.Upstream {
		return k, Errorf(BadRequest, "what is accepted is of upstream %q, and the report is of %q", s.Upstream, r.Upstream)
	}
	met := make([]bool, len(s.Accepted))
	for _, f := range r.Findings {
		if !s.takes(met, now, func(a ScanAccept) bool { return a.IsFinding(f) }) {
			k.New = append(k.New, f)
		}
	}
	for _, g := range r.Unseen {
		if !s.takes(met, now, func(a ScanAccept) bool { return a.IsGap(g) }) {
			k.Unseen = append(k.Unseen, g)
		}
	}
	for i, a := range s.Accepted {
		switch {
		case !met[i]:
			k.Unmet = append(k.Unmet, a)
		case !a.holds(now):
			k.Expired = append(k.Expired, a)
		default:
			k.Accepted = append(k.Accepted, a)
		}
	}
	return k, nil
}

// takes notes what accepts something, and tells whether any of it holds.
func (s *ScanAccepted) takes(met []bool, now time.Time, is func(ScanAccept) bool) (taken bool) {
	for i, a := range s.Accepted {
		if is(a) {
			met[i] = true
			taken = taken || a.holds(now)
		}
	}
	return taken
}

func (a ScanAccept) holds(now time.Time) bool {
	return now.Before(a.end()) && a.end().Sub(now) <= MaxAcceptDuration+24*time.Hour
}

// IsFinding tells whether a is about f.
func (a ScanAccept) IsFinding(f ScanFinding) bool {
	return a.Rule != "" && a.Rule == f.Rule && a.Subject == f.Subject && (a.Where == "" || a.Where == f.Where)
}

// IsGap tells whether a is about g.
func (a ScanAccept) IsGap(g ScanGap) bool {
	return a.Unseen != "" && a.Unseen == g.What && a.Code == g.Code
}

// Finding gives what accepts f, if anything.
func (k ScanKnown) Finding(f ScanFinding) (ScanAccept, bool) {
	return k.by(func(a ScanAccept) bool { return a.IsFinding(f) })
}

// Gap gives what accepts g, if anything.
func (k ScanKnown) Gap(g ScanGap) (ScanAccept, bool) {
	return k.by(func(a ScanAccept) bool { return a.IsGap(g) })
}

func (k ScanKnown) by(is func(ScanAccept) bool) (ScanAccept, bool) {
	i := slices.IndexFunc(k.Accepted, is)
	if i < 0 {
		return ScanAccept{}, false
	}
	return k.Accepted[i], true
}
