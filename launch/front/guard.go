package front

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
)

// NewBearer makes what proves to a guarded front that a client belongs to this run.
func NewBearer() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// Guarded is a Front on a TCP port of this machine, which every process of every user can connect to: a request must
// carry the bearer, as such or as the password of Basic (git), name this port as its host, and come from no web page. An
// empty bearer is not asked for: the port is one of a network that only the run's processes are in.
// The last two are against DNS rebinding: a page whose name is made to point here says its own name as Host, or has an
// Origin.
func Guarded(next http.Handler, bearer, port string) http.Handler {
	want := sha256.Sum256([]byte(bearer))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, page := r.Header["Origin"]; page || r.Host != "127.0.0.1:"+port && r.Host != "localhost:"+port {
			refuse(w, remit.Errorf(remit.Forbidden, "this port is for the processes of one run, at http://127.0.0.1:%s, and for no web page", port))
			return
		}
		got := sha256.Sum256([]byte(presented(r)))
		if bearer != "" && subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="remit", charset="UTF-8"`)
			refuse(w, remit.Errorf(remit.Unauthenticated, "this is not the bearer of this run, which lies in the file that REMIT_FRONT_BEARER names"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// presented is the secret in a request: of Bearer (RFC 6750 §2.1) or Basic (RFC 7617 §2).
func presented(r *http.Request) string {
	if _, password, basic := r.BasicAuth(); basic {
		return password
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}
