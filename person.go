package remit

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
)

// What a person is to Remit besides the declared keys: identities at providers, keys that they enrolled themselves, and
// groups that a provider says they are in.

// Identity is who a person is at an OpenID provider. The subject is the provider's own id, which never changes hands; an
// e-mail address may.
type Identity struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// Limits of what is declared of people and groups.
const (
	MaxIdentities = 8
	MaxSources    = 16
)

// Body is what the commitment of an identity in the log commits to.
func (i Identity) Body() []byte {
	b, _ := json.Marshal(i) // two strings: it cannot fail
	return b
}

// ParseIdentity reads what Body writes.
func ParseIdentity(b []byte) (Identity, error) {
	var i Identity
	err := DecodeStrict(bytes.NewReader(b), 8<<10, &i)
	return i, err
}

// GroupSource says whose members of which group at a provider are members of a declared group.
type GroupSource struct {
	Issuer string `json:"issuer" cbor:"1,keyasint"`
	Group  string `json:"group" cbor:"2,keyasint"` // as the provider's claim `groups` has it
}

// Wrong is what is wrong with an identity; empty: nothing.
func (i Identity) Wrong() string { return wrongAt(i.Issuer, i.Subject, "subject") }

// Wrong is what is wrong with a source; empty: nothing.
func (g GroupSource) Wrong() string { return wrongAt(g.Issuer, g.Group, "group") }

// wrongAt: the issuer is compared byte by byte with what a token says (OpenID Connect Core §3.1.3.7), so only its shape
// is looked at here. A subject has at most 255 characters (§2).
func wrongAt(issuer, name, what string) string {
	u, err := url.Parse(issuer)
	local := err == nil && u.Scheme == "http" && u.Hostname() == "localhost"
	switch {
	case err != nil || len(issuer) > 512 || u.Scheme != "https" && !local || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "the issuer is the URL of a provider, https://…, without user, query and fragment"
	case name == "" || len(name) > 255 || slices.ContainsFunc([]byte(name), func(b byte) bool { return b < ' ' || b == 0x7f }):
		return "the " + what + " is 1 to 255 bytes of text, as the provider says it"
	}
	return ""
}

type (
	// PersonInvited: whoever shows the secret of Token may enrol the first key of a person.
	PersonInvited struct {
		Person   ID     `cbor:"1,keyasint"`
		Token    Digest `cbor:"2,keyasint"` // hash of the secret
		NotAfter int64  `cbor:"3,keyasint"` // Unix nanoseconds
		By       ID     `cbor:"4,keyasint"`
	}
	// InvitationWithdrawn: it is good for nothing any more.
	InvitationWithdrawn struct {
		Person ID `cbor:"1,keyasint"`
		By     ID `cbor:"2,keyasint"`
	}
	// KeyEnrolled adds a key to a person, beside the declared ones.
	KeyEnrolled struct {
		Person     ID     `cbor:"1,keyasint"`
		Key        Key    `cbor:"2,keyasint"`
		Credential []byte `cbor:"3,keyasint,omitempty"` // id of a passkey, by which a browser finds it
		Label      Digest `cbor:"4,keyasint,omitzero"`  // commitment of what its person calls it
		By         ID     `cbor:"5,keyasint,omitempty"` // who invited; empty: an older key confirmed it
		With       Digest `cbor:"6,keyasint,omitzero"`  // SHA-256 of that older key
		Access     ID     `cbor:"7,keyasint,omitempty"` // the request on which another administrator decides
	}
	// KeyAdmitted: another administrator approved a key that came by invitation.
	KeyAdmitted struct {
		Person ID     `cbor:"1,keyasint"`
		Key    Digest `cbor:"2,keyasint"` // SHA-256 of the public key
		Usable int64  `cbor:"3,keyasint"` // from when it counts, Unix nanoseconds
		Access ID     `cbor:"4,keyasint"` // the approval
	}
	// KeyRemoved takes an enrolled key away.
	KeyRemoved struct {
		Person ID     `cbor:"1,keyasint"`
		Key    Digest `cbor:"2,keyasint"`
		By     ID     `cbor:"3,keyasint"`
	}
	// GroupsShown is which groups of a provider a sign-in showed a person in; all others of that provider it did not show.
	GroupsShown struct {
		Person   ID       `cbor:"1,keyasint"`
		Issuer   string   `cbor:"2,keyasint"`
		Groups   []string `cbor:"3,keyasint,omitempty"` // of those that declarations name; sorted
		NotAfter int64    `cbor:"4,keyasint"`           // until then it counts, Unix nanoseconds
	}
)

func (*PersonInvited) Kind() string       { return "person.invited" }
func (*InvitationWithdrawn) Kind() string { return "invitation.withdrawn" }
func (*KeyEnrolled) Kind() string         { return "key.enrolled" }
func (*KeyAdmitted) Kind() string         { return "key.admitted" }
func (*KeyRemoved) Kind() string          { return "key.removed" }
func (*GroupsShown) Kind() string         { return "groups.shown" }
