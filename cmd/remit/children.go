package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
)

// children is the authority as the gateway for child tasks sees it.
type children struct{ engine *engine.Engine }

func (c children) Create(ctx context.Context, attempt remit.ID, child remit.Child) (remit.ID, error) {
	res, err := c.engine.Do(ctx, &authority.CreateChild{Attempt: attempt, Child: child})
	return res.ID, err
}

func (c children) Made(attempt remit.ID) (id remit.ID, made bool) {
	c.engine.View(func(s *authority.State) {
		for _, t := range s.Tasks {
			if t.Attempt == attempt {
				id, made = t.ID, true
			}
		}
	})
	return id, made
}

func (c children) Payload(body []byte) (remit.Payload, error) { return c.engine.NewPayload(body) }

// Complete fills in what a request for a deployment left out.
func (c children) Complete(in *remit.ChildRequest) (err error) {
	d := in.Deploy
	env := remit.Resource("environment:" + d.Environment)
	c.engine.View(func(s *authority.State) {
		if s.Environments[d.Environment] == nil {
			err = remit.Errorf(remit.UnknownResource, "no environment %q is declared", d.Environment)
			return
		}
		current, there := s.CurrentRelease(d.Environment)
		if there && d.From == 0 {
			d.From = current.Entry
		}
		if d.Rollback && len(d.Artifacts) == 0 {
			good, ok := lastGood(s, d.Environment)
			if !ok {
				err = remit.Errorf(remit.NotFound, "nothing was good in %s before what is there now, so there is nothing to go back to", d.Environment)
				return
			}
			d.Artifacts = slices.Clone(good.Artifacts)
		}
		if in.Agent == "" {
			in.Agent, err = deployerOf(s, env, d.Step().Action)
		}
	})
	slices.SortFunc(d.Artifacts, func(a, b remit.Artifact) int { return strings.Compare(a.String(), b.String()) })
	if len(in.Scope) == 0 {
		in.Scope = []remit.Scope{{Actions: []remit.Action{d.Step().Action}, Resources: []remit.Pattern{remit.Pattern(env)}}}
	}
	if len(in.Inputs) == 0 {
		for _, a := range d.Artifacts {
			in.Inputs = append(in.Inputs, remit.Input{Resource: a.Resource, ID: a.Digest})
		}
	}
	return err
}

// lastGood is the last release that was good in an environment before what is there now, and is another.
func lastGood(s *authority.State, env string) (authority.Release, bool) {
	current, _ := s.CurrentRelease(env)
	for _, r := range slices.Backward(s.GoodReleases(env)) {
		if r.Entry != current.Entry && !slices.Equal(r.Artifacts, current.Artifacts) {
			return r, true
		}
	}
	return authority.Release{}, false
}

// deployerOf is the one agent that is entitled to a deploy step.
func deployerOf(s *authority.State, env remit.Resource, action remit.Action) (string, error) {
	var found []string
	for name, a := range s.Agents {
		if a.Function == remit.FuncDeploy && a.Status == remit.AgentActive && slices.ContainsFunc(a.Entitlements, func(e remit.Scope) bool {
			return slices.Contains(e.Actions, action) && slices.ContainsFunc(e.Resources, func(p remit.Pattern) bool { return p.Match(env) })
		}) {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", remit.Errorf(remit.UnknownPrincipal, "no active agent of function deploy is entitled to %s on %s", action, env)
	}
	slices.Sort(found)
	return "", remit.Errorf(remit.BadRequest, "the agents %s may all deploy to %s; name one with --agent", strings.Join(found, ", "), env)
}

// Open asks for what a child task is to deploy, in the name of the executor of production.
func (c children) Open(ctx context.Context, id remit.ID) (remit.Decision, error) {
	var task *authority.Task
	card := ""
	c.engine.View(func(s *authority.State) {
		if t := s.Tasks[id]; t != nil && t.Deploy.Environment != "" {
			k := *t
			task, card = &k, deployCard(s, t)
		}
	})
	if task == nil {
		return remit.Decision{}, remit.Errorf(remit.NotFound, "task %s has nothing to deploy", id)
	}
	body, err := json.Marshal(remit.Shown{Diff: card}) // what goes and what comes stand in it as in a difference
	if err != nil {
		return remit.Decision{}, err
	}
	shown, err := c.engine.NewPayload(body)
	if err != nil {
		return remit.Decision{}, err
	}
	order, err := json.Marshal(task.Deploy)
	if err != nil {
		return remit.Decision{}, err
	}
	d, err := c.engine.Authorize(ctx, remit.Request{Gateway: "deploy", Deploy: &task.Deploy, Steps: []remit.Step{task.Deploy.Step()},
		Caller: remit.Caller{Task: id, Agent: task.Agent, Executor: authority.ExecutorOf(remit.ZoneProduction)}, Order: order, Card: shown.Commitment()}, shown)
	if err == nil && d.Verdict == remit.Deny {
		// A task that may not do the one thing that it is for is called off. Its asker may be gone: then its deadline ends it.
		_, _ = c.engine.Do(ctx, &authority.EndTask{Instance: task.By, Task: id, Status: remit.TaskCancelled})
	}
	return d, err
}

// deployCard is what an approver reads of a deployment: what takes the place of what, and where it comes from.
func deployCard(s *authority.State, t *authority.Task) string {
	var b bytes.Buffer
	d := t.Deploy
	verb := "promote"
	if d.Rollback {
		verb = "roll back"
	}
	fmt.Fprintf(&b, "%s %s\n", verb, d.Environment)
	current, there := s.CurrentRelease(d.Environment)
	for _, a := range d.Artifacts {
		fmt.Fprintf(&b, "\n+ %s\n", a)
		p := s.Artifacts[a.String()]
		if p == nil {
			fmt.Fprintf(&b, "  not published through Remit\n")
			continue
		}
		fmt.Fprintf(&b, "  published by agent %s in task %s, entry %d, %s\n", p.Agent, p.Task, p.Entry, time.Unix(0, p.At).UTC().Format(time.RFC3339))
		for _, in := range p.Inputs {
			merged := ""
			if e, ok := s.Merged[string(in.Resource.Name())+"@"+in.ID]; ok {
				merged = fmt.Sprintf(", on the default branch through entry %d", e)
			}
			fmt.Fprintf(&b, "  built from %s%s\n", in, merged)
		}
		for _, env := range deployedIn(s, a) {
			fmt.Fprintf(&b, "  deployed in %s\n", env)
		}
	}
	if !there {
		fmt.Fprintf(&b, "\nnothing was deployed to %s through Remit before\n", d.Environment)
		return b.String()
	}
	for _, a := range current.Artifacts {
		fmt.Fprintf(&b, "\n- %s\n  there since entry %d, %s\n", a, current.Entry, time.Unix(0, current.At).UTC().Format(time.RFC3339))
	}
	if good, ok := lastGood(s, d.Environment); ok && !d.Rollback {
		fmt.Fprintf(&b, "\nto undo it: remit rollback %s goes back to entry %d after this release, or to entry %d before it\n", d.Environment, current.Entry, good.Entry)
	} else if !d.Rollback {
		fmt.Fprintf(&b, "\nto undo it: remit rollback %s goes back to entry %d\n", d.Environment, current.Entry)
	}
	return b.String()
}

// deployedIn lists the environments in which an artifact was good, in order.
func deployedIn(s *authority.State, a remit.Artifact) []string {
	var out []string
	for env, releases := range s.Releases {
		if slices.ContainsFunc(releases, func(r authority.Release) bool { return r.Outcome == remit.Done && slices.Contains(r.Artifacts, a) }) {
			out = append(out, env)
		}
	}
	slices.Sort(out)
	return out
}

// openDeployments asks for what child tasks are to deploy and nobody has asked for: a crash lay in between.
func (h *House) openDeployments(ctx context.Context) {
	var due []remit.ID
	h.Engine.View(func(s *authority.State) {
		for id := range s.LiveTasks {
			if t := s.Tasks[id]; t.Deploy.Environment != "" && t.Used.Decisions == 0 && s.Now-t.Deadline < 0 {
				due = append(due, id)
			}
		}
	})
	slices.Sort(due)
	for _, id := range due {
		if d, err := (children{h.Engine}).Open(ctx, id); err != nil {
			h.Log.Error("asking for a deployment", "task", id, "err", err)
		} else {
			h.Log.Info("asked for a deployment that was left open", "task", id, "verdict", d.Verdict, "code", d.Code)
		}
	}
}
