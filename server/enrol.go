package server

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/passkey"
	"github.com/remit-dev/remit/sshsig"
)

// How people get keys that are not declared: the first by an invitation, further ones with an older one. The key signs
// that it is to be enrolled, so that nobody enrols one that they do not have.

const (
	invitePrefix = "remiti_"
	maxLabel     = 64
)

// invite makes an invitation. Its secret is shown once, and only its hash is kept.
func invite(s *Server, c *call, in remit.PersonName) (out remit.Invitation, err error) {
	if err := themselves(c.session); err != nil {
		return out, err
	}
	who, ok := s.people(c.r.Context()).ID(in.Person)
	if !ok {
		return out, remit.Errorf(remit.NotFound, "there is no person %.64q; declare them first", in.Person)
	}
	secret := s.secretOnce(c)
	if _, err := s.do(c, &authority.Invite{By: c.person, Person: who, Token: remit.Hash(secret[:])}); err != nil {
		return out, s.inNames(c, err)
	}
	text := invitePrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	out = remit.Invitation{Person: in.Person, Secret: text, Link: s.cfg.Base + "/console/invitation#" + text}
	s.view(func(st *authority.State) {
		if p := st.People[who]; p != nil && p.Invite != nil {
			out.NotAfter = time.Unix(0, p.Invite.NotAfter).UTC()
		}
	})
	return out, nil
}

func withdrawInvitation(s *Server, c *call, in remit.PersonName) (none, error) {
	who, ok := s.people(c.r.Context()).ID(in.Person)
	if !ok {
		return none{}, remit.Errorf(remit.NotFound, "there is no person %.64q", in.Person)
	}
	_, err := s.do(c, &authority.WithdrawInvitation{By: c.person, Person: who})
	return none{}, s.inNames(c, err)
}

// invited is whom an invitation is for. Secrets that are none and invitations that are over are not told apart.
func (s *Server) invited(secret string) (who remit.ID, token remit.Digest, err error) {
	refused := remit.Errorf(remit.Forbidden, "there is no such invitation, or it was used, withdrawn or replaced, or its time is over; ask an administrator for another one")
	text, ok := strings.CutPrefix(secret, invitePrefix)
	raw, derr := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || derr != nil || len(raw) != 32 {
		return "", token, refused
	}
	token, now := remit.Hash(raw), s.cfg.Engine.Now().UnixNano()
	s.view(func(st *authority.State) { who, ok = st.InvitedBy(token, now) })
	if !ok {
		return "", token, refused
	}
	return who, token, nil
}

// enrolling is whose key a request is about: whom its invitation is for, or who signed in.
func (s *Server) enrolling(c *call, secret string) (who remit.ID, token remit.Digest, err error) {
	if c.person == "" || secret != "" {
		return s.invited(secret)
	}
	return c.person, token, themselves(c.session)
}

// registration is the challenge of making a passkey. It is no secret and proves nothing: what counts is what the
// passkey signs afterwards.
func (s *Server) registration(who remit.ID, token remit.Digest) []byte {
	d := s.mac("registration", string(who), token.String())
	return d[:]
}

func openInvitation(s *Server, c *call, in remit.Invited) (remit.EnrolOptions, error) {
	return s.enrolOptions(c, in.Secret)
}

func keyOptions(s *Server, c *call, _ none) (remit.EnrolOptions, error) { return s.enrolOptions(c, "") }

func (s *Server) enrolOptions(c *call, secret string) (out remit.EnrolOptions, err error) {
	who, token, err := s.enrolling(c, secret)
	if err != nil {
		return out, err
	}
	out = remit.EnrolOptions{Person: who, Name: s.people(c.r.Context()).Name(who)}
	if s.site.ID == "" {
		return out, nil
	}
	var have [][]byte
	s.view(func(st *authority.State) {
		for _, e := range st.People[who].Enrolled {
			if len(e.Credential) > 0 {
				have = append(have, e.Credential)
			}
		}
	})
	out.Creation, err = s.site.Creation(s.registration(who, token), passkey.User{Handle: []byte(who), Name: out.Name}, have)
	return out, err
}

// enrolStatement turns a new key into what is to be signed.
func enrolStatement(s *Server, c *call, in remit.NewKey) (out remit.EnrolStatement, err error) {
	who, token, err := s.enrolling(c, in.Secret)
	if err != nil {
		return out, err
	}
	pub, err := sshsig.ParseKey(in.Key)
	if len(in.Registration) > 0 {
		var made passkey.Credential
		if made, err = s.site.Register(s.registration(who, token), in.Registration); err == nil {
			pub, out.Credential = made.Key, base64.RawURLEncoding.EncodeToString(made.ID)
		}
	}
	if err != nil {
		return out, remit.Errorf(remit.BadRequest, "the new key: %w", err)
	}
	out.Key, out.Fingerprint = pub.Marshal(), ssh.FingerprintSHA256(pub)
	out.Text = s.enrolText(who, out.Key, token)
	if _, ok := sshsig.Passkey(pub); ok {
		out.Passkey = s.passkeyAsk(authority.ConfirmNamespace, out.Text)
	}
	if token.IsZero() {
		out.ConfirmText = s.confirmText(who, out.Key)
		out.Confirm = s.passkeyAsk(authority.ConfirmNamespace, out.ConfirmText)
	}
	return out, nil
}

func (s *Server) enrolText(who remit.ID, key []byte, token remit.Digest) (text []byte) {
	s.view(func(st *authority.State) { text = authority.EnrolStatement(st.Origin, who, remit.Hash(key), token) })
	return text
}

func (s *Server) confirmText(who remit.ID, key []byte) (text []byte) {
	s.view(func(st *authority.State) { text = authority.ConfirmStatement(st.Origin, who, remit.Hash(key)) })
	return text
}

// enrolKey hands a key and what was signed to the authority, which alone says whether it counts.
func enrolKey(s *Server, c *call, in remit.EnrolKey) (out remit.EnrolAnswer, err error) {
	who, token, err := s.enrolling(c, in.Secret)
	if err != nil {
		return out, err
	}
	pub, err := sshsig.ParseKey(in.Key)
	if err != nil {
		return out, remit.Errorf(remit.BadRequest, "the new key: %w", err)
	}
	if len(in.Label) > maxLabel {
		return out, remit.Errorf(remit.BadRequest, "the key's name has %d bytes; at most %d", len(in.Label), maxLabel)
	}
	cmd := &authority.EnrolKey{Person: who, Public: in.Key, Token: token}
	if in.Credential != nil {
		if cmd.Credential, err = base64.RawURLEncoding.DecodeString(in.Credential.ID); err != nil {
			return out, remit.Errorf(remit.BadRequest, "the passkey's id is not base64url")
		}
	}
	if cmd.Proof, err = s.signed([]ssh.PublicKey{pub}, s.enrolText(who, in.Key, token), in.Proof, in.Credential); err != nil {
		return out, err
	}
	if token.IsZero() {
		if cmd.Confirmation, err = s.signed(s.passkeys(who), s.confirmText(who, in.Key), in.Confirmation, in.Confirm); err != nil {
			return out, err
		}
	}
	var texts []remit.Payload
	if in.Label != "" {
		label, err := s.cfg.Engine.NewPayload([]byte(in.Label))
		if err != nil {
			return out, err
		}
		cmd.Label, texts = label.Commitment(), []remit.Payload{label}
	}
	res, err := s.do(c, cmd, texts...)
	if err != nil {
		return out, s.inNames(c, err)
	}
	return remit.EnrolAnswer{Key: remit.Hash(in.Key), Decision: res.Decision}, nil
}

// signed is a signature of text in ConfirmNamespace, as it came or as a passkey of keys made it.
func (s *Server) signed(keys []ssh.PublicKey, text, armored []byte, by *remit.Assertion) ([]byte, error) {
	if by != nil {
		sig, err := s.asserted(keys, authority.ConfirmNamespace, text, *by)
		if err != nil {
			return nil, remit.Errorf(remit.BadVote, "the passkey's signature: %w", err)
		}
		return sig, nil
	}
	return armored, s.ownOrigin(armored)
}

// ownOrigin refuses what a passkey signed on a page of another origin under the same domain. Other signatures have none.
func (s *Server) ownOrigin(armored []byte) error {
	if origin, err := sshsig.Origin(armored); err == nil && origin != "" && origin != s.site.Origin {
		return remit.Errorf(remit.BadVote, "a page of %.200q had the passkey sign this, not one of %s", origin, s.cfg.Base)
	}
	return nil
}

// listKeys shows a person's keys to them, and to administrators.
func listKeys(s *Server, c *call) (out []remit.KeyView, err error) {
	who, names := c.person, s.people(c.r.Context())
	if name := c.r.URL.Query().Get("person"); name != "" {
		if who, err = s.keysOf(c, name); err != nil {
			return nil, err
		}
	}
	now := s.cfg.Engine.Now().UnixNano()
	var labels []remit.Digest
	s.view(func(st *authority.State) {
		p := st.People[who]
		if p == nil {
			return
		}
		for k, pub := range keys(p) {
			v := remit.KeyView{Key: remit.Hash(k.Public), Type: pub.Type(), Fingerprint: ssh.FingerprintSHA256(pub), Declared: true, Touch: sshsig.Touch(pub),
				Since: k.Since, Counts: k.Confirmed || k.Usable != 0 && now >= k.Usable}
			v.Passkey, _ = sshsig.Passkey(pub)
			if !v.Counts && k.Usable != 0 {
				from := time.Unix(0, k.Usable).UTC()
				v.From = &from
			}
			label := remit.Digest{}
			if i := slices.IndexFunc(p.Enrolled, func(e authority.Enrolled) bool { return e.Key == v.Key }); i >= 0 {
				e := p.Enrolled[i]
				v.Declared, label = false, e.Label
				if e.By != "" {
					v.InvitedBy = names.Name(e.By)
				}
				if st.OpenHolds[e.Access] {
					v.Access = e.Access
				}
			}
			out, labels = append(out, v), append(labels, label)
		}
	})
	for i, l := range labels {
		out[i].Label = s.text(c.r.Context(), l)
	}
	return out, nil
}

// keysOf is the person whose keys a caller asks for by name.
func (s *Server) keysOf(c *call, name string) (remit.ID, error) {
	who, ok := s.people(c.r.Context()).ID(name)
	admin := false
	s.view(func(st *authority.State) { admin = st.IsAdmin(c.person) })
	if who != c.person && !admin {
		return "", remit.Errorf(remit.Forbidden, "only an administrator looks at the keys of others")
	}
	if !ok {
		return "", remit.Errorf(remit.NotFound, "there is no person %.64q", name)
	}
	return who, nil
}

func removeKey(s *Server, c *call, in remit.KeyName) (none, error) {
	who := c.person
	if in.Person != "" {
		var err error
		if who, err = s.keysOf(c, in.Person); err != nil {
			return none{}, err
		}
	}
	_, err := s.do(c, &authority.RemoveKey{By: c.person, Person: who, Key: in.Key})
	return none{}, s.inNames(c, err)
}
