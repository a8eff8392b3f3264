package remit

import "time"

// ArtifactView is an artifact that was published through Remit, as people see it.
type ArtifactView struct {
	Artifact
	Entry     EntryIndex `json:"entry"` // of the outcome that made it known
	At        time.Time  `json:"at"`
	Task      ID         `json:"task"` // that published it first
	Agent     string     `json:"agent"`
	Requester string     `json:"requester,omitempty"` // the person behind the task
	// RequestedBy is the task that asked for that one; empty if a person did.
	RequestedBy ID       `json:"requested_by,omitempty"`
	Job         *JobView `json:"job,omitempty"`    // that built it, of one artifact
	Inputs      []Input  `json:"inputs,omitempty"` // what the task rested on
	// Sources are those repositories among Inputs that declare the artifact.
	Sources  []Resource `json:"sources,omitempty"`
	Releases []string   `json:"releases,omitempty"` // environments to which it was deployed
}

// JobView is the CI job that an instance was, as its token said.
type JobView struct {
	Issuer      string `json:"issuer"`             // its address
	Upstream    string `json:"upstream"`           // as which the issuer is declared
	Repository  string `json:"repository"`         // immutable id
	Workflow    string `json:"workflow,omitempty"` // path of its file
	Environment string `json:"environment,omitempty"`
}

// ArtifactList is what was published, newest first.
type ArtifactList struct {
	Artifacts []ArtifactView `json:"artifacts"`     // at most 500
	Key       string         `json:"key,omitempty"` // PEM of the public key that provenance is signed with
}
