package signin

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

const (
	// FlowCookie binds a sign-in that is under way to the browser that began it. It is Lax: the provider's page sends the
	// browser back, and a Strict cookie would stay behind.
	FlowCookie = "__Host-remit-flow"

	flowLife   = 10 * time.Minute
	maxFlow    = 2 << 10 // bytes of the cookie
	maxQuery   = 8 << 10 // bytes of what a provider sends back
	maxReturn  = 256
	returnRoot = "/console/"
)

// flow is a sign-in that is under way. The browser keeps it, sealed: strangers who begin and do not finish use up
// nothing here.
type flow struct {
	Provider string    `json:"p"`
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"` // RFC 7636 §4.1
	Return   string    `json:"r"`
	Fresh    bool      `json:"f,omitempty"`
	NotAfter time.Time `json:"t"`
}

// Providers are the OpenID providers of a server.
type Providers struct {
	list []*provider
	now  func() time.Time
	seal cipher.AEAD
}

var providerName = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9])*$`)

// NewProviders knows providers that send people back to base/sign-in/providers/NAME/callback, each to an address of its
// own, so that none can pass on what another gave (RFC 9700 §4.4.2). Nothing is asked of them yet.
func NewProviders(base string, list []Provider, now func() time.Time) (*Providers, error) {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	out := &Providers{now: now}
	if out.seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	for _, p := range list {
		switch {
		case len(p.Name) > 32 || !providerName.MatchString(p.Name):
			return nil, fmt.Errorf("provider %.64q: a name has a-z 0-9 and single - between them, at most 32", p.Name)
		case out.find(p.Name) != nil:
			return nil, fmt.Errorf("provider %s is there twice", p.Name)
		case p.ClientID == "" || len(p.ClientID) > maxClaim:
			return nil, fmt.Errorf("provider %s: client_id is missing or too long", p.Name)
		}
		client, err := identity.IssuerClient(remit.Upstream{Location: p.Issuer, CA: p.CA, Insecure: p.Insecure}, p.Hosts...)
		if err != nil {
			return nil, fmt.Errorf("provider %s: issuer: %w", p.Name, err)
		}
		if p.Title == "" {
			p.Title = p.Name
		}
		out.list = append(out.list, &provider{Provider: p, redirect: base + "/sign-in/providers/" + p.Name + "/callback", client: client, now: now,
			asked: make(chan struct{}, maxAsked), turn: make(chan struct{}, 1)})
	}
	return out, nil
}

func (p *Providers) find(name string) *provider {
	for _, x := range p.list {
		if x.Name == name {
			return x
		}
	}
	return nil
}

// List are the providers, for those who choose one.
func (p *Providers) List() []remit.ProviderView {
	out := []remit.ProviderView{}
	for _, x := range p.list {
		out = append(out, remit.ProviderView{Name: x.Name, Title: x.Title, Issuer: x.Issuer})
	}
	return out
}

func unknown(name string) error {
	return remit.Errorf(remit.NotFound, "this server knows no provider %.64q", name)
}

// Begin gives where the browser goes to sign in, and the cookie that it brings back. to is the page of this server that
// it sees afterwards; fresh wants the person to prove themselves now.
func (p *Providers) Begin(ctx context.Context, name, to string, fresh bool) (location string, cookie *http.Cookie, err error) {
	x := p.find(name)
	if x == nil {
		return "", nil, unknown(name)
	}
	if to == "" {
		to = returnRoot
	}
	if !local(to) {
		return "", nil, remit.Errorf(remit.BadRequest, "return is a page of this server that begins with %s, not %.64q", returnRoot, to)
	}
	f := flow{Provider: name, State: random(), Nonce: random(), Verifier: oauth2.GenerateVerifier(), Return: to, Fresh: fresh, NotAfter: p.now().Add(flowLife)}
	if location, err = x.begin(ctx, f); err != nil {
		return "", nil, err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return "", nil, err
	}
	sealed := base64.RawURLEncoding.EncodeToString(p.seal.Seal(nil, nil, text, []byte(FlowCookie)))
	return location, &http.Cookie{Name: FlowCookie, Value: sealed, Path: "/", MaxAge: int(flowLife / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}, nil
}

// Finish reads what a provider sends a browser back with, and proves who came. The flow's cookie is spent by it.
func (p *Providers) Finish(name string, r *http.Request) (out identity.Provided, at time.Time, to string, err error) {
	x := p.find(name)
	if x == nil {
		return out, at, "", unknown(name)
	}
	if len(r.URL.RawQuery) > maxQuery {
		return out, at, "", remit.Errorf(remit.BadRequest, "the provider's answer has more than %d bytes", maxQuery)
	}
	f, err := p.open(r)
	if err != nil {
		return out, at, "", err
	}
	answer, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return out, at, f.Return, remit.Errorf(remit.BadRequest, "the provider's answer cannot be read")
	}
	for k, v := range answer {
		if len(v) > 1 { // RFC 6749 §3.1
			return out, at, f.Return, remit.Errorf(remit.BadRequest, "the provider's answer says %.32q twice", k)
		}
	}
	if f.Provider != name || !hmac.Equal([]byte(f.State), []byte(answer.Get("state"))) {
		return out, at, f.Return, remit.Errorf(remit.Forbidden, "this answer belongs to another sign-in than the one that this browser began; begin again")
	}
	if e := answer.Get("error"); e != "" {
		return out, at, f.Return, remit.Errorf(remit.Unauthenticated, "the provider says no: %.64q", e)
	}
	if answer.Get("code") == "" {
		return out, at, f.Return, remit.Errorf(remit.BadRequest, "the provider's answer has no code")
	}
	out, at, err = x.finish(r.Context(), f, answer)
	return out, at, f.Return, err
}

// open reads the flow that a browser brings back.
func (p *Providers) open(r *http.Request) (f flow, err error) {
	refused := remit.Errorf(remit.Forbidden, "this browser began no sign-in here, or more than %s ago; begin again", flowLife)
	cookies := r.CookiesNamed(FlowCookie)
	if len(cookies) != 1 || len(cookies[0].Value) > maxFlow {
		return f, refused
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cookies[0].Value)
	if err != nil {
		return f, refused
	}
	text, err := p.seal.Open(nil, nil, sealed, []byte(FlowCookie))
	if err != nil || json.Unmarshal(text, &f) != nil || !p.now().Before(f.NotAfter) {
		return flow{}, refused
	}
	return f, nil
}

// NoFlow makes a browser forget it.
func NoFlow() *http.Cookie {
	return &http.Cookie{Name: FlowCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// local tells whether to is a page of this server's console: never an address of anybody else.
func local(to string) bool {
	u, err := url.Parse(to)
	if err != nil || len(to) > maxReturn || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		return false
	}
	return strings.HasPrefix(u.Path, returnRoot) && !strings.Contains(u.Path, "/../") && !strings.Contains(u.Path, "//")
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
