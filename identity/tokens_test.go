package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// people is the authority, as far as this package asks it: instances and people's keys.
type people struct {
	instances  map[remit.ID]*running
	keys       map[string]remit.ID
	identities map[remit.ID]remit.Digest
}

type running struct {
	secret [32]byte
	caller remit.Caller
	live   bool
}

func (p people) Secret(id remit.ID) (remit.Digest, remit.Caller, bool) {
	r, ok := p.instances[id]
	if !ok {
		return remit.Digest{}, remit.Caller{}, false
	}
	return remit.Hash(r.secret[:]), r.caller, r.live
}

func (p people) ByIdentity(_ context.Context, i remit.Identity) (remit.ID, remit.Digest, bool) {
	as := remit.Hash([]byte(i.Issuer), []byte{0}, []byte(i.Subject))
	for id, have := range p.identities {
		if have == as {
			return id, as, true
		}
	}
	return "", as, false
}

func (p people) Has(id remit.ID, as remit.Digest) bool { return p.identities[id] == as }

func (p people) ByKey(pub []byte) (remit.ID, bool) {
	id, ok := p.keys[string(pub)]
	return id, ok
}

func twoInstances() people {
	return people{instances: map[remit.ID]*running{
		"I-1": {[32]byte{1}, remit.Caller{Instance: "I-1", Agent: "fixer", Task: "T-1"}, true},
		"I-2": {[32]byte{2}, remit.Caller{Instance: "I-2", Agent: "fixer", Task: "T-2"}, true},
	}}
}

func issue(t *testing.T, k *Tokens, id remit.ID, secret byte, gateway string) string {
	t.Helper()
	tok, err := k.Issue(id, [32]byte{secret}, gateway)
	if err != nil {
		t.Fatal(err)
	}
	return tok.Text
}

func request(set func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://remit.example/git/x", nil)
	set(r)
	return r
}

func withBearer(token string) *http.Request {
	return request(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
}

func wantUnauthenticated(t *testing.T, err error, says string) {
	t.Helper()
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != remit.Unauthenticated || !strings.Contains(e.Sentence, says) {
		t.Fatalf("error %v; want %s and %q", err, remit.Unauthenticated, says)
	}
}

func TestTokens(t *testing.T) {
	c, world := newClock(), twoInstances()
	k := NewTokens(TokensConfig{Domain: spiffeid.RequireTrustDomainFromString("acme"), Instances: world, Now: c.Now})
	other := NewTokens(TokensConfig{Domain: spiffeid.RequireTrustDomainFromString("other"), Instances: world, Now: c.Now})
	one := issue(t, k, "I-1", 1, "git")
	foreign := issue(t, other, "I-1", 1, "git")
	forMCP := issue(t, k, "I-1", 1, "mcp")
	if !strings.HasPrefix(one, "remit_") || len(one) != 49 {
		t.Fatalf("a token has the form %q", one)
	}
	for name, test := range map[string]struct {
		r    *http.Request
		says string // empty: it is I1
	}{
		"a token as Bearer":                           {withBearer(one), ""},
		"a token as Bearer in lower case":             {request(func(r *http.Request) { r.Header.Set("Authorization", "bearer "+one) }), ""},
		"a token as clients of forges send it":        {request(func(r *http.Request) { r.Header.Set("Authorization", "token "+one) }), ""},
		"a token as the password of Basic":            {request(func(r *http.Request) { r.SetBasicAuth("x", one) }), ""},
		"a token as a password without a user":        {request(func(r *http.Request) { r.SetBasicAuth("", one) }), ""},
		"nothing":                                     {request(func(*http.Request) {}), "remit run"},
		"a token as the user of Basic":                {request(func(r *http.Request) { r.SetBasicAuth(one, "") }), "not one of Remit's tokens"},
		"a token in the address":                      {request(func(r *http.Request) { r.URL.RawQuery = "access_token=" + one }), "nobody proved"},
		"a token under another scheme":                {request(func(r *http.Request) { r.Header.Set("Authorization", "Digest "+one) }), "neither Bearer nor Basic"},
		"two tokens":                                  {request(func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + one, "Bearer " + one} }), "send one"},
		"a header without end":                        {withBearer(strings.Repeat("x", 2000)), "bytes"},
		"a token of another gateway":                  {withBearer(forMCP), "for the gateway mcp"},
		"a token of another organisation":             {withBearer(foreign), "unknown here"},
		"a token that was never issued":               {withBearer(tokenPrefix + strings.Repeat("A", 43)), "unknown here"},
		"a token with a changed letter":               {withBearer(one[:10] + flip(one[10]) + one[11:]), "unknown here"},
		"a token with bits that base64 ignores":       {withBearer(one[:48] + "B"), "not one of Remit's tokens"},
		"a session instead of a token":                {withBearer(sessionPrefix + strings.Repeat("A", 43)), "not one of Remit's tokens"},
		"a token with something behind it":            {withBearer(one + "A"), "not one of Remit's tokens"},
		"a token with a line end that base64 ignores": {withBearer(one[:20] + "\n" + one[20:48]), "not one of Remit's tokens"},
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := k.Authenticator("git").Authenticate(test.r)
			if test.says != "" {
				wantUnauthenticated(t, err, test.says)
				if caller != (remit.Caller{}) {
					t.Fatalf("a caller beside an error: %+v", caller)
				}
				return
			}
			if err != nil || caller != world.instances["I-1"].caller {
				t.Fatalf("%+v, %v", caller, err)
			}
		})
	}
}

func flip(b byte) string {
	if b == 'A' {
		return "B"
	}
	return "A"
}

func TestATokenEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*clock, people, *Tokens)
		says string
	}{
		"when its time is over":             {func(c *clock, _ people, _ *Tokens) { c.Advance(TokenLife) }, "time is over"},
		"when the instance ends":            {func(_ *clock, p people, _ *Tokens) { p.instances["I-1"].live = false }, "has ended"},
		"when End is called":                {func(_ *clock, _ people, k *Tokens) { k.End("I-1") }, "unknown here"},
		"when the instance is forgotten":    {func(_ *clock, p people, _ *Tokens) { delete(p.instances, "I-1") }, "has ended"},
		"when the instance has a new task":  {func(_ *clock, p people, _ *Tokens) { p.instances["I-1"].caller.Task = "T-9" }, "has ended"},
		"when the instance has a new agent": {func(_ *clock, p people, _ *Tokens) { p.instances["I-1"].caller.Agent = "x" }, "has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			c, world := newClock(), twoInstances()
			k := NewTokens(TokensConfig{Instances: world, Now: c.Now})
			one, two := issue(t, k, "I-1", 1, "git"), issue(t, k, "I-2", 2, "git")
			c.Advance(time.Minute)
			fresh := issue(t, k, "I-2", 2, "git")
			a := k.Authenticator("git")
			for _, tok := range []string{one, two, fresh} {
				if _, err := a.Authenticate(withBearer(tok)); err != nil {
					t.Fatal(err)
				}
			}
			c.Advance(-time.Minute)
			test.end(c, world, k)
			_, err := a.Authenticate(withBearer(one))
			wantUnauthenticated(t, err, test.says)
			if _, err := a.Authenticate(withBearer(fresh)); err != nil {
				t.Fatalf("the other instance lost its token too: %v", err)
			}
		})
	}
}

func TestIssueRefuses(t *testing.T) {
	c, world := newClock(), twoInstances()
	world.instances["I-3"] = &running{[32]byte{3}, remit.Caller{Instance: "I-3"}, false}
	world.instances["I-4"] = &running{[32]byte{4}, remit.Caller{Instance: "I-1"}, true}
	k := NewTokens(TokensConfig{Instances: world, Now: c.Now})
	for name, test := range map[string]struct {
		id      remit.ID
		secret  byte
		gateway string
		says    string
	}{
		"the secret of another instance":             {"I-1", 2, "git", "no instance I-1 with this secret"},
		"an instance that does not exist":            {"I-9", 0, "git", "no instance I-9 with this secret"},
		"an instance that has ended":                 {"I-3", 3, "git", "has ended"},
		"an ended instance with a wrong secret":      {"I-3", 9, "git", "no instance I-3 with this secret"},
		"an instance whose record is of another one": {"I-4", 4, "git", "has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := k.Issue(test.id, [32]byte{test.secret}, test.gateway)
			wantUnauthenticated(t, err, test.says)
		})
	}
	for _, g := range []string{"", "GIT", "git\n", "git mcp"} {
		if _, err := k.Issue("I-1", [32]byte{1}, g); err == nil {
			t.Fatalf("a token for the gateway %q", g)
		}
	}
}

func TestTokensAreBounded(t *testing.T) {
	c, world := newClock(), twoInstances()
	k := NewTokens(TokensConfig{Instances: world, Now: c.Now})
	a := k.Authenticator("git")
	var all []string
	for range MaxTokens + 3 {
		all = append(all, issue(t, k, "I-1", 1, "git"))
	}
	if len(k.byHash) != MaxTokens || len(k.of["I-1"]) != MaxTokens {
		t.Fatalf("%d tokens are kept", len(k.byHash))
	}
	for i, tok := range all {
		if _, err := a.Authenticate(withBearer(tok)); (err == nil) != (i >= 3) {
			t.Fatalf("token %d: %v", i, err)
		}
	}
	c.Advance(TokenLife)
	issue(t, k, "I-2", 2, "git")
	if len(k.byHash) != 1 || len(k.of) != 1 {
		t.Fatalf("what expired is kept: %d tokens of %d instances", len(k.byHash), len(k.of))
	}
}

func clientCert(t *testing.T, ca *CA, id spiffeid.ID, notAfter time.Time) tls.Certificate {
	t.Helper()
	key := newKey(t)
	der, err := sign(ca.leaf(id, notAfter), ca.root, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestMutualTLS(t *testing.T) {
	c, world := newClock(), twoInstances()
	ca, stranger := newCA(t, c), newCA(t, c)
	k := NewTokens(TokensConfig{Domain: ca.td, Instances: world, Now: c.Now})
	s := serve(t, ca, k.Authenticator("git"))
	one, two := instance(t, ca, "fixer", "I-1"), instance(t, ca, "fixer", "I-2")
	soon := c.Now().Add(SVIDLife)
	get := func(t *testing.T, cert *tls.Certificate, token string) string {
		t.Helper()
		cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "remit.example", Time: c.Now}
		if cert != nil {
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		tr := &http.Transport{TLSClientConfig: cfg}
		defer tr.CloseIdleConnections()
		r, err := http.NewRequest(http.MethodGet, "https://"+s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := tr.RoundTrip(r)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	certOf := func(ca *CA, id spiffeid.ID, until time.Time) *tls.Certificate {
		cert := clientCert(t, ca, id, until)
		return &cert
	}
	for name, test := range map[string]struct {
		cert  *tls.Certificate
		token string
		want  string
	}{
		"an instance's SVID":                      {certOf(ca, one, soon), "", "I-1"},
		"an SVID and a token of one instance":     {certOf(ca, one, soon), issue(t, k, "I-1", 1, "git"), "I-1"},
		"a token without a certificate":           {nil, issue(t, k, "I-1", 1, "git"), "I-1"},
		"an SVID and a token of another instance": {certOf(ca, two, soon), issue(t, k, "I-1", 1, "git"), "send those of one instance"},
		"an SVID and a token of another gateway":  {certOf(ca, one, soon), issue(t, k, "I-1", 1, "mcp"), "for the gateway mcp"},
		"the same id by another authority":        {certOf(stranger, one, soon), "", "certificate"},
		"an SVID that has expired":                {certOf(ca, one, c.Now().Add(-time.Second)), "", "certificate"},
		"the server's own SVID":                   {certOf(ca, spiffeid.RequireFromString("spiffe://acme/remit/server"), soon), "", "not an instance's"},
		"an SVID of another trust domain":         {certOf(ca, spiffeid.RequireFromString("spiffe://other/agent/fixer/I-1"), soon), "", "not an instance's"},
		"an SVID of the agent under another name": {certOf(ca, instance(t, ca, "other", "I-1"), soon), "", "has ended"},
		"an SVID of an unknown instance":          {certOf(ca, instance(t, ca, "fixer", "I-9"), soon), "", "has ended"},
		"neither certificate nor token":           {nil, "", "nobody proved"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := get(t, test.cert, test.token); got != test.want && (len(test.want) < 3 || !strings.Contains(got, test.want)) {
				t.Fatalf("the server answers %q; want %q", got, test.want)
			}
		})
	}
	world.instances["I-1"].live = false
	if got := get(t, certOf(ca, one, soon), ""); !strings.Contains(got, "has ended") {
		t.Fatalf("an ended instance calls with its SVID: %q", got)
	}
}

func TestASVIDThatExpiresOnAnOpenConnectionIsRefused(t *testing.T) {
	c, world := newClock(), twoInstances()
	ca := newCA(t, c)
	k := NewTokens(TokensConfig{Domain: ca.td, Instances: world, Now: c.Now})
	leafOf := func(change func(*x509.Certificate)) *http.Request {
		leaf := ca.leaf(instance(t, ca, "fixer", "I-1"), c.Now().Add(SVIDLife))
		change(leaf)
		return request(func(r *http.Request) {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf, ca.root}}}
		})
	}
	r := leafOf(func(*x509.Certificate) {})
	a := k.Authenticator("git")
	if _, err := a.Authenticate(r); err != nil {
		t.Fatal(err)
	}
	c.Advance(SVIDLife)
	_, err := a.Authenticate(r)
	wantUnauthenticated(t, err, "fetch a new SVID")
	c.Advance(-SVIDLife)
	for says, change := range map[string]func(*x509.Certificate){
		"2 URI SANs":          func(l *x509.Certificate) { l.URIs = append(l.URIs, l.URIs[0]) },
		"0 URI SANs":          func(l *x509.Certificate) { l.URIs = nil },
		"not a leaf":          func(l *x509.Certificate) { l.IsCA = true },
		"leaf for signatures": func(l *x509.Certificate) { l.KeyUsage |= x509.KeyUsageCertSign },
		"names no SPIFFE ID":  func(l *x509.Certificate) { l.URIs[0].Scheme = "https" },
		"is good from":        func(l *x509.Certificate) { l.NotBefore = c.Now().Add(time.Second) },
	} {
		_, err := a.Authenticate(leafOf(change))
		wantUnauthenticated(t, err, says)
	}
	unverified := leafOf(func(*x509.Certificate) {})
	unverified.TLS.VerifiedChains = nil
	_, err = a.Authenticate(unverified)
	wantUnauthenticated(t, err, "not verified")
}

func FuzzAuthorization(f *testing.F) {
	c, world := newClock(), twoInstances()
	k := NewTokens(TokensConfig{Instances: world, Now: c.Now})
	f.Add("Bearer " + tokenPrefix + strings.Repeat("A", 43))
	f.Add("Basic eDp5")
	f.Add("bearer  ")
	a := k.Authenticator("git")
	f.Fuzz(func(t *testing.T, s string) {
		r := request(func(r *http.Request) { r.Header["Authorization"] = []string{s} })
		if caller, err := a.Authenticate(r); err == nil {
			t.Fatalf("%q is %+v, and nobody has a token", s, caller)
		}
	})
}
