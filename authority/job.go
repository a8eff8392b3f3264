package authority

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// TokenLife is how long a CI job's token is remembered after it started an instance: longer than any forge lets one
// live.
const TokenLife = 24 * time.Hour

// decideStartJob makes a CI job an instance of the agent that declares such jobs, on the task that asked for the build of
// its commit. The claims decide; nobody launches it.
func decideStartJob(s *State, now int64, c *StartJob) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	if c.Issuer == "" || c.Claims.IsZero() || c.Token.IsZero() || c.Secret.IsZero() {
		return fail(remit.BadRequest, "a job names its issuer, what its token says, the token and the hash of its secret")
	}
	if now < s.Jobs[c.Token] {
		return fail(remit.AlreadyUsed, "this token has started an instance; the job gets a new one from its issuer")
	}
	agent, job, why := s.jobAgent(c)
	if why != "" {
		return fail(remit.UnknownPrincipal, "%s", why)
	}
	if !s.agentLive(agent, now) {
		return fail(remit.NotLive, "agent %s is suspended or retired, has expired, or its owner has left", agent)
	}
	var task *Task
	in := remit.Input{Resource: remit.Resource("repo:" + job.Source), ID: c.Commit}
	for _, id := range s.Agents[agent].Tasks.IDs { // the oldest first
		t := s.Tasks[id]
		if task == nil && t.Status != remit.TaskWaiting && slices.Contains(t.Inputs, in) && s.TaskLive(id, now) && len(t.Instances) == 0 {
			task = t
		}
	}
	if task == nil {
		return fail(remit.NotLive, "no task asks for a build of %s of %s by agent %s, or each that does has its job already", c.Commit, in.Resource, agent)
	}
	id := newID(s, "I", 0)
	return []remit.Event{&remit.InstanceStarted{ID: id, Task: task.ID, Agent: agent, Confinement: remit.ConfineHost, Secret: c.Secret, Host: c.Host,
		Issuer: c.Issuer, Claims: c.Claims, Token: c.Token}}, Result{ID: id}, nil
}

// jobAgent finds the one agent that declares a job with exactly these claims; why names the first claim that fits none.
func (s *State) jobAgent(c *StartJob) (agent string, job remit.Job, why string) {
	fit := 0
	for _, name := range sorted(s.Agents) {
		if s.Agents[name].Status == remit.AgentRetired {
			continue
		}
		for _, j := range s.Agents[name].Jobs {
			n := 0
			for _, same := range []bool{j.Issuer == c.Issuer, j.Repository == c.Repository, j.Workflow == c.Workflow, j.Environment == c.Environment} {
				if !same {
					break
				}
				n++
			}
			if n == 4 {
				return name, j, ""
			}
			fit = max(fit, n)
		}
	}
	return "", remit.Job{}, [...]string{
		fmt.Sprintf("no agent declares jobs of issuer %q", c.Issuer),
		fmt.Sprintf("no agent declares jobs of repository id %q at issuer %s", c.Repository, c.Issuer),
		fmt.Sprintf("no agent declares jobs of workflow %q in repository id %s", c.Workflow, c.Repository),
		fmt.Sprintf("no agent declares jobs of workflow %s in environment %q", c.Workflow, c.Environment),
	}[fit]
}

// applyJob holds that exactly CI jobs have no launcher, and that a token starts one instance.
func (s *State) applyJob(at int64, e *remit.InstanceStarted) error {
	if (e.Launcher == "") != (e.Issuer != "") {
		return fmt.Errorf("instance %s has a launcher and an issuer, or neither", e.ID)
	}
	if e.Issuer == "" {
		return nil
	}
	if s.Jobs[e.Token] > at {
		return errors.New("the token of the job has started another instance")
	}
	s.Jobs[e.Token] = at + int64(TokenLife)
	s.JobAge = append(s.JobAge, e.Token)
	return nil
}
