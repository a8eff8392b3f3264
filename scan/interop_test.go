//go:build interop && unix

package scan_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/real"
	"github.com/remit-dev/remit/scan"
)

// number is an id that the forge gave.
var number = regexp.MustCompile(`/[0-9]+$`)

type fields map[string]any

// sameAs compares the findings of a report with a planted list that stands apart from the code: all of it, and nothing
// else.
func sameAs(t *testing.T, r remit.ScanReport, file string) {
	t.Helper()
	var planted []string
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &planted); err != nil {
		t.Fatal(err)
	}
	slices.Sort(planted)
	var got []string
	for _, f := range found(r) {
		got = append(got, number.ReplaceAllString(f, "/ID"))
	}
	slices.Sort(got)
	got = slices.Compact(got)
	for _, p := range planted {
		if !slices.Contains(got, p) {
			t.Errorf("not found: %s", p)
		}
	}
	for _, g := range got {
		if !slices.Contains(planted, g) {
			t.Errorf("not planted: %s", g)
		}
	}
	if t.Failed() {
		for _, f := range r.Findings {
			t.Logf("%s: %s", f.Rule, f.Text)
		}
	}
}

func publicKey(t *testing.T) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// TestInteropGitea: in a real Gitea every planted credential and bypass is found, and with a token that only reads what
// Gitea does not show to it is said.
func TestInteropGitea(t *testing.T) {
	f := real.Gitea(t)
	do := func(method, path string, in, out any) {
		t.Helper()
		if _, err := f.Do(t.Context(), method, "/api/v1"+path, in, out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	do("POST", "/orgs", fields{"username": "acme"}, nil)
	for _, repo := range []string{"payments", "tools"} {
		do("POST", "/orgs/acme/repos", fields{"name": repo, "private": true, "auto_init": true, "default_branch": "main"}, nil)
	}
	user := func(name string, admin bool) {
		t.Helper()
		do("POST", "/admin/users", fields{"username": name, "email": name + "@example.invalid", "password": "Aa1-" + f.Password, "must_change_password": false}, nil)
		if admin {
			do("PATCH", "/admin/users/"+name, fields{"login_name": name, "source_id": 0, "admin": true}, nil)
		}
	}
	token := func(name string, scopes ...string) string {
		t.Helper()
		var made struct {
			SHA1 string `json:"sha1"`
		}
		do("POST", "/users/"+name+"/tokens", fields{"name": "made", "scopes": scopes}, &made)
		return made.SHA1
	}
	user("observer", true)
	reading := token("observer", "read:admin", "read:repository", "read:organization", "read:user")
	user("bob", false)
	token("bob", "write:repository")
	user("eve", true)
	token("eve", "all")
	shared := publicKey(t)
	do("PUT", "/repos/acme/payments/collaborators/bob", fields{"permission": "write"}, nil)
	do("POST", "/admin/users/bob/keys", fields{"title": "desk", "key": publicKey(t)}, nil)
	do("POST", "/repos/acme/payments/keys", fields{"title": "writes", "key": shared, "read_only": false}, nil)
	do("POST", "/repos/acme/payments/keys", fields{"title": "reads", "key": publicKey(t), "read_only": true}, nil)
	do("POST", "/repos/acme/tools/keys", fields{"title": "the same", "key": shared, "read_only": true}, nil)
	do("POST", "/repos/acme/payments/branch_protections", fields{"rule_name": "main", "enable_push": true, "enable_push_whitelist": true,
		"push_whitelist_usernames": []string{"bob"}, "push_whitelist_deploy_keys": true, "required_approvals": 1}, nil)
	do("POST", "/repos/acme/payments/hooks", fields{"type": "gitea", "active": true, "events": []string{"push"},
		"config": fields{"url": "http://hooks.elsewhere.example/in", "content_type": "json"}}, nil)
	do("PUT", "/repos/acme/payments/actions/secrets/DEPLOY_TOKEN", fields{"data": "value"}, nil)
	do("PUT", "/orgs/acme/actions/secrets/ORG_KEY", fields{"data": "value"}, nil)

	up := scan.Target{Name: "forge", Kind: scan.Gitea, URL: f.URL, Transport: &readOnly{t: t, next: http.DefaultTransport},
		Repositories: []scan.Repository{{Name: "forge/acme/payments", Path: "acme/payments", DefaultBranch: "main"}, {Name: "forge/acme/tools", Path: "acme/tools", DefaultBranch: "main"}},
		Answers:      map[string]string{"keeper": "person:keeper"}, Now: time.Now, Sleep: func(context.Context, time.Duration) error { return nil }}
	unseen := func(r remit.ScanReport) (out []string) {
		for _, g := range r.Unseen {
			if g.Code != "unsupported" {
				out = append(out, g.What)
			}
		}
		return out
	}
	t.Run("by basic authentication", func(t *testing.T) {
		up.Auth = func(r *http.Request) error { r.Header.Set("Authorization", f.Authorization()); return nil }
		up.Own = []string{"observer"}
		r := scan.Look(t.Context(), up)
		sameAs(t, r, "planted-real-gitea.json") // keeper, who looks, is no finding
		if missed := unseen(r); len(missed) > 0 {
			t.Errorf("unseen: %v", missed)
		}
	})
	t.Run("by a token that reads", func(t *testing.T) {
		up.Auth = func(r *http.Request) error { r.Header.Set("Authorization", "Bearer "+reading); return nil }
		up.Own = nil
		r := scan.Look(t.Context(), up)
		missed := unseen(r)
		for _, who := range []string{"bob", "eve", "keeper"} {
			if !slices.Contains(missed, "tokens of "+who) {
				t.Errorf("that tokens of %s are unseen is not said: %v", who, missed)
			}
		}
		for _, what := range missed {
			if !strings.HasPrefix(what, "tokens of ") {
				t.Errorf("unseen: %s: %s", what, why(r, what))
			}
		}
		for _, must := range []string{"write-outside gitea:deploy_key/acme/payments/", "bypasses-gate gitea:branch_protection/acme/payments/main", "shared gitea:deploy_key/acme/tools/", "account-administers gitea:user/eve"} {
			if !slices.ContainsFunc(found(r), func(f string) bool { return strings.HasPrefix(f, must) }) {
				t.Errorf("not found: %s", must)
			}
		}
	})
}

// TestInteropKubernetes: in a real API server every planted binding, token and open check is found, and nothing of what it
// comes with.
func TestInteropKubernetes(t *testing.T) {
	c := real.Kubernetes(t)
	do := func(method, path string, in, out any) {
		t.Helper()
		if _, err := c.Do(t.Context(), method, path, in, out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	named := func(name string) fields { return fields{"name": name} }
	const rbacAPI = "/apis/rbac.authorization.k8s.io/v1/"
	role := func(path, kind, name string, rules ...fields) {
		t.Helper()
		do("POST", path, fields{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": named(name), "rules": rules}, nil)
	}
	bind := func(path, kind, name, roleKind, role string, subjects ...fields) {
		t.Helper()
		do("POST", path, fields{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": named(name), "subjects": subjects,
			"roleRef": fields{"apiGroup": "rbac.authorization.k8s.io", "kind": roleKind, "name": role}}, nil)
	}
	account := func(namespace, name string) fields {
		t.Helper()
		do("POST", "/api/v1/namespaces/"+namespace+"/serviceaccounts", fields{"metadata": named(name)}, nil)
		return fields{"kind": "ServiceAccount", "name": name, "namespace": namespace}
	}
	subject := func(kind, name string) fields {
		return fields{"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}
	}
	for _, ns := range []string{"payments", "remit"} {
		do("POST", "/api/v1/namespaces", fields{"metadata": named(ns)}, nil)
	}
	looks := fields{"verbs": []string{"get", "list"}, "apiGroups": []string{"", "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "certificates.k8s.io"},
		"resources": []string{"serviceaccounts", "secrets", "roles", "clusterroles", "rolebindings", "clusterrolebindings", "validatingwebhookconfigurations", "mutatingwebhookconfigurations", "certificatesigningrequests"}}
	role(rbacAPI+"clusterroles", "ClusterRole", "remit-looks", looks)
	bind(rbacAPI+"clusterrolebindings", "ClusterRoleBinding", "remit-looks", "ClusterRole", "remit-looks", account("remit", "observer"))
	account("payments", "default") // no controller makes it
	ci := account("payments", "ci")
	bind(rbacAPI+"clusterrolebindings", "ClusterRoleBinding", "ci-admin", "ClusterRole", "cluster-admin", ci)
	role(rbacAPI+"clusterroles", "ClusterRole", "edits", fields{"verbs": []string{"get", "create", "impersonate"}, "apiGroups": []string{""}, "resources": []string{"pods", "secrets", "serviceaccounts"}})
	bind(rbacAPI+"clusterrolebindings", "ClusterRoleBinding", "everybody-edits", "ClusterRole", "edits", subject("Group", "system:authenticated"))
	role(rbacAPI+"namespaces/payments/roles", "Role", "exec", fields{"verbs": []string{"create"}, "apiGroups": []string{""}, "resources": []string{"pods/exec"}})
	bind(rbacAPI+"namespaces/payments/rolebindings", "RoleBinding", "dev-exec", "Role", "exec", subject("User", "dev"))
	role(rbacAPI+"clusterroles", "ClusterRole", "signers", fields{"verbs": []string{"approve"}, "apiGroups": []string{"certificates.k8s.io"}, "resources": []string{"signers"}})
	bind(rbacAPI+"clusterrolebindings", "ClusterRoleBinding", "signers", "ClusterRole", "signers", subject("User", "mallory"))
	do("POST", "/api/v1/namespaces/payments/secrets", fields{"metadata": fields{"name": "ci-token", "annotations": fields{"kubernetes.io/service-account.name": "ci"}}, "type": "kubernetes.io/service-account-token"}, nil)
	do("POST", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", fields{"metadata": named("images"), "webhooks": []fields{{
		"name": "images.acme.example", "failurePolicy": "Ignore", "sideEffects": "None", "admissionReviewVersions": []string{"v1"},
		"clientConfig": fields{"url": "https://127.0.0.1:9/check"}, "rules": []fields{{"apiGroups": []string{"example.invalid"}, "apiVersions": []string{"v1"}, "resources": []string{"none"}, "operations": []string{"CREATE"}}}}}}, nil)
	csr := fields{"metadata": named("eve"), "spec": fields{"request": request(t), "signerName": "kubernetes.io/kube-apiserver-client", "usages": []string{"client auth"}}}
	var made map[string]any
	do("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", csr, &made)
	made["status"] = fields{"conditions": []fields{{"type": "Approved", "status": "True", "reason": "planted"}}}
	do("PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/eve/approval", made, nil)

	var token struct{ Status struct{ Token string } }
	do("POST", "/api/v1/namespaces/remit/serviceaccounts/observer/token", fields{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": fields{"expirationSeconds": 3600}}, &token)
	up := scan.Target{Name: "cluster", Kind: scan.Kubernetes, URL: c.URL, Transport: &readOnly{t: t, next: c.Client().Transport},
		Auth:         func(r *http.Request) error { r.Header.Set("Authorization", "Bearer "+token.Status.Token); return nil },
		Environments: []scan.Environment{{Name: "payments/production", Namespace: "payments", ServiceAccount: "deployer"}},
		Answers:      map[string]string{}, Own: []string{"system:serviceaccount:remit:observer"}, Now: time.Now, Sleep: func(context.Context, time.Duration) error { return nil }}
	r := scan.Look(t.Context(), up)
	sameAs(t, r, "planted-real-kubernetes.json")
	for _, g := range r.Unseen {
		if g.Code != "unsupported" {
			t.Errorf("unseen: %+v", g)
		}
	}

	// Without the right to list secrets, that is what is said, and all else is found as before.
	looks["resources"] = slices.DeleteFunc(slices.Clone(looks["resources"].([]string)), func(s string) bool { return s == "secrets" })
	do("PUT", rbacAPI+"clusterroles/remit-looks", fields{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": named("remit-looks"), "rules": []fields{looks}}, nil)
	deadline := time.Now().Add(30 * time.Second)
	for why(r, "service account tokens that are kept as secrets") == "" { // the authorizer follows the change in a moment
		if time.Now().After(deadline) {
			t.Fatal("that secrets are unseen is not said")
		}
		r = scan.Look(t.Context(), up)
	}
	if n := of(r, "wildcard-role", "kubernetes:binding/ci-admin/"); n != 1 {
		t.Errorf("%d", n)
	}
}

// request is a PEM certificate request, in base64.
func request(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "eve"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}
