package identity

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
)

// Bearer secrets are 32 random bytes behind a prefix that secret scanners find. Only their SHA-256 is kept: whoever
// reads the memory of a server, or a dump of it, cannot call with what they find.
const (
	tokenPrefix   = "remit_"  // of instances
	sessionPrefix = "remits_" // of people
	secretChars   = 43        // base64url of 32 bytes
)

var secretEncoding = base64.RawURLEncoding.Strict()

func newSecret(prefix string) (text string, hash remit.Digest) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // crypto/rand: never fails; the program ends instead
	return prefix + secretEncoding.EncodeToString(raw[:]), remit.Hash(raw[:])
}

// parseSecret reads what newSecret writes and nothing else.
func parseSecret(prefix, text string) (hash remit.Digest, ok bool) {
	body, ok := strings.CutPrefix(text, prefix)
	if !ok || len(body) != secretChars {
		return remit.Digest{}, false
	}
	raw, err := secretEncoding.DecodeString(body)
	if err != nil || len(raw) != 32 {
		return remit.Digest{}, false
	}
	return remit.Hash(raw), true
}

// bearer takes the one secret of a request: Bearer (RFC 6750 §2.1), or, where basic says so, the password of Basic (RFC
// 7617), which is how git sends it, or token, which is how clients of Gitea do. found is false when there is no Authorization at all; more than one, or one of
// another form, is an error, because two readers could take it for two callers.
func bearer(r *http.Request, basic bool) (text string, found bool, err error) {
	lines := r.Header.Values("Authorization")
	if len(lines) == 0 {
		return "", false, nil
	}
	if len(lines) > 1 {
		return "", true, remit.Errorf(remit.Unauthenticated, "the request has %d Authorization headers; send one", len(lines))
	}
	if len(lines[0]) > 1024 {
		return "", true, remit.Errorf(remit.Unauthenticated, "the Authorization header has %d bytes; Remit's have fewer than 1,024", len(lines[0]))
	}
	scheme, rest, _ := strings.Cut(lines[0], " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest), true, nil
	}
	if basic && strings.EqualFold(scheme, "token") {
		return strings.TrimSpace(rest), true, nil
	}
	if !basic {
		return "", true, remit.Errorf(remit.Unauthenticated, "the Authorization header is not Bearer, which is what Remit expects here")
	}
	_, password, ok := r.BasicAuth()
	if !ok {
		return "", true, remit.Errorf(remit.Unauthenticated, "the Authorization header is neither Bearer nor Basic nor token, which are what Remit expects here")
	}
	return password, true, nil
}
