package broker

import (
	"context"
	"time"

	"github.com/remit-dev/remit"
)

// Provider makes and ends credentials of one kind of upstream. Every method may be called again after a crash, in any
// order that the lease's status allows, and must then do no harm: the name of what it makes upstream is Asked.Name, so
// that it can be found again without anything that was kept here.
type Provider interface {
	Traits() Traits
	// Anchor makes the object whose deletion kills the credential: a user, a Secret. It exists already: success.
	Anchor(context.Context, Asked) error
	// Mint makes the credential. What it says of the credential is what the upstream said, not what was asked. Of its
	// errors only a *remit.Error is shown to anybody: its sentence never quotes an answer that may have the credential.
	Mint(context.Context, Asked) (Secret, error)
	// Revoke ends the credential and removes the anchor. What does not exist any more is success. The secret is nil if it
	// was lost in a crash. What a sweep found is asked to end with its Name and Upstream alone: Target and Spec are empty.
	Revoke(context.Context, Asked, *Secret) error
	// Probe asks the upstream, as the credential if there is one and in Remit's own name if not, whether it is alive.
	Probe(context.Context, Asked, *Secret) (Life, error)
}

// Sweeper is a provider whose upstream can list what Remit made there.
type Sweeper interface {
	// Sweep lists the names (Asked.Name) of everything that Remit made at the upstream and that is still there.
	Sweep(context.Context, remit.Upstream) ([]string, error)
	// Contain ends everything that Remit made at the upstream at once.
	Contain(context.Context, remit.Upstream) error
}

// Traits say how a provider's credentials end (R9).
type Traits struct {
	Revocation remit.Revocation
	Bound      time.Duration // of RevokeBounded
	Survive    bool          // sessions outlive the credential until they are cut
	Anchored   bool          // there is an anchor
	Longest    time.Duration // life that may be asked for; 0: the upstream knows no end, and revoking is the only one
	Shortest   time.Duration
}

// Asked is one credential that is needed.
type Asked struct {
	Lease    remit.ID
	Name     string // remit-ORG-L-12, at most 63 of a-z 0-9 -: of everything that is made for it upstream
	Upstream remit.Upstream
	Target   remit.Resource // the one repository, artifact or environment that it is good for
	Spec     []byte         // JSON of what the target needs besides: of an environment its remit.Target
	Write    bool
	Opened   time.Time // when the lease was written down
	NotAfter time.Time
}

// Secret is a credential as the upstream gave it. It is kept sealed, and never logged.
type Secret struct {
	User     string    `json:"user,omitempty"` // basic authentication; empty: bearer
	Value    string    `json:"value"`
	Handle   string    `json:"handle,omitempty"`   // by which the upstream knows it, not secret: an id, a jti
	NotAfter time.Time `json:"not_after,omitzero"` // as the upstream stated it; zero: it stated none
	// Wider is what the upstream gave beyond what was asked; such a credential is quarantined.
	Wider string `json:"wider,omitempty"`
}

// Life is what a probe saw.
type Life uint8

const (
	Unknown Life = iota
	Alive
	Dead
)

func (l Life) String() string { return [...]string{"unknown", "alive", "dead"}[min(int(l), 2)] }
