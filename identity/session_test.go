package identity

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
)

var corp = remit.Identity{Issuer: "https://id.example", Subject: "mia-4711"}

// inBrowser signs p1 in and gives the cookie.
func inBrowser(t *testing.T, s *Sessions, k ssh.Signer) (*http.Cookie, Session) {
	t.Helper()
	text := s.Challenge()
	token, session, err := s.SignIn(text, armor(t, k, SignInNamespace, text), true)
	if err != nil {
		t.Fatal(err)
	}
	return Cookie(token, session), session
}

// from is a request with a cookie, as a page of this server makes it; change makes it another.
func from(method string, cookie *http.Cookie, change func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, origin+"/v1/orgs/acme/kill", strings.NewReader("{}"))
	r.AddCookie(cookie)
	r.Header.Set("Origin", origin)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	return r
}

func TestBrowserSession(t *testing.T) {
	c, mia := newClock(), newSigner(t)
	s, _ := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia})
	cookie, session := inBrowser(t, s, mia)
	if !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" || cookie.Name != "__Host-remit" || cookie.MaxAge != int(BrowserLife/time.Second) {
		t.Fatalf("the cookie is %s", cookie)
	}
	if session.CSRF == "" || strings.Contains(cookie.Value, session.CSRF) || session.Method != MethodKey || !session.Fresh(c.Now()) {
		t.Fatalf("%+v", session)
	}
	got, err := s.Authenticate(from("GET", cookie, func(r *http.Request) { r.Header.Del("Origin"); r.Header.Del("Sec-Fetch-Site") }))
	if err != nil || got.Person != "p1" || got.CSRF != session.CSRF {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := s.Authenticate(from("POST", cookie, func(r *http.Request) { r.Header.Set(CSRFHeader, session.CSRF) })); err != nil {
		t.Fatal(err)
	}
	form := from("POST", cookie, func(r *http.Request) {
		*r = *httptest.NewRequest("POST", r.URL.String(), strings.NewReader(url.Values{CSRFField: {session.CSRF}, "what": {"x"}}.Encode()))
		r.AddCookie(cookie)
		r.Header.Set("Origin", origin)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	})
	if _, err := s.Authenticate(form); err != nil || form.PostForm.Get("what") != "x" {
		t.Fatal(err)
	}
}

// A browser sends its cookie with whatever a page makes it send. What changes something is refused unless a page of
// this very origin, with the session's own token, made the request.
func TestCrossSiteRequests(t *testing.T) {
	c, mia, bob := newClock(), newSigner(t), newSigner(t)
	s, _ := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia, "p2": bob})
	cookie, session := inBrowser(t, s, mia)
	_, other := inBrowser(t, s, bob)
	token := func(r *http.Request) { r.Header.Set(CSRFHeader, session.CSRF) }
	for name, change := range map[string]func(*http.Request){
		"no token":                func(*http.Request) {},
		"another session's token": func(r *http.Request) { r.Header.Set(CSRFHeader, other.CSRF) },
		"an empty token":          func(r *http.Request) { r.Header.Set(CSRFHeader, "") },
		"the cookie as token":     func(r *http.Request) { r.Header.Set(CSRFHeader, cookie.Value) },
		"a page of another site": func(r *http.Request) {
			token(r)
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		},
		"another port of this host": func(r *http.Request) {
			token(r)
			r.Header.Set("Origin", "https://remit.example:3000")
			r.Header.Set("Sec-Fetch-Site", "same-site")
		},
		"an old browser, another port": func(r *http.Request) {
			token(r)
			r.Header.Set("Origin", "https://remit.example:3000")
			r.Header.Del("Sec-Fetch-Site")
		},
		"another scheme": func(r *http.Request) {
			token(r)
			r.Header.Set("Origin", "http://remit.example:8443")
			r.Header.Del("Sec-Fetch-Site")
		},
		"a page without origin":          func(r *http.Request) { token(r); r.Header.Set("Origin", "null") },
		"a page of this origin, it says": func(r *http.Request) { token(r); r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"two origins":                    func(r *http.Request) { token(r); r.Header.Add("Origin", "https://evil.example") },
		"neither origin nor fetch site":  func(r *http.Request) { token(r); r.Header.Del("Origin"); r.Header.Del("Sec-Fetch-Site") },
		"typed into the address bar":     func(r *http.Request) { token(r); r.Header.Del("Origin"); r.Header.Set("Sec-Fetch-Site", "none") },
		"a host name that is another's": func(r *http.Request) {
			token(r)
			r.Host = "evil.example"
			r.Header.Set("Origin", "https://evil.example")
		},
		"a token in a body of other kind": func(r *http.Request) { r.Body = http.NoBody; r.URL.RawQuery = CSRFField + "=" + session.CSRF },
	} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			t.Run(name+" "+method, func(t *testing.T) {
				_, err := s.Authenticate(from(method, cookie, change))
				var e *remit.Error
				if !errors.As(err, &e) || e.Code != remit.Forbidden {
					t.Fatal(err)
				}
			})
		}
	}
}

// The two kinds of token do not stand in for each other: a browser's is never without the checks of a cookie.
func TestTokensHaveOneUse(t *testing.T) {
	c, mia := newClock(), newSigner(t)
	s, _ := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia})
	bearer := signIn(t, s, mia)
	cookie, session := inBrowser(t, s, mia)
	_, err := s.Authenticate(withBearer(cookie.Value))
	wantUnauthenticated(t, err, "")
	_, err = s.Authenticate(from("GET", &http.Cookie{Name: SessionCookie, Value: bearer}, nil))
	wantUnauthenticated(t, err, "")
	_, err = s.Authenticate(from("GET", &http.Cookie{Name: "remit", Value: cookie.Value}, nil))
	wantUnauthenticated(t, err, "")
	_, err = s.Authenticate(from("GET", cookie, func(r *http.Request) { r.AddCookie(&http.Cookie{Name: SessionCookie, Value: bearer}) }))
	wantUnauthenticated(t, err, "")
	_, err = s.Authenticate(from("GET", cookie, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+session.CSRF) }))
	wantUnauthenticated(t, err, "")
}

func TestBrowserSessionEnds(t *testing.T) {
	for name, end := range map[string]func(c *clock, s *Sessions, w people, k ssh.Signer, cookie *http.Cookie){
		"idle": func(c *clock, _ *Sessions, _ people, _ ssh.Signer, _ *http.Cookie) { c.Advance(BrowserIdle) },
		"idle, with a page that looks for news by itself": func(c *clock, s *Sessions, _ people, _ ssh.Signer, cookie *http.Cookie) {
			for range int(BrowserIdle / time.Minute) {
				c.Advance(time.Minute)
				_, _ = s.Authenticate(from("GET", cookie, func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "cors") }))
			}
		},
		"after its life, however busy": func(c *clock, s *Sessions, _ people, _ ssh.Signer, cookie *http.Cookie) {
			for range int(BrowserLife / (10 * time.Minute)) {
				c.Advance(10 * time.Minute)
				_, _ = s.Authenticate(from("GET", cookie, nil))
			}
		},
		"signed out": func(_ *clock, s *Sessions, _ people, _ ssh.Signer, cookie *http.Cookie) {
			s.SignOut(from("POST", cookie, nil))
		},
		"killed": func(_ *clock, s *Sessions, _ people, _ ssh.Signer, _ *http.Cookie) { s.EndPerson("p1") },
		"without the key": func(_ *clock, _ *Sessions, w people, k ssh.Signer, _ *http.Cookie) {
			delete(w.keys, string(k.PublicKey().Marshal()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, mia := newClock(), newSigner(t)
			s, world := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia})
			cookie, _ := inBrowser(t, s, mia)
			for range 5 {
				c.Advance(BrowserIdle - time.Second)
				if got, err := s.Authenticate(from("GET", cookie, nil)); err != nil || got.Fresh(c.Now()) {
					t.Fatalf("a browser that calls: %v, fresh %t", err, got.Fresh(c.Now()))
				}
			}
			end(c, s, world, mia, cookie)
			_, err := s.Authenticate(from("GET", cookie, nil))
			wantUnauthenticated(t, err, "sign in again")
		})
	}
}

func TestProvidedSession(t *testing.T) {
	c := newClock()
	s, world := newSessions(t, c, nil)
	world.identities["p1"] = remit.Hash([]byte(corp.Issuer), []byte{0}, []byte(corp.Subject))
	_, _, err := s.Provide(t.Context(), Provided{Provider: "corp", Identity: remit.Identity{Issuer: corp.Issuer, Subject: "eve"}}, c.Now())
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != remit.Forbidden {
		t.Fatal(err)
	}
	for name, at := range map[string]time.Time{"a proof of now": c.Now(), "a proof of this morning": c.Now().Add(-3 * time.Hour), "a provider that does not say": {}} {
		t.Run(name, func(t *testing.T) {
			token, session, err := s.Provide(t.Context(), Provided{Provider: "corp", Identity: corp, ACR: "phr", AMR: []string{"hwk"}}, at)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Authenticate(from("GET", Cookie(token, session), nil))
			if err != nil || got.Person != "p1" || got.Method != MethodProvider || got.ACR != "phr" || got.Provider != "corp" || got.Fresh(c.Now()) != at.Equal(c.Now()) || got.Touch {
				t.Fatalf("%+v, %v", got, err)
			}
		})
	}
	token, session, err := s.Provide(t.Context(), Provided{Provider: "corp", Identity: corp}, c.Now())
	if err != nil {
		t.Fatal(err)
	}
	device, admitted, err := s.Admit(session)
	if err != nil || admitted.CSRF != "" || admitted.Method != MethodDevice || !admitted.NotAfter.Equal(c.Now().Add(DeviceLife)) {
		t.Fatalf("%+v, %v", admitted, err)
	}
	if got, err := s.Lookup(device); err != nil || got.Person != "p1" {
		t.Fatal(err)
	}
	delete(world.identities, "p1")
	_, err = s.Authenticate(from("GET", Cookie(token, session), nil))
	wantUnauthenticated(t, err, "")
	_, err = s.Lookup(device)
	wantUnauthenticated(t, err, "")
	_, _, err = s.Admit(session)
	wantUnauthenticated(t, err, "")
}

// A terminal that a person let in lives no longer than the key that they signed in with.
func TestAdmittedSessionEndsWithTheKey(t *testing.T) {
	c, mia := newClock(), newSigner(t)
	s, world := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia})
	_, session := inBrowser(t, s, mia)
	token, _, err := s.Admit(session)
	if err != nil {
		t.Fatal(err)
	}
	c.Advance(DeviceLife - time.Second)
	if got, err := s.Lookup(token); err != nil || got.Fresh(c.Now()) {
		t.Fatalf("%+v, %v", got, err)
	}
	delete(world.keys, string(mia.PublicKey().Marshal()))
	_, err = s.Lookup(token)
	wantUnauthenticated(t, err, "")
}
