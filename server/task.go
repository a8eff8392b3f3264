package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/ledger"
)

// Lists answer with at most so many, the newest first.
const (
	maxTasks    = 500
	maxAccesses = 200
	maxIntent   = 4 << 10
)

// branch is where a task may push unless its grant says otherwise.
func branch(task remit.ID) string { return "refs/heads/remit/" + string(task) }

// at is when an entry was made.
func (s *Server) at(ctx context.Context, i remit.EntryIndex) time.Time {
	for e, err := range s.cfg.Engine.Read(ctx, i) {
		if err != nil {
			return time.Time{}
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			return time.Time{}
		}
		return l.At
	}
	return time.Time{}
}

func createTask(s *Server, c *call, in remit.TaskRequest) (remit.TaskView, error) {
	if len(in.Intent) == 0 || len(in.Intent) > maxIntent {
		return remit.TaskView{}, remit.Errorf(remit.BadRequest, "a task says in 1 to %d bytes what it is for, not %d", maxIntent, len(in.Intent))
	}
	if in.Strict {
		if err := s.entitled(in); err != nil {
			return remit.TaskView{}, err
		}
	}
	intent, err := s.cfg.Engine.NewPayload([]byte(in.Intent))
	if err != nil {
		return remit.TaskView{}, err
	}
	res, err := s.do(c, &authority.CreateTask{By: c.person, Agent: in.Agent, Intent: intent.Commitment(),
		Scope: scopes(in.Scope), Envelope: in.Envelope, Budget: in.Budget, For: int64(in.For)}, intent)
	if err != nil {
		return remit.TaskView{}, s.inNames(c, err)
	}
	v, err := s.task(c.r.Context(), res.ID)
	v.Dropped = authority.Dropped(in.Scope, v.Grant, res.ID)
	return v, err
}

// entitled refuses a request of which the agent is not entitled to a part.
func (s *Server) entitled(in remit.TaskRequest) error {
	var dropped []remit.Scope
	s.view(func(st *authority.State) {
		if a := st.Agents[in.Agent]; a != nil {
			dropped = authority.Dropped(in.Scope, a.Entitlements, "{task}")
		}
	})
	if len(dropped) == 0 {
		return nil
	}
	d := dropped[0]
	what := fmt.Sprintf("%v on %v", d.Actions, d.Resources)
	if len(d.Refs)+len(d.Paths) > 0 {
		what += fmt.Sprintf(" for %v", slices.Concat(d.Refs, d.Paths))
	}
	return remit.Errorf(remit.OutOfScope, "agent %s is not entitled to %s; ask for less, or not strictly for as much of it as there is", in.Agent, what)
}

// inNames puts names into an error of the authority.
func (s *Server) inNames(c *call, err error) error {
	return (&declaring{names: s.people(c.r.Context())}).explain(err)
}

// task is the view of one task.
func (s *Server) task(ctx context.Context, id remit.ID) (remit.TaskView, error) {
	list, err := s.tasks(ctx, func(t *authority.Task) bool { return t.ID == id })
	if err != nil {
		return remit.TaskView{}, err
	}
	if len(list) == 0 {
		return remit.TaskView{}, remit.Errorf(remit.NotFound, "there is no task %.64s", id)
	}
	return list[0], nil
}

// tasks gives the tasks that which is true of, newest first.
func (s *Server) tasks(ctx context.Context, which func(*authority.Task) bool) ([]remit.TaskView, error) {
	d := s.people(ctx)
	now := s.now()
	out := []remit.TaskView{}
	var intents []remit.Digest
	s.view(func(st *authority.State) {
		var found []*authority.Task
		for _, t := range st.Tasks {
			if which(t) {
				found = append(found, t)
			}
		}
		slices.SortFunc(found, func(a, b *authority.Task) int { return cmp.Compare(b.Entry, a.Entry) })
		for _, t := range found[:min(len(found), maxTasks)] {
			v := remit.TaskView{ID: t.ID, Status: t.Status, Live: st.TaskLive(t.ID, now.UnixNano()), Agent: t.Agent,
				Requester: d.Name(t.Requester), Grant: scopes(t.Grant), Envelope: t.Envelope, Budget: t.Budget, Decisions: t.Used.Decisions,
				Bytes: t.Used.Bytes, Deadline: time.Unix(0, t.Deadline).UTC(), Parent: t.Parent, Branch: branch(st.BranchesOf(t.ID)),
				Holds: st.HoldsOf(t.ID), Instances: st.InstancesOf(t.ID), Entry: t.Entry, Ungoverned: slices.Clone(t.Ungoverned),
				Inputs: slices.Clone(t.Inputs), Delegated: t.Delegated}
			if a := st.Agents[t.Agent]; a != nil {
				v.Function = a.Function
			}
			if d := t.Deploy; d.Environment != "" {
				v.Deploy = &d
			}
			out = append(out, v)
			intents = append(intents, t.Intent)
		}
	})
	for i := range out {
		out[i].Intent, out[i].Created = s.text(ctx, intents[i]), s.at(ctx, out[i].Entry)
	}
	return out, nil
}

// flag reads a query parameter that is true or false; absent is false.
func (c *call) flag(name string) (bool, error) {
	switch v := c.r.URL.Query().Get(name); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, remit.Errorf(remit.BadRequest, "%s is true or false, not %.32q", name, v)
	}
}

func listTasks(s *Server, c *call) ([]remit.TaskView, error) {
	all, err := c.flag("all")
	if err != nil {
		return nil, err
	}
	return s.tasks(c.r.Context(), func(t *authority.Task) bool {
		return all || t.Status == remit.TaskOpen || t.Status == remit.TaskWaiting
	})
}

func oneTask(s *Server, c *call) (remit.TaskView, error) {
	if err := c.own(c.id()); err != nil {
		return remit.TaskView{}, err
	}
	return s.task(c.r.Context(), c.id())
}

// endTask completes or cancels; an instance may complete its own task.
func endTask(to remit.TaskStatus) func(*Server, *call, remit.EndRequest) (none, error) {
	return func(s *Server, c *call, in remit.EndRequest) (none, error) {
		if err := c.own(c.id()); err != nil {
			return none{}, err
		}
		_, err := s.do(c, &authority.EndTask{By: c.person, Instance: c.instance, Task: c.id(), Status: to, DropHolds: in.DropHolds})
		return none{}, err
	}
}

// maxTrace is how many tasks one story has: a task, and those that came of it.
const maxTrace = 200

func trace(s *Server, c *call) (remit.Trace, error) {
	left := maxTrace
	return s.trace(c.r.Context(), c.id(), s.people(c.r.Context()), &left)
}

func (s *Server) trace(ctx context.Context, id remit.ID, d follow.Directory, left *int) (out remit.Trace, err error) {
	*left--
	if out.Task, err = s.task(ctx, id); err != nil {
		return out, err
	}
	if out.Steps, err = s.cfg.Follow.Trace(ctx, id, d); err != nil {
		return out, err
	}
	var children []*authority.Task
	s.view(func(st *authority.State) {
		for _, t := range st.Tasks {
			if t.Parent == id {
				children = append(children, t)
			}
		}
	})
	slices.SortFunc(children, func(a, b *authority.Task) int { return int(a.Entry) - int(b.Entry) })
	for _, t := range children {
		if *left <= 0 {
			break
		}
		child, err := s.trace(ctx, t.ID, d, left)
		if err != nil {
			return out, err
		}
		out.Children = append(out.Children, child)
	}
	return out, nil
}

// kill ends authority. It does not wait for anything: not for the log, and not for a place among the requests.
func kill(s *Server, c *call, in remit.KillRequest) (none, error) {
	id := remit.ID(in.ID)
	if in.What == "person" {
		// Where names cannot be read, an id does it too.
		if found, ok := s.people(c.r.Context()).ID(in.ID); ok {
			id = found
		}
	}
	err := s.cfg.Engine.Kill(authority.Kill{By: c.person, What: in.What, ID: id})
	if in.What == "person" {
		killed := false
		s.view(func(st *authority.State) { p := st.People[id]; killed = p != nil && p.Killed })
		if killed {
			s.cfg.Sessions.EndPerson(id)
		}
	}
	if err != nil {
		return none{}, s.inNames(c, err)
	}
	return none{}, nil
}

func listAgents(s *Server, c *call) ([]remit.AgentView, error) {
	return s.agents(c.r.Context(), func(a *authority.Agent) bool { return true })
}

func oneAgent(s *Server, c *call) (remit.AgentView, error) {
	name := c.r.PathValue("name")
	list, err := s.agents(c.r.Context(), func(a *authority.Agent) bool { return a.Name == name })
	if err != nil {
		return remit.AgentView{}, err
	}
	if len(list) == 0 {
		return remit.AgentView{}, remit.Errorf(remit.NotFound, "there is no agent %.64q", name)
	}
	return list[0], nil
}

func (s *Server) agents(ctx context.Context, which func(*authority.Agent) bool) ([]remit.AgentView, error) {
	d := s.people(ctx)
	out := []remit.AgentView{}
	var texts []remit.Digest
	s.view(func(st *authority.State) {
		var found []*authority.Agent
		for _, a := range st.Agents {
			if which(a) {
				found = append(found, a)
			}
		}
		slices.SortFunc(found, func(a, b *authority.Agent) int { return cmp.Compare(a.Name, b.Name) })
		for _, a := range found {
			out = append(out, s.agent(st, a, d))
			texts = append(texts, a.Text)
		}
	})
	for i := range out {
		out[i].Purpose = s.text(ctx, texts[i])
	}
	return out, nil
}

func (s *Server) agent(st *authority.State, a *authority.Agent, d follow.Directory) remit.AgentView {
	v := remit.AgentView{Name: a.Name, SPIFFEID: s.cfg.CA.TrustDomain().IDString() + "/agent/" + a.Name, Function: a.Function, Status: a.Status,
		Owner: d.Name(a.Owner), Requesters: some(a.Requesters), Entitlements: append([]remit.Scope{}, scopes(a.Entitlements)...),
		Expires: dateTime(a.Expires * 1e9), Review: dateTime(a.Review * 1e9), LastUse: dateTime(a.LastUse), Idle: dateTime(a.Idle)}
	for id := range st.LiveTasks {
		if st.Tasks[id].Agent == a.Name {
			v.Tasks = append(v.Tasks, id)
		}
	}
	slices.Sort(v.Tasks)
	return v
}

func dateTime(nanos int64) *time.Time {
	if nanos == 0 {
		return nil
	}
	t := time.Unix(0, nanos).UTC()
	return &t
}

func changeAgent(to remit.AgentStatus) func(*Server, *call, none) (none, error) {
	return func(s *Server, c *call, _ none) (none, error) {
		_, err := s.do(c, &authority.ChangeAgent{By: c.person, Agent: c.r.PathValue("name"), To: to})
		return none{}, err
	}
}

// startInstance makes the secret that the instance's launcher will prove itself with; the log has its hash.
func startInstance(s *Server, c *call, in remit.InstanceRequest) (remit.InstanceView, error) {
	secret := s.secretOnce(c)
	host, _ := s.host(c.r)
	res, err := s.do(c, &authority.StartInstance{By: c.person, Task: in.Task, Confinement: in.Confinement, Ungoverned: slices.Compact(slices.Sorted(slices.Values(in.Ungoverned))),
		Secret: remit.Hash(secret[:]), Host: host})
	if err != nil {
		return remit.InstanceView{}, err
	}
	s.heard(res.ID)
	v, err := s.instance(c.r.Context(), res.ID)
	v.Secret = secret[:]
	return v, err
}

func (s *Server) instance(ctx context.Context, id remit.ID) (remit.InstanceView, error) {
	v := remit.InstanceView{ID: id}
	var grant []remit.Scope
	upstreams := map[string]remit.Digest{}
	moved := map[string]string{}
	s.view(func(st *authority.State) {
		i := st.Instances[id]
		if i == nil {
			return
		}
		v.Task, v.Agent, v.Branch, v.MCP = i.Task, i.Agent, branch(st.BranchesOf(i.Task)), st.ReachedServers(i.Task)
		if t := st.Tasks[i.Task]; t != nil {
			v.Deadline, grant = time.Unix(0, t.Deadline).UTC(), scopes(t.Grant)
		}
		v.Gateway = s.cfg.Base + "/v1/orgs/" + string(st.Org) + "/git"
		for name, u := range st.Upstreams {
			upstreams[name] = u.Spec
		}
		for name, r := range st.Repositories {
			if r.Path != defaultPath(name) {
				moved[name] = r.Path
			}
		}
	})
	if v.Task == "" {
		return v, remit.Errorf(remit.NotLive, "instance %s has ended", id)
	}
	name, err := identity.InstanceID(s.cfg.CA.TrustDomain(), v.Agent, id)
	if err != nil {
		return v, err
	}
	v.SPIFFEID = name.String()
	v.Rewrites, err = s.rewrites(ctx, v.Gateway, grant, upstreams, moved)
	return v, err
}
