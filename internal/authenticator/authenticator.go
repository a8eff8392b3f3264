// Package authenticator makes the keys of virtual authenticators. It is for tests.
package authenticator

import "github.com/descope/virtualwebauthn"

// whole is the length in bytes of an ES256 key in COSE whose coordinates have 32 bytes each, as RFC 9053 §7.1.1 wants it.
const whole = 77

// ES256 is a new credential. Of one in 128 keys the library drops a leading zero of a coordinate, which a key must not: that is
// made anew.
func ES256() virtualwebauthn.Credential {
	for {
		c := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
		if len(c.Key.AttestationData()) == whole {
			return c
		}
	}
}
