package scan_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/scan"
)

// Every rule stands in the documentation, with its level.
func TestEveryRuleIsExplained(t *testing.T) {
	doc, err := os.ReadFile("../doc/inventory.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range scan.SARIF(remit.ScanReport{}, "test", nil).Runs[0].Tool.Driver.Rules {
		ok := false
		for line := range strings.Lines(string(doc)) {
			ok = ok || strings.HasPrefix(line, "|") && strings.Contains(line, "`"+r.ID+"`") && strings.Contains(line, "| "+r.Default.Level+" |")
		}
		if !ok {
			t.Errorf("doc/inventory.md does not say that %s is of level %s", r.ID, r.Default.Level)
		}
	}
}

// A deploy key is judged by what it can do, its age and who answers, whatever else is there.
func TestDeployKeys(t *testing.T) {
	base := load(t, "github.json")
	rapid.Check(t, func(r *rapid.T) {
		readOnly, age, used := rapid.Bool().Draw(r, "read only"), rapid.IntRange(0, 400).Draw(r, "age"), rapid.IntRange(-1, 400).Draw(r, "used")
		by, enabled := rapid.SampledFrom([]string{"ada", "Ada", "mallory", ""}).Draw(r, "by"), rapid.Bool().Draw(r, "enabled")
		key := map[string]any{"id": 77, "title": "x", "read_only": readOnly, "created_at": now.AddDate(0, 0, -age), "added_by": by, "enabled": enabled}
		if used >= 0 {
			key["last_used"] = now.AddDate(0, 0, -used)
		}
		if rapid.Bool().Draw(r, "half an answer") && !readOnly {
			delete(key, "read_only")
		}
		world := answers{}
		for k, v := range base {
			world[k] = v
		}
		world["/repos/acme/payments/keys"], _ = json.Marshal([]any{key})
		report := scan.Look(t.Context(), target(t, scan.GitHub, world))
		want := map[string]bool{}
		if enabled {
			want["write-outside"] = !readOnly
			want["unowned"] = !strings.EqualFold(by, "ada")
			want["long-lived"], want["endless"] = age > 90, age <= 90
			want["unused"] = used > 30 || used < 0 && age > 30
		}
		got := map[string]bool{}
		for _, f := range report.Findings {
			if f.Subject == "github:deploy_key/acme/payments/77" {
				got[f.Rule] = true
			}
		}
		for rule, is := range want {
			if got[rule] != is {
				r.Fatalf("%s is %t, not %t", rule, got[rule], is)
			}
			delete(got, rule)
		}
		if len(got) > 0 {
			r.Fatalf("also found: %v", got)
		}
		reached := false
		for _, e := range report.Reach {
			if e.Credential == "github:deploy_key/acme/payments/77" {
				reached = true
				if writes := e.Impact != remit.Read; writes == readOnly {
					r.Fatalf("it reaches %+v", e)
				}
			}
		}
		if reached != enabled {
			r.Fatalf("reach is told: %t", reached)
		}
	})
}

// A cluster role is found by what it leads to, whether it says so by name or by a star, and not for what it only reads.
func TestRoles(t *testing.T) {
	base := load(t, "kubernetes.json")
	look := func(t *testing.T, rule, subject string) remit.ScanReport {
		t.Helper()
		world := answers{}
		for k, v := range base {
			world[k] = v
		}
		const api = "/apis/rbac.authorization.k8s.io/v1/"
		world[api+"clusterroles"] = json.RawMessage(`{"metadata": {}, "items": [{"metadata": {"name": "r"}, "rules": [` + rule + `]}]}`)
		world[api+"clusterrolebindings"] = json.RawMessage(`{"metadata": {}, "items": [{"metadata": {"name": "b"}, "subjects": [` + subject + `], "roleRef": {"kind": "ClusterRole", "name": "r"}}]}`)
		world[api+"roles"], world[api+"rolebindings"] = json.RawMessage(`{"metadata": {}, "items": []}`), json.RawMessage(`{"metadata": {}, "items": []}`)
		return scan.Look(t.Context(), target(t, scan.Kubernetes, world))
	}
	for _, c := range []struct{ rule, want string }{
		{`{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}`, "reads-secrets"},
		{`{"verbs": ["list"], "apiGroups": ["*"], "resources": ["*"]}`, "reads-secrets"},
		{`{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets/status"]}`, ""},
		{`{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["secrets"]}`, ""},
		{`{"verbs": ["create"], "apiGroups": [""], "resources": ["pods"]}`, "runs-anything"},
		{`{"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec"]}`, "runs-anything"},
		{`{"verbs": ["create"], "apiGroups": [""], "resources": ["*/exec"]}`, "runs-anything"},
		{`{"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods", "pods/log"]}`, ""},
		{`{"verbs": ["patch"], "apiGroups": ["apps"], "resources": ["deployments"]}`, "runs-anything"},
		{`{"verbs": ["patch"], "apiGroups": ["extensions"], "resources": ["ingresses"]}`, ""},
		{`{"verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"]}`, "escalation"},
		{`{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["ada"]}`, "escalation"},
		{`{"verbs": ["create"], "apiGroups": [""], "resources": ["serviceaccounts/token"]}`, "escalation"},
		{`{"verbs": ["approve"], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"]}`, "escalation"},
		{`{"verbs": ["delete"], "apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"]}`, "changes-gates"},
		{`{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}`, "wildcard-role"},
		{`{"verbs": ["*"], "apiGroups": ["example.org"], "resources": ["widgets"]}`, "wildcard-role"},
		{`{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}`, ""},
	} {
		for _, who := range []string{`{"kind": "User", "name": "mallory"}`, `{"kind": "Group", "name": "devs"}`, `{"kind": "ServiceAccount", "namespace": "x", "name": "y"}`} {
			r := look(t, c.rule, who)
			got := map[string]bool{}
			for _, f := range r.Findings {
				if strings.HasPrefix(f.Subject, "kubernetes:binding/") {
					got[f.Rule] = true
				}
			}
			for _, rule := range []string{"reads-secrets", "runs-anything", "escalation", "changes-gates", "wildcard-role"} {
				if rule == c.want && !got[rule] || c.want == "" && got[rule] {
					t.Errorf("%s for %s: found %v, want %q", c.rule, who, got, c.want)
				}
			}
		}
	}
	// Remit's own account, the same role: no finding. One that everybody has: always one, unless it says nothing.
	if n := of(look(t, `{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}`, `{"kind": "ServiceAccount", "namespace": "remit", "name": "observer"}`), "reads-secrets", "kubernetes:binding/"); n != 0 {
		t.Error("Remit's own account is found")
	}
	for _, who := range []string{"system:authenticated", "system:unauthenticated", "system:serviceaccounts"} {
		if n := of(look(t, `{"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]}`, fmt.Sprintf(`{"kind": "Group", "name": %q}`, who)), "everybody", "kubernetes:binding/"); n != 1 {
			t.Errorf("%s: %d", who, n)
		}
	}
	// A part of the cluster by name alone, with a role of somebody's making, is nobody's part.
	if n := of(look(t, `{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}`, `{"kind": "Group", "name": "system:masters"}`), "wildcard-role", "kubernetes:binding/"); n != 1 {
		t.Errorf("a role of one's own for system:masters: %d", n)
	}
}

// Of one thing, a finding is the same in every look, so that a code host does not open it again.
func TestFingerprintsStay(t *testing.T) {
	marks := func(at time.Time) map[string]bool {
		up := target(t, scan.Gitea, load(t, "gitea.json"))
		up.Now = func() time.Time { return at }
		out := map[string]bool{}
		for _, r := range scan.SARIF(scan.Look(t.Context(), up), "test", nil).Runs[0].Results {
			out[r.RuleID+r.Fingerprints["subject/v1"]] = true
		}
		return out
	}
	first, later := marks(now), marks(now.Add(24*time.Hour))
	for m := range first {
		if !later[m] {
			t.Errorf("%s is another the day after", m)
		}
	}
}
