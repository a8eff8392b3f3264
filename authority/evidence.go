package authority

import (
	"slices"

	"github.com/remit-dev/remit"
)

// evidence lets what is found in the log stand in for people, where the declaration of who decides says so: for
// production only where it says that too, and never for what runs by itself before anybody has looked at it. Nobody can
// claim evidence: it is looked for in the state.
func (s *State) evidence(d *verdict, now int64, task *Task, r remit.Request, known []remit.StepFacts) (stood []remit.Stood) {
	if d.v != remit.Hold || slices.ContainsFunc(known, func(f remit.StepFacts) bool { return len(f.Protected) > 0 || f.Runs }) {
		return nil
	}
	var rest []remit.Need
	for _, n := range d.needs {
		entries, found := s.found(now, task, r, known, n)
		if !found || d.zone == remit.ZoneProduction && !n.InProduction {
			rest = append(rest, n)
			continue
		}
		stood = append(stood, remit.Stood{Need: n, Entries: entries})
	}
	if len(rest) == 0 && (r.Caller.Instance == "" || r.Deploy != nil) && r.Access == "" {
		return nil // what no instance asks for, and what is deployed, is carried out on an approval only (R4d)
	}
	if d.needs = rest; len(rest) == 0 {
		d.v = remit.Allow
	}
	return stood
}

// found looks for all the evidence that a need names.
func (s *State) found(now int64, task *Task, r remit.Request, known []remit.StepFacts, n remit.Need) (entries []remit.EntryIndex, all bool) {
	kinds := n.Instead()
	for _, kind := range kinds {
		var at []remit.EntryIndex
		verdicts, asked := remit.Verdicts(kind)
		merge := r.Steps[0].Action == "source.merge" // which is on one ref alone, as checkChain holds
		switch {
		case asked && merge:
			at = s.verdicts(now, task, r, known, n)
			if len(at) < verdicts {
				return nil, false
			}
		case merge && kind == remit.EvidenceBuilt:
			at = s.builtFrom(remit.Input{Resource: r.Steps[0].Resource, ID: r.Refs[0].New})
		case r.Deploy != nil && !asked:
			if _, lacks := s.lacking(*r.Deploy, kind); !lacks {
				at = s.publishedAt(r.Deploy.Artifacts)
			}
		}
		if len(at) == 0 {
			return nil, false
		}
		entries = union(entries, at)
	}
	return entries, len(kinds) > 0
}

// verdicts are the approving ones on exactly the change that is merged, one for each owner, none of whom has a part in it:
// neither the owner of the reviewing agent nor who launched it is in the closure. One that rejects outweighs them all.
func (s *State) verdicts(now int64, task *Task, r remit.Request, known []remit.StepFacts, n remit.Need) (at []remit.EntryIndex) {
	change := s.reviewed(r)
	closure, _ := s.closure(task, known, []remit.Need{n})
	var owners []remit.ID
	for _, v := range s.Reviews[r.Steps[0].Resource.Name()] {
		switch {
		case v.Change != change:
		case !v.Approve:
			return nil
		case slices.Contains(closure, v.Owner) || slices.Contains(closure, v.Launcher) || slices.Contains(closure, s.voice(v)) || slices.Contains(owners, s.voice(v)):
		case s.agentLive(v.Agent, now) && !s.wrote(s.Agents[v.Agent], known[0]) && !s.wrote(s.reviewer(v), known[0]):
			owners, at = append(owners, s.voice(v)), append(at, v.Entry)
		}
	}
	return at
}

// builtFrom are the entries that published what a commit was built into, of a repository that declares it.
func (s *State) builtFrom(in remit.Input) (at []remit.EntryIndex) {
	for _, name := range sorted(s.Artifacts) {
		if p := s.Artifacts[name]; slices.Contains(p.Inputs, in) && s.declares(in.Resource, p.Resource) {
			return []remit.EntryIndex{p.Entry} // one is enough to show it
		}
	}
	return nil
}

func (s *State) publishedAt(as []remit.Artifact) (at []remit.EntryIndex) {
	for _, a := range as {
		if p := s.Artifacts[a.String()]; p != nil {
			at = append(at, p.Entry)
		}
	}
	return at
}
