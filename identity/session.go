package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
)

const (
	// SessionLife is how long the session of a terminal is good; then its person signs again.
	SessionLife = 10 * time.Minute
	// BrowserLife and BrowserIdle are how long a browser's is good at most, and without a request.
	BrowserLife = 8 * time.Hour
	BrowserIdle = 30 * time.Minute
	// DeviceLife is how long a terminal's is good that a person let in from their browser.
	DeviceLife = time.Hour
	// FreshFor is how long a proof stands for the presence of its person: what changes who may do what wants a fresh one.
	FreshFor = 10 * time.Minute
	// MaxSessions is how many sessions a person has; one more ends the oldest.
	MaxSessions = 16

	// SessionCookie is what a browser shows its session in. __Host- (RFC 6265bis §4.1.3.2): only this very host over TLS
	// can have set it.
	SessionCookie = "__Host-remit"
	// CSRFHeader and CSRFField are where a browser shows the token of its session beside the cookie.
	CSRFHeader = "X-Remit-CSRF"
	CSRFField  = "csrf"

	maxForm = 64 << 10
)

// Method is how a person signed in.
type Method string

// The methods.
const (
	MethodKey      Method = "key"      // an SSH key signed a challenge
	MethodPasskey  Method = "passkey"  // a passkey did
	MethodProvider Method = "provider" // an OpenID provider said so
	MethodDevice   Method = "device"   // they let the terminal in from their browser
)

// Session is a person who signed in, and how.
type Session struct {
	Person remit.ID
	Method Method
	Key    []byte // that they signed in with, SSH wire format; empty: a provider vouched for them
	Touch  bool   // the key proved a touch
	Provided
	// AuthTime is when the person last proved to be there; zero: the provider did not say. Since is when the session began.
	AuthTime, Since, NotAfter time.Time
	// CSRF is what a browser shows beside its cookie with everything that changes something; empty for others.
	CSRF string
}

// Provided is what an OpenID provider said of a person: facts of their session, which decide nothing by themselves.
type Provided struct {
	Provider string // its name here
	Identity remit.Identity
	ACR      string   // authentication context class, OpenID Connect Core §2
	AMR      []string // authentication methods, RFC 8176
	Groups   []string // as the provider names them

	as remit.Digest // the identity in the state
}

// Fresh tells whether the person proved to be there a moment ago.
func (s Session) Fresh(now time.Time) bool {
	return now.Sub(s.AuthTime) < FreshFor // never so of the zero time
}

// Sessions signs people in. All of it is in memory: after a restart people sign in again.
type Sessions struct {
	origin string
	org    remit.Org
	people People
	now    func() time.Time
	cross  *http.CrossOriginProtection

	key [32]byte // of the nonces of challenges and of CSRF tokens

	mu       sync.Mutex
	spent    map[remit.Digest]time.Time // challenges that signed somebody in, by the SHA-256 of the text, until they expire
	sessions map[remit.Digest]*session  // by the SHA-256 of the token
	of       map[remit.ID][]remit.Digest
	handed   map[remit.Digest]HandOver // by the SHA-256 of the secret
}

type session struct {
	Session
	browser bool
	idle    time.Time // of a browser: when it ends unless it calls
}

func (s *session) over(now time.Time) bool {
	return !now.Before(s.NotAfter) || s.browser && !now.Before(s.idle)
}

// NewSessions makes an empty table for one organisation behind one origin.
func NewSessions(origin string, org remit.Org, people People, now func() time.Time) (*Sessions, error) {
	if _, err := TrustDomain(org); err != nil {
		return nil, err
	}
	if origin == "" || len(origin) > 512 || strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("%q is not an origin such as https://remit.example:8443", origin)
	}
	t := &Sessions{origin: origin, org: org, people: people, now: now, cross: http.NewCrossOriginProtection(),
		spent: make(map[remit.Digest]time.Time), sessions: make(map[remit.Digest]*session), of: make(map[remit.ID][]remit.Digest), handed: make(map[remit.Digest]HandOver)}
	_, _ = rand.Read(t.key[:]) // never fails
	return t, nil
}

// Provide begins the session of a person whom a provider vouched for, in their browser. at is when they proved
// themselves to it, zero if it did not say.
func (s *Sessions) Provide(ctx context.Context, p Provided, at time.Time) (token string, out Session, err error) {
	person, as, ok := s.people.ByIdentity(ctx, p.Identity)
	if !ok || person == "" {
		// The person is at the provider, not here: the sentence may name what to declare, for it is their own.
		return "", Session{}, remit.Errorf(remit.Forbidden, "nobody in force here has the identity %q of %s; an administrator declares it with its person", p.Identity.Subject, p.Identity.Issuer)
	}
	p.as = as
	token, out = s.begin(Session{Person: person, Method: MethodProvider, Provided: p, AuthTime: at}, true)
	return token, out, nil
}

// Admit begins the session of a terminal that a person let in from their own session. It ends with what that one rests
// on, and cannot let others in.
func (s *Sessions) Admit(by Session) (token string, out Session, err error) {
	by.Method, by.CSRF = MethodDevice, ""
	if !s.stands(by) {
		return "", Session{}, notSignedIn()
	}
	token, out = s.begin(by, false)
	return token, out, nil
}

// spend makes sure that a challenge signs in once.
func (s *Sessions) spend(challenge remit.Digest, notAfter, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.spent, func(_ remit.Digest, end time.Time) bool { return !now.Before(end) })
	if _, used := s.spent[challenge]; used {
		return false
	}
	s.spent[challenge] = notAfter
	return true
}

func (s *Sessions) begin(n Session, browser bool) (token string, out Session) {
	now := s.now()
	n.Since, n.NotAfter = now, now.Add(SessionLife)
	switch {
	case browser:
		n.NotAfter = now.Add(BrowserLife)
	case n.Method == MethodDevice:
		n.NotAfter = now.Add(DeviceLife)
	}
	token, hash := newSecret(sessionPrefix)
	if browser {
		n.CSRF = s.csrf(hash)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for h, old := range s.sessions {
		if old.over(now) {
			s.end(h, old.Person)
		}
	}
	for len(s.of[n.Person]) >= MaxSessions {
		s.end(s.of[n.Person][0], n.Person)
	}
	s.sessions[hash] = &session{n, browser, now.Add(BrowserIdle)}
	s.of[n.Person] = append(s.of[n.Person], hash)
	return token, n
}

// csrf is what the pages of a session show: whoever has only the cookie cannot make it.
func (s *Sessions) csrf(hash remit.Digest) string {
	m := hmac.New(sha256.New, s.key[:])
	m.Write([]byte("csrf"))
	m.Write(hash[:])
	return secretEncoding.EncodeToString(m.Sum(nil))
}

// Lookup is the session of a bearer's token. It lives as long as its person has what it rests on: a key that is taken
// away takes its sessions with it.
func (s *Sessions) Lookup(token string) (Session, error) { return s.lookup(token, false, true) }

func (s *Sessions) lookup(token string, browser, used bool) (Session, error) {
	hash, ok := parseSecret(sessionPrefix, token)
	if !ok {
		return Session{}, notSignedIn()
	}
	now := s.now()
	s.mu.Lock()
	kept, ok := s.sessions[hash]
	// A browser's token is good in its cookie only: there it is never without the checks of a cookie.
	if !ok || kept.browser != browser || kept.over(now) {
		s.mu.Unlock()
		return Session{}, notSignedIn()
	}
	if used {
		kept.idle = now.Add(BrowserIdle)
	}
	found := kept.Session
	s.mu.Unlock()
	if !s.stands(found) {
		return Session{}, notSignedIn()
	}
	found.Key, found.AMR, found.Groups = slices.Clone(found.Key), slices.Clone(found.AMR), slices.Clone(found.Groups)
	return found, nil
}

// stands tells whether a session's person still has what it rests on.
func (s *Sessions) stands(of Session) bool {
	if len(of.Key) == 0 {
		return s.people.Has(of.Person, of.as)
	}
	person, ok := s.people.ByKey(of.Key)
	return ok && person == of.Person
}

// Ended tells whether an answer that goes on and on has to end, because the session that asked for it has: its person
// lost what it rests on, or the session of their browser is over. That of a terminal may run out meanwhile, as it was good
// for asking. Nobody uses a session by being answered, so an idle one stays idle.
func (s *Sessions) Ended(r *http.Request, of Session) bool {
	if !s.stands(of) {
		return true
	}
	if of.CSRF == "" {
		return false
	}
	cookies := r.CookiesNamed(SessionCookie)
	if len(cookies) != 1 {
		return true
	}
	hash, ok := parseSecret(sessionPrefix, cookies[0].Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.sessions[hash]
	return !ok || kept == nil || kept.over(s.now())
}

// Authenticate is the session of a request: by its Bearer token, or without one by the cookie of a browser. A browser
// sends its cookie with whatever any page makes it send, so a request that may change something also shows that a page
// of this very origin made it.
func (s *Sessions) Authenticate(r *http.Request) (Session, error) {
	token, found, err := bearer(r, false)
	if err != nil {
		return Session{}, err
	}
	if found {
		return s.Lookup(token)
	}
	cookies := r.CookiesNamed(SessionCookie)
	if len(cookies) != 1 { // two could be taken for two callers
		return Session{}, notSignedIn()
	}
	// A page that looks for news by itself does not keep alive the session of somebody who has gone (Fetch §3.2: a person
	// who opens a page navigates).
	mode := r.Header.Get("Sec-Fetch-Mode")
	session, err := s.lookup(cookies[0].Value, true, r.Method != http.MethodGet || mode == "" || mode == "navigate")
	if err != nil {
		return Session{}, err
	}
	if err := s.ownPage(r, session.CSRF); err != nil {
		return Session{}, err
	}
	return session, nil
}

// SameOrigin refuses what a page of another origin made a browser send: with the cookie of its person, or to give it one
// of somebody else. net/http lets requests pass that say nothing of where they come from, because they come from no
// browser; here a browser is meant.
func (s *Sessions) SameOrigin(r *http.Request) error {
	origins, fetch := r.Header.Values("Origin"), r.Header.Get("Sec-Fetch-Site")
	if err := s.cross.Check(r); err != nil || len(origins) > 1 || len(origins) == 1 && origins[0] != s.origin || len(origins) == 0 && fetch != "same-origin" {
		return remit.Errorf(remit.Forbidden, "a page of another origin than %s made this request", s.origin)
	}
	return nil
}

// ownPage refuses what no page of the signed-in person made that may change something.
func (s *Sessions) ownPage(r *http.Request, csrf string) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	if err := s.SameOrigin(r); err != nil {
		return err
	}
	shown := r.Header.Get(CSRFHeader)
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); shown == "" && media == "application/x-www-form-urlencoded" {
		r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
		shown = r.PostFormValue(CSRFField)
	}
	if !hmac.Equal([]byte(shown), []byte(csrf)) {
		return remit.Errorf(remit.Forbidden, "the request does not show the token of its session (%s); load the page again", CSRFHeader)
	}
	return nil
}

// Cookie is what a browser keeps of a session.
func Cookie(token string, s Session) *http.Cookie {
	return &http.Cookie{Name: SessionCookie, Value: token, Path: "/", MaxAge: int(s.NotAfter.Sub(s.Since) / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// NoCookie makes a browser forget it.
func NoCookie() *http.Cookie {
	return &http.Cookie{Name: SessionCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

func notSignedIn() *remit.Error {
	return remit.Errorf(remit.Unauthenticated, "nobody is signed in with this, or the time of the session is over; sign in again")
}

// SignOut ends the session that a request shows.
func (s *Sessions) SignOut(r *http.Request) {
	token, found, err := bearer(r, false)
	if cookies := r.CookiesNamed(SessionCookie); err == nil && !found && len(cookies) == 1 {
		token = cookies[0].Value
	}
	s.signOut(token)
}

func (s *Sessions) signOut(token string) {
	hash, ok := parseSecret(sessionPrefix, token)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.sessions[hash]; ok {
		s.end(hash, old.Person)
	}
}

// EndPerson ends every session of a person, as kill does.
func (s *Sessions) EndPerson(person remit.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.of[person] {
		delete(s.sessions, h)
	}
	delete(s.of, person)
	maps.DeleteFunc(s.handed, func(_ remit.Digest, h HandOver) bool { return h.Person == person })
}

func (s *Sessions) end(h remit.Digest, person remit.ID) {
	delete(s.sessions, h)
	left := slices.DeleteFunc(s.of[person], func(x remit.Digest) bool { return x == h })
	if len(left) == 0 {
		delete(s.of, person)
		return
	}
	s.of[person] = left
}
