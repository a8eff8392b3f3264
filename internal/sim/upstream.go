package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// upstream is everything behind Remit, with all that it holds in sight: refs, what runs where, what was published, and
// which credentials it would accept.
type upstream struct {
	refs      map[string]string           // REPOSITORY REF: commit
	was       map[string]bool             // REPOSITORY REF COMMIT: it stood there once
	runs      map[string][]remit.Artifact // by environment
	published map[remit.Artifact]bool
	said      map[remit.ID]bool // reviews and comments, by the attempt that made them
	creds     map[remit.ID]bool // by lease: accepted
	minted    map[remit.ID]bool
	acts      []act // in order
}

// act is one thing that was changed, and under which attempt.
type act struct {
	attempt remit.ID
	what    string
	size    remit.EntryIndex // of the log on disk when it came in
}

func newUpstream() *upstream {
	return &upstream{refs: map[string]string{}, was: map[string]bool{}, runs: map[string][]remit.Artifact{}, published: map[remit.Artifact]bool{},
		said: map[remit.ID]bool{}, creds: map[remit.ID]bool{}, minted: map[remit.ID]bool{}}
}

// order is the simulator's own encoding of what Forward needs.
type order struct {
	Kind      string
	Repo, Ref string
	Old, New  string
	Deploy    *remit.Deploy
	Was       []remit.Artifact // that the deployment takes the place of
	Artifacts []remit.Artifact
	Child     *remit.Child
}

// take does what an order says, or tells why not; nothing is changed then.
func (u *upstream) take(attempt remit.ID, o order, size remit.EntryIndex) error {
	what := o.Kind
	switch o.Kind {
	case "ref": // compare and swap, as receive-pack does
		key := o.Repo + " " + o.Ref
		if u.refs[key] != o.Old {
			return fmt.Errorf("%s is %q, not %q", key, u.refs[key], o.Old)
		}
		if u.refs[key] = o.New; o.New == "" {
			delete(u.refs, key)
		}
		u.was[key+" "+o.New] = true
		what = key + " " + o.Old + " " + o.New
	case "deploy":
		u.runs[o.Deploy.Environment] = o.Deploy.Artifacts
		what = fmt.Sprint("deploy ", o.Deploy.Environment, o.Deploy.Artifacts)
	case "publish":
		for _, a := range o.Artifacts {
			u.published[a] = true
		}
	case "read":
		return nil // it leaves nothing behind
	default:
		u.said[attempt] = true
	}
	u.acts = append(u.acts, act{attempt, strings.TrimSpace(what), size})
	return nil
}

// look tells what became of an order whose answer nobody heard, as far as the upstream can be asked.
func (u *upstream) look(attempt remit.ID, o order) remit.Outcome {
	switch o.Kind {
	case "ref":
		switch now := u.refs[o.Repo+" "+o.Ref]; {
		case now == o.New:
			return remit.Done
		case now == o.Old:
			return remit.NotApplied
		}
	case "deploy":
		switch now := u.runs[o.Deploy.Environment]; {
		case slices.Equal(now, o.Deploy.Artifacts):
			return remit.Done
		case slices.Equal(now, o.Was):
			return remit.NotApplied
		}
	case "publish":
		for _, a := range o.Artifacts {
			if !u.published[a] {
				return remit.NotApplied
			}
		}
		return remit.Done
	case "say":
		if u.said[attempt] {
			return remit.Done
		}
		return remit.NotApplied
	case "read":
		return remit.NotApplied
	}
	return remit.Ambiguous
}
