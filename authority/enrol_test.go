package authority_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/sshsig"
)

// passkey is a passkey of remit.example with its browser, in software: what it is asked to sign is the challenge.
type passkey struct{ key *ecdsa.PrivateKey }

func (k passkey) PublicKey() ssh.PublicKey {
	pub, err := sshsig.NewPasskey(&k.key.PublicKey, "remit.example")
	if err != nil {
		panic(err)
	}
	return pub
}

func (k passkey) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	origin := "https://remit.example"
	client := `{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString(data) + `","origin":"` + origin + `","crossOrigin":false}`
	app, hash := sha256.Sum256([]byte("remit.example")), sha256.Sum256([]byte(client))
	auth := []byte{5, 0, 0, 0, 7} // present, verified; counter
	digest := sha256.Sum256(slices.Concat(app[:], auth, hash[:]))
	r, s, err := ecdsa.Sign(rand.Reader, k.key, digest[:])
	return &ssh.Signature{Format: "webauthn-sk-ecdsa-sha2-nistp256@openssh.com", Blob: ssh.Marshal(struct{ R, S *big.Int }{r, s}),
		Rest: append(auth, ssh.Marshal(struct{ Origin, Client, Extensions string }{origin, client, ""})...)}, err
}

func newPasskey() ssh.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return passkey{k}
}

func hashOf(k ssh.Signer) remit.Digest { return remit.Hash(k.PublicKey().Marshal()) }

// enrolment is the command by which somebody enrols a key, by an invitation whose token has that name, or with an older
// key.
func (w *world) enrolment(name string, k ssh.Signer, token string, older ssh.Signer) *authority.EnrolKey {
	w.t.Helper()
	c := &authority.EnrolKey{Person: remit.ID("p-" + name), Public: k.PublicKey().Marshal(), Credential: []byte("id")}
	if token != "" {
		c.Token = remit.Hash([]byte(token))
	}
	sign := func(k ssh.Signer, text []byte) []byte {
		sig, err := sshsig.Sign(k, authority.ConfirmNamespace, text)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		return sig
	}
	c.Proof = sign(k, authority.EnrolStatement(w.s.Origin, c.Person, remit.Hash(c.Public), c.Token))
	if older != nil {
		c.Confirmation = sign(older, authority.ConfirmStatement(w.s.Origin, c.Person, remit.Hash(c.Public)))
	}
	return c
}

func (w *world) invite(by, name, token string) *authority.Invite {
	return &authority.Invite{By: remit.ID("p-" + by), Person: remit.ID("p-" + name), Token: remit.Hash([]byte(token))}
}

// newcomer declares zoe, who has no key and decides with the reviewers and the releasers.
func (w *world) newcomer() {
	w.t.Helper()
	w.apply(func(s *authority.Set) {
		s.People = append(s.People, person("zoe"))
		s.Groups[2].Members, s.Groups[3].Members = append(slices.Clone(s.Groups[2].Members), "p-zoe"), append(slices.Clone(s.Groups[3].Members), "p-zoe")
	})
}

// alone makes ada the only administrator.
func (w *world) alone() {
	w.t.Helper()
	w.apply(func(s *authority.Set) { s.Groups[0].Members = []remit.ID{"p-ada"} })
}

// asks makes a request on which the reviewers decide.
func (w *world) asks() remit.ID {
	w.t.Helper()
	c := w.task("coder", "p-mia")
	return w.hold(push(c, branch(c, "x"), "1", workflow), remit.PathProtected)
}

func TestEnrolByInvitation(t *testing.T) {
	each(t, remit.Team, []row{
		{"the first key of a person waits for another administrator, then for a day, and counts for what is asked after that", func(t *testing.T, w *world) {
			w.newcomer()
			k := newPasskey()
			w.must(w.invite("ada", "zoe", "secret"))
			if p, ok := w.s.InvitedBy(remit.Hash([]byte("secret")), w.now.UnixNano()); !ok || p != "p-zoe" {
				t.Fatal(p, ok)
			}
			res := w.must(w.enrolment("zoe", k, "secret", nil))
			id := res.Decision.Access
			if res.Decision.Verdict != remit.Hold || id == "" {
				t.Fatalf("%+v", res.Decision)
			}
			who, waits, ok := w.s.AwaitedKey(id)
			if !ok || who != "p-zoe" || waits.Key != hashOf(k) || waits.By != "p-ada" || !bytes.Equal(waits.Credential, []byte("id")) {
				t.Fatalf("%s %+v", who, waits)
			}
			if why := w.s.MayVote(w.asks(), "p-zoe", w.now.UnixNano()); !strings.Contains(why, "no key") {
				t.Fatal(why)
			}
			for _, own := range []struct{ name, words string }{{"ada", "caused or steered"}, {"rio", "none of the groups"}, {"zoe", "none of the groups"}} {
				key := touch(own.name)
				if own.name == "zoe" {
					key = k
				}
				w.refuse(w.ballot(id, own.name, key, true), remit.NotEligible, own.words)
			}
			w.later(time.Minute)
			w.vote(id, "bob", touch("bob"), true)
			w.status(id, remit.AccessUsed, "")
			at := w.now.Add(authority.KeyDelay)
			if got := w.s.People["p-zoe"].Keys[0]; got.Usable != at.UnixNano() || got.Confirmed {
				t.Fatalf("%+v", got)
			}
			w.now = at.Add(-time.Second)
			early := w.asks()
			w.now = at
			w.refuse(w.ballot(early, "zoe", k, true), remit.NotEligible, "no key that was in force")
			w.vote(w.asks(), "zoe", k, true)
			if v := w.log[len(w.log)-2].event.(*remit.VoteCast); v.Assurance != remit.AssuranceTouch || v.Key != hashOf(k) {
				t.Fatalf("%+v", v)
			}
		}},
		{"a key on which they decide no is never admitted", func(t *testing.T, w *world) {
			w.newcomer()
			k := newPasskey()
			w.must(w.invite("ada", "zoe", "secret"))
			id := w.must(w.enrolment("zoe", k, "secret", nil)).Decision.Access
			w.vote(id, "bob", touch("bob"), false)
			w.status(id, remit.AccessVoid, remit.Vetoed)
			w.later(3 * authority.KeyDelay)
			if why := w.s.MayVote(w.asks(), "p-zoe", w.now.UnixNano()); !strings.Contains(why, "no key") {
				t.Fatal(why)
			}
			w.refuse(w.invite("ada", "zoe", "again"), remit.Conflict, "take it away first")
			w.must(&authority.RemoveKey{By: "p-ada", Person: "p-zoe", Key: hashOf(k)})
			w.must(w.invite("ada", "zoe", "again"))
		}},
		{"nobody admits the key of somebody who has left, nor one whose inviter is no administrator any more", func(t *testing.T, w *world) {
			w.newcomer()
			w.must(w.invite("ada", "zoe", "secret"))
			id := w.must(w.enrolment("zoe", newPasskey(), "secret", nil)).Decision.Access
			w.set.Groups[0].Members = []remit.ID{"p-bob"}
			w.must(&authority.ApplySet{By: "p-bob", Set: clone(w.set)})
			w.refuse(w.ballot(id, "bob", touch("bob"), true), remit.NotLive, "no administrator any more")
			w.set.Groups[0].Members = []remit.ID{"p-ada", "p-bob"}
			w.must(&authority.ApplySet{By: "p-bob", Set: clone(w.set)})
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-zoe"})
			w.refuse(w.ballot(id, "bob", touch("bob"), true), remit.NotLive, "has left")
		}},
		{"an invitation is an administrator's, for one declared person without a key", func(t *testing.T, w *world) {
			w.newcomer()
			w.refuse(w.invite("mia", "zoe", "x"), remit.Forbidden, "by administrators")
			w.refuse(w.invite("ada", "eve", "x"), remit.NotFound, "declare them first")
			w.refuse(w.invite("ada", "rio", "x"), remit.Conflict, "has a key")
			w.refuse(&authority.Invite{By: "p-ada", Person: "p-zoe"}, remit.BadRequest, "hash of a secret")
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-zoe"})
			w.refuse(w.invite("ada", "zoe", "x"), remit.NotFound, "no such person")
		}},
		{"it is good once, for a day, and until it is withdrawn or replaced", func(t *testing.T, w *world) {
			w.newcomer()
			k := newPasskey()
			gone := func(token string, code remit.Code, words string) {
				t.Helper()
				w.refuse(w.enrolment("zoe", k, token, nil), code, words)
				if p, ok := w.s.InvitedBy(remit.Hash([]byte(token)), w.now.UnixNano()); ok {
					t.Fatal(p)
				}
			}
			gone("never", remit.Forbidden, "no such invitation")
			w.must(w.invite("ada", "zoe", "one"))
			w.refuse(w.enrolment("rio", k, "one", nil), remit.Forbidden, "no such invitation")
			w.must(w.invite("bob", "zoe", "two"))
			gone("one", remit.Forbidden, "replaced")
			w.refuse(&authority.WithdrawInvitation{By: "p-mia", Person: "p-zoe"}, remit.Forbidden, "by administrators")
			w.refuse(&authority.WithdrawInvitation{By: "p-ada", Person: "p-rio"}, remit.NotFound, "no invitation")
			w.must(&authority.WithdrawInvitation{By: "p-ada", Person: "p-zoe"})
			gone("two", remit.Forbidden, "withdrawn")
			w.must(w.invite("ada", "zoe", "three"))
			w.later(authority.InviteLife)
			gone("three", remit.Expired, "another one")
			w.must(w.invite("ada", "zoe", "four"))
			w.later(authority.InviteLife - 1)
			w.must(w.enrolment("zoe", k, "four", nil))
			w.refuse(w.enrolment("zoe", newPasskey(), "four", nil), remit.Forbidden, "was used")
		}},
		{"it ends with whoever made it, and with whom it is for", func(t *testing.T, w *world) {
			w.newcomer()
			w.must(w.invite("bob", "zoe", "secret"))
			w.set.Groups[0].Members = []remit.ID{"p-ada"}
			w.must(&authority.ApplySet{By: "p-ada", Set: clone(w.set)})
			w.refuse(w.enrolment("zoe", newPasskey(), "secret", nil), remit.NotLive, "no administrator any more")
			w.must(w.invite("ada", "zoe", "other"))
			w.apply(func(s *authority.Set) {
				without("p-zoe")(s)
			})
			w.refuse(w.enrolment("zoe", newPasskey(), "other", nil), remit.UnknownPrincipal, "no such person")
			w.newcomer()
			w.refuse(w.enrolment("zoe", newPasskey(), "other", nil), remit.NotLive, "has left")
		}},
		{"who came back as an administrator does not stand for what they did before", func(t *testing.T, w *world) {
			w.newcomer()
			w.must(w.invite("bob", "zoe", "secret"))
			w.apply(without2("p-bob", true))
			w.apply(func(s *authority.Set) {
				s.People, s.Groups[0].Members = append(s.People, person("bob", touch("bob"))), []remit.ID{"p-ada", "p-bob"}
			})
			w.refuse(w.enrolment("zoe", newPasskey(), "secret", nil), remit.NotLive, "ask another one")
		}},
		{"a declared key makes an invitation void", func(t *testing.T, w *world) {
			w.newcomer()
			w.must(w.invite("ada", "zoe", "secret"))
			w.apply(func(s *authority.Set) { s.People[len(s.People)-1].Keys = []remit.Key{key(touch("zoe"))} })
			w.refuse(w.enrolment("zoe", newPasskey(), "secret", nil), remit.Conflict, "has a key by now")
		}},
		{"the one administrator's word is enough where there is no other, and whoever lost a key waits a day", func(t *testing.T, w *world) {
			w.newcomer()
			w.alone()
			k, next := newPasskey(), newPasskey()
			w.must(w.invite("ada", "zoe", "secret"))
			before := w.asks()
			if res := w.must(w.enrolment("zoe", k, "secret", nil)); res.Decision.Verdict != remit.Allow {
				t.Fatalf("%+v", res.Decision)
			}
			w.refuse(w.ballot(before, "zoe", k, true), remit.NotEligible, "no key that was in force")
			w.vote(w.asks(), "zoe", k, true)
			w.must(&authority.RemoveKey{By: "p-ada", Person: "p-zoe", Key: hashOf(k)})
			w.must(w.invite("ada", "zoe", "again"))
			w.must(w.enrolment("zoe", next, "again", nil))
			if why := w.s.MayVote(w.asks(), "p-zoe", w.now.UnixNano()); !strings.Contains(why, "no key") {
				t.Fatal(why)
			}
			w.later(authority.KeyDelay)
			w.vote(w.asks(), "zoe", next, true)
		}},
		{"whoever invites is in the closure of what was asked before", func(t *testing.T, w *world) {
			w.newcomer()
			w.apply(func(s *authority.Set) { s.Groups[2].Members = append(slices.Clone(s.Groups[2].Members), "p-bob") })
			id := w.asks()
			w.must(w.invite("bob", "zoe", "secret"))
			if why := w.s.MayVote(id, "p-bob", w.now.UnixNano()); why != "" {
				t.Fatal(why)
			}
			k := newPasskey()
			w.must(w.enrolment("zoe", k, "secret", nil))
			w.refuse(w.ballot(id, "bob", touch("bob"), true), remit.NotEligible, "caused or steered")
			id = w.asks()
			w.must(&authority.RemoveKey{By: "p-bob", Person: "p-zoe", Key: hashOf(k)})
			w.refuse(w.ballot(id, "bob", touch("bob"), true), remit.NotEligible, "caused or steered")
		}},
	})
}

func TestEnrolWithAnOlderKey(t *testing.T) {
	each(t, remit.Team, []row{
		{"an older key confirms a further one, which counts for what is asked from then on", func(t *testing.T, w *world) {
			k := newPasskey()
			before := w.asks()
			w.must(w.enrolment("rio", k, "", touch("rio")))
			w.refuse(w.ballot(before, "rio", k, true), remit.BadVote, "no declared key")
			w.vote(before, "rio", touch("rio"), true) // nobody is in a closure for a key of their own
			w.vote(w.asks(), "rio", k, true)
			third := newPasskey()
			w.must(w.enrolment("rio", third, "", k))
			if p := w.s.People["p-rio"]; len(p.Keys) != 4 || len(p.Enrolled) != 2 || !p.Keys[3].Confirmed {
				t.Fatalf("%+v", p)
			}
		}},
		{"the new key signs as well, for this person and this invitation", func(t *testing.T, w *world) {
			k, other := newPasskey(), newPasskey()
			good := w.enrolment("rio", k, "", touch("rio"))
			bad := func(code remit.Code, words string, change func(*authority.EnrolKey)) {
				t.Helper()
				c := *good
				change(&c)
				w.refuse(&c, code, words)
			}
			bad(remit.BadVote, "did not sign", func(c *authority.EnrolKey) { c.Proof = w.enrolment("rio", other, "", nil).Proof })
			bad(remit.BadVote, "did not sign", func(c *authority.EnrolKey) { c.Proof = w.enrolment("sam", k, "", nil).Proof })
			bad(remit.BadVote, "did not sign", func(c *authority.EnrolKey) { c.Proof = w.enrolment("rio", k, "x", nil).Proof })
			bad(remit.BadVote, "did not sign", func(c *authority.EnrolKey) { c.Proof = nil })
			bad(remit.BadVote, "older key", func(c *authority.EnrolKey) { c.Confirmation = w.enrolment("rio", k, "", touch("sam")).Confirmation })
			bad(remit.BadVote, "older key", func(c *authority.EnrolKey) { c.Confirmation = w.enrolment("rio", other, "", touch("rio")).Confirmation })
			bad(remit.BadVote, "older key", func(c *authority.EnrolKey) { c.Confirmation = w.enrolment("rio", k, "", k).Confirmation })
			bad(remit.BadVote, "older key", func(c *authority.EnrolKey) { c.Confirmation = c.Proof })
			bad(remit.BadVote, "older key", func(c *authority.EnrolKey) { c.Confirmation = nil })
			bad(remit.BadRequest, "the new key", func(c *authority.EnrolKey) { c.Public = []byte("x") })
			bad(remit.BadRequest, "at most 1023", func(c *authority.EnrolKey) { c.Credential = make([]byte, authority.MaxCredential+1) })
			bad(remit.UnknownPrincipal, "no such person", func(c *authority.EnrolKey) { c.Person = "p-eve" })
			w.must(good)
			w.refuse(good, remit.Conflict, "already p-rio's")
			w.refuse(w.enrolment("sam", k, "", touch("sam")), remit.Conflict, "already p-rio's")
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-rio"})
			w.apply(without2("p-rio", true))
			w.refuse(w.enrolment("sam", k, "", touch("sam")), remit.Conflict, "already p-rio's")
		}},
		{"a key that does not count yet confirms none", func(t *testing.T, w *world) {
			w.newcomer()
			first, second := newPasskey(), newPasskey()
			w.must(w.invite("ada", "zoe", "secret"))
			id := w.must(w.enrolment("zoe", first, "secret", nil)).Decision.Access
			w.refuse(w.enrolment("zoe", second, "", first), remit.BadVote, "older key of yours that counts")
			w.vote(id, "bob", touch("bob"), true)
			w.refuse(w.enrolment("zoe", second, "", first), remit.BadVote, "older key of yours that counts")
			w.later(authority.KeyDelay)
			w.must(w.enrolment("zoe", second, "", first))
		}},
		{"a person keeps a bounded number of them", func(t *testing.T, w *world) {
			w.quick = true
			for range authority.MaxEnrolled {
				w.must(w.enrolment("rio", newPasskey(), "", touch("rio")))
			}
			w.refuse(w.enrolment("rio", newPasskey(), "", touch("rio")), remit.Conflict, "no more are kept")
		}},
	})
}

func TestEnrolledKeysAreNotDeclaredOnes(t *testing.T) {
	each(t, remit.Team, []row{
		{"applying declarations takes none away, and declaring one is no new key", func(t *testing.T, w *world) {
			k := newPasskey()
			w.must(w.enrolment("rio", k, "", touch("rio")))
			had := slices.Clone(w.s.People["p-rio"].Keys)
			w.must(&authority.ApplySet{By: "p-ada", Set: clone(w.set)})
			res := w.must(&authority.ApplySet{By: "p-ada", Set: func() authority.Set {
				s := clone(w.set)
				s.People[4].Keys = s.People[4].Keys[1:]
				return s
			}()})
			if p := w.s.People["p-rio"]; res.Decision.Verdict != remit.Allow || len(p.Keys) != 2 || !bytes.Equal(p.Keys[1].Public, had[2].Public) || p.Keys[1].Since != had[2].Since || len(p.Enrolled) != 1 {
				t.Fatalf("%+v", p)
			}
			w.set.People[4].Keys = []remit.Key{w.set.People[4].Keys[1], key(k)}
			if res := w.must(&authority.ApplySet{By: "p-ada", Set: clone(w.set)}); res.Decision.Verdict != remit.Allow {
				t.Fatalf("%+v", res.Decision)
			}
			if p := w.s.People["p-rio"]; len(p.Keys) != 2 || len(p.Enrolled) != 0 || p.Keys[1].Since != had[2].Since || !p.Keys[1].Confirmed {
				t.Fatalf("%+v", p)
			}
			w.refuse(&authority.RemoveKey{By: "p-rio", Person: "p-rio", Key: hashOf(k)}, remit.Conflict, "is declared")
			w.set.People[4].Keys = w.set.People[4].Keys[:1]
			w.must(&authority.ApplySet{By: "p-ada", Set: clone(w.set)})
			if p := w.s.People["p-rio"]; len(p.Keys) != 1 {
				t.Fatalf("%+v", p)
			}
		}},
		{"nobody declares somebody else's", func(t *testing.T, w *world) {
			k := newPasskey()
			w.must(w.enrolment("rio", k, "", touch("rio")))
			s := clone(w.set)
			s.People[5].Keys = append(slices.Clone(s.People[5].Keys), key(k))
			if _, err := authority.Diff(w.s, &s); err == nil || !strings.Contains(err.Error(), "another person (p-rio)") {
				t.Fatal(err)
			}
		}},
		{"whoever is removed and comes back has only what is declared; the killed keep theirs from others", func(t *testing.T, w *world) {
			k := newPasskey()
			w.must(w.enrolment("tom", k, "", touch("tom")))
			w.apply(without("p-tom"))
			w.must(w.enrolment("sam", k, "", touch("sam")))
			w.apply(func(s *authority.Set) { s.People = append(s.People, person("tom", touch("tom"))) })
			if p := w.s.People["p-tom"]; len(p.Keys) != 1 || len(p.Enrolled) != 0 {
				t.Fatalf("%+v", p)
			}
		}},
	})
}

func TestRemoveKey(t *testing.T) {
	each(t, remit.Team, []row{
		{"whose it is or an administrator takes it away, at once, with the votes that it cast", func(t *testing.T, w *world) {
			k := newPasskey()
			w.must(w.enrolment("rio", k, "", touch("rio")))
			gone := func(by string, key ssh.Signer) *authority.RemoveKey {
				return &authority.RemoveKey{By: remit.ID("p-" + by), Person: "p-rio", Key: hashOf(key)}
			}
			w.refuse(gone("sam", k), remit.Forbidden, "whose it is")
			w.refuse(gone("rio", touch("rio")), remit.Conflict, "is declared")
			w.refuse(gone("rio", newPasskey()), remit.NotFound, "no such key")
			w.refuse(&authority.RemoveKey{By: "p-ada", Person: "p-eve", Key: hashOf(k)}, remit.NotFound, "no such key")
			c := w.task("coder", "p-mia")
			asked := push(c, branch(c, "x"), "1", workflow)
			id := w.hold(asked, remit.PathProtected)
			w.vote(id, "rio", k, true)
			w.must(gone("rio", k))
			if len(w.s.People["p-rio"].Keys) != 2 || len(w.s.People["p-rio"].Enrolled) != 0 {
				t.Fatalf("%+v", w.s.People["p-rio"])
			}
			if d := w.ask(w.claim(id, asked)); d.Verdict == remit.Allow {
				t.Fatalf("a vote counts whose key is gone: %+v", d)
			}
			w.refuse(w.enrolment("rio", k, "", touch("rio")), remit.Conflict, "was taken away") // with what confirmed it before
			k = newPasskey()
			w.must(w.enrolment("rio", k, "", touch("rio")))
			w.must(gone("ada", k))
		}},
		{"a dead person takes nothing away", func(t *testing.T, w *world) {
			k := newPasskey()
			w.must(w.enrolment("rio", k, "", touch("rio")))
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-rio"})
			w.refuse(&authority.RemoveKey{By: "p-rio", Person: "p-rio", Key: hashOf(k)}, remit.Forbidden, "whose it is")
		}},
		{"a key that waited out its day is not made more by itself", func(t *testing.T, w *world) {
			w.newcomer()
			w.alone()
			k := newPasskey()
			w.must(w.invite("ada", "zoe", "lost"))
			w.must(w.enrolment("zoe", k, "lost", nil))
			w.must(&authority.RemoveKey{By: "p-ada", Person: "p-zoe", Key: hashOf(k)})
			next := newPasskey()
			w.must(w.invite("ada", "zoe", "again"))
			w.must(w.enrolment("zoe", next, "again", nil))
			w.later(authority.KeyDelay)
			sig, err := sshsig.Sign(next, authority.ConfirmNamespace, authority.ConfirmStatement(w.s.Origin, "p-zoe", hashOf(next)))
			if err != nil {
				t.Fatal(err)
			}
			w.refuse(&authority.ConfirmKey{Person: "p-zoe", Key: hashOf(next), Signature: sig}, remit.BadVote, "older key")
		}},
		{"a key that waits takes its request with it", func(t *testing.T, w *world) {
			w.newcomer()
			k := newPasskey()
			w.must(w.invite("ada", "zoe", "secret"))
			id := w.must(w.enrolment("zoe", k, "secret", nil)).Decision.Access
			w.must(&authority.RemoveKey{By: "p-bob", Person: "p-zoe", Key: hashOf(k)})
			w.status(id, remit.AccessVoid, remit.Dropped)
		}},
		{"a key that waits for a vote is not the last one", func(t *testing.T, w *world) {
			k := newPasskey()
			w.newcomer()
			w.must(w.enrolment("ada", k, "", touch("ada")))
			w.must(w.invite("ada", "zoe", "secret"))
			w.must(w.enrolment("zoe", newPasskey(), "secret", nil))
			w.apply(func(s *authority.Set) {
				s.People = slices.Clone(s.People)
				s.People[0].Keys = nil
				s.Groups[0].Members = []remit.ID{"p-ada", "p-zoe"}
			})
			w.refuse(&authority.RemoveKey{By: "p-ada", Person: "p-ada", Key: hashOf(k)}, remit.Conflict, "nobody could undo it")
		}},
		{"nor is a key of an administrator who was killed", func(t *testing.T, w *world) {
			k := newPasskey()
			w.must(w.enrolment("ada", k, "", touch("ada")))
			w.apply(func(s *authority.Set) { s.Groups[0].Members = []remit.ID{"p-ada", "p-bob"} })
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-bob"})
			w.set.People = slices.Clone(w.set.People)
			w.set.People[0].Keys = nil
			w.must(&authority.ApplySet{By: "p-ada", Set: clone(w.set)})
			w.refuse(&authority.RemoveKey{By: "p-ada", Person: "p-ada", Key: hashOf(k)}, remit.Conflict, "nobody could undo it")
		}},
		{"the last key of the last administrator who has one stays", func(t *testing.T, w *world) {
			k, other := newPasskey(), newPasskey()
			w.must(w.enrolment("ada", k, "", touch("ada")))
			w.alone()
			w.set.People = slices.Clone(w.set.People)
			w.set.People[0].Keys = nil
			w.must(&authority.ApplySet{By: "p-ada", Set: clone(w.set)})
			w.refuse(&authority.RemoveKey{By: "p-ada", Person: "p-ada", Key: hashOf(k)}, remit.Conflict, "nobody could undo it")
			w.must(w.enrolment("ada", other, "", k))
			w.must(&authority.RemoveKey{By: "p-ada", Person: "p-ada", Key: hashOf(k)})
			w.refuse(&authority.RemoveKey{By: "p-ada", Person: "p-ada", Key: hashOf(other)}, remit.Conflict, "nobody could undo it")
		}},
	})
}

// What a log of other rules could say is not applied.
func TestKeysOfAnotherLog(t *testing.T) {
	each(t, remit.Team, []row{{"each rests on what was before", func(t *testing.T, w *world) {
		w.newcomer()
		k := remit.Key{Public: newPasskey().PublicKey().Marshal(), Since: w.s.Next}
		for _, e := range []remit.Event{&remit.PersonInvited{Person: "p-eve"}, &remit.InvitationWithdrawn{Person: "p-eve"}, &remit.KeyRemoved{Person: "p-eve"}, &remit.GroupsShown{Person: "p-eve"},
			&remit.KeyEnrolled{Person: "p-eve", Key: k}, &remit.KeyEnrolled{Person: "p-zoe", Key: k, By: "p-ada"}, &remit.KeyAdmitted{Person: "p-zoe", Key: remit.Hash(k.Public), Access: "A-1"}} {
			if err := authority.Apply(w.s, w.now.UnixNano(), e); err == nil {
				t.Errorf("%s is applied", e.Kind())
			}
		}
	}}})
}
