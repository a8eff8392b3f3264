package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/world"
)

const audience = "https://remit.example:8443"

var commit = strings.Repeat("ab", 20)

func codeOf(err error) remit.Code {
	var e *remit.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestAJobOfEachForgeIsReadFromImmutableClaims(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			clock := world.NewClock()
			iss := world.NewIssuer(t, clock.Now, alg)
			v := identity.NewIssuers(clock.Now)
			for kind, claims := range map[string]map[string]any{"github": iss.GitHub(audience, commit, map[string]any{"environment": "build"}),
				"gitlab": iss.GitLab(audience, commit, map[string]any{"environment": "build"})} {
				token := iss.Sign(claims)
				if got, err := identity.IssuerOf(token); err != nil || got != iss.URL {
					t.Fatalf("%s: %q, %v", kind, got, err)
				}
				j, err := v.Verify(t.Context(), iss.Upstream("ci", kind, ""), audience, token)
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				want := map[string]string{"github": ".github/workflows/build.yml", "gitlab": ".gitlab-ci.yml"}[kind]
				if j.Issuer != "ci" || j.Repository != "4711" || j.Workflow != want || j.Environment != "build" || j.Commit != commit ||
					!j.NotAfter.Equal(clock.Now().Add(5*time.Minute)) || j.ID.IsZero() || !identity.JobEnd(j.Claims).Equal(j.NotAfter) {
					t.Fatalf("%s: %+v", kind, j)
				}
				if !strings.Contains(string(j.Claims), `"runner_environment":"self-hosted"`) {
					t.Fatalf("a claim is not kept: %s", j.Claims)
				}
			}
			if n := iss.Fetches.Load(); n != 2 {
				t.Errorf("the issuer was asked %d times", n)
			}
		})
	}
}

func TestClaimsThatProveNothingAreRefusedByName(t *testing.T) {
	clock := world.NewClock()
	iss := world.NewIssuer(t, clock.Now, jose.ES256)
	v := identity.NewIssuers(clock.Now)
	now := clock.Now().Unix()
	for _, c := range []struct {
		what, kind, want string
		changes          map[string]any
	}{
		{"another audience", "github", "must be for", map[string]any{"aud": "https://other.example"}},
		{"two audiences", "github", "aud", map[string]any{"aud": []string{audience, "https://other.example"}}},
		{"no audience", "github", "aud", map[string]any{"aud": nil}},
		{"another issuer with the same key", "github", "not from", map[string]any{"iss": "https://token.actions.githubusercontent.com"}},
		{"expired", "github", "expired", map[string]any{"iat": now - 400, "nbf": now - 400, "exp": now - 60}},
		{"issued in the future", "github", "good from", map[string]any{"iat": now + 61}},
		{"not yet good", "github", "good from", map[string]any{"nbf": now + 61}},
		{"no end", "github", "no exp", map[string]any{"exp": nil}},
		{"no beginning", "github", "no exp or no iat", map[string]any{"iat": nil}},
		{"good for a week", "github", "longest", map[string]any{"exp": now + 7*86400}},
		{"no repository id", "github", "repository_id is missing", map[string]any{"repository_id": nil}},
		{"an id that is a list", "github", "repository_id", map[string]any{"repository_id": []string{"4711"}}},
		{"no commit", "github", "sha is missing", map[string]any{"sha": nil}},
		{"no event", "github", "event_name is missing", map[string]any{"event_name": nil}},
		{"a pull request, of whichever fork", "github", "event_name", map[string]any{"event_name": "pull_request"}},
		{"a fork's pull request with the base's rights", "github", "event_name", map[string]any{"event_name": "pull_request_target"}},
		{"a run after a stranger's run", "github", "event_name", map[string]any{"event_name": "workflow_run"}},
		{"a stranger's comment", "github", "event_name", map[string]any{"event_name": "issue_comment"}},
		{"the called file at another ref", "github", "job_workflow_ref", map[string]any{"job_workflow_ref": "acme/payments/.github/workflows/build.yml@refs/heads/evil"}},
		{"the file of another commit", "github", "job_workflow_sha", map[string]any{"job_workflow_sha": strings.Repeat("cd", 20)}},
		{"the calling file of another commit", "github", "workflow_sha", map[string]any{"job_workflow_ref": nil, "workflow_sha": strings.Repeat("cd", 20)}},
		{"no workflow", "github", "workflow_ref is missing", map[string]any{"job_workflow_ref": nil, "workflow_ref": nil}},
		{"a workflow of another repository", "github", "workflow_ref", map[string]any{"job_workflow_ref": nil, "workflow_ref": "evil/payments/.github/workflows/build.yml@refs/heads/main"}},
		{"a name with a line break", "github", "environment", map[string]any{"environment": "build\nproduction"}},
		{"a merge request", "gitlab", "pipeline_source", map[string]any{"pipeline_source": "merge_request_event"}},
		{"a merge request from elsewhere", "gitlab", "pipeline_source", map[string]any{"pipeline_source": "external_pull_request_event"}},
		{"a generated pipeline", "gitlab", "pipeline_source", map[string]any{"pipeline_source": "parent_pipeline"}},
		{"a file of another project", "gitlab", "ci_config_ref_uri", map[string]any{"ci_config_ref_uri": "forge/evil/payments//.gitlab-ci.yml@refs/heads/main"}},
		{"no file of its own project", "gitlab", "ci_config_ref_uri is missing", map[string]any{"ci_config_ref_uri": nil}},
		{"a file of another commit", "gitlab", "ci_config_sha", map[string]any{"ci_config_sha": strings.Repeat("cd", 20)}},
		{"no project id", "gitlab", "project_id is missing", map[string]any{"project_id": nil}},
	} {
		claims := iss.GitHub(audience, commit, c.changes)
		if c.kind == "gitlab" {
			claims = iss.GitLab(audience, commit, c.changes)
		}
		_, err := v.Verify(t.Context(), iss.Upstream("ci", c.kind, ""), audience, iss.Sign(claims))
		if codeOf(err) != remit.Unauthenticated || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; wanted one that says %q", c.what, err, c.want)
		}
	}
	// What is near to the above and right.
	for _, c := range []struct {
		what, workflow string
		changes        map[string]any
	}{
		{"expired within the leeway", ".github/workflows/build.yml", map[string]any{"iat": now - 300, "nbf": now - 300, "exp": now - 59}},
		{"in a list of one", ".github/workflows/build.yml", map[string]any{"aud": []string{audience}}},
		{"a fork's own build", ".github/workflows/build.yml", map[string]any{"repository_id": "666"}}, // another id: no agent is declared for it
		{"another file", ".github/workflows/other.yml", map[string]any{"job_workflow_ref": nil, "workflow_ref": "acme/payments/.github/workflows/other.yml@refs/heads/main"}},
		{"a file with an @ in its name is another file", ".github/workflows/build.yml@evil.yml", map[string]any{"job_workflow_ref": nil, "workflow_ref": "acme/payments/.github/workflows/build.yml@evil.yml@refs/heads/main"}},
		{"a tag with an @", ".github/workflows/build.yml", map[string]any{"ref": "refs/tags/@acme/pay@1.0", "job_workflow_ref": "acme/payments/.github/workflows/build.yml@refs/tags/@acme/pay@1.0"}},
		{"a workflow of others, called by our file", ".github/workflows/build.yml", map[string]any{"job_workflow_ref": "shared/ci/.github/workflows/go.yml@refs/tags/v1", "job_workflow_sha": strings.Repeat("cd", 20)}},
		{"sub says what it likes", ".github/workflows/build.yml", map[string]any{"sub": "repo:evil/evil:environment:production"}},
	} {
		j, err := v.Verify(t.Context(), iss.Upstream("ci", "github", ""), audience, iss.Sign(iss.GitHub(audience, commit, c.changes)))
		if err != nil || j.Workflow != c.workflow {
			t.Errorf("%s: %+v, %v", c.what, j, err)
		}
		if id, ok := c.changes["repository_id"]; ok && j.Repository != id {
			t.Errorf("%s: repository %q", c.what, j.Repository)
		}
	}
}

// TestForgedTokensAreRefused makes the classes of the JWS vectors that there are: algorithms that were not asked for, keys
// that are not the issuer's, and texts that two readers take for two tokens.
func TestForgedTokensAreRefused(t *testing.T) {
	clock := world.NewClock()
	iss := world.NewIssuer(t, clock.Now, jose.RS256)
	other := world.NewIssuer(t, clock.Now, jose.RS256) // its key has the same id
	v := identity.NewIssuers(clock.Now)
	claims := iss.GitHub(audience, commit, nil)
	good := iss.Sign(claims)
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	part := strings.Split(good, ".")
	kid := iss.Public().KeyID
	public := iss.Public().Key.(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	headed := func(h string) string { return enc([]byte(h)) + "." + part[1] + "." + part[2] }
	embedded := func() string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: mine}, (&jose.SignerOptions{EmbedJWK: true}).WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := s.Sign(body)
		if err != nil {
			t.Fatal(err)
		}
		text, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	jws, err := jose.ParseSignedCompact(good, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{
		"none":                                 enc([]byte(`{"alg":"none"}`)) + "." + part[1] + ".",
		"none with a signature":                headed(`{"alg":"none","kid":"` + kid + `"}`),
		"None":                                 enc([]byte(`{"alg":"None"}`)) + "." + part[1] + ".",
		"HMAC with the public key":             world.SignJWT(t, jose.HS256, jose.JSONWebKey{Key: der, KeyID: kid}, "JWT", claims),
		"PS256 by the issuer's own key":        headed(`{"alg":"PS256","kid":"` + kid + `"}`),
		"RS512":                                headed(`{"alg":"RS512","kid":"` + kid + `"}`),
		"another issuer's key, same id":        other.Sign(claims),
		"a key of one's own":                   world.SignJWT(t, jose.RS256, jose.JSONWebKey{Key: mine, KeyID: kid}, "JWT", claims),
		"a key of another kind":                world.SignJWT(t, jose.ES256, jose.JSONWebKey{Key: ec, KeyID: kid}, "JWT", claims),
		"a key in the header":                  embedded(),
		"an id that is no key":                 world.SignJWT(t, jose.RS256, jose.JSONWebKey{Key: mine, KeyID: "../../key-1"}, "JWT", claims),
		"another type":                         world.SignJWT(t, jose.RS256, jose.JSONWebKey{Key: mine, KeyID: kid}, "at+jwt", claims),
		"a DPoP proof":                         world.SignJWT(t, jose.RS256, jose.JSONWebKey{Key: mine, KeyID: kid}, "dpop+jwt", claims),
		"an extension that must be understood": headed(`{"alg":"RS256","kid":"` + kid + `","crit":["exp"],"exp":1}`),
		"unencoded payload":                    headed(`{"alg":"RS256","kid":"` + kid + `","b64":false,"crit":["b64"]}`),
		"alg twice":                            headed(`{"alg":"RS256","alg":"none","kid":"` + kid + `"}`),
		"changed claims":                       part[0] + "." + enc([]byte(strings.Replace(string(body), "4711", "4712", 1))) + "." + part[2],
		"no signature":                         part[0] + "." + part[1] + ".",
		"half a signature":                     part[0] + "." + part[1] + "." + part[2][:100],
		"JSON serialization":                   jws.FullSerialize(),
		"padding":                              good + "=",
		"five parts":                           good + ".a.b",
		"white space":                          " " + good,
		"nothing":                              "",
		"dots":                                 "..",
		"too long":                             good + strings.Repeat("A", identity.MaxJobToken),
	} {
		if _, err := v.Verify(t.Context(), iss.Upstream("ci", "github", ""), audience, token); codeOf(err) != remit.Unauthenticated {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := v.Verify(t.Context(), iss.Upstream("ci", "github", ""), audience, good); err != nil {
		t.Errorf("the one that is right: %v", err)
	}
	if _, err := v.Verify(t.Context(), other.Upstream("ci", "github", ""), audience, good); codeOf(err) != remit.Unauthenticated {
		t.Errorf("at the other issuer: %v", err)
	}
}

func TestATokenIsTheSameWhateverItsSignatureLooksLike(t *testing.T) {
	clock := world.NewClock()
	iss := world.NewIssuer(t, clock.Now, jose.ES256)
	v := identity.NewIssuers(clock.Now)
	for _, jti := range []any{"x", nil} {
		claims := iss.GitHub(audience, commit, map[string]any{"jti": jti})
		body, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		_ = body
		a, err := v.Verify(t.Context(), iss.Upstream("ci", "github", ""), audience, iss.Sign(claims))
		if err != nil {
			t.Fatal(err)
		}
		b, err := v.Verify(t.Context(), iss.Upstream("ci", "github", ""), audience, iss.Sign(claims)) // ECDSA signs in another way each time
		if err != nil || a.ID != b.ID {
			t.Errorf("jti %v: two ids for one token: %v", jti, err)
		}
		claims["jti"] = "y"
		c, err := v.Verify(t.Context(), iss.Upstream("ci", "github", ""), audience, iss.Sign(claims))
		if err != nil || a.ID == c.ID {
			t.Errorf("jti %v: one id for two tokens: %v", jti, err)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	clock := world.NewClock()
	iss := world.NewIssuer(t, clock.Now, jose.ES256)
	v := identity.NewIssuers(clock.Now)
	up := iss.Upstream("ci", "github", "")
	verify := func(token string) error {
		_, err := v.Verify(t.Context(), up, audience, token)
		return err
	}
	first := func() string { return iss.Sign(iss.GitHub(audience, commit, nil)) }
	before := first()
	if err := verify(before); err != nil {
		t.Fatal(err)
	}
	iss.Rotate(jose.RS256, true)
	clock.Advance(10 * time.Second)
	if err := verify(first()); err != nil {
		t.Fatalf("a new key: %v", err)
	}
	if err := verify(before); err != nil {
		t.Fatalf("the old key, still published: %v", err)
	}
	asked := iss.Fetches.Load()
	long := iss.Sign(iss.GitHub(audience, commit, map[string]any{"exp": clock.Now().Unix() + 3600}))
	iss.Rotate(jose.ES256, false)
	for range 100 {
		if err := verify(first()); codeOf(err) != remit.Unauthenticated {
			t.Fatalf("a key that is not known yet: %v", err)
		}
	}
	if n := iss.Fetches.Load(); n != asked {
		t.Errorf("unknown keys made us ask the issuer %d times within a moment", n-asked)
	}
	if err := verify(long); err != nil {
		t.Errorf("a key that was withdrawn a moment ago: %v", err)
	}
	clock.Advance(16 * time.Minute)
	if err := verify(long); codeOf(err) != remit.Unauthenticated { // old keys are not good while they are there
		t.Errorf("a key that was withdrawn: %v", err)
	}
	if err := verify(iss.Sign(iss.GitHub(audience, commit, nil))); err != nil {
		t.Fatal(err)
	}
	if err := verify(long); codeOf(err) != remit.Unauthenticated {
		t.Errorf("a key that was withdrawn: %v", err)
	}
}

func mustEC(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAnIssuerThatMisbehavesIsUnavailable(t *testing.T) {
	const large = 300 << 10
	other := world.NewIssuer(t, time.Now, jose.ES256)
	for what, answer := range map[string]func(iss *world.Issuer, w http.ResponseWriter, r *http.Request) bool{
		"down": func(_ *world.Issuer, w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return true
		},
		"redirects elsewhere": func(_ *world.Issuer, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
			return true
		},
		"keys at another host": func(iss *world.Issuer, w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "openid-configuration") {
				return false
			}
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, iss.URL, other.URL+"/keys")
			return true
		},
		"another issuer's document": func(iss *world.Issuer, w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "openid-configuration") {
				return false
			}
			fmt.Fprintf(w, `{"issuer":"https://other.example","jwks_uri":%q}`, iss.URL+"/keys")
			return true
		},
		"endless": func(_ *world.Issuer, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte(`{"issuer":"` + strings.Repeat("a", large)))
			return true
		},
		"keys for another algorithm": func(iss *world.Issuer, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/keys" {
				return false
			}
			k := iss.Public()
			k.Algorithm = "ES512"
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k}})
			return true
		},
		"no keys": func(_ *world.Issuer, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/keys" {
				return false
			}
			_, _ = w.Write([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"key-1"}]}`))
			return true
		},
	} {
		t.Run(what, func(t *testing.T) {
			clock := world.NewClock()
			iss := world.NewIssuer(t, clock.Now, jose.ES256)
			iss.Answer = func(w http.ResponseWriter, r *http.Request) bool { return answer(iss, w, r) }
			token := iss.Sign(iss.GitHub(audience, commit, nil))
			v := identity.NewIssuers(clock.Now)
			if _, err := v.Verify(t.Context(), iss.Upstream("ci", "github", ""), audience, token); codeOf(err) != remit.UpstreamDown {
				t.Errorf("%v", err)
			}
		})
	}
	clock := world.NewClock()
	iss := world.NewIssuer(t, clock.Now, jose.ES256)
	up := iss.Upstream("ci", "github", "")
	up.Insecure = false
	if _, err := identity.NewIssuers(clock.Now).Verify(t.Context(), up, audience, iss.Sign(iss.GitHub(audience, commit, nil))); codeOf(err) != remit.UpstreamDown || iss.Fetches.Load() != 0 {
		t.Errorf("http that is not declared insecure: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := identity.NewIssuers(clock.Now).Verify(gone, iss.Upstream("ci", "github", ""), audience, iss.Sign(iss.GitHub(audience, commit, nil))); err != nil && codeOf(err) != remit.UpstreamDown {
		t.Errorf("a caller that is gone: %v", err)
	}
}

func FuzzJobToken(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EifQ.AAAA")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(`{"payload":"e30","protected":"eyJhbGciOiJFUzI1NiJ9","signature":"AAAA"}`)
	now := time.Unix(1_800_000_000, 0)
	v := identity.NewIssuers(func() time.Time { return now })
	up := remit.Upstream{Name: "ci", Kind: remit.KindOIDC, Location: "nowhere", Claims: "github"} // no key is ever found
	f.Fuzz(func(t *testing.T, token string) {
		_, _ = identity.IssuerOf(token)
		if _, err := v.Verify(t.Context(), up, audience, token); err == nil {
			t.Fatal("a token that nobody signed")
		}
		identity.JobEnd([]byte(token))
	})
}
