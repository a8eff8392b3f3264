package remit

import "time"

// What an executor in another process says to the server: POST …/executor/…, with its X.509-SVID as client certificate.

// EnrolRequest asks for the first SVID of the executor of a zone; an administrator sends it. The key stays where it was
// made.
type EnrolRequest struct {
	Zone Zone   `json:"zone"`
	CSR  []byte `json:"csr"` // PKCS #10, DER
}

// NextOrder waits for an approval that is met, for half a minute. It passes over those in After.
type NextOrder struct {
	After []ID `json:"after,omitempty"` // at most 256
}

// NextAnswer is the approval; empty: none came within the time.
type NextAnswer struct {
	Access ID `json:"access,omitempty"`
}

// ClaimRequest has an approved order judged again.
type ClaimRequest struct {
	Access ID `json:"access"`
}

// WireSecret is a permit or an attempt on its way between server and executor.
type WireSecret struct {
	ID       ID        `json:"id"`
	Secret   []byte    `json:"secret,omitempty"` // 32 bytes
	NotAfter time.Time `json:"not_after,omitzero"`
}

// WireOrder is an action stored whole.
type WireOrder struct {
	Gateway string  `json:"gateway"` // whose protocol carries it out
	Caller  Caller  `json:"caller"`
	Steps   []Step  `json:"steps"`
	Deploy  *Deploy `json:"deploy,omitempty"`
	Body    []byte  `json:"body,omitempty"`
	Attempt ID      `json:"attempt,omitempty"`
}

// ClaimAnswer is the decision, and with an allow the permit and what to carry out.
type ClaimAnswer struct {
	Decision Decision    `json:"decision"`
	Permit   *WireSecret `json:"permit,omitempty"`
	Order    *WireOrder  `json:"order,omitempty"`
}

// AttemptRequest speaks of an attempt of the executor's own.
type AttemptRequest struct {
	Attempt WireSecret `json:"attempt"`
	Secret  Resource   `json:"secret,omitempty"` // …/executor/secret: which
}

// RecordRequest says what came of an attempt.
type RecordRequest struct {
	Attempt ID      `json:"attempt"`
	Outcome Outcome `json:"outcome"`
	Code    Code    `json:"code,omitempty"`
	Receipt []byte  `json:"receipt,omitempty"` // at most MaxPayload
	Made    string  `json:"made,omitempty"`
}

// LeasedSecret is the upstream credential of one attempt, as the header that carries it; empty where the upstream needs
// none.
type LeasedSecret struct {
	Authorization string `json:"authorization,omitempty"`
}

// UsedSecret is a declared secret that an attempt uses.
type UsedSecret struct {
	Value []byte `json:"value"`
}

// RevokedAnswer tells whether the authority of an attempt has ended; false after half a minute in which it did not.
type RevokedAnswer struct {
	Revoked bool `json:"revoked"`
}

// PlaceRequest asks where and how an environment is deployed.
type PlaceRequest struct {
	Environment string `json:"environment"`
}

// Place is an environment with all that is declared of where it runs.
type Place struct {
	Environment Environment `json:"environment"`
	Upstream    Upstream    `json:"upstream"` // of its target, without the source of the credential that writes
	// Registries are the hosts, as image references begin with them, of the registries that its artifacts lie in, by the
	// names of the upstreams.
	Registries map[string]string `json:"registries,omitempty"`
}

// AdmissionView is what a cluster needs to ask this server about an environment's namespace.
type AdmissionView struct {
	Environment string `json:"environment"`
	Namespace   string `json:"namespace"`
	URL         string `json:"url"` // a secret of the cluster: who has it learns which digests are released
	CA          []byte `json:"ca"`  // PEM
}
