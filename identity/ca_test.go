package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

func newCA(t testing.TB, c *clock) *CA {
	t.Helper()
	ca, err := CreateCA(filepath.Join(t.TempDir(), "ca"), "acme", c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newCSR(t testing.TB, key crypto.Signer, template x509.CertificateRequest) []byte {
	t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func instance(t testing.TB, ca *CA, agent string, id remit.ID) spiffeid.ID {
	t.Helper()
	s, err := InstanceID(ca.TrustDomain(), agent, id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantError(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Fatalf("error %v; want one that says %q", err, says)
	}
}

func TestCA(t *testing.T) {
	c := newClock()
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := OpenCA(dir, "acme", c.Now); err == nil {
		t.Fatal("OpenCA makes an authority where there is none")
	}
	made, err := CreateCA(dir, "acme", c.Now)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, caFile): 0o600} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != want {
			t.Fatalf("%s has mode %v, %v; want %v", path, fi.Mode(), err, want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".new-*")); err != nil || len(left) != 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
	opened, err := OpenCA(dir, "acme", c.Now)
	if err != nil || !bytes.Equal(opened.PEM(), made.PEM()) {
		t.Fatalf("it does not come back: %v", err)
	}
	_, err = CreateCA(dir, "acme", c.Now)
	wantError(t, err, "exists")
	if again, err := OpenCA(dir, "acme", c.Now); err != nil || !bytes.Equal(again.PEM(), made.PEM()) {
		t.Fatalf("the second CreateCA changed the first authority: %v", err)
	}
	root := made.root
	if !root.IsCA || !root.MaxPathLenZero || root.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(root.URIs) != 1 || root.URIs[0].String() != "spiffe://acme" {
		t.Fatalf("the root is not as X509-SVID wants it: %+v", root)
	}
	c.Advance(rootLife)
	_, err = OpenCA(dir, "acme", c.Now)
	wantError(t, err, "is good from")
}

func TestOpenCARefuses(t *testing.T) {
	c := newClock()
	for name, test := range map[string]struct {
		org   remit.Org
		spoil func(dir, file string) error
		says  string
	}{
		"a key that the group can read, and says how to mend it":     {"acme", func(_, f string) error { return os.Chmod(f, 0o640) }, "chmod 600"},
		"a key that others can read":                                 {"acme", func(_, f string) error { return os.Chmod(f, 0o604) }, "chmod 600"},
		"a directory that others can enter, and says how to mend it": {"acme", func(d, _ string) error { return os.Chmod(d, 0o711) }, "chmod 700"},
		"the root of another organisation":                           {"other", func(_, _ string) error { return nil }, "another trust domain"},
		"an organisation that is no trust domain":                    {"Acme Inc", func(_, _ string) error { return nil }, "cannot be a trust domain"},
		"a key that is a symbolic link":                              {"acme", func(d, f string) error { return os.Rename(f, f+"x") }, "opening"},
		"a file that is no key":                                      {"acme", func(_, f string) error { return os.WriteFile(f, []byte("hello"), 0o600) }, "private key"},
		"a file that is larger than any key":                         {"acme", func(_, f string) error { return os.WriteFile(f, make([]byte, maxSecret+1), 0o600) }, "larger"},
		"a key without its certificate":                              {"acme", truncateCert, "certificate should follow"},
		"a certificate of another key":                               {"acme", func(_, f string) error { return swapKey(f) }, "belong together"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ca")
			if _, err := CreateCA(dir, "acme", c.Now); err != nil {
				t.Fatal(err)
			}
			if err := test.spoil(dir, filepath.Join(dir, caFile)); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(name, "symbolic") {
				if err := os.Symlink(filepath.Join(dir, caFile+"x"), filepath.Join(dir, caFile)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := OpenCA(dir, test.org, c.Now)
			wantError(t, err, test.says)
		})
	}
	if os.Geteuid() == 0 {
		t.Run("a key of another user", func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ca")
			if _, err := CreateCA(dir, "acme", c.Now); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(filepath.Join(dir, caFile), 12345, -1); err != nil {
				t.Fatal(err)
			}
			_, err := OpenCA(dir, "acme", c.Now)
			wantError(t, err, "chown 0")
		})
	}
}

func truncateCert(_, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(b)
	return os.WriteFile(file, pem.EncodeToMemory(block), 0o600)
}

func swapKey(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, cert := pem.Decode(b)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), cert...), 0o600)
}

func TestSVID(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	id := instance(t, ca, "fixer", "I-42")
	key := newKey(t)
	chain, err := ca.SVID(newCSR(t, key, x509.CertificateRequest{}), id, c.Now().Add(SVIDLife))
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	// go-spiffe judges the form, and the chain against the bundle that it reads from our JWK set.
	svid, err := x509svid.ParseRaw(chain, pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := ca.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := spiffebundle.Parse(ca.TrustDomain(), jwks)
	if err != nil {
		t.Fatalf("%v: %s", err, jwks)
	}
	if n, ok := bundle.SequenceNumber(); !ok || n != 1 {
		t.Fatalf("spiffe_sequence is %d, %v", n, ok)
	}
	got, _, err := x509svid.Verify(svid.Certificates, bundle, x509svid.WithTime(c.Now()))
	if err != nil || got != id {
		t.Fatalf("%v, %v", got, err)
	}
	if _, _, err := x509svid.Verify(svid.Certificates, bundle, x509svid.WithTime(c.Now().Add(SVIDLife+time.Second))); err == nil {
		t.Fatal("it is good after its end")
	}
	other := newCA(t, c)
	if _, _, err := x509svid.Verify(svid.Certificates, x509bundle.FromX509Authorities(other.td, []*x509.Certificate{other.root}), x509svid.WithTime(c.Now())); err == nil {
		t.Fatal("another authority of the same name vouches for it")
	}
	leaf := svid.Certificates[0]
	if len(svid.Certificates) != 1 || leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 2 || len(leaf.URIs) != 1 || len(leaf.DNSNames) != 0 || !leaf.NotAfter.Equal(c.Now().Add(SVIDLife)) {
		t.Fatalf("the leaf is not as X509-SVID wants it: %+v", leaf)
	}
	for _, e := range leaf.Extensions {
		if e.Id.String() == "2.5.29.15" && !e.Critical {
			t.Fatal("its key usage is not critical")
		}
	}
}

func TestSVIDRefuses(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	id := instance(t, ca, "fixer", "I-42")
	good := newCSR(t, newKey(t), x509.CertificateRequest{})
	in := func(d time.Duration) time.Time { return c.Now().Add(d) }
	other := url.URL{Scheme: "spiffe", Host: "acme", Path: "/agent/fixer/I-43"}
	short, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	for name, test := range map[string]struct {
		csr   []byte
		id    spiffeid.ID
		until time.Time
		says  string
	}{
		"an SVID of another trust domain":          {good, spiffeid.RequireFromString("spiffe://evil/agent/fixer/I-42"), in(time.Minute), "not of the trust domain"},
		"an SVID of the server":                    {good, spiffeid.RequireFromString("spiffe://acme/remit/server"), in(time.Minute), "not the id of an instance"},
		"an SVID of a path that goes on":           {good, spiffeid.RequireFromString("spiffe://acme/agent/fixer/I-42/x"), in(time.Minute), "not the id of an instance"},
		"an SVID without an id":                    {good, spiffeid.ID{}, in(time.Minute), "not of the trust domain"},
		"an SVID that lives for days":              {good, id, in(48 * time.Hour), "at most 1h"},
		"an SVID that has expired":                 {good, id, in(0), "at most 1h"},
		"a request with a broken signature":        {forged, id, in(time.Minute), "not signed by its own key"},
		"a request that does not parse":            {[]byte("hello"), id, in(time.Minute), "does not parse"},
		"a request that is too large":              {make([]byte, maxCSR+1), id, in(time.Minute), "at most"},
		"a request that asks for another instance": {newCSR(t, newKey(t), x509.CertificateRequest{URIs: []*url.URL{&other}}), id, in(time.Minute), "another SPIFFE ID"},
		"a request that asks for two ids":          {newCSR(t, newKey(t), x509.CertificateRequest{URIs: []*url.URL{id.URL(), id.URL()}}), id, in(time.Minute), "another SPIFFE ID"},
		"a request that asks for a host name":      {newCSR(t, newKey(t), x509.CertificateRequest{DNSNames: []string{"remit.example"}}), id, in(time.Minute), "names besides"},
		"a request that asks for an address":       {newCSR(t, newKey(t), x509.CertificateRequest{IPAddresses: []net.IP{{127, 0, 0, 1}}}), id, in(time.Minute), "names besides"},
		"an RSA key":                               {newCSR(t, short, x509.CertificateRequest{}), id, in(time.Minute), "accepted"},
		"a key on a weak curve":                    {newCSR(t, p224, x509.CertificateRequest{}), id, in(time.Minute), "P-224"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ca.SVID(test.csr, test.id, test.until)
			wantError(t, err, test.says)
		})
	}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	if _, err := ca.SVID(newCSR(t, ed, x509.CertificateRequest{URIs: []*url.URL{id.URL()}}), id, in(MaxSVIDLife)); err != nil {
		t.Fatalf("an Ed25519 key that asks for its own id is fine: %v", err)
	}
}

func TestInstanceID(t *testing.T) {
	td := spiffeid.RequireTrustDomainFromString("acme")
	for name, test := range map[string]struct {
		id string
		ok bool
	}{
		"an instance":                          {"spiffe://acme/agent/code-fixer-2/I-0", true},
		"an instance in upper case":            {"spiffe://acme/agent/Fixer/I-0", false},
		"another kind of thing":                {"spiffe://acme/person/fixer/I-0", false},
		"a task instead of an instance":        {"spiffe://acme/agent/fixer/T0", false},
		"an instance without a number":         {"spiffe://acme/agent/fixer/I", false},
		"an instance with something else":      {"spiffe://acme/agent/fixer/I-1x", false},
		"an agent without an instance":         {"spiffe://acme/agent/fixer", false},
		"a trust domain that only begins like": {"spiffe://acme.evil/agent/fixer/I-0", false},
		"a name that is too long":              {"spiffe://acme/agent/" + strings.Repeat("a", 65) + "/I-0", false},
	} {
		t.Run(name, func(t *testing.T) {
			agent, instance, err := ParseInstanceID(td, spiffeid.RequireFromString(test.id))
			if (err == nil) != test.ok {
				t.Fatalf("%q, %q, %v", agent, instance, err)
			}
			if back, err := InstanceID(td, agent, instance); test.ok && (err != nil || back.String() != test.id) {
				t.Fatalf("it does not come back: %v, %v", back, err)
			}
		})
	}
}

// serve runs a TLS server of ca on a loopback address, which answers with the outcome of a; it returns host:port.
func serve(t *testing.T, ca *CA, a *Authenticator) string {
	t.Helper()
	cfg, err := ca.TLSConfig("127.0.0.1", "remit.example")
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, err := a.Authenticate(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusUnauthorized)
				return
			}
			_, _ = io.WriteString(w, string(caller.Instance))
		}),
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

func dial(t *testing.T, ca *CA, addr string, name string, certs ...tls.Certificate) (tls.ConnectionState, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.Pool(), ServerName: name, Time: ca.now, Certificates: certs})
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

func TestTLS(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	s := serve(t, ca, NewTokens(TokensConfig{Domain: ca.td, Instances: people{}, Now: c.Now}).Authenticator("git"))
	state, err := dial(t, ca, s, "remit.example")
	if err != nil {
		t.Fatal(err)
	}
	first := state.PeerCertificates[0]
	if id, err := x509svid.IDFromCert(first); err != nil || id.String() != "spiffe://acme/remit/server" || state.Version != tls.VersionTLS13 {
		t.Fatalf("%v, %v, TLS %x", id, err, state.Version)
	}
	if _, err := dial(t, ca, s, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, ca, s, "other.example"); err == nil {
		t.Fatal("it is also some other host")
	}
	c.Advance(serverLife/2 - time.Hour)
	if state, err = dial(t, ca, s, "remit.example"); err != nil || !state.PeerCertificates[0].Equal(first) {
		t.Fatalf("the certificate was replaced too early: %v", err)
	}
	c.Advance(2 * time.Hour)
	if state, err = dial(t, ca, s, "remit.example"); err != nil || state.PeerCertificates[0].Equal(first) {
		t.Fatalf("the certificate was not replaced after half of its life: %v", err)
	}
	conn, err := tls.Dial("tcp", s, &tls.Config{RootCAs: ca.Pool(), ServerName: "remit.example", Time: ca.now, MaxVersion: tls.VersionTLS12})
	if err == nil {
		conn.Close()
		t.Fatal("TLS 1.2 is accepted")
	}
	for _, bad := range [][]string{nil, {""}, {"https://remit.example"}, {"remit.example:8443"}, {"*.example"}} {
		if _, err := ca.TLSConfig(bad...); err == nil {
			t.Fatalf("a server's certificate for %q", bad)
		}
	}
}

func FuzzCSR(f *testing.F) {
	f.Add(newCSR(f, newKey(f), x509.CertificateRequest{}))
	f.Add(newCSR(f, newKey(f), x509.CertificateRequest{DNSNames: []string{"remit.example"}}))
	id := spiffeid.RequireFromString("spiffe://acme/agent/fixer/I-1")
	f.Fuzz(func(t *testing.T, b []byte) {
		pub, err := parseCSR(b, id)
		if (pub == nil) == (err == nil) {
			t.Fatalf("%v, %v", pub, err)
		}
	})
}

func FuzzParseCA(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	dir := filepath.Join(f.TempDir(), "ca")
	if _, err := CreateCA(dir, "acme", time.Now); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		key, root, err := parseCA(b)
		if err == nil && (key == nil || root == nil) {
			t.Fatal("neither an authority nor an error")
		}
	})
}
