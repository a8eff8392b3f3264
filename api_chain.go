package remit

import "time"

// ChildRequest asks for work of another agent, as a child of the caller's own task: POST …/task/request for another
// function, …/task/delegate for a strictly smaller part of the caller's own grant.
type ChildRequest struct {
	Agent  string        `json:"agent"`
	Intent string        `json:"intent"` // at most 4 KiB
	Scope  []Scope       `json:"scope"`
	Inputs []Input       `json:"inputs,omitempty"`
	For    time.Duration `json:"for,omitempty"` // nanoseconds; what is left of the caller's task by default
	Deploy *Deploy       `json:"deploy,omitempty"`
}

// ChildAnswer is what came of a ChildRequest: a task, or a decision that holds or denies it. Deploy is the decision on
// what the child is to deploy: held for the environment's approvers, or denied.
type ChildAnswer struct {
	Task     ID        `json:"task,omitempty"`
	Decision *Decision `json:"decision,omitempty"`
	Deploy   *Decision `json:"deploy,omitempty"`
}

// ReleaseView is one change of an environment, as people see it.
type ReleaseView struct {
	Environment string     `json:"environment"`
	Entry       EntryIndex `json:"entry"` // of its outcome; 0 while it is not done
	Rollback    bool       `json:"rollback,omitempty"`
	Artifacts   []Artifact `json:"artifacts"`
	From        EntryIndex `json:"from,omitempty"`
	Task        ID         `json:"task"`
	Agent       string     `json:"agent,omitempty"`
	Requester   string     `json:"requester,omitempty"`
	Access      ID         `json:"access,omitempty"`
	Outcome     Outcome    `json:"outcome,omitempty"` // empty: waits or is being carried out
	Status      string     `json:"status"`            // current | good | rolled back | ambiguous | waiting | approved
	At          time.Time  `json:"at"`
}

// EnvironmentView is an environment as people see it.
type EnvironmentView struct {
	Name      string        `json:"name"`
	Tier      string        `json:"tier"`
	Upstream  string        `json:"upstream,omitempty"`
	Approvers []Need        `json:"approvers,omitempty"`
	Evidence  []string      `json:"evidence,omitempty"`
	Current   *ReleaseView  `json:"current,omitempty"`
	History   []ReleaseView `json:"history,omitempty"` // newest first, at most 100
}

// ChangeRequest reviews or merges a commit of a repository whose upstream is plain git.
type ChangeRequest struct {
	Repo    string `json:"repo"`           // UPSTREAM/PATH
	Head    string `json:"head"`           // commit id
	Into    string `json:"into,omitempty"` // branch; the default branch by default
	Verdict string `json:"verdict,omitempty"`
	Text    string `json:"text,omitempty"` // of a review, at most 8 KiB
}

// ChangeAnswer is what came of a ChangeRequest: the commit of the merge, the verdict that was recorded, or a decision that
// holds or denies it.
type ChangeAnswer struct {
	Commit   string    `json:"commit,omitempty"`
	Verdict  string    `json:"verdict,omitempty"`
	Head     string    `json:"head,omitempty"`
	Tree     string    `json:"tree,omitempty"`
	Decision *Decision `json:"decision,omitempty"`
}
