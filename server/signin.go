package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/identity/signin"
	"github.com/remit-dev/remit/sshsig"
)

// passkeyWait is how long a browser lets its person look for their passkey.
const passkeyWait = 2 * time.Minute

// passkeyAsk is what a browser gives to a passkey, to have text signed for namespace.
func (s *Server) passkeyAsk(namespace string, text []byte) *remit.PasskeyAsk {
	if s.site.ID == "" {
		return nil
	}
	return &remit.PasskeyAsk{Challenge: base64.RawURLEncoding.EncodeToString(sshsig.Challenge(namespace, text)), RPID: s.site.ID, Timeout: int(passkeyWait / time.Millisecond)}
}

// keys are those of a person that can be read.
func keys(p *authority.Person) iter.Seq2[remit.Key, ssh.PublicKey] {
	return func(yield func(remit.Key, ssh.PublicKey) bool) {
		for _, k := range p.Keys {
			if pub, err := sshsig.ParseKey(k.Public); err == nil && !yield(k, pub) {
				return
			}
		}
	}
}

// passkeys are those of a person that were made for this server.
func (s *Server) passkeys(person remit.ID) (out []ssh.PublicKey) {
	s.view(func(st *authority.State) {
		p := st.People[person]
		if p == nil {
			return
		}
		for _, pub := range keys(p) {
			if rpID, ok := sshsig.Passkey(pub); ok && rpID == s.site.ID {
				out = append(out, pub)
			}
		}
	})
	return out
}

// asserted makes what one of a person's passkeys signed for namespace the signature that everything else here knows.
func (s *Server) asserted(keys []ssh.PublicKey, namespace string, text []byte, a remit.Assertion) ([]byte, error) {
	err := errors.New("no passkey of this server is there to have signed")
	body, merr := json.Marshal(map[string]any{"id": a.ID, "rawId": a.ID, "type": "public-key", "response": map[string]string{
		"clientDataJSON": a.ClientData, "authenticatorData": a.Authenticator, "signature": a.Signature, "userHandle": a.UserHandle}})
	if merr != nil {
		return nil, merr
	}
	for _, pub := range keys {
		var armored []byte
		if armored, err = s.site.Sign(pub, namespace, text, body); err == nil {
			return armored, nil
		}
	}
	return nil, err
}

// passkeySignIn signs in whom a passkey says that it is of; all failures have one sentence, as with other keys.
func passkeySignIn(s *Server, c *call, in remit.PasskeySignIn) (remit.Session, error) {
	if err := s.cfg.Sessions.SameOrigin(c.r); err != nil {
		return remit.Session{}, err
	}
	handle, err := base64.RawURLEncoding.DecodeString(in.Credential.UserHandle)
	if err != nil || len(handle) == 0 {
		return remit.Session{}, remit.Errorf(remit.BadRequest, "the passkey does not say whose it is (user_handle); choose one that this server made")
	}
	armored, err := s.asserted(s.passkeys(remit.ID(handle)), identity.SignInNamespace, in.Text, in.Credential)
	if err != nil {
		return remit.Session{}, &remit.Error{Code: remit.Unauthenticated, Err: err,
			Sentence: "the passkey's signature does not fit the challenge, or it is not that of a person in force here"}
	}
	token, session, err := s.cfg.Sessions.SignIn(in.Text, armored, true)
	if err != nil {
		return remit.Session{}, err
	}
	return s.began(c, token, session), nil
}

func endSession(s *Server, c *call, _ none) (none, error) {
	s.cfg.Sessions.SignOut(c.r)
	http.SetCookie(c.w, identity.NoCookie())
	return none{}, nil
}

func listProviders(s *Server, _ *call) ([]remit.ProviderView, error) {
	return s.cfg.Providers.List(), nil
}

// beginProvider sends a browser to its provider.
func beginProvider(s *Server, c *call) error {
	q := c.r.URL.Query()
	to, cookie, err := s.cfg.Providers.Begin(c.r.Context(), c.r.PathValue("name"), q.Get("return"), q.Get("fresh") == "true")
	if err != nil {
		return s.signInFailed(c, err)
	}
	http.SetCookie(c.w, cookie)
	c.w.Header().Set("Location", to)
	c.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// finishProvider is where a provider sends a browser back to. It answers with a page, not with a redirect: a browser
// does not send a Strict cookie along a way that began at another site.
func finishProvider(s *Server, c *call) error {
	http.SetCookie(c.w, signin.NoFlow())
	proof, at, to, err := s.cfg.Providers.Finish(c.r.PathValue("name"), c.r)
	if err != nil {
		return s.signInFailed(c, err)
	}
	token, session, err := s.cfg.Sessions.Provide(c.r.Context(), proof, at)
	if err != nil {
		return s.signInFailed(c, err)
	}
	if err := s.showGroups(c.r.Context(), session); err != nil {
		return s.signInFailed(c, err)
	}
	http.SetCookie(c.w, identity.Cookie(token, session))
	return c.say(http.StatusOK, signInPage{To: to})
}

// showGroups tells the authority of the groups that declared groups are mapped to, and of no other.
func (s *Server) showGroups(ctx context.Context, of identity.Session) error {
	iss := of.Identity.Issuer
	var wanted []string
	s.view(func(st *authority.State) { wanted = st.Sources(iss) })
	if len(wanted) == 0 {
		return nil
	}
	shown := slices.DeleteFunc(wanted, func(g string) bool { return !slices.Contains(of.Groups, g) })
	_, err := s.cfg.Engine.Do(ctx, &authority.ShowGroups{Person: of.Person, Issuer: iss, Groups: shown})
	return err
}

type signInPage struct{ To, Sentence string }

// signInText is all that this server says to a browser by itself. It loads nothing, and a refresh is no script.
var signInText = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
{{- if .To}}<meta http-equiv="refresh" content="0;url={{.To}}"><title>Signed in</title></head><body><p>You are signed in. <a href="{{.To}}">Go on</a></p>
{{- else}}<title>Not signed in</title></head><body><h1>You are not signed in</h1><p>{{.Sentence}}</p><p><a href="/console/sign-in">Try again</a></p>{{end}}</body></html>
`))

func (c *call) say(status int, p signInPage) error {
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.WriteHeader(status)
	if err := signInText.Execute(c.w, p); err != nil {
		return errGone
	}
	return nil
}

// signInFailed tells a person in a browser what went wrong, in words.
func (s *Server) signInFailed(c *call, err error) error {
	var e *remit.Error
	if !errors.As(err, &e) || e.Code == remit.Internal {
		return err
	}
	return c.say(e.Code.Info().HTTP, signInPage{Sentence: e.Sentence + " [" + string(e.Code) + "]"})
}

// freshly refuses what a session may not do that has not proved its person for a while (RFC 9470), so that a browser
// that somebody left open, or a cookie that somebody took, does not change who may do what.
func (s *Server) freshly(c *call, of identity.Session) error {
	if of.Fresh(s.now()) {
		return nil
	}
	c.w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_user_authentication", max_age="%d"`, int(identity.FreshFor/time.Second)))
	return remit.Errorf(remit.Unauthenticated, "this changes who may do what, and you proved yourself more than %s ago; sign in again", identity.FreshFor)
}

// themselves refuses the session of a terminal that was let in by a code: it does not let in others, nor add keys.
func themselves(of identity.Session) error {
	if of.Method == identity.MethodDevice {
		return remit.Errorf(remit.Forbidden, "this terminal was let in from your browser; do this in the browser, or sign in with a key")
	}
	return nil
}

// ByIdentity finds the living person who declared an identity. What people are at providers stands outside the leaves.
func (a Authority) ByIdentity(ctx context.Context, who remit.Identity) (person remit.ID, as remit.Digest, ok bool) {
	type declared struct {
		person remit.ID
		as     remit.Digest
	}
	var all []declared
	a.Engine.View(func(s *authority.State) {
		for id, p := range s.People {
			if p.Killed || p.Removed {
				continue
			}
			for _, d := range p.Identities {
				all = append(all, declared{id, d})
			}
		}
	})
	for _, d := range all {
		body, there := a.Engine.Text(ctx, d.as)
		if i, err := remit.ParseIdentity(body); there && err == nil && i == who {
			return d.person, d.as, true
		}
	}
	return "", remit.Digest{}, false
}

// Has tells whether a living person still declares an identity.
func (a Authority) Has(person remit.ID, as remit.Digest) (ok bool) {
	a.Engine.View(func(s *authority.State) {
		p := s.People[person]
		ok = p != nil && !p.Killed && !p.Removed && slices.Contains(p.Identities, as)
	})
	return ok
}

// address is where a request comes from, for people to read.
func address(r *http.Request) string {
	host := r.RemoteAddr
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		host = host[:i]
	}
	return strings.Trim(host, "[]")
}
