// Package identity says who is calling: the certificate authority of the trust domain, tokens and SVIDs of instances,
// sign-in of people with their SSH keys, and the SPIFFE Workload API that a launcher serves to its command. It proves
// identities; what an identity may do is judged elsewhere.
package identity

import (
	"fmt"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// TrustDomain is the SPIFFE trust domain of an organisation: its id, as given.
func TrustDomain(org remit.Org) (spiffeid.TrustDomain, error) {
	td, err := spiffeid.TrustDomainFromString(string(org))
	if err != nil || td.Name() != string(org) {
		return spiffeid.TrustDomain{}, fmt.Errorf("the organisation %q cannot be a trust domain: it has lower-case letters, digits, '-' and '.' only", org)
	}
	return td, nil
}

// InstanceID is the SPIFFE ID of one instance of an agent: spiffe://DOMAIN/agent/NAME/INSTANCE.
func InstanceID(td spiffeid.TrustDomain, agent string, instance remit.ID) (spiffeid.ID, error) {
	if td.IsZero() {
		return spiffeid.ID{}, fmt.Errorf("an instance's id needs a trust domain")
	}
	id, err := spiffeid.FromSegments(td, "agent", agent, string(instance))
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("the instance %q of agent %q has no SPIFFE ID: %w", instance, agent, err)
	}
	if _, _, err := ParseInstanceID(td, id); err != nil {
		return spiffeid.ID{}, err
	}
	return id, nil
}

// ParseInstanceID reads what InstanceID writes and nothing else; ids of another trust domain are refused.
func ParseInstanceID(td spiffeid.TrustDomain, id spiffeid.ID) (agent string, instance remit.ID, err error) {
	if id.IsZero() || td.IsZero() || !id.MemberOf(td) {
		return "", "", fmt.Errorf("%q is not of the trust domain %q", id, td)
	}
	parts := strings.Split(id.Path(), "/")
	if len(parts) != 4 || parts[0] != "" || parts[1] != "agent" || !plain(parts[2], "-") || !isInstance(parts[3]) {
		return "", "", fmt.Errorf("%q is not the id of an instance; one is spiffe://%s/agent/NAME/INSTANCE", id, td)
	}
	return parts[2], remit.ID(parts[3]), nil
}

// isInstance tells whether s is I- and the index of an entry.
func isInstance(s string) bool {
	digits, ok := strings.CutPrefix(s, "I-")
	return ok && len(digits) > 0 && len(digits) <= 20 && strings.Trim(digits, "0123456789") == ""
}

// plain tells whether s is a name of lower-case letters, digits and the bytes of also, at most 64.
func plain(s, also string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.Contains(also, string(rune(c))) {
			return false
		}
	}
	return true
}
