package signin

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/remit-dev/remit"
)

const base = "https://remit.example:8443/v1/orgs/acme"

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// fake is a provider that says whatever a test wants. It checks nothing but the verifier of PKCE.
type fake struct {
	*httptest.Server
	clock *clock

	mu        sync.Mutex
	key       crypto.Signer
	kid       string
	published []jose.JSONWebKey
	nonce     string
	challenge string
	client    string

	claims map[string]any                               // laid over the good ones
	token  func(claims map[string]any) string           // instead of a signature of key
	route  map[string]http.HandlerFunc                  // instead of an endpoint, by path
	doc    map[string]any                               // laid over the discovery document
	extra  func(answer map[string]any, r *http.Request) // changes the answer of the token endpoint
}

func newFake(t *testing.T, c *clock) *fake {
	t.Helper()
	f := &fake{clock: c, client: "remit", route: map[string]http.HandlerFunc{}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	f.rotate(t, false)
	return f
}

// rotate makes a new key; the old one stays published where keep says so.
func (f *fake) rotate(t *testing.T, keep bool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key, f.kid = key, fmt.Sprintf("k%d", len(f.kid))+f.kid
	if !keep {
		f.published = nil
	}
	f.published = append(f.published, jose.JSONWebKey{Key: key.Public(), KeyID: f.kid, Algorithm: string(jose.ES256), Use: "sig"})
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	h := f.route[r.URL.Path]
	f.mu.Unlock()
	if h != nil {
		h(w, r)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		doc := map[string]any{"issuer": f.URL, "authorization_endpoint": f.URL + "/auth", "token_endpoint": f.URL + "/token", "jwks_uri": f.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"}}
		maps.Copy(doc, f.doc)
		out = doc
	case "/keys":
		out = jose.JSONWebKeySet{Keys: f.published}
	case "/token":
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if base64.RawURLEncoding.EncodeToString(sum[:]) != f.challenge || r.FormValue("code") != "the-code" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error":"invalid_grant","error_description":"hunter2"}`)
			return
		}
		now := f.clock.Now().Unix()
		c := map[string]any{"iss": f.URL, "sub": "mia-4711", "aud": f.client, "nonce": f.nonce, "iat": now, "exp": now + 300, "auth_time": now - 30,
			"acr": "urn:mace:incommon:iap:silver", "amr": []string{"hwk", "pin"}, "groups": []string{"staff", "sre"}}
		for k, v := range f.claims {
			if v == nil {
				delete(c, k)
				continue
			}
			c[k] = v
		}
		answer := map[string]any{"access_token": "at-secret", "token_type": "Bearer", "expires_in": 300}
		if f.token != nil {
			answer["id_token"] = f.token(c)
		} else {
			answer["id_token"] = sign(jose.ES256, f.key, f.kid, c)
		}
		if f.extra != nil {
			f.extra(answer, r)
		}
		out = answer
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

func sign(alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		panic(err)
	}
	body, _ := json.Marshal(claims)
	jws, err := s.Sign(body)
	if err != nil {
		panic(err)
	}
	text, _ := jws.CompactSerialize()
	return text
}

func (f *fake) provider() Provider {
	return Provider{Name: "corp", Issuer: f.URL, Insecure: true, ClientID: f.client, Groups: "groups", ACR: []string{"phr"},
		Secret: func(context.Context) (string, error) { return "the-client-secret\n", nil }}
}

func newProviders(t *testing.T, c *clock, list ...Provider) *Providers {
	t.Helper()
	p, err := NewProviders(base, list, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// begin goes to the provider as a browser would, and gives what comes back to the callback, without the code being
// exchanged yet.
func begin(t *testing.T, p *Providers, f *fake, fresh bool) *http.Request {
	t.Helper()
	to, cookie, err := p.Begin(t.Context(), "corp", "/console/approvals/A-1", fresh)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if f != nil {
		f.mu.Lock()
		f.nonce, f.challenge = q.Get("nonce"), q.Get("code_challenge")
		f.mu.Unlock()
	}
	r := httptest.NewRequest("GET", "/v1/orgs/acme/sign-in/providers/corp/callback?"+url.Values{"code": {"the-code"}, "state": {q.Get("state")}}.Encode(), nil)
	r.AddCookie(cookie)
	return r
}

func newClock() *clock { return &clock{t: time.Now().Truncate(time.Second)} }

func TestCodeFlow(t *testing.T) {
	c := newClock()
	f := newFake(t, c)
	basic := ""
	f.extra = func(_ map[string]any, r *http.Request) {
		if r.FormValue("client_secret") != "" {
			t.Error("the secret is in the form, and the provider did not ask for that")
		}
		_, basic, _ = r.BasicAuth()
	}
	p := newProviders(t, c, f.provider())
	to, cookie, err := p.Begin(t.Context(), "corp", "/console/approvals/A-1", true)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(to)
	q := u.Query()
	for name, want := range map[string]string{"response_type": "code", "client_id": "remit", "redirect_uri": base + "/sign-in/providers/corp/callback",
		"code_challenge_method": "S256", "scope": "openid", "max_age": "600", "acr_values": "phr"} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, not %q", name, q.Get(name), want)
		}
	}
	if u.Path != "/auth" || len(q.Get("state")) < 40 || len(q.Get("nonce")) < 40 || len(q.Get("code_challenge")) < 40 {
		t.Fatalf("the browser goes to %s", to)
	}
	if !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" || !strings.HasPrefix(cookie.Name, "__Host-") {
		t.Fatalf("the cookie is %s", cookie)
	}
	for _, secret := range []string{q.Get("state"), q.Get("nonce")} {
		if raw, _ := base64.RawURLEncoding.DecodeString(cookie.Value); strings.Contains(string(raw), secret) {
			t.Fatal("whoever reads the cookie reads the flow")
		}
	}
	got, at, back, err := p.Finish("corp", begin(t, p, f, true))
	if err != nil {
		t.Fatal(err)
	}
	if got.Identity != (remit.Identity{Issuer: f.URL, Subject: "mia-4711"}) || got.Provider != "corp" || got.ACR != "urn:mace:incommon:iap:silver" ||
		!slices.Equal(got.AMR, []string{"hwk", "pin"}) || !slices.Equal(got.Groups, []string{"staff", "sre"}) || !at.Equal(c.Now().Add(-30*time.Second)) || back != "/console/approvals/A-1" {
		t.Fatalf("%+v at %s, back to %s", got, at, back)
	}
	if basic != "the-client-secret" {
		t.Fatalf("the client's secret went as %q", basic)
	}
}

// What a provider, or somebody between, can do wrong proves nobody.
func TestHostileAnswers(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	now := newClock().Now().Unix()
	unsigned := func(c map[string]any) string {
		body, _ := json.Marshal(c)
		enc := base64.RawURLEncoding.EncodeToString
		return enc([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + enc(body) + "."
	}
	type knobs = func(f *fake)
	claims := func(kv ...any) knobs {
		return func(f *fake) {
			f.claims = map[string]any{}
			for i := 0; i < len(kv); i += 2 {
				f.claims[kv[i].(string)] = kv[i+1]
			}
		}
	}
	for name, test := range map[string]struct {
		set   knobs
		query func(url.Values)
		fresh bool
		code  remit.Code
		says  string
	}{
		"another issuer in the token":     {set: claims("iss", "https://evil.example"), says: "different provider"},
		"another audience":                {set: claims("aud", "other-client"), says: "audience"},
		"a second audience":               {set: claims("aud", []string{"remit", "other"}), says: "not for remit alone"},
		"another authorized party":        {set: claims("azp", "other"), says: "not for remit alone"},
		"another nonce":                   {set: claims("nonce", "replayed"), says: "answers another request"},
		"no nonce":                        {set: claims("nonce", nil), says: "answers another request"},
		"no subject":                      {set: claims("sub", ""), says: "subject"},
		"a subject without end":           {set: claims("sub", strings.Repeat("a", 256)), says: "subject"},
		"an expired token":                {set: claims("exp", now-1), says: "expired"},
		"a token of yesterday":            {set: claims("iat", now-86400), says: "not now"},
		"a token of tomorrow":             {set: claims("iat", now+86400), says: "not now"},
		"a token for later":               {set: claims("nbf", now+3600), says: "nbf"},
		"auth_time of tomorrow":           {set: claims("auth_time", now+86400), says: "auth_time"},
		"auth_time before there were any": {set: claims("auth_time", -1), says: "auth_time"},
		"a proof of this morning":         {set: claims("auth_time", now-7200), fresh: true, says: "too long ago"},
		"no auth_time where it was asked": {set: claims("auth_time", nil), fresh: true, says: "too long ago"},
		"acr without end":                 {set: claims("acr", strings.Repeat("x", 300)), says: "acr or amr"},
		"amr without end":                 {set: claims("amr", slices.Repeat([]string{"pwd"}, 17)), says: "acr or amr"},
		"amr that is no list":             {set: claims("amr", 7), says: "cannot be read"},
		"groups without end":              {set: claims("groups", slices.Repeat([]string{"g"}, 257)), says: "257 groups"},
		"a group without end":             {set: claims("groups", []string{strings.Repeat("g", 257)}), says: "groups"},
		"groups that are no names":        {set: claims("groups", []any{map[string]any{"a": 1}}), says: "list of names"},
		"alg none":                        {set: func(f *fake) { f.token = unsigned }, says: "alg"},
		"HS256 with the client's secret": {set: func(f *fake) {
			f.token = func(c map[string]any) string {
				return sign(jose.HS256, []byte(strings.Repeat("the-client-secret", 2)), f.kid, c)
			}
		}, says: "alg"},
		"HS256 with the public key":   {set: hmacOfKey, says: "alg"},
		"the signature of a stranger": {set: func(f *fake) { f.token = func(c map[string]any) string { return sign(jose.ES256, other, f.kid, c) } }, says: "signature"},
		"a key that is not published": {set: func(f *fake) {
			f.token = func(c map[string]any) string { return sign(jose.RS256, rsaKey, "unknown", c) }
		}, says: "signature"},
		"claims changed after signing":      {set: tamper, says: "signature"},
		"no ID token":                       {set: func(f *fake) { f.extra = func(a map[string]any, _ *http.Request) { delete(a, "id_token") } }, says: "0 bytes"},
		"an ID token without end":           {set: claims("x", strings.Repeat("y", maxToken)), says: "bytes"},
		"another access token":              {set: claims("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), says: "access token"},
		"it does not know the code":         {query: func(q url.Values) { q.Set("code", "stolen") }, says: "invalid_grant"},
		"another state":                     {query: func(q url.Values) { q.Set("state", "forged") }, code: remit.Forbidden, says: "another sign-in"},
		"no state":                          {query: func(q url.Values) { q.Del("state") }, code: remit.Forbidden, says: "another sign-in"},
		"two states":                        {query: func(q url.Values) { q.Add("state", "x") }, code: remit.BadRequest, says: "twice"},
		"no code":                           {query: func(q url.Values) { q.Del("code") }, code: remit.BadRequest, says: "no code"},
		"a query without end":               {query: func(q url.Values) { q.Set("x", strings.Repeat("x", maxQuery)) }, code: remit.BadRequest, says: "bytes"},
		"the provider says no":              {query: func(q url.Values) { q.Set("error", "access_denied") }, says: "access_denied"},
		"the answer of another provider":    {query: func(q url.Values) { q.Set("iss", "https://evil.example") }, says: "not of"},
		"an answer that does not say whose": {set: func(f *fake) { f.doc = map[string]any{"authorization_response_iss_parameter_supported": true} }, says: "not of"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			f := newFake(t, c)
			if test.set != nil {
				test.set(f)
			}
			p := newProviders(t, c, f.provider())
			r := begin(t, p, f, test.fresh)
			if test.query != nil {
				q := r.URL.Query()
				test.query(q)
				r.URL.RawQuery = q.Encode()
			}
			got, _, _, err := p.Finish("corp", r)
			want := test.code
			if want == "" {
				want = remit.Unauthenticated
			}
			refused(t, err, want, test.says)
			if got.Identity.Subject != "" || got.Groups != nil {
				t.Fatalf("somebody was proved beside an error: %+v", got)
			}
		})
	}
}

func hmacOfKey(f *fake) {
	public, _ := json.Marshal(f.published[0])
	f.token = func(c map[string]any) string {
		body, _ := json.Marshal(c)
		enc := base64.RawURLEncoding.EncodeToString
		text := enc([]byte(`{"alg":"HS256","typ":"JWT","kid":"`+f.kid+`"}`)) + "." + enc(body)
		m := hmac.New(sha256.New, public)
		m.Write([]byte(text))
		return text + "." + enc(m.Sum(nil))
	}
}

func tamper(f *fake) {
	f.token = func(c map[string]any) string {
		parts := strings.Split(sign(jose.ES256, f.key, f.kid, c), ".")
		c["sub"] = "ada-1"
		body, _ := json.Marshal(c)
		parts[1] = base64.RawURLEncoding.EncodeToString(body)
		return strings.Join(parts, ".")
	}
}

func refused(t *testing.T, err error, code remit.Code, says string) {
	t.Helper()
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(err.Error(), says) {
		t.Fatalf("%v; wanted %s: %s", err, code, says)
	}
	for _, secret := range []string{"the-client-secret", "at-secret", "hunter2", "the-code"} {
		if strings.Contains(err.Error(), secret) {
			t.Fatalf("the error tells %q", secret)
		}
	}
}

// A sign-in is bound to the browser that began it.
func TestAFlowIsOneBrowsers(t *testing.T) {
	c := newClock()
	f := newFake(t, c)
	second := f.provider()
	second.Name = "other"
	p := newProviders(t, c, f.provider(), second)
	mine, theirs := begin(t, p, f, false), begin(t, p, f, false)
	cookie := func(r *http.Request) *http.Cookie { return r.CookiesNamed(FlowCookie)[0] }
	with := func(r *http.Request, cookies ...*http.Cookie) *http.Request {
		n := httptest.NewRequest("GET", r.URL.String(), nil)
		for _, c := range cookies {
			n.AddCookie(c)
		}
		return n
	}
	flipped := *cookie(mine)
	other := "A"
	if flipped.Value[8] == other[0] {
		other = "B"
	}
	flipped.Value = flipped.Value[:8] + other + flipped.Value[9:]
	for name, r := range map[string]*http.Request{
		"without a cookie":     with(mine),
		"another's cookie":     with(mine, cookie(theirs)),
		"two cookies":          with(mine, cookie(mine), cookie(theirs)),
		"a changed cookie":     with(mine, &flipped),
		"a cookie without end": with(mine, &http.Cookie{Name: FlowCookie, Value: strings.Repeat("A", maxFlow+4)}),
		"a session's cookie":   with(mine, &http.Cookie{Name: FlowCookie, Value: "remits_" + strings.Repeat("A", 43)}),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, _, err := p.Finish("corp", r)
			refused(t, err, remit.Forbidden, "begin again")
		})
	}
	t.Run("at another provider", func(t *testing.T) {
		_, _, _, err := p.Finish("other", mine)
		refused(t, err, remit.Forbidden, "another sign-in")
	})
	t.Run("at no provider", func(t *testing.T) {
		_, _, _, err := p.Finish("nobody", mine)
		refused(t, err, remit.NotFound, "no provider")
	})
	t.Run("at another server", func(t *testing.T) {
		_, _, _, err := newProviders(t, c, f.provider()).Finish("corp", mine)
		refused(t, err, remit.Forbidden, "began no sign-in here")
	})
	t.Run("too late", func(t *testing.T) {
		c.Advance(flowLife)
		_, _, _, err := p.Finish("corp", mine)
		refused(t, err, remit.Forbidden, "began no sign-in here")
	})
}

func TestReturnsToThisServerOnly(t *testing.T) {
	c := newClock()
	p := newProviders(t, c, newFake(t, c).provider())
	for to, ok := range map[string]bool{
		"": true, "/console/": true, "/console/approvals/A-1?x=1#y": true,
		"//evil.example/console/": false, "https://evil.example/console/": false, "/\\evil.example/console/": false, "/console/\\..\\": false,
		"/console//evil.example": false, "/console/../v1/x": false, "/v1/orgs/acme": false, "console/": false, "javascript:alert(1)": false,
		"/console/\r\nSet-Cookie: a=b": false, "/console/" + strings.Repeat("a", 300): false, "/consolex/": false,
	} {
		_, _, err := p.Begin(t.Context(), "corp", to, false)
		if (err == nil) != ok {
			t.Errorf("%q: %v", to, err)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	c := newClock()
	f := newFake(t, c)
	p := newProviders(t, c, f.provider())
	in := func() error { _, _, _, err := p.Finish("corp", begin(t, p, f, false)); return err }
	if err := in(); err != nil {
		t.Fatal(err)
	}
	f.rotate(t, true)
	if err := in(); err != nil {
		t.Fatalf("a new key beside the old one: %v", err)
	}
	f.rotate(t, false)
	if err := in(); err != nil {
		t.Fatalf("a new key in the place of the old ones: %v", err)
	}
	old, kid := f.key, f.kid
	f.rotate(t, false)
	f.mu.Lock()
	f.key, f.kid = old, kid
	f.mu.Unlock()
	c.Advance(metadataLife)
	refused(t, in(), remit.Unauthenticated, "signature")
}
