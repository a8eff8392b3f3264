package scan_test

import (
	"io"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sarif"
	"github.com/remit-dev/remit/scan"
)

// What is known is suppressed, with its reason, and fails no run; what is not stays as it is. The report has both.
func TestWhatIsKnownIsSuppressed(t *testing.T) {
	rule := scan.SARIF(remit.ScanReport{}, "test", nil).Runs[0].Tool.Driver.Rules[0].ID
	report := remit.ScanReport{Upstream: "forge", Findings: []remit.ScanFinding{{Rule: rule, Level: remit.ScanError, Subject: "a", Text: "a"}, {Rule: rule, Level: remit.ScanError, Subject: "b", Text: "b"}},
		Unseen: []remit.ScanGap{{What: "keys", Why: "no", Code: "forbidden"}}}
	accepted := remit.ScanAccepted{Upstream: "forge", Accepted: []remit.ScanAccept{{Rule: rule, Subject: "b", Reason: "until it is replaced", Until: "2027-03-31"},
		{Unseen: "keys", Code: "forbidden", Reason: "nobody may", Until: "2027-03-31"}}}
	look := func(now time.Time) sarif.Run {
		known, err := accepted.Judge(report, now)
		if err != nil {
			t.Fatal(err)
		}
		log := scan.SARIF(report, "test", &known)
		if err := sarif.Write(io.Discard, log); err != nil {
			t.Fatal(err)
		}
		return log.Runs[0]
	}
	run := look(time.Date(2027, 3, 31, 23, 59, 0, 0, time.UTC))
	if a, b := run.Results[0].Suppressions, run.Results[1].Suppressions; a == nil || len(a) != 0 || len(b) != 1 || b[0].Justification != "until it is replaced" || b[0].Status != sarif.Accepted {
		t.Errorf("%+v %+v", a, b)
	}
	if how := run.Invocations[0]; !how.Successful || how.Notifications[0].Level != sarif.Note {
		t.Errorf("%+v", how)
	}
	run = look(time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC))
	if how := run.Invocations[0]; len(run.Results[1].Suppressions) != 0 || how.Successful || how.Notifications[0].Level != sarif.Error {
		t.Errorf("what was accepted until yesterday is accepted: %+v", run)
	}
	if run = scan.SARIF(report, "test", nil).Runs[0]; run.Results[0].Suppressions != nil || run.Invocations[0].Successful {
		t.Errorf("%+v", run)
	}
	run.Results[1].Suppressions = []sarif.Suppression{}
	if err := sarif.Write(io.Discard, sarif.Log{Runs: []sarif.Run{run}}); err == nil {
		t.Error("one result has suppressions, and the others may have some")
	}
}
