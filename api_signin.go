package remit

import (
	"encoding/json"
	"time"
)

// ProviderView is an OpenID provider at which people sign in.
type ProviderView struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Issuer string `json:"issuer"`
}

// PasskeyAsk is what a browser gives to navigator.credentials.get to sign a challenge with a passkey.
type PasskeyAsk struct {
	Challenge string `json:"challenge"` // base64url
	RPID      string `json:"rp_id"`
	Timeout   int    `json:"timeout_ms"`
}

// Assertion is what a passkey signed, as PublicKeyCredential.toJSON() of a browser has it: all of it base64url.
type Assertion struct {
	ID            string `json:"id"` // of the credential
	ClientData    string `json:"client_data"`
	Authenticator string `json:"authenticator_data"`
	Signature     string `json:"signature"`
	UserHandle    string `json:"user_handle,omitempty"`
}

// PasskeySignIn exchanges a challenge that a passkey signed for a session in a cookie.
type PasskeySignIn struct {
	Text       []byte    `json:"text"`
	Credential Assertion `json:"credential"`
}

// SessionFacts is how a person signed in, and when.
type SessionFacts struct {
	Method   string     `json:"method,omitempty"` // key, passkey, provider, device
	Touch    bool       `json:"touch,omitempty"`
	Provider string     `json:"provider,omitempty"` // its name
	ACR      string     `json:"acr,omitempty"`
	AMR      []string   `json:"amr,omitempty"`
	AuthTime *time.Time `json:"auth_time,omitempty"` // when they last proved to be there; none: the provider did not say
	Since    *time.Time `json:"since,omitempty"`
	Key      *Digest    `json:"key,omitempty"` // SHA-256 of the key that they signed in with
	// CSRF is what a browser shows in X-Remit-CSRF, beside its cookie, with all that changes something.
	CSRF string `json:"csrf,omitempty"`
}

// HandOver is how a terminal signs its person in to their browser: a link that is good once, for a minute.
type HandOver struct {
	Secret   string    `json:"secret"`
	Link     string    `json:"link"` // with the secret behind the #, which no browser sends anywhere
	NotAfter time.Time `json:"not_after"`
}

// HandedOver is what a page shows of a link.
type HandedOver struct {
	Secret string `json:"secret"`
}

// HandOverView says whom a link signs in, before it does.
type HandOverView struct {
	Name     string    `json:"name"`
	Address  string    `json:"address"`         // that the terminal asked from
	Here     bool      `json:"here"`            // the browser that looks has the same address
	Other    string    `json:"other,omitempty"` // who the browser is signed in as instead
	Asked    time.Time `json:"asked"`
	NotAfter time.Time `json:"not_after"`
}

// DeviceView is a terminal that asks to be let in, for the person who is asked.
type DeviceView struct {
	UserCode string    `json:"user_code"`
	Name     string    `json:"name"`             // as it calls itself
	Address  string    `json:"address"`          // that it asks from
	Here     bool      `json:"here"`             // the browser that looks has the same address
	Agents   []ID      `json:"agents,omitempty"` // tasks whose agents run unconfined at that address, and could have asked themselves
	Asked    time.Time `json:"asked"`
	NotAfter time.Time `json:"not_after"`
}

// PersonName is one person.
type PersonName struct {
	Person string `json:"person"`
}

// Invitation is what an administrator hands to a person who has no key yet. It is shown once.
type Invitation struct {
	Person   string    `json:"person"`
	Secret   string    `json:"secret"`
	Link     string    `json:"link"`
	NotAfter time.Time `json:"not_after"`
}

// Invited is what somebody shows of an invitation.
type Invited struct {
	Secret string `json:"secret"`
}

// EnrolOptions is what a browser makes a passkey with.
type EnrolOptions struct {
	Person ID     `json:"person"`
	Name   string `json:"name"`
	// Creation is what navigator.credentials.create takes, {publicKey: {…}} with base64url members; none where this server
	// has no host name that passkeys could be made for.
	Creation json.RawMessage `json:"creation,omitempty"`
}

// NewKey is a key that is to be enrolled: what navigator.credentials.create answered (toJSON), or an SSH key.
type NewKey struct {
	Secret       string          `json:"secret,omitempty"` // of an invitation; none: a further key of one's own
	Registration json.RawMessage `json:"registration,omitempty"`
	Key          []byte          `json:"key,omitempty"` // SSH wire format
}

// EnrolStatement is what the new key signs, and what an older one does where there is one, in namespace key@remit.
type EnrolStatement struct {
	Key         []byte      `json:"key"` // SSH wire format
	Fingerprint string      `json:"fingerprint"`
	Credential  string      `json:"credential,omitempty"` // id of a passkey, base64url: the one to ask
	Text        []byte      `json:"text"`
	Passkey     *PasskeyAsk `json:"passkey,omitempty"` // for Text
	ConfirmText []byte      `json:"confirm_text,omitempty"`
	Confirm     *PasskeyAsk `json:"confirm,omitempty"` // for ConfirmText, by an older passkey
}

// EnrolKey enrols a key with what it signed. Proof and Confirmation are armored SSHSIGs; Credential and Confirm are the
// same of passkeys.
type EnrolKey struct {
	Secret       string     `json:"secret,omitempty"`
	Key          []byte     `json:"key"`
	Label        string     `json:"label,omitempty"` // for its person: my phone
	Proof        []byte     `json:"proof,omitempty"`
	Credential   *Assertion `json:"credential,omitempty"`
	Confirmation []byte     `json:"confirmation,omitempty"`
	Confirm      *Assertion `json:"confirm,omitempty"`
}

// EnrolAnswer says whether an enrolled key counts, or what it waits for.
type EnrolAnswer struct {
	Key      Digest   `json:"key"` // SHA-256 of the public key
	Decision Decision `json:"decision"`
}

// KeyView is a key of a person.
type KeyView struct {
	Key         Digest     `json:"key"` // SHA-256 of the public key
	Type        string     `json:"type"`
	Fingerprint string     `json:"fingerprint"`
	Label       string     `json:"label,omitempty"`
	Passkey     string     `json:"passkey,omitempty"` // the site that it is for
	Touch       bool       `json:"touch"`
	Declared    bool       `json:"declared"` // it is taken away by applying declarations
	Since       EntryIndex `json:"since"`
	Counts      bool       `json:"counts"`
	From        *time.Time `json:"from,omitempty"`   // when it will count, where that is known
	Access      ID         `json:"access,omitempty"` // on which another administrator decides
	InvitedBy   string     `json:"invited_by,omitempty"`
}

// KeyName names a key of one's own, or as an administrator of another person's.
type KeyName struct {
	Person string `json:"person,omitempty"`
	Key    Digest `json:"key"`
}
