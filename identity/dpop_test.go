package identity_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/world"
)

const target = "https://remit.example:8443/v1/orgs/acme/instances/I-7/token"

func reason(err error) string {
	var o *identity.OAuthError
	if errors.As(err, &o) {
		return o.Reason
	}
	return ""
}

// forge makes a proof as no good client would.
type forge struct {
	header, claims map[string]any
	key            *ecdsa.PrivateKey
}

func newForge(t *testing.T, p *identity.Proofs, now time.Time) forge {
	t.Helper()
	k := mustEC(t)
	b, err := (&jose.JSONWebKey{Key: k.Public()}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	jwk := map[string]any{}
	if err := json.Unmarshal(b, &jwk); err != nil {
		t.Fatal(err)
	}
	return forge{key: k, header: map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk},
		claims: map[string]any{"jti": "one", "htm": "POST", "htu": target, "iat": now.Unix(), "nonce": p.Nonce()}}
}

func (f forge) sign(t *testing.T) string {
	t.Helper()
	enc := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := enc(f.header) + "." + enc(f.claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, f.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func with(proofs ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, nil)
	for _, p := range proofs {
		r.Header.Add("DPoP", p)
	}
	return r
}

func TestAProofIsGoodOnceForOneRequest(t *testing.T) {
	clock := world.NewClock()
	p := identity.NewProofs(clock.Now)
	key, err := identity.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := key.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if key, err = identity.ParseProofKey(der); err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", key, key, key, key); strings.Trim(s, "[key] ") != "" {
		t.Errorf("a key prints as %s", s)
	}
	first, err := key.Proof("POST", target, "", "", clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Check(with(first), target, ""); reason(err) != identity.UseNonce {
		t.Fatalf("no nonce: %v", err)
	}
	text, err := key.Proof("POST", target, "token", p.Nonce(), clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Check(with(text), target, "token")
	if err != nil || len(got.Thumbprint) != 43 {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := p.Spend(got); err != nil {
		t.Fatal(err)
	}
	for range 5 { // over both generations, for as long as the proof itself is good
		if err := p.Spend(got); reason(err) != identity.InvalidProof {
			t.Fatalf("a second time: %v", err)
		}
		clock.Advance(24 * time.Second)
	}
	if _, err := p.Check(with(text), target, "token"); reason(err) != identity.InvalidProof {
		t.Errorf("after its time: %v", err)
	}
	// One that was spent just before the generations turn is known to the next one.
	p = identity.NewProofs(clock.Now)
	spend := func(text string) error {
		proof, err := p.Check(with(text), target, "")
		if err != nil {
			return err
		}
		return p.Spend(proof)
	}
	one := newForge(t, p, clock.Now())
	if err := spend(one.sign(t)); err != nil {
		t.Fatal(err)
	}
	clock.Advance(119 * time.Second)
	two := newForge(t, p, clock.Now())
	if err := spend(two.sign(t)); err != nil {
		t.Fatal(err)
	}
	clock.Advance(2 * time.Second)
	if err := spend(two.sign(t)); reason(err) != identity.InvalidProof {
		t.Errorf("spent in the generation before: %v", err)
	}
	again := identity.NewProofs(clock.Now)
	f := newForge(t, p, clock.Now())
	if _, err := again.Check(with(f.sign(t)), target, ""); reason(err) != identity.UseNonce {
		t.Errorf("the nonce of a process that is gone: %v", err)
	}
	f = newForge(t, p, clock.Now())
	clock.Advance(identity.NonceLife + time.Second)
	f.claims["iat"] = clock.Now().Unix()
	if _, err := p.Check(with(f.sign(t)), target, ""); reason(err) != identity.UseNonce {
		t.Errorf("an old nonce: %v", err)
	}
}

func TestAProofThatIsNotForThisRequestIsRefused(t *testing.T) {
	clock := world.NewClock()
	p := identity.NewProofs(clock.Now)
	now := clock.Now().Unix()
	sha := func(s string) string {
		h := sha256.Sum256([]byte(s))
		return base64.RawURLEncoding.EncodeToString(h[:])
	}
	for what, change := range map[string]func(*forge){
		"right": func(f *forge) {},
		"right, at the default port and in capitals": func(f *forge) { f.claims["htu"] = "HTTPS://REMIT.example:8443/v1/orgs/acme/instances/I-7/token?x=1#y" },
		"another method":            func(f *forge) { f.claims["htm"] = "GET" },
		"the method in small":       func(f *forge) { f.claims["htm"] = "post" },
		"another path":              func(f *forge) { f.claims["htu"] = strings.Replace(target, "I-7", "I-8", 1) },
		"another host":              func(f *forge) { f.claims["htu"] = strings.Replace(target, "remit.", "evil.", 1) },
		"another port":              func(f *forge) { f.claims["htu"] = strings.Replace(target, ":8443", "", 1) },
		"another scheme":            func(f *forge) { f.claims["htu"] = strings.Replace(target, "https", "http", 1) },
		"with a user":               func(f *forge) { f.claims["htu"] = strings.Replace(target, "remit.", "a@remit.", 1) },
		"an escape of another path": func(f *forge) { f.claims["htu"] = strings.Replace(target, "I-7/", "I-7%2F", 1) },
		"no htu":                    func(f *forge) { delete(f.claims, "htu") },
		"no jti":                    func(f *forge) { delete(f.claims, "jti") },
		"a long jti":                func(f *forge) { f.claims["jti"] = strings.Repeat("a", 129) },
		"no iat":                    func(f *forge) { delete(f.claims, "iat") },
		"old":                       func(f *forge) { f.claims["iat"] = now - 61 },
		"from the future":           func(f *forge) { f.claims["iat"] = now + 61 },
		"another token's hash":      func(f *forge) { f.claims["ath"] = sha("other") },
		"no token's hash":           func(f *forge) { delete(f.claims, "ath") },
		"no nonce":                  func(f *forge) { delete(f.claims, "nonce") },
		"a nonce of its own":        func(f *forge) { f.claims["nonce"] = sha("nonce") },
		"a JWT of another kind":     func(f *forge) { f.header["typ"] = "JWT" },
		"no type":                   func(f *forge) { delete(f.header, "typ") },
		"alg none":                  func(f *forge) { f.header["alg"] = "none" },
		"HMAC":                      func(f *forge) { f.header["alg"] = "HS256" },
		"another curve's alg":       func(f *forge) { f.header["alg"] = "ES384" },
		"no key":                    func(f *forge) { delete(f.header, "jwk") },
		"a private key": func(f *forge) {
			f.header["jwk"] = maps.Clone(f.header["jwk"].(map[string]any))
			f.header["jwk"].(map[string]any)["d"] = base64.RawURLEncoding.EncodeToString(private(t, f.key))
		},
		"a symmetric key": func(f *forge) { f.header["jwk"] = map[string]any{"kty": "oct", "k": "AAAA"} },
		"a point that is not on the curve": func(f *forge) {
			f.header["jwk"] = maps.Clone(f.header["jwk"].(map[string]any))
			f.header["jwk"].(map[string]any)["x"] = base64.RawURLEncoding.EncodeToString(make([]byte, 32))
		},
		"another's key": func(f *forge) {
			b, _ := (&jose.JSONWebKey{Key: mustEC(t).Public()}).MarshalJSON()
			f.header["jwk"] = json.RawMessage(b)
		},
		"what must be understood": func(f *forge) { f.header["crit"] = []string{"x"}; f.header["x"] = 1 },
		"large":                   func(f *forge) { f.claims["more"] = strings.Repeat("a", 5000) },
	} {
		f := newForge(t, p, clock.Now())
		f.claims["ath"] = sha("token")
		change(&f)
		_, err := p.Check(with(f.sign(t)), target, "token")
		want := identity.InvalidProof
		switch {
		case strings.HasPrefix(what, "right"):
			want = ""
		case strings.Contains(what, "nonce"):
			want = identity.UseNonce
		}
		if reason(err) != want || (err == nil) != (want == "") {
			t.Errorf("%s: %v", what, err)
		}
	}
	f := newForge(t, p, clock.Now())
	text := f.sign(t)
	for what, r := range map[string]*http.Request{"none": with(), "two": with(text, text), "empty": with(""), "two in one line": with(text + "," + text),
		"its signature cut": with(text[:len(text)-4]), "JSON": with(`{"payload":""}`)} {
		if _, err := p.Check(r, target, ""); reason(err) != identity.InvalidProof {
			t.Errorf("%s: %v", what, err)
		}
	}
	big, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, k := range map[jose.SignatureAlgorithm]any{jose.ES384: big, jose.EdDSA: ed} {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: what, Key: k}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := json.Marshal(newForge(t, p, clock.Now()).claims)
		jws, err := s.Sign(body)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := jws.CompactSerialize()
		if _, err := p.Check(with(text), target, ""); (err == nil) != (what == jose.EdDSA) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRFC9449sOwnExampleIsRead takes the proof of RFC 9449 §4.1; it is good but for its time and nonce.
func TestRFC9449sOwnExampleIsRead(t *testing.T) {
	const example = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	p := identity.NewProofs(func() time.Time { return time.Unix(1562262616, 0) })
	if _, err := p.Check(with(example), "https://server.example.com/token", ""); reason(err) != identity.UseNonce {
		t.Errorf("%v", err)
	}
	if _, err := p.Check(with(example), "https://server.example.com/other", ""); reason(err) != identity.InvalidProof {
		t.Errorf("%v", err)
	}
}

func TestAnExchangeIsReadAsRFC8693Says(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	good := "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=a.b.c&subject_token_type=urn:ietf:params:oauth:token-type:jwt"
	e, err := identity.ParseExchange(form+"; charset=utf-8", []byte(good+"&audience=git&audience=oci&resource=https://r/v1/orgs/o/probe/x&scope=artifact.publish&new=1"))
	if err != nil || e.Subject != "a.b.c" || len(e.Targets) != 3 {
		t.Fatalf("%+v, %v", e, err)
	}
	known := func(n string) bool { return slices.Contains([]string{"git", "oci", "probe"}, n) }
	if g, err := e.Gateways("https://r", "https://r/v1/orgs/o", known); err != nil || !slices.Equal(g, []string{"git", "oci", "probe"}) {
		t.Errorf("%v, %v", g, err)
	}
	for _, all := range [][]string{nil, {"https://r"}, {"https://r/"}, {"git", "https://r/v1/orgs/o"}} {
		if g, err := (identity.Exchange{Targets: all}).Gateways("https://r", "https://r/v1/orgs/o", known); err != nil || g != nil {
			t.Errorf("%v: %v, %v", all, g, err)
		}
	}
	for _, wrong := range []string{"ssh", "https://evil", "https://r/v1/orgs/p/git", "https://r/v1/orgs/o/ssh", "GIT", ""} {
		if _, err := (identity.Exchange{Targets: []string{wrong}}).Gateways("https://r", "https://r/v1/orgs/o", known); reason(err) != identity.InvalidTarget {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	for body, want := range map[string]string{
		"": "unsupported_grant_type",
		strings.Replace(good, "token-exchange", "authorization_code", 1):              "unsupported_grant_type",
		strings.Replace(good, ":jwt", ":saml2", 1):                                    "invalid_request",
		strings.Replace(good, "a.b.c", "", 1):                                         "invalid_request",
		good + "&subject_token=d.e.f":                                                 "invalid_request",
		good + "&grant_type=x":                                                        "invalid_request",
		good + "&actor_token=x":                                                       "invalid_request",
		good + "&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token": "invalid_request",
		good + "&x=%zz": "invalid_request",
		good + "&x=" + strings.Repeat("a", 30<<10): "invalid_request",
		good + strings.Repeat("&audience=git", 9):  "invalid_target",
	} {
		if _, err := identity.ParseExchange(form, []byte(body)); reason(err) != want {
			t.Errorf("%.80s: %v; wanted %s", body, err, want)
		}
	}
	if _, err := identity.ParseExchange("application/json", []byte(good)); reason(err) != "invalid_request" {
		t.Errorf("JSON: %v", err)
	}
}

// jobs is an authority that knows one instance.
type jobs struct {
	secret remit.Digest
	live   bool
}

func (j *jobs) Secret(id remit.ID) (remit.Digest, remit.Caller, bool) {
	if id != "I-7" {
		return remit.Digest{}, remit.Caller{}, false
	}
	return j.secret, remit.Caller{Instance: id, Agent: "builder", Task: "T-3"}, j.live
}

func TestAnAccessTokenIsWorthNothingWithoutItsKey(t *testing.T) {
	clock := world.NewClock()
	known := &jobs{live: true}
	config := identity.TokensConfig{Instances: known, Now: clock.Now, Base: "https://remit.example:8443", Key: [32]byte{9}}
	tokens := identity.NewTokens(config)
	key, err := identity.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := identity.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	prove := func(k identity.ProofKey, token, nonce string) string {
		text, err := k.Proof(http.MethodPost, target, token, nonce, clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first, err := tokens.Proofs().Check(with(prove(key, "", tokens.Proofs().Nonce())), target, "")
	if err != nil {
		t.Fatal(err)
	}
	job := tokens.NewJobToken(first, []string{"git", "oci"})
	known.secret = job.Secret
	text := job.Text("I-7")
	request := func(scheme, token, proof string) *http.Request {
		r := with()
		if proof != "" {
			r = with(proof)
		}
		r.Header.Set("Authorization", scheme+" "+token)
		return r
	}
	good := func(tokens *identity.Tokens, token string) *http.Request {
		return request("DPoP", token, prove(key, token, tokens.Proofs().Nonce()))
	}
	at := tokens.Authenticator("git")
	if c, err := at.Authenticate(good(tokens, text)); err != nil || c.Instance != "I-7" || c.Task != "T-3" {
		t.Fatalf("%+v, %v", c, err)
	}
	restarted := identity.NewTokens(config)
	if _, err := restarted.Authenticator("git").Authenticate(good(restarted, text)); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	used := good(tokens, text)
	if _, err := at.Authenticate(used); err != nil {
		t.Fatal(err)
	}
	twice := good(tokens, text)
	twice.Header.Add("Authorization", "Bearer x")
	part := strings.Split(strings.TrimPrefix(text, "remitj_"), ".")
	for what, r := range map[string]*http.Request{
		"as a bearer":                    request("Bearer", text, ""),
		"as a bearer with proof":         request("Bearer", text, prove(key, text, tokens.Proofs().Nonce())),
		"as a password":                  func() *http.Request { r := with(); r.SetBasicAuth("remit", text); return r }(),
		"without a proof":                request("DPoP", text, ""),
		"with another's key":             request("DPoP", text, prove(other, text, tokens.Proofs().Nonce())),
		"with a proof for another token": request("DPoP", text, prove(key, "remitj_x", tokens.Proofs().Nonce())),
		"with a used proof":              used,
		"with two authorizations":        twice,
		"for more gateways":              good(tokens, "remitj_I-7.."+part[2]),
		"for another gateway":            good(tokens, "remitj_I-7.probe."+part[2]),
		"of another instance":            good(tokens, "remitj_I-8.git+oci."+part[2]),
		"of nobody":                      good(tokens, "remitj_.git+oci."+part[2]),
		"cut":                            good(tokens, text[:len(text)-1]),
	} {
		if c, err := at.Authenticate(r); codeOf(err) != remit.Unauthenticated {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
	}
	if _, err := tokens.Authenticator("probe").Authenticate(good(tokens, text)); codeOf(err) != remit.Unauthenticated {
		t.Errorf("at a gateway that it is not for: %v", err)
	}
	config.Key = [32]byte{8}
	foreign := identity.NewTokens(config)
	if _, err := foreign.Authenticator("git").Authenticate(good(foreign, text)); codeOf(err) != remit.Unauthenticated {
		t.Errorf("at a server with another key: %v", err)
	}
	config.Base = ""
	none := identity.NewTokens(config)
	if _, err := none.Authenticator("git").Authenticate(good(none, text)); codeOf(err) != remit.Unauthenticated {
		t.Errorf("at a server that takes none: %v", err)
	}
	known.live = false
	if _, err := at.Authenticate(good(tokens, text)); codeOf(err) != remit.Unauthenticated {
		t.Errorf("after its end: %v", err)
	}
	// What is lent from it is short.
	known.live = true
	b, ok, err := tokens.ByProof(good(tokens, text))
	if err != nil || !ok || !b.At("git") || b.At("probe") {
		t.Fatalf("%v, %v", ok, err)
	}
	short, err := tokens.IssueFor(b.Instance, b.Secret, "git", identity.BearerLife)
	if err != nil || !short.NotAfter.Equal(clock.Now().Add(2*time.Minute)) {
		t.Errorf("%v, %v", short.NotAfter, err)
	}
}

func FuzzProof(f *testing.F) {
	f.Add("eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2In0.e30.AAAA")
	f.Add("eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6IkEiLCJ5IjoiQSIsImNydiI6IlAtMjU2In19.e30.AAAA")
	now := time.Unix(1_800_000_000, 0)
	p := identity.NewProofs(func() time.Time { return now })
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := p.Check(with(text), target, ""); err == nil {
			t.Fatal("a proof with a nonce that was not given")
		}
	})
}

func FuzzExchange(f *testing.F) {
	f.Add("application/x-www-form-urlencoded", "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=a&subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=git")
	f.Fuzz(func(t *testing.T, kind, body string) {
		e, err := identity.ParseExchange(kind, []byte(body))
		if err != nil {
			return
		}
		if e.Subject == "" || len(e.Subject) > identity.MaxJobToken {
			t.Fatalf("%d bytes of a token", len(e.Subject))
		}
		_, _ = e.Gateways("https://r", "https://r/v1/orgs/o", func(string) bool { return true })
	})
}

func FuzzAccessToken(f *testing.F) {
	clock := world.NewClock()
	tokens := identity.NewTokens(identity.TokensConfig{Instances: &jobs{live: true}, Now: clock.Now, Base: "https://remit.example:8443"})
	key, err := identity.NewProofKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("remitj_I-7.git+oci." + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, text string) {
		proof, err := key.Proof(http.MethodPost, target, text, tokens.Proofs().Nonce(), clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		r := with(proof)
		r.Header.Set("Authorization", "DPoP "+text)
		if _, _, err := tokens.ByProof(r); err == nil {
			t.Fatal("a token that nobody issued")
		}
	})
}

// private is the private scalar of a key.
func private(t *testing.T, k *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
