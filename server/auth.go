package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/identity"
)

// instanceScheme is how an instance's launcher proves itself: Remit-Instance ID:SECRET, the secret in base64url.
const instanceScheme = "Remit-Instance"

// authenticate finds out who calls, and refuses who may not call this route.
func (s *Server) authenticate(rt route, c *call) error {
	if rt.interactive {
		if err := refuseInstances(c.r); err != nil {
			return err
		}
		if err := s.refuseDescent(c.r); err != nil {
			return err
		}
	}
	scheme, _, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	switch {
	case rt.auth == anyone, rt.auth == reader && s.cfg.PublicLog:
		return nil
	case rt.auth == executor:
		return s.authExecutor(c)
	case rt.auth == instance, rt.auth == either && (strings.EqualFold(scheme, instanceScheme) || strings.EqualFold(scheme, identity.DPoPHeader)):
		return s.authInstance(rt, c)
	}
	session, err := s.cfg.Sessions.Authenticate(c.r)
	if err != nil {
		return err
	}
	c.person, c.session = session.Person, session
	if rt.fresh {
		if err := s.freshly(c, session); err != nil {
			return err
		}
	}
	if rt.auth == admin {
		ok := false
		s.view(func(st *authority.State) { ok = st.IsAdmin(c.person) })
		if !ok {
			return remit.Errorf(remit.Forbidden, "only an administrator may do this")
		}
	}
	return nil
}

// refuseInstances keeps a command that runs inside its remit from acting as a person, with whatever it found of theirs.
func refuseInstances(r *http.Request) error {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return remit.Errorf(remit.Forbidden, "this is for people; a call with a client certificate comes from an instance")
	}
	for _, line := range r.Header.Values("Authorization") {
		scheme, value, _ := strings.Cut(line, " ")
		if strings.EqualFold(scheme, instanceScheme) || strings.EqualFold(scheme, "Basic") || strings.EqualFold(scheme, identity.DPoPHeader) || strings.HasPrefix(strings.TrimSpace(value), "remit_") {
			return remit.Errorf(remit.Forbidden, "this is for people, and the call shows the credential of an instance")
		}
	}
	return nil
}

// authInstance checks the secret in constant time. Who does not know it learns nothing: not whether the instance exists.
func (s *Server) authInstance(rt route, c *call) error {
	if job, ok, err := s.cfg.Tokens.ByProof(c.r); ok {
		if err == nil && !job.Live && !rt.dying {
			err = remit.Errorf(remit.NotLive, "instance %s has ended", job.Instance)
		}
		c.instance, c.task, c.job = job.Instance, job.Caller.Task, &job
		return err
	}
	lines := c.r.Header.Values("Authorization")
	refused := remit.Errorf(remit.Unauthenticated, "nobody proved to be a running instance; `remit run` starts one")
	if len(lines) != 1 || len(lines[0]) > 1024 {
		return refused
	}
	scheme, value, _ := strings.Cut(lines[0], " ")
	id, text, ok := strings.Cut(strings.TrimSpace(value), ":")
	secret, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || !strings.EqualFold(scheme, instanceScheme) {
		return refused
	}
	want, caller, live := Authority{s.cfg.Engine}.Secret(remit.ID(id))
	got := remit.Hash(secret)
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 || want.IsZero() {
		return refused
	}
	if !live && !rt.dying {
		return remit.Errorf(remit.NotLive, "instance %s has ended", id)
	}
	c.instance, c.task = caller.Instance, caller.Task
	return nil
}

// secretOf is the secret that an instance has just proved itself with.
func secretOf(r *http.Request) (secret [32]byte, err error) {
	_, text, _ := strings.Cut(r.Header.Get("Authorization"), ":")
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(secret) {
		return secret, remit.Errorf(remit.Unauthenticated, "an instance's secret has %d bytes", len(secret))
	}
	return [32]byte(b), nil
}

// own tells whether the caller may look at something of a task: people may, an instance only at its own.
func (c *call) own(task remit.ID) error {
	if c.person == "" && (task == "" || task != c.task) {
		return remit.Errorf(remit.Forbidden, "an instance looks at its own task only")
	}
	return nil
}

// Authority is what package identity asks of an engine: who has a key, and what an instance's secret is.
type Authority struct{ Engine *engine.Engine }

// ByKey finds the living person who has a key that counts: confirmed, or approved a day ago.
func (a Authority) ByKey(pub []byte) (person remit.ID, ok bool) {
	now := a.Engine.Now().UnixNano()
	a.Engine.View(func(s *authority.State) {
		for id, p := range s.People {
			if p.Killed || p.Removed {
				continue
			}
			if slices.ContainsFunc(p.Keys, func(k remit.Key) bool {
				return (k.Confirmed || k.Usable != 0 && now >= k.Usable) && string(k.Public) == string(pub)
			}) {
				person, ok = id, true
				return
			}
		}
	})
	return person, ok
}

// Secret gives the hash of an instance's secret, its caller, and whether it lives.
func (a Authority) Secret(id remit.ID) (hash remit.Digest, caller remit.Caller, live bool) {
	now := a.Engine.Now().UnixNano()
	a.Engine.View(func(s *authority.State) {
		if i := s.Instances[id]; i != nil {
			hash, caller, live = i.Secret, remit.Caller{Instance: id, Agent: i.Agent, Task: i.Task}, s.InstanceLive(id, now)
		}
	})
	return hash, caller, live
}

// mac is a keyed digest for one purpose.
func (s *Server) mac(purpose string, parts ...string) remit.Digest {
	m := hmac.New(sha256.New, s.cfg.Key[:])
	m.Write([]byte(purpose))
	for _, p := range parts {
		m.Write([]byte{0})
		m.Write([]byte(p))
	}
	return remit.Digest(m.Sum(nil))
}

// host is the keyed digest of the peer's address, and whether the peer is this machine. A peer whose address cannot be
// told counts as this machine, where votes prove the least.
func (s *Server) host(r *http.Request) (host remit.Digest, loopback bool) {
	p, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return s.mac("host", ""), true
	}
	addr := p.Addr().Unmap().WithZone("")
	return s.mac("host", addr.String()), addr.IsLoopback()
}
