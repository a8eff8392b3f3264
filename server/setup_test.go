package server_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/sshsig"
)

// browser is an HTTP client that trusts the world's authority and nothing else; certs are those that it shows.
func browser(w *world.World, certs ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: w.CA.Pool(), MinVersion: tls.VersionTLS13, Certificates: certs}}}
}

func sign(t *testing.T, key ssh.Signer, text []byte) []byte {
	t.Helper()
	b, err := sshsig.Sign(key, identity.SignInNamespace, text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func shown() remit.Shown {
	return remit.Shown{
		Commits: []remit.ShownCommit{{ID: "abababababababababababababababababababab", Author: "Cleo <cleo@example>", Subject: "round half to even \u202egnisrever"}},
		Paths:   []remit.ShownPath{{Path: ".github/workflows/ci.yml", Kind: "modify", Note: "runs by itself"}, {Path: "refund.go", Kind: "modify"}},
		Diff:    "--- a/refund.go\n+++ b/refund.go\n@@ -1,2 +1,2 @@\n package refund\n-var half = 0.5\n+var half = \u202e5.0\u2066 // <script>alert(1)</script>\n",
		Cut:     true,
	}
}
