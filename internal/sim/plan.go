package sim

import (
	"time"

	"github.com/remit-dev/remit"
)

// plan files what an agent will often do afterwards: the next commit by its name, or an envelope around some more.
func (w *World) plan() {
	c, ok := w.of(pick(w, "merger", "merger", "coder"), "merger")
	if !ok {
		return
	}
	action, repo, ref := remit.Action("source.merge"), pick(w, app, app, docs), pick(w, "refs/heads/main", "refs/heads/main", "refs/heads/topic")
	if c.Agent == "coder" {
		action, ref = "source.push", "refs/heads/remit/"+string(c.Task)+"/x"
	}
	var steps []remit.PlanStep
	for range pick(w, 1, 2) {
		p := remit.PlanStep{Action: action, Resource: remit.Pattern(repo), Refs: []remit.Pattern{remit.Pattern(ref)}}
		if w.one(2) {
			p.New, p.Old = oid(w.tip()), w.up.refs[repo.Name()+" "+ref]
		} else {
			p.Uses, p.Paths, p.MaxCommits = pick(w, 0, 1, 3), pick(w, nil, []remit.Pattern{"src/**"}, []remit.Pattern{".github/**", "src/**"}), pick(w, 0, 0, 2)
		}
		steps = append(steps, p)
	}
	p := remit.Plan{Steps: steps, For: int64(pick(w, 0, 0, 10*time.Minute))}
	before := len(w.held)
	w.ask(remit.Request{Gateway: "task", Caller: c, Plan: &p, Steps: []remit.Step{{Action: remit.ActionPlan, Resource: remit.Resource("task:" + c.Agent), Args: p.Digest()}}}, order{Kind: "read"})
	if len(w.held) == before || w.one(3) {
		return
	}
	id := w.held[len(w.held)-1]
	w.agree(id)
	if w.status(id) != remit.AccessMet {
		return
	}
	if w.executeOne(id); w.one(4) {
		return
	}
	for range pick(w, 1, 2, 3) { // what it planned, or nearly
		st := pick(w, steps...)
		r, o := w.change(c, action, repo, ref, w.tip(), pick(w, "src/a", "src/a", ".github/workflows/ci.yml", "src/AGENTS.md"))
		if st.New != "" && !w.one(4) {
			r.Refs[0].New, o.New = st.New, st.New
		}
		w.ask(r, o)
	}
}
