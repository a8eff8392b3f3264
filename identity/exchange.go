package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// Token exchange (RFC 8693): the token of a CI job becomes the access token of an instance.

// URNs of RFC 8693 §2.1 and §3.
const (
	GrantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	TypeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
)

const (
	// MaxExchange bounds the form of an exchange, in bytes.
	MaxExchange = MaxJobToken + 8<<10
	// BearerLife is how long a bearer token is good that a CI job lends to a client without DPoP, such as git.
	BearerLife = 2 * time.Minute

	jobPrefix  = "remitj_" // of access tokens of CI jobs
	maxTargets = 8
)

// Exchange is a request for token exchange.
type Exchange struct {
	Subject string   // the job's token
	Targets []string // audience and resource parameters, as they came
}

func badExchange(reason, format string, args ...any) error {
	return &OAuthError{reason, remit.Errorf(remit.BadRequest, format, args...)}
}

// ParseExchange reads the form of RFC 8693 §2.1. Parameters that are not known are ignored, as RFC 6749 §3.2 has it;
// scope too: no exchange changes the grant of a task, and the answer says what that is.
func ParseExchange(contentType string, body []byte) (Exchange, error) {
	if len(body) > MaxExchange {
		return Exchange{}, badExchange(InvalidRequest, "the form has %d bytes; at most %d", len(body), MaxExchange)
	}
	if t, _, err := mime.ParseMediaType(contentType); err != nil || t != "application/x-www-form-urlencoded" {
		return Exchange{}, badExchange(InvalidRequest, "the body is %.64q, not application/x-www-form-urlencoded", contentType)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return Exchange{}, badExchange(InvalidRequest, "the form cannot be read: %w", err)
	}
	for name, values := range form {
		if len(values) > 1 && name != "audience" && name != "resource" { // RFC 6749 §3.2, RFC 8693 §2.1
			return Exchange{}, badExchange(InvalidRequest, "the parameter %.32q stands %d times", name, len(values))
		}
	}
	e := Exchange{Subject: form.Get("subject_token"), Targets: slices.Concat(form["audience"], form["resource"])}
	switch {
	case form.Get("grant_type") != GrantExchange:
		return Exchange{}, badExchange("unsupported_grant_type", "grant_type is %.80q; the one grant here is %s", form.Get("grant_type"), GrantExchange)
	case form.Get("subject_token_type") != TypeJWT && form.Get("subject_token_type") != TypeIDToken:
		return Exchange{}, badExchange(InvalidRequest, "subject_token_type is %.80q; a job's token is %s or %s", form.Get("subject_token_type"), TypeJWT, TypeIDToken)
	case e.Subject == "" || len(e.Subject) > MaxJobToken:
		return Exchange{}, badExchange(InvalidRequest, "subject_token has %d bytes; it has 1 to %d", len(e.Subject), MaxJobToken)
	case form.Get("requested_token_type") != "" && form.Get("requested_token_type") != TypeAccessToken:
		return Exchange{}, badExchange(InvalidRequest, "requested_token_type is %.80q; what is issued is %s", form.Get("requested_token_type"), TypeAccessToken)
	case form.Has("actor_token") || form.Has("actor_token_type"):
		return Exchange{}, badExchange(InvalidRequest, "a CI job acts for itself; leave actor_token out")
	case len(e.Targets) > maxTargets:
		return Exchange{}, badExchange(InvalidTarget, "%d audiences and resources are named; at most %d", len(e.Targets), maxTargets)
	}
	return e, nil
}

// Gateways turns audiences (names of gateways, or base) and resources (addresses at or below base) into the names of the
// gateways that a token is for: all, when none is named or the server as a whole is. root is where the gateways of the
// organisation lie, base/v1/orgs/ORG.
func (e Exchange) Gateways(base, root string, known func(string) bool) (names []string, err error) {
	all := len(e.Targets) == 0
	for _, t := range e.Targets {
		name := t
		if below, ok := strings.CutPrefix(t, root+"/"); ok {
			name, _, _ = strings.Cut(below, "/")
		}
		switch {
		case strings.TrimSuffix(t, "/") == base || strings.TrimSuffix(t, "/") == root:
			all = true
		case plain(name, "-") && known(name):
			names = append(names, name)
		default:
			return nil, badExchange(InvalidTarget, "%.100q is neither a gateway here nor %s", t, base)
		}
	}
	if all {
		return nil, nil
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// JobToken is an access token that is about to be issued: to a key, for gateways. Nobody keeps it: the authority has a
// hash that can be computed from it, the key and the server's own key only, so that it outlives a restart and is worth
// nothing to whoever finds it.
type JobToken struct {
	raw      [32]byte
	gateways []string
	Secret   remit.Digest // what the authority keeps as the hash of the instance's secret
}

// NewJobToken makes one for whoever holds the key of proof.
func (t *Tokens) NewJobToken(proof Proof, gateways []string) JobToken {
	j := JobToken{gateways: gateways}
	_, _ = rand.Read(j.raw[:]) // never fails
	secret := t.jobSecret(j.raw, proof.Thumbprint, gateways)
	j.Secret = remit.Hash(secret[:])
	return j
}

// Text is the token, once it is known whose it is.
func (j JobToken) Text(instance remit.ID) string {
	return jobPrefix + string(instance) + "." + strings.Join(j.gateways, "+") + "." + secretEncoding.EncodeToString(j.raw[:])
}

// parseJobToken reads what Text writes and nothing else.
func parseJobToken(text string) (instance remit.ID, gateways []string, raw [32]byte, ok bool) {
	rest, ok := strings.CutPrefix(text, jobPrefix)
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 || !isInstance(parts[0]) || len(parts[2]) != secretChars {
		return "", nil, raw, false
	}
	if parts[1] != "" {
		gateways = strings.Split(parts[1], "+")
	}
	for i, g := range gateways {
		if i >= maxTargets || !plain(g, "-") {
			return "", nil, raw, false
		}
	}
	b, err := secretEncoding.DecodeString(parts[2])
	if err != nil || len(b) != len(raw) {
		return "", nil, raw, false
	}
	return remit.ID(parts[0]), gateways, [32]byte(b), true
}

// jobSecret is the instance's secret. The thumbprint of a key is public: only with the server's key does it follow from
// a token, so nobody can use it beside DPoP.
func (t *Tokens) jobSecret(raw [32]byte, thumbprint string, gateways []string) [32]byte {
	m := hmac.New(sha256.New, t.key[:])
	m.Write([]byte("remit job token\x00" + thumbprint + "\x00" + strings.Join(gateways, "+") + "\x00"))
	m.Write(raw[:])
	return [32]byte(m.Sum(nil))
}

// Proofs checks what comes with the access tokens of CI jobs.
func (t *Tokens) Proofs() *Proofs { return t.proofs }

// ByProof is a call of a CI job: an access token under the scheme DPoP, and the proof that goes with it (RFC 9449 §7).
type ByProof struct {
	Instance remit.ID
	Secret   [32]byte // of the instance; it never leaves the server
	Caller   remit.Caller
	Live     bool
	gateways []string // none: all
}

// At tells whether the token is for a gateway.
func (b ByProof) At(gateway string) bool {
	return len(b.gateways) == 0 || slices.Contains(b.gateways, gateway)
}

// usesProof tells whether a request shows an access token under the scheme DPoP.
func usesProof(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Authorization"), func(line string) bool {
		scheme, _, _ := strings.Cut(line, " ")
		return strings.EqualFold(scheme, DPoPHeader)
	})
}

// ByProof says which job's instance calls. ok is false when the request does not use DPoP at all.
func (t *Tokens) ByProof(r *http.Request) (b ByProof, ok bool, err error) {
	if !usesProof(r) {
		return b, false, nil
	}
	lines := r.Header.Values("Authorization")
	if len(lines) != 1 || len(lines[0]) > 1024 || t.base == "" {
		return b, true, remit.Errorf(remit.Unauthenticated, "the request has %d Authorization headers; one, of at most 1,024 bytes, shows a token under the scheme DPoP", len(lines))
	}
	_, text, _ := strings.Cut(lines[0], " ")
	text = strings.TrimSpace(text)
	// Who has no key of ours learns nothing from the answer: not whether the instance exists.
	strange := remit.Errorf(remit.Unauthenticated, "the access token is not one of a running CI job, or not issued to the key of the proof; `remit ci login` gets one")
	instance, gateways, raw, good := parseJobToken(text)
	if !good {
		return b, true, strange
	}
	proof, err := t.proofs.Check(r, t.base+r.URL.EscapedPath(), text)
	if err != nil {
		return b, true, err
	}
	b = ByProof{Instance: instance, Secret: t.jobSecret(raw, proof.Thumbprint, gateways), gateways: gateways}
	want, caller, live := t.instances.Secret(instance)
	got := remit.Hash(b.Secret[:])
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 || caller.Instance != instance {
		return ByProof{}, true, strange
	}
	b.Caller, b.Live = caller, live
	return b, true, t.proofs.Spend(proof)
}

// byProof is the caller at a gateway.
func (a *Authenticator) byProof(b ByProof) (remit.Caller, error) {
	if !b.At(a.gateway) {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "the access token is for %s and good at no other gateway", strings.Join(b.gateways, ", "))
	}
	if !b.Live {
		return remit.Caller{}, ended(b.Instance)
	}
	return b.Caller, nil
}
