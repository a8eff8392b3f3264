package remit

import (
	"encoding/json"
	"fmt"
	"strings"
)

// What crosses from one zone of the supply chain into another: child tasks on immutable names, artifacts by digest, and
// what is deployed.

// Input is an immutable name that a child task rests on: a commit of a repository or a digest of an artifact. Branches
// and tags move, so they cross no boundary (R4c).
type Input struct {
	Resource Resource `json:"resource" cbor:"1,keyasint"` // repo:… or artifact:…
	ID       string   `json:"id" cbor:"2,keyasint"`       // object id in hex, or sha256:HEX
}

// ParseInput reads RESOURCE@ID, for instance repo:forge/acme/app@<40 or 64 hex digits> or artifact:oci/app@sha256:<64>.
func ParseInput(s string) (Input, error) {
	res, id, ok := strings.Cut(s, "@")
	in := Input{Resource(res), id}
	if !ok {
		right := "a commit is repo:UPSTREAM/PATH@ and its object id in hex"
		if strings.HasPrefix(s, "artifact:") {
			right = "an artifact is artifact:UPSTREAM/NAME@sha256: and 64 hex digits, and a tag moves"
		}
		return in, fmt.Errorf("%q names nothing immutable; %s", s, right)
	}
	return in, in.Check()
}

// Check tells what is wrong with i, and what would be right.
func (i Input) Check() error {
	if _, err := ParseResource(string(i.Resource)); err != nil {
		return err
	}
	switch i.Resource.Type() {
	case "repo":
		if (len(i.ID) != 40 && len(i.ID) != 64) || strings.Trim(i.ID, "0123456789abcdef") != "" {
			return fmt.Errorf("%s@%s: a commit is 40 or 64 lower-case hex digits; a branch or a tag moves", i.Resource, i.ID)
		}
	case "artifact":
		if !IsContentDigest(i.ID) {
			return fmt.Errorf("%s@%s: an artifact is named by sha256: and 64 lower-case hex digits; a tag moves", i.Resource, i.ID)
		}
	default:
		return fmt.Errorf("%s: a task rests on commits (repo:…) and artifacts (artifact:…)", i.Resource)
	}
	return nil
}

func (i Input) String() string { return string(i.Resource) + "@" + i.ID }

// IsContentDigest tells whether s is sha256: and 64 lower-case hex digits (OCI image-spec, descriptor digests).
func IsContentDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// Artifact is what was built, by digest. A tag is never part of it.
type Artifact struct {
	Resource Resource `json:"resource" cbor:"1,keyasint"` // artifact:UPSTREAM/NAME
	Digest   string   `json:"digest" cbor:"2,keyasint"`   // sha256:HEX
}

func (a Artifact) String() string { return string(a.Resource) + "@" + a.Digest }

// ArtifactsDigest is what a step on artifacts signs as its arguments.
func ArtifactsDigest(list []Artifact) Digest { return digestJSON("artifacts", list) }

// Child is the work that a task.request or task.delegate step asks of another agent.
type Child struct {
	Agent  string  `json:"agent"`
	Intent Digest  `json:"intent"` // commitment of the words, a payload of the request
	Scope  []Scope `json:"scope,omitempty"`
	Inputs []Input `json:"inputs,omitempty"` // at most 16
	For    int64   `json:"for,omitempty"`    // nanoseconds; at most what is left of the parent
	// Deploy asks that the child deploys this; the environment's approvers then decide once, on that.
	Deploy *Deploy `json:"deploy,omitempty"`
}

// Digest is what a step on c signs as its arguments.
func (c Child) Digest() Digest { return digestJSON("child", c) }

// digestJSON is the digest of a plain value: of its JSON, with the members in the order of the type, in a domain.
func digestJSON(domain string, v any) Digest {
	b, err := json.Marshal(v)
	if err != nil {
		panic("remit: only plain values are digested: " + err.Error())
	}
	return Hash([]byte("remit "+domain+" v1\n"), b)
}

// Deploy is one change of an environment: these artifacts take the place of what is there.
type Deploy struct {
	Environment string     `json:"environment" cbor:"1,keyasint"`
	Artifacts   []Artifact `json:"artifacts" cbor:"2,keyasint"` // at most 16, sorted
	// Rollback: to a release that was good in this environment before.
	Rollback bool `json:"rollback,omitempty" cbor:"3,keyasint,omitempty"`
	// From is the entry that recorded what is there now, 0 for nothing: if another release comes in between, the approval
	// is stale.
	From EntryIndex `json:"from,omitempty" cbor:"4,keyasint,omitempty"`
}

// Step is the step that makes the change, with its arguments.
func (d Deploy) Step() Step {
	action := Action("deploy.promote")
	if d.Rollback {
		action = "deploy.rollback"
	}
	return Step{Action: action, Resource: Resource("environment:" + d.Environment), Args: d.Digest()}
}

// Digest is what a step on d signs as its arguments.
func (d Deploy) Digest() Digest { return digestJSON("deploy", d) }

// Verdicts of a review.
const (
	ReviewApprove = "approve"
	ReviewReject  = "reject"
)

// Evidence that an environment may require of what is deployed to it; the compiled rules look for it in the state, so
// nobody can claim it.
const (
	// EvidenceBuilt: every artifact was published by a task that rests on a commit of a repository that declares it.
	EvidenceBuilt = "built"
	// EvidenceMerged: that commit was merged or pushed to the default branch through Remit.
	EvidenceMerged = "merged"
	// EvidenceDeployed and an environment's name: the same digests were deployed there, and that was done.
	EvidenceDeployed = "deployed:"
)

// LeaseStatus is the life of an upstream credential.
type LeaseStatus string

const (
	LeaseIntended    LeaseStatus = "intended" // durable before the first call upstream
	LeaseAnchored    LeaseStatus = "anchored" // the object whose deletion kills it exists
	LeaseMinted      LeaseStatus = "minted"
	LeaseActive      LeaseStatus = "active" // a probe saw it alive, and no wider or longer than asked
	LeaseRevoking    LeaseStatus = "revoking"
	LeaseRevoked     LeaseStatus = "revoked"     // a probe saw it refused
	LeaseExpired     LeaseStatus = "expired"     // its upstream's own end and the skew have passed
	LeaseQuarantined LeaseStatus = "quarantined" // the upstream gave more or longer than asked; it is revoked and never used
	LeaseAbandoned   LeaseStatus = "abandoned"   // two people gave it up, with a reason
)

// Ended tells whether a lease of this status can do nothing any more, as far as anybody will ever know.
func (s LeaseStatus) Ended() bool {
	return s == LeaseRevoked || s == LeaseExpired || s == LeaseAbandoned
}

// Revocation is how a provider's credentials end.
type Revocation string

const (
	RevokeImmediate Revocation = "immediate"
	RevokeBounded   Revocation = "bounded"     // within a declared time
	RevokeExpiry    Revocation = "expiry-only" // nothing but its end ends it: exposure until then
)
