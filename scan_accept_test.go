package remit_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
)

// TestOnlyWhatIsAcceptedAndStillHoldsIsNotNew: over random reports and files, a finding or a gap is new exactly if nothing
// that holds is about it, and each entry of the file is in one list.
func TestOnlyWhatIsAcceptedAndStillHoldsIsNotNew(t *testing.T) {
	now := time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)
	days := map[string]bool{"2027-01-14": false, "2027-01-15": true, "2027-06-01": true, "2028-01-15": true, "2028-02-01": false, "9999-01-01": false}
	name := rapid.SampledFrom([]string{"a", "b"})
	rapid.Check(t, func(t *rapid.T) {
		var r remit.ScanReport
		var s remit.ScanAccepted
		for range rapid.IntRange(0, 5).Draw(t, "findings") {
			r.Findings = append(r.Findings, remit.ScanFinding{Rule: name.Draw(t, "rule"), Subject: name.Draw(t, "subject"), Where: name.Draw(t, "where")})
			r.Unseen = append(r.Unseen, remit.ScanGap{What: name.Draw(t, "what"), Code: name.Draw(t, "code")})
		}
		for range rapid.IntRange(0, 5).Draw(t, "accepted") {
			a := remit.ScanAccept{Until: rapid.SampledFrom([]string{"2027-01-14", "2027-01-15", "2027-06-01", "2028-01-15", "2028-02-01", "9999-01-01"}).Draw(t, "until")}
			if rapid.Bool().Draw(t, "gap") {
				a.Unseen, a.Code = name.Draw(t, "what"), name.Draw(t, "code")
			} else {
				a.Rule, a.Subject, a.Where = name.Draw(t, "rule"), name.Draw(t, "subject"), rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "where")
			}
			s.Accepted = append(s.Accepted, a)
		}
		k, err := s.Judge(r, now)
		if err != nil {
			t.Fatal(err)
		}
		findings, gaps := 0, 0
		for _, f := range r.Findings {
			known := false
			for _, a := range s.Accepted {
				known = known || days[a.Until] && a.Rule == f.Rule && a.Subject == f.Subject && (a.Where == "" || a.Where == f.Where)
			}
			if _, is := k.Finding(f); is != known {
				t.Fatalf("%+v is accepted: %v, not %v", f, is, known)
			}
			if !known {
				findings++
			}
		}
		for _, g := range r.Unseen {
			known := false
			for _, a := range s.Accepted {
				known = known || days[a.Until] && a.Unseen == g.What && a.Code == g.Code
			}
			if _, is := k.Gap(g); is != known {
				t.Fatalf("%+v is accepted: %v, not %v", g, is, known)
			}
			if !known {
				gaps++
			}
		}
		if len(k.New) != findings || len(k.Unseen) != gaps || len(k.Accepted)+len(k.Expired)+len(k.Unmet) != len(s.Accepted) {
			t.Fatalf("%+v", k)
		}
		for _, a := range append(k.Accepted, k.Expired...) {
			if holds := days[a.Until]; holds != (len(k.Accepted) > 0 && contains(k.Accepted, a)) {
				t.Fatalf("%+v holds: %v", a, holds)
			}
		}
	})
	if _, err := (&remit.ScanAccepted{Upstream: "a"}).Judge(remit.ScanReport{Upstream: "b"}, now); err == nil {
		t.Fatal("what is accepted of one upstream is accepted of another")
	}
}

func contains(list []remit.ScanAccept, a remit.ScanAccept) bool {
	for _, b := range list {
		if a == b {
			return true
		}
	}
	return false
}
