package declare_test

import (
	"strings"
	"testing"

	"github.com/remit-dev/remit/declare"
)

const accepted = `upstream: forge
accepted:
  - rule: write-outside
    subject: gitea:deploy_key/acme/payments/2
    reason: Jenkins pushes tags until it is replaced
    until: 2027-03-31
  - unseen: secrets of CI in acme/payments
    code: forbidden
    reason: The observer is no administrator there
    until: "2027-01-31"
`

func TestReadAccepted(t *testing.T) {
	a, err := declare.ReadAccepted("a.yaml", []byte(accepted))
	if err != nil || a.Upstream != "forge" || len(a.Accepted) != 2 || a.Accepted[0].Until != "2027-03-31" || a.Accepted[1].Code != "forbidden" {
		t.Fatalf("%+v, %v", a, err)
	}
}

// What is wrong is said with its file, line and member.
func TestAcceptedErrors(t *testing.T) {
	for name, x := range map[string]struct{ old, new, want string }{
		"empty":            {accepted, "# nothing", "a.yaml: it is empty"},
		"not a mapping":    {accepted, "- a", "a.yaml:1: a list; members are wanted here"},
		"unknown member":   {"subject:", "subjects:", `a.yaml:4: accepted[0]: unknown member "subjects"; "subject" is meant, perhaps`},
		"no upstream":      {"upstream: forge\n", "", "upstream: missing"},
		"no reason":        {"    reason: The observer is no administrator there\n", "", "a.yaml:7: accepted[1].reason: missing"},
		"an empty reason":  {"The observer is no administrator there", `" "`, "a.yaml:9: accepted[1].reason: say in 1 to 500 bytes"},
		"no end":           {"    until: 2027-03-31\n", "", "a.yaml:3: accepted[0].until: missing"},
		"no day":           {"2027-03-31", "2027-02-30", `a.yaml:6: accepted[0].until: "2027-02-30" is no day`},
		"half a finding":   {"    subject: gitea:deploy_key/acme/payments/2\n", "", "a.yaml:3: accepted[0]: a finding is named by rule and subject"},
		"half a gap":       {"    code: forbidden\n", "", "a.yaml:7: accepted[1]: what could not be seen is named by unseen and code"},
		"both":             {"    code: forbidden", "    rule: endless", "a.yaml:7: accepted[1]: it is a finding (rule and subject), or"},
		"twice":            {"- unseen: secrets of CI in acme/payments\n    code: forbidden", "- rule: write-outside\n    subject: gitea:deploy_key/acme/payments/2", "a.yaml:7: accepted[1]: it stands twice"},
		"a pattern is one": {"accepted:\n", "accepted: all\nx:\n", "accepted"},
		"two documents":    {"accepted:", "---", "one file is one document"},
	} {
		_, err := declare.ReadAccepted("a.yaml", []byte(strings.Replace(accepted, x.old, x.new, 1)))
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v; want %q", name, err, x.want)
		}
	}
}

// FuzzAccepted looks for texts that the reader does not survive, and for something accepted without what it is, a reason
// and an end.
func FuzzAccepted(f *testing.F) {
	f.Add([]byte(accepted))
	f.Add([]byte("upstream: a\naccepted: [{rule: a, subject: b, where: c, reason: d, until: 2027-01-01}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := declare.ReadAccepted("a.yaml", text)
		if (a == nil) != (err != nil) {
			t.Fatalf("%v, %v", a, err)
		}
		if err != nil {
			return
		}
		for _, x := range a.Accepted {
			if (x.Rule == "" || x.Subject == "") == (x.Unseen == "" || x.Code == "") || strings.TrimSpace(x.Reason) == "" || len(x.Until) != len("2027-01-01") {
				t.Fatalf("%+v", x)
			}
		}
	})
}
