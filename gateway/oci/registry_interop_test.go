//go:build interop

package oci

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/registry"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/internal/real"
)

// trusting is a world whose upstream is a real registry that trusts Remit as its token server.
type trusting struct {
	*world
	signer *registry.TokenSigner
	up     remit.Upstream
}

func newTrusting(t *testing.T) *trusting {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &trusting{}
	x.signer, err = registry.New(registry.Config{Key: key, Issuer: "remit/acme", Service: func(u remit.Upstream) string { return u.Name },
		Client: func(context.Context, remit.Upstream) (*http.Client, error) { return http.DefaultClient, nil }})
	if err != nil {
		t.Fatal(err)
	}
	jwks := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(jwks, x.signer.Keys(), 0o644); err != nil {
		t.Fatal(err)
	}
	images := real.Registry(t, "REGISTRY_AUTH=token", "REGISTRY_AUTH_TOKEN_REALM=https://remit.invalid/token", "REGISTRY_AUTH_TOKEN_SERVICE=images",
		"REGISTRY_AUTH_TOKEN_ISSUER=remit/acme", "REGISTRY_AUTH_TOKEN_JWKS="+jwks)
	x.up = remit.Upstream{Name: "images", Kind: remit.KindRegistry, Location: images.URL}
	x.world = newWorld(t)
	x.gw.Registries = x
	x.pipe.Creds = x
	return x
}

func (x *trusting) Registry(_ context.Context, upstream string) (Registry, error) {
	if upstream != "images" {
		return Registry{}, remit.Errorf(remit.UnknownResource, "no upstream %q is declared", upstream)
	}
	return Registry{Name: "images", URL: x.up.Location, Transport: http.DefaultTransport, Observer: func(r *http.Request, name string) error {
		s, err := x.signer.Sign(x.up, "remit:observer", name, false, time.Now().Add(time.Minute))
		r.Header.Set("Authorization", "Bearer "+s.Value)
		return err
	}}, nil
}

// Lease is a lease for the first step's artifact, as package broker makes one.
func (x *trusting) Lease(ctx context.Context, a remit.Attempt) (gateway.Credential, error) {
	var r remit.Request
	if err := json.Unmarshal([]byte(a.ID), &r); err != nil {
		return nil, err
	}
	info, _ := remit.Lookup(r.Steps[0].Action)
	s, err := x.signer.Mint(ctx, broker.Asked{Name: "remit-acme-l-1", Upstream: x.up, Target: r.Steps[0].Resource, Write: info.Impact != remit.Read, NotAfter: time.Now().Add(time.Minute)})
	return bearer(s.Value), err
}

type bearer string

func (b bearer) Apply(r *http.Request) error {
	r.Header.Set("Authorization", "Bearer "+string(b))
	return nil
}
func (b bearer) End(context.Context) error { return nil }

// TestInteropRegistry: an unchanged client through the gateway to a real registry, and the registry by itself refuses
// what a token is not for.
func TestInteropRegistry(t *testing.T) {
	x := newTrusting(t)
	img := image(t)
	if err := remote.Write(x.ref("team/app:v1"), img, as("remit_one")); err != nil {
		t.Fatal(err)
	}
	got, err := remote.Image(x.ref("team/app:v1"), as("remit_one"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil || digest(t, got) != digest(t, img) {
		t.Fatalf("pulled %s of %s (%v)", digest(t, got), digest(t, img), err)
	}
	// Into another repository: the layers cannot be mounted with a token for one, and are uploaded.
	if err := remote.Write(x.ref("team/copy:v1"), got, as("remit_one")); err != nil {
		t.Fatal(err)
	}
	last := x.asked[len(x.asked)-1]
	order := remit.Order{Caller: last.Caller, Steps: last.Steps, Body: last.Order}
	if r := x.gw.Reconcile(t.Context(), order); r.Outcome != remit.Done || r.Made != digest(t, img) {
		t.Errorf("reconciled: %+v %s", r, r.Receipt)
	}
	reg, err := x.Registry(t.Context(), "images")
	if err != nil {
		t.Fatal(err)
	}
	status := func(method, name, path string, apply func(*http.Request) error) int {
		t.Helper()
		resp, err := reg.send(t.Context(), name, call{method: method, path: path, apply: apply})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	token := func(name string, write bool) func(*http.Request) error {
		s, err := x.signer.Sign(x.up, "test", name, write, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		return bearer(s.Value).Apply
	}
	for what, c := range map[string]struct {
		method, path string
		apply        func(*http.Request) error
		want         int
	}{
		"no token":                   {"GET", "tags/list", nil, 401},
		"a token of another one":     {"GET", "tags/list", token("team/copy", true), 401},
		"a push with a pull token":   {"POST", "blobs/uploads/", token("team/app", false), 401},
		"a pull":                     {"GET", "tags/list", token("team/app", false), 200},
		"a push":                     {"POST", "blobs/uploads/", token("team/app", true), 202},
		"a deletion, with any of it": {"DELETE", "manifests/" + digest(t, img), token("team/app", true), 401},
	} {
		if got := status(c.method, "team/app", c.path, c.apply); got != c.want {
			t.Errorf("%s: %d, wanted %d", what, got, c.want)
		}
	}
	a := broker.Asked{Upstream: x.up, Target: "artifact:images/team/app", NotAfter: time.Now().Add(time.Minute)}
	s, err := x.signer.Mint(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if life, err := x.signer.Probe(t.Context(), a, &s); life != broker.Alive {
		t.Errorf("a new token is %d (%v)", life, err)
	}
	x.signer.Now = func() time.Time { return time.Now().Add(-10 * time.Minute) }
	if s, err = x.signer.Mint(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if life, err := x.signer.Probe(t.Context(), a, &s); life != broker.Dead {
		t.Errorf("a token whose time is over is %d (%v)", life, err)
	}
}

// foreign runs a program that is to be there.
func foreign(t *testing.T, what, hint string) string {
	t.Helper()
	p, err := exec.LookPath(what)
	if err == nil {
		return p
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing; %s", what, hint)
	}
	t.Skipf("%s is missing; %s", what, hint)
	return ""
}

// TestInteropSkopeo copies an image in and out with skopeo as it is.
func TestInteropSkopeo(t *testing.T) {
	skopeo := foreign(t, "skopeo", "install it (Debian: skopeo)")
	x := newTrusting(t)
	if err := remote.Write(x.ref("team/app:v1"), image(t), as("remit_one")); err != nil {
		t.Fatal(err)
	}
	host, dir := strings.TrimPrefix(x.srv.URL, "http://"), t.TempDir()
	policy := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), skopeo, append([]string{"--policy", policy}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "REGISTRY_AUTH_FILE="+filepath.Join(dir, "auth.json"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out := "oci:" + filepath.Join(dir, "layout") + ":v1"
	if said, err := run("copy", "--src-tls-verify=false", "--src-creds", "x:remit_one", "docker://"+host+"/images/team/app:v1", out); err != nil {
		t.Fatalf("pulling: %v\n%s", err, said)
	}
	if said, err := run("copy", "--dest-tls-verify=false", "--dest-creds", "x:remit_one", out, "docker://"+host+"/images/team/app:v2"); err != nil {
		t.Fatalf("pushing: %v\n%s", err, said)
	}
	x.deny("artifact.publish", "", remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-3"})
	if said, err := run("copy", "--dest-tls-verify=false", "--dest-creds", "x:remit_one", out, "docker://"+host+"/images/team/app:v3"); err == nil || !strings.Contains(said, "A-3") {
		t.Errorf("a held push: %v\n%s", err, said)
	}
	if said, err := run("delete", "--tls-verify=false", "--creds", "x:remit_one", "docker://"+host+"/images/team/app:v1"); err == nil {
		t.Errorf("a deletion was done\n%s", said)
	}
	if said, err := run("inspect", "--tls-verify=false", "--creds", "x:remit_of_git", "docker://"+host+"/images/team/app:v1"); err == nil {
		t.Errorf("a token of another gateway was good\n%s", said)
	}
}

// differs are the specification's tests that a registry passes by itself and the gateway does not, each on purpose.
var differs = []string{
	"OCI Conformance Test/large-manifest/",     // a publication may be held, and its manifest is kept in the order: 32 KiB
	"OCI Conformance Test/sha256 blobs/mount/", // the registry's token is for one repository, so the blob is uploaded
}

// TestInteropConformance runs the specification's own tests against a registry by itself and through the gateway: what
// passes there passes here.
func TestInteropConformance(t *testing.T) {
	built, err := exec.CommandContext(t.Context(), "../../tools/real/build", "conformance").Output()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("the conformance tests cannot be had; say: tools/real/build conformance")
	}
	program := strings.TrimSpace(string(built))
	x := newTrusting(t)
	x.gw.Publications = anybody{}
	by := conformance(t, program, strings.TrimPrefix(real.Registry(t).URL, "http://"), "conformance", "")
	through := conformance(t, program, strings.TrimPrefix(x.srv.URL, "http://"), "images/conformance", "remit_one")
	passed := 0
	for name, status := range by {
		if status != "passed" {
			continue
		}
		meant := slices.ContainsFunc(differs, func(p string) bool { return strings.HasPrefix(name, p) })
		switch got := through[name]; {
		case got == status:
			passed++
		case !meant:
			t.Errorf("%s: %q through the gateway", name, got)
		}
	}
	if passed < 190 {
		t.Errorf("%d tests passed; something is wrong with the comparison", passed)
	}
	t.Logf("%d of %d tests", passed, len(by))
}

// conformance is the status of each test, by its name.
func conformance(t *testing.T, program, host, repo, password string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir = dir
	// Switched off is what is not served: deleting, and digests that are not SHA-256.
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+host, "OCI_TLS=disabled", "OCI_REPO1="+repo+"/one", "OCI_REPO2="+repo+"/two", "OCI_VERSION=1.1",
		"OCI_RESULTS_DIR="+dir, "OCI_API_BLOBS_DELETE=false", "OCI_API_MANIFESTS_DELETE=false", "OCI_API_TAGS_DELETE=false", "OCI_DATA_SHA512=false")
	if password != "" {
		cmd.Env = append(cmd.Env, "OCI_USERNAME=x", "OCI_PASSWORD="+password)
	}
	said, _ := cmd.CombinedOutput() // it fails when one of its tests does
	report, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var suites struct {
		Suites []struct {
			Cases []struct {
				Name   string `xml:"name,attr"`
				Status string `xml:"status,attr"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(report, &suites); err != nil || len(suites.Suites) != 1 {
		t.Fatalf("the report cannot be read (%v)", err)
	}
	all := map[string]string{}
	for _, c := range suites.Suites[0].Cases {
		all[c.Name] = c.Status
	}
	return all
}

// anybody published everything: whose an index's images are is not what the specification is about.
type anybody struct{}

func (anybody) Published(context.Context, remit.Artifact) (Publication, bool) {
	return Publication{Task: "T-1"}, true
}
