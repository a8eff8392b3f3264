package judge

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/remit-dev/remit"
)

// What the log must show where evidence stands in for people.

// evident judges what a decision says stood in for people: it is declared so, it is found, and it was not asked for
// something that runs by itself.
func (j *Judge) evident(e *remit.Decided, t *task) string {
	if len(e.Stood) == 0 {
		return ""
	}
	if len(e.Plan.Filed) > 0 || e.Verdict == remit.Deny {
		return "R6: evidence agrees to a plan, or to what is denied"
	}
	if e.Verdict == remit.Allow && e.Executor != "" && e.Access == "" {
		return "R6: an executor goes on without an approval"
	}
	production := false
	var declared []remit.Need
	for _, f := range e.Steps {
		if len(f.Protected) > 0 || f.Runs {
			return "R6: evidence stands in for people before what runs by itself"
		}
		zone, _ := j.zoneOf(f.Step)
		production = production || zone == remit.ZoneProduction
		declared = append(declared, j.repos[f.Step.Resource.Name()].Approvers...)
		env := j.envs[f.Step.Resource.Name()]
		declared = append(append(declared, env.Approvers...), env.Rollback...)
		declared = append(declared, j.secrets[f.Step.Resource.Name()].Approvers...)
		if r, ok := j.record(f.Step.Resource); ok {
			declared = append(declared, r.Approvers...)
		}
	}
	for _, s := range e.Stood {
		if s.Need.Evidence == "" || len(s.Entries) == 0 || production && !s.Need.InProduction || !slices.ContainsFunc(declared, s.Need.Equal) {
			return "R6: evidence stands in for people where nobody declared it"
		}
		for kind := range strings.SplitSeq(s.Need.Evidence, "+") {
			if !j.shows(e, t, kind) {
				return "R6: evidence stands in for people that is not there"
			}
		}
	}
	return ""
}

// shows tells whether a kind of evidence is in the log: of a merge, or of all that is deployed.
func (j *Judge) shows(e *remit.Decided, t *task, kind string) bool {
	if e.Steps[0].Step.Action != "source.merge" {
		known := kind == remit.EvidenceBuilt || kind == "merged" || strings.HasPrefix(kind, "deployed:")
		return known && len(e.Deploy.Artifacts) > 0 && !slices.ContainsFunc(e.Deploy.Artifacts, func(a remit.Artifact) bool { return j.lacks(a, kind) != "" })
	}
	if kind == remit.EvidenceBuilt {
		in := remit.Input{Resource: e.Steps[0].Step.Resource, ID: hex.EncodeToString(e.Steps[0].New)}
		for a, inputs := range j.chain.origin {
			if slices.Contains(inputs, in) && len(j.builtFor([]remit.Input{in}, a.Resource)) > 0 {
				return true
			}
		}
		return false
	}
	owners := map[remit.ID]bool{}
	for _, v := range j.chain.verdicts {
		if v.change != e.Change {
			continue
		}
		behind := &access{AccessOpened: remit.AccessOpened{Task: e.Task}, steps: e.Steps}
		if !v.approve {
			return false
		}
		part := func(p remit.ID) bool { return j.causes(behind, p) || slices.Contains(e.Closure, p) }
		if voice := j.voice(v); !part(v.owner) && !part(voice) && !j.causes(behind, v.launcher) && j.agents[v.agent].status == remit.AgentActive {
			owners[voice] = true
		}
	}
	want := 1
	if n, many := strings.CutPrefix(kind, "verdict:"); many {
		want, _ = strconv.Atoi(n)
	}
	return want > 0 && len(owners) >= want
}

// stands tells whether evidence stood in for all who decide on a step, as far as it is known who that is.
func stands(e *remit.Decided, needs []remit.Need) bool {
	return len(needs) > 0 && !slices.ContainsFunc(needs, func(n remit.Need) bool {
		return !slices.ContainsFunc(e.Stood, func(s remit.Stood) bool { return s.Need.Equal(n) })
	})
}
