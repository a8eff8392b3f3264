package notify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/remit-dev/remit"
)

// postOffice is a real SMTP server.
type postOffice struct {
	addr, ca string
	mu       sync.Mutex
	mails    []string
	to       [][]string
	users    []string
	secure   []bool
	refuse   func(to string) error
}

type session struct {
	p    *postOffice
	conn *smtp.Conn
	to   []string
}

func (p *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{p: p, conn: c}, nil
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "open sesame" {
			return errors.New("no")
		}
		s.p.mu.Lock()
		s.p.users = append(s.p.users, user)
		s.p.mu.Unlock()
		return nil
	}), nil
}

func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.refuse != nil {
		if err := s.p.refuse(to); err != nil {
			return err
		}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	_, secure := s.conn.TLSConnectionState()
	s.p.mails, s.p.to, s.p.secure = append(s.p.mails, string(b)), append(s.p.to, s.to), append(s.p.secure, secure)
	return nil
}

func (s *session) Reset()        { s.to = nil }
func (s *session) Logout() error { return nil }

func (p *postOffice) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.mails)
}

// newPostOffice serves on loopback: with STARTTLS, with TLS from the beginning (tls), or without any (none).
func newPostOffice(t *testing.T, how string) *postOffice {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	p := &postOffice{ca: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(p.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(p)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.AllowInsecureAuth = true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	switch how {
	case "starttls":
		s.TLSConfig = config
	case "tls":
		l = tls.NewListener(l, config)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return p
}

func inbox(p *postOffice, scheme string) remit.Channel {
	return remit.Channel{Name: "mail", Kind: remit.ChannelEmail, URL: scheme + "://" + p.addr, CA: p.ca, From: "remit@example.com", To: []string{"noa@example.com", "rio@example.com"},
		Secret: remit.Source{From: "file", Name: "password", User: "remit"}}
}

// parts are the header and the two bodies of a mail.
func parts(t *testing.T, text string) (mail.Header, []string) {
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatal(kind, err)
	}
	var out []string
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return m.Header, out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p.Header.Get("Content-Type")+"\n"+string(b))
	}
}

func TestMail(t *testing.T) {
	for how, scheme := range map[string]string{"starttls": "smtp", "tls": "smtps"} {
		t.Run(how, func(t *testing.T) {
			h, p := newHouse(t), newPostOffice(t, how)
			h.secrets["password"] = "open sesame"
			h.declare([]remit.Channel{inbox(p, scheme)})
			id := h.asks(func(v *remit.AccessView) {
				v.Intent = "typo\r\nBcc: eve@evil.example\r\n\r\n<script>alert(1)</script>\u202e"
				v.Agent = "coder\r\nBcc: eve@evil.example"
				v.Shown = &remit.Shown{Commits: []remit.ShownCommit{{ID: "0123456789abcdef", Author: "<b>root</b>", Subject: "x\nTo: eve@evil.example"}},
					Paths: []remit.ShownPath{{Path: "a\u200b/<img src=x>", Kind: "add"}}, Diff: "+secret code\n"}
			})
			o, _ := h.run()
			until(t, "it is sent", func() bool { return only(o).Delivered == 1 })
			header, bodies := parts(t, p.mails[0])
			if !p.secure[0] || !slices.Equal(p.to[0], []string{"noa@example.com", "rio@example.com"}) || !slices.Equal(p.users, []string{"remit"}) {
				t.Fatal(p.secure, p.to, p.users)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
			if err != nil || subject != string(id)+` waits for 1 of reviewers: agent coder\r\nBcc: eve@evil.example, source.push` {
				t.Fatalf("%q %v", subject, err)
			}
			if len(header["Bcc"]) != 0 || len(header["To"]) != 1 || header.Get("Auto-Submitted") != "auto-generated" || header.Get("Message-Id") != "<acme_example."+num(id)+".mail@example.com>" {
				t.Fatal(header)
			}
			if len(bodies) != 2 || !strings.HasPrefix(bodies[0], "text/plain") || !strings.HasPrefix(bodies[1], "text/html") {
				t.Fatal(bodies)
			}
			link := "https://remit.example/v1/orgs/acme.example/approve/" + string(id)
			for _, b := range bodies {
				if !strings.Contains(b, link) || !strings.Contains(b, "a claim, not a fact") || !strings.Contains(b, `\u{202E}`) || strings.ContainsRune(b, '\u202e') || strings.ContainsRune(b, '\u200b') {
					t.Fatal(b)
				}
				if strings.Contains(b, "secret code") {
					t.Fatal("a diff nobody asked for")
				}
			}
			for _, bad := range []string{"<script", "<img", "<b>root"} {
				if strings.Contains(bodies[1], bad) {
					t.Fatal(bodies[1])
				}
			}
		})
	}
}

func TestMailShowsTheDiffWhereThatIsDeclared(t *testing.T) {
	h, p := newHouse(t), newPostOffice(t, "starttls")
	h.secrets["password"] = "open sesame"
	c := inbox(p, "smtp")
	c.Diff = true
	h.declare([]remit.Channel{c})
	h.asks(func(v *remit.AccessView) { v.Shown = &remit.Shown{Diff: "+one\u202e\n-two\n", Cut: true} })
	o, _ := h.run()
	until(t, "it is sent", func() bool { return only(o).Delivered == 1 })
	if _, bodies := parts(t, p.mails[0]); !strings.Contains(bodies[0], `+one\u{202E}`) || !strings.Contains(bodies[0], "there is more") {
		t.Fatal(bodies[0])
	}
}

func TestMailGoesOverTLSOrNotAtAll(t *testing.T) {
	h, p := newHouse(t), newPostOffice(t, "none")
	h.secrets["password"] = "open sesame"
	c := inbox(p, "smtp")
	h.declare([]remit.Channel{c})
	h.asks()
	o, _ := h.run()
	until(t, "it fails", func() bool { return only(o).Why != "" })
	if p.count() != 0 || len(p.users) != 0 || !strings.Contains(only(o).Why, "STARTTLS") {
		t.Fatalf("%+v", only(o))
	}
	c.Insecure, c.Secret = true, remit.Source{}
	h.declare([]remit.Channel{c})
	until(t, "it is sent where that is declared", func() bool { return p.count() == 1 })
	c.Secret = remit.Source{From: "file", Name: "password", User: "remit"}
	h.declare([]remit.Channel{c})
	h.asks()
	until(t, "no password goes in the clear", func() bool { return only(o).Why != "" })
	if p.count() != 1 || len(p.users) != 0 {
		t.Fatal(p.users)
	}
}

func TestMailToANameThatIsNotTheServers(t *testing.T) {
	h, p, other := newHouse(t), newPostOffice(t, "starttls"), newPostOffice(t, "starttls")
	h.secrets["password"] = "open sesame"
	c := inbox(p, "smtp")
	c.CA = other.ca
	h.declare([]remit.Channel{c})
	h.asks()
	o, _ := h.run()
	until(t, "it fails", func() bool { return only(o).Why != "" })
	if p.count() != 0 || len(p.users) != 0 {
		t.Fatalf("%+v", only(o))
	}
}

func TestMailThatIsRefused(t *testing.T) {
	h, p := newHouse(t), newPostOffice(t, "starttls")
	h.secrets["password"] = "wrong"
	h.declare([]remit.Channel{inbox(p, "smtp")})
	h.asks()
	o, _ := h.run()
	until(t, "the password is refused", func() bool { return only(o).Why != "" })
	if v := only(o); strings.Contains(v.Why, "wrong") || len(v.Parked) != 0 {
		t.Fatalf("%+v", v)
	}
	p.mu.Lock()
	p.refuse = func(to string) error {
		if strings.HasPrefix(to, "rio") {
			return &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "rio is full"}
		}
		return nil
	}
	p.mu.Unlock()
	h.set(func() { h.secrets["password"] = "open sesame" })
	until(t, "it is tried again", func() bool { return strings.Contains(only(o).Why, "450") })
	p.mu.Lock()
	p.refuse = func(to string) error {
		if strings.HasPrefix(to, "rio") {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no rio here"}
		}
		return nil
	}
	p.mu.Unlock()
	until(t, "it is parked", func() bool { return len(only(o).Parked) == 1 })
	if v := only(o); !strings.Contains(v.Parked[0].Why, "550") || strings.Contains(v.Parked[0].Why, "rio") || p.count() != 0 {
		t.Fatalf("%+v", v)
	}
}

func TestAMailServerThatHangsHoldsUpNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // it never says 220
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h, e := newHouse(t), newEndpoint(t, nil)
	h.secrets["one"], h.secrets["password"] = newSecret(), "open sesame"
	h.declare([]remit.Channel{inbox(&postOffice{addr: l.Addr().String()}, "smtp"), hook("ops", e)})
	_, stop := h.run()
	id := h.asks()
	wantIDs(t, e, num(id)+":ops")
	done := make(chan struct{})
	go func() { stop(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("a mail server that hangs keeps the server from stopping")
	}
}

// TestMailsAreText holds that a line of a card which begins with a dot, or is long, arrives as it is.
func TestMailsAreText(t *testing.T) {
	h, p := newHouse(t), newPostOffice(t, "starttls")
	h.secrets["password"] = "open sesame"
	c := inbox(p, "smtp")
	c.Diff = true
	h.declare([]remit.Channel{c})
	long := strings.Repeat("é", 250)
	h.asks(func(v *remit.AccessView) { v.Shown = &remit.Shown{Diff: ".\n.\n" + long} })
	o, _ := h.run()
	until(t, "it is sent", func() bool { return only(o).Delivered == 1 })
	_, bodies := parts(t, p.mails[0])
	if !strings.Contains(bodies[0], long) || !bytes.Contains([]byte(bodies[0]), []byte("“.\r\n             .\r\n")) {
		t.Fatalf("%q", bodies[0])
	}
}
