package registry_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/registry"
)

func keys(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"ES256": ec, "EdDSA": ed}
}

func signer(t *testing.T, key crypto.Signer, now func() time.Time) *registry.TokenSigner {
	t.Helper()
	s, err := registry.New(registry.Config{Key: key, Issuer: "remit/acme", Now: now,
		Service: func(u remit.Upstream) string { return u.Name },
		Client:  func(context.Context, remit.Upstream) (*http.Client, error) { return http.DefaultClient, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func asked(location string, target remit.Resource, write bool, notAfter time.Time) broker.Asked {
	return broker.Asked{Name: "remit-acme-l-1", Upstream: remit.Upstream{Name: "images", Kind: remit.KindRegistry, Location: location}, Target: target, Write: write, NotAfter: notAfter}
}

// TestToken reads a token as a registry does: with the published key set, by the kid of the token's head.
func TestToken(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 5e8, time.UTC)
	for alg, key := range keys(t) {
		s := signer(t, key, func() time.Time { return now })
		for _, c := range []struct {
			write bool
			asks  time.Duration
			life  time.Duration
			want  []string
		}{{false, time.Hour, 2 * time.Minute, []string{"pull"}}, {true, 90 * time.Second, 90 * time.Second, []string{"pull", "push"}}} {
			secret, err := s.Mint(t.Context(), asked("", "artifact:images/team/app", c.write, now.Add(c.asks)))
			if err != nil {
				t.Fatal(err)
			}
			tok, err := jwt.ParseSigned(secret.Value, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatal(err)
			}
			var set jose.JSONWebKeySet
			if err := json.Unmarshal(s.Keys(), &set); err != nil || len(set.Keys) != 1 || !set.Keys[0].IsPublic() {
				t.Fatalf("the key set is %s (%v)", s.Keys(), err)
			}
			found := set.Key(tok.Headers[0].KeyID)
			if len(found) != 1 || tok.Headers[0].JSONWebKey != nil {
				t.Fatalf("the head %+v names no key of %s", tok.Headers[0], s.Keys())
			}
			var claims struct {
				jwt.Claims
				Access []struct {
					Type    string   `json:"type"`
					Name    string   `json:"name"`
					Actions []string `json:"actions"`
				} `json:"access"`
			}
			if err := tok.Claims(found[0].Key, &claims); err != nil {
				t.Fatal(err)
			}
			if err := claims.ValidateWithLeeway(jwt.Expected{Issuer: "remit/acme", AnyAudience: jwt.Audience{"images"}, Subject: "remit-acme-l-1", Time: now}, 0); err != nil {
				t.Error(err)
			}
			if len(claims.Access) != 1 || claims.Access[0].Type != "repository" || claims.Access[0].Name != "team/app" || strings.Join(claims.Access[0].Actions, ",") != strings.Join(c.want, ",") {
				t.Errorf("access %+v, wanted %v", claims.Access, c.want)
			}
			end := claims.Expiry.Time()
			if !end.Equal(secret.NotAfter) || end.After(now.Add(c.life)) || end.Before(now.Add(c.life-time.Second)) || secret.Handle != claims.ID || claims.ID == "" {
				t.Errorf("it ends %s (stated %s), asked for %s; %q %q", end, secret.NotAfter, now.Add(c.asks), secret.Handle, claims.ID)
			}
			if other, err := s.Mint(t.Context(), asked("", "artifact:images/team/app", c.write, now.Add(c.asks))); err != nil || other.Handle == secret.Handle {
				t.Errorf("two tokens have one name (%v)", err)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := signer(t, keys(t)["EdDSA"], func() time.Time { return now })
	for _, a := range []broker.Asked{
		asked("", "artifact:other/app", true, now.Add(time.Hour)), asked("", "artifact:images", true, now.Add(time.Hour)),
		asked("", "repo:images/app", true, now.Add(time.Hour)), asked("", "artifact:images/", true, now.Add(time.Hour)),
		asked("", "artifact:images/app", true, now), asked("", "artifact:images/app", true, time.Time{}),
	} {
		if secret, err := s.Mint(t.Context(), a); err == nil || secret.Value != "" {
			t.Errorf("%s until %s: a token", a.Target, a.NotAfter)
		}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{nil, p384, weak} {
		_, err := registry.New(registry.Config{Key: key, Issuer: "x", Service: func(remit.Upstream) string { return "" }, Client: func(context.Context, remit.Upstream) (*http.Client, error) { return nil, nil }})
		if err == nil {
			t.Errorf("a key %T is taken", key)
		}
	}
}

// TestProbe: what a probe saw, and nothing that it did not see.
func TestProbe(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	status := 200
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/app/tags/list" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			t.Errorf("asked %s", r.URL)
		}
		w.WriteHeader(status)
	}))
	defer srv.Close()
	s := signer(t, keys(t)["EdDSA"], func() time.Time { return now })
	a := asked(srv.URL, "artifact:images/app", true, now.Add(time.Minute))
	secret, err := s.Mint(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[int]broker.Life{200: broker.Alive, 404: broker.Alive, 401: broker.Dead, 403: broker.Unknown, 500: broker.Unknown, 302: broker.Unknown} {
		status = code
		if life, err := s.Probe(t.Context(), a, &secret); life != want || (want == broker.Unknown) != (err != nil) {
			t.Errorf("%d: %d (%v), wanted %d", code, life, err, want)
		}
	}
	if life, _ := s.Probe(t.Context(), a, nil); life != broker.Unknown {
		t.Errorf("a lost token before its end: %d", life)
	}
	now = now.Add(90 * time.Second)
	if life, _ := s.Probe(t.Context(), a, nil); life != broker.Unknown {
		t.Errorf("a lost token within the skew: %d", life)
	}
	now = now.Add(31 * time.Second)
	if life, _ := s.Probe(t.Context(), a, nil); life != broker.Dead {
		t.Errorf("a lost token after its end: %d", life)
	}
	if err := s.Revoke(t.Context(), a, nil); err != nil || s.Traits().Revocation != remit.RevokeExpiry {
		t.Error("it pretends to revoke")
	}
}
