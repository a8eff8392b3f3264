package world

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/remit-dev/remit"
)

// Issuer is a forge's issuer of CI jobs' tokens, on a loopback address: discovery document, keys, and for workflow
// engines the address at which a job asks for its token.
type Issuer struct {
	T       testing.TB
	URL     string
	Fetches atomic.Int64 // of discovery document and keys
	// Answer, when set, answers in place of the issuer; it returns false to leave it to the issuer.
	Answer func(http.ResponseWriter, *http.Request) bool
	claims map[string]any // what a job that asks at /token is told about itself, besides aud

	now    func() time.Time
	mu     sync.Mutex
	signer crypto.Signer
	kid    string
	old    []jose.JSONWebKey // keys that are still in the document
	serial int
}

// RequestToken is what a job must show at /token, as ACTIONS_ID_TOKEN_REQUEST_TOKEN.
const RequestToken = "request-token-of-the-job"

// NewIssuer serves an issuer with one key of alg, RS256, ES256 or EdDSA.
func NewIssuer(t testing.TB, now func() time.Time, alg jose.SignatureAlgorithm) *Issuer {
	t.Helper()
	i := &Issuer{T: t, now: now}
	i.Rotate(alg, false)
	s := httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(s.Close)
	i.URL = s.URL
	return i
}

// Upstream is the declaration of the issuer.
func (i *Issuer) Upstream(name, claims, audience string) remit.Upstream {
	return remit.Upstream{Name: name, Kind: remit.KindOIDC, Location: i.URL, Insecure: true, Claims: claims, Audience: audience}
}

// Rotate gives the issuer a new key. With keep the old one stays in the document.
func (i *Issuer) Rotate(alg jose.SignatureAlgorithm, keep bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !keep {
		i.old = nil
	} else {
		i.old = append(i.old, i.public())
	}
	i.serial++
	i.kid = fmt.Sprintf("key-%d", i.serial)
	switch alg {
	case jose.ES256:
		i.signer = must[*ecdsa.PrivateKey](i.T)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case jose.EdDSA:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			i.T.Fatal(err)
		}
		i.signer = k
	default:
		i.signer = must[*rsa.PrivateKey](i.T)(rsa.GenerateKey(rand.Reader, 2048))
	}
}

func (i *Issuer) public() jose.JSONWebKey {
	alg, _ := algOf(i.signer)
	return jose.JSONWebKey{Key: i.signer.Public(), KeyID: i.kid, Use: "sig", Algorithm: string(alg)}
}

func algOf(k crypto.Signer) (jose.SignatureAlgorithm, any) {
	switch k := k.(type) {
	case *ecdsa.PrivateKey:
		return jose.ES256, k
	case ed25519.PrivateKey:
		return jose.EdDSA, k
	}
	return jose.RS256, k
}

// Public is the key that the issuer signs with now.
func (i *Issuer) Public() jose.JSONWebKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.public()
}

// Sign signs claims with the key of now.
func (i *Issuer) Sign(claims map[string]any) string {
	i.T.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	alg, key := algOf(i.signer)
	return SignJWT(i.T, alg, jose.JSONWebKey{Key: key, KeyID: i.kid}, "JWT", claims)
}

// SignJWT is any signed token.
func SignJWT(t testing.TB, alg jose.SignatureAlgorithm, key any, typ string, claims any) string {
	t.Helper()
	s := must[jose.Signer](t)(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ))))
	jws := must[*jose.JSONWebSignature](t)(s.Sign(must[[]byte](t)(json.Marshal(claims))))
	return must[string](t)(jws.CompactSerialize())
}

// GitHub are the claims of a job of GitHub Actions that builds a commit after a push; changes replace claims, and nil
// removes one.
func (i *Issuer) GitHub(audience, commit string, changes map[string]any) map[string]any {
	i.mu.Lock()
	i.serial++
	c := map[string]any{
		"iss": i.URL, "aud": audience, "jti": fmt.Sprintf("job-%d", i.serial),
		"repository": "acme/payments", "repository_id": "4711", "repository_owner": "acme", "repository_owner_id": "42",
		"workflow": "build", "workflow_ref": "acme/payments/.github/workflows/build.yml@refs/heads/main", "workflow_sha": commit,
		"job_workflow_ref": "acme/payments/.github/workflows/build.yml@refs/heads/main", "job_workflow_sha": commit,
		"ref": "refs/heads/main", "ref_type": "branch", "sha": commit, "event_name": "push", "actor": "cleo", "actor_id": "7",
		"run_id": "1", "run_attempt": "1", "runner_environment": "self-hosted", "sub": "repo:acme/payments:ref:refs/heads/main",
	}
	i.mu.Unlock()
	return i.finish(c, changes)
}

// GitLab are the claims of a job of GitLab CI.
func (i *Issuer) GitLab(audience, commit string, changes map[string]any) map[string]any {
	i.mu.Lock()
	i.serial++
	host := strings.TrimPrefix(i.URL, "http://")
	c := map[string]any{
		"iss": i.URL, "aud": audience, "jti": fmt.Sprintf("job-%d", i.serial), "project_id": "4711", "project_path": "acme/payments",
		"namespace_id": "42", "namespace_path": "acme", "user_id": "7", "user_login": "cleo", "user_email": "cleo@example",
		"pipeline_id": "1", "pipeline_source": "push", "job_id": "1", "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main",
		"ref_protected": "true", "runner_environment": "self-hosted", "sha": commit, "ci_config_sha": commit,
		"ci_config_ref_uri": host + "/acme/payments//.gitlab-ci.yml@refs/heads/main", "sub": "project_path:acme/payments:ref_type:branch:ref:main",
	}
	i.mu.Unlock()
	return i.finish(c, changes)
}

func (i *Issuer) finish(c, changes map[string]any) map[string]any {
	now := i.now().Unix()
	c["iat"], c["nbf"], c["exp"] = now, now, now+300
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Tell sets what a job that asks at /token is told about itself, besides aud.
func (i *Issuer) Tell(claims map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.claims = maps.Clone(claims)
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	if i.Answer != nil && i.Answer(w, r) {
		return
	}
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		i.Fetches.Add(1)
		answer = map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"},
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}}
	case "/keys":
		i.Fetches.Add(1)
		i.mu.Lock()
		answer = jose.JSONWebKeySet{Keys: append([]jose.JSONWebKey{i.public()}, i.old...)}
		i.mu.Unlock()
	case "/token": // GitHub Actions: GET ACTIONS_ID_TOKEN_REQUEST_URL&audience=…
		if r.Header.Get("Authorization") != "bearer "+RequestToken && r.Header.Get("Authorization") != "Bearer "+RequestToken {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		i.mu.Lock()
		changes := maps.Clone(i.claims)
		i.mu.Unlock()
		claims := i.GitHub(r.URL.Query().Get("audience"), "", changes)
		answer = map[string]any{"value": i.Sign(claims)}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
