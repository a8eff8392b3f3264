package authzen

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// maxCandidates is how many resources a search looks at.
const maxCandidates = 500

// House is what the decision point has to know of the organisation.
type House interface {
	// Requester is the name of the person who requested the caller's task.
	Requester(ctx context.Context, c remit.Caller) (string, error)
	// Tool says what a call of a tool of a declared server would do, as the gateway of tools sees it.
	Tool(ctx context.Context, c remit.Caller, server, tool string, arguments json.RawMessage) ([]remit.Step, *remit.ToolCall, error)
	// Named lists declared resources of a type that the grant of the caller's task names, sorted.
	Named(ctx context.Context, c remit.Caller, typ string) ([]remit.Resource, error)
	// Foresee says what would be decided now. Nothing is recorded, and nothing opened.
	Foresee(ctx context.Context, r remit.Request) (remit.Decision, error)
}

// Authority is Remit as a PDP. The subject is who asks: the instance that the token is of, its agent, its task, or the
// person for whom it works, with the agent as the actor. Nobody learns here what another may do. The action is one of the
// catalogue, the resource one of Remit's: {"type": "repo", "id": "forge/payments"} is repo:forge/payments. For a tool the
// arguments of the call are action.properties.arguments or context.arguments. Other properties and the context decide
// nothing; people see them, and an approval is for them alone.
type Authority struct {
	Authz gateway.Authorizer
	House House
}

// Evaluate asks for advice, as decided at every gateway.
func (a *Authority) Evaluate(ctx context.Context, c remit.Caller, q Question) (Answer, error) {
	r, err := a.Request(ctx, c, q)
	if err != nil {
		return Answer{}, err
	}
	r.Advice = true
	d, err := a.Authz.Authorize(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	out := Answer{Decision: d.Verdict == remit.Allow, Why: *explain(d)}
	if d.Verdict == remit.Hold {
		out.Requestable, out.Relevant, out.Template = true, relevant(q.Context), "remit"
		out.Why.Reason, out.Why.Evaluation = approvalRequired, fmt.Sprintf("eval_%d", d.Entry)
	}
	return out, nil
}

// Request is a question in Remit's terms.
func (a *Authority) Request(ctx context.Context, c remit.Caller, q Question) (remit.Request, error) {
	none := remit.Request{}
	if err := a.isSelf(ctx, c, q.Subject); err != nil {
		return none, err
	}
	res, err := remit.ParseResource(q.Resource.Type + ":" + q.Resource.ID)
	if err != nil {
		return none, remit.Errorf(remit.BadRequest, "resource: %w", err)
	}
	r := remit.Request{Gateway: Name, Caller: c, Elsewhere: true, Steps: []remit.Step{{Action: remit.Action(q.Action.Name), Resource: res}}}
	if res.Type() == "tool" {
		return r, a.call(ctx, &r, q)
	}
	r.Steps[0].Args, err = q.args()
	return r, err
}

// isSelf holds the subject to who asks.
func (a *Authority) isSelf(ctx context.Context, c remit.Caller, s *Entity) error {
	switch s.Type {
	case "instance", "agent", "task":
		if s.ID == map[string]string{"instance": string(c.Instance), "agent": c.Agent, "task": string(c.Task)}[s.Type] && s.ID != "" {
			return actsAs(c, s, false)
		}
	case "person", "user":
		name, err := a.House.Requester(ctx, c)
		if err != nil {
			return err
		}
		if s.ID == name && name != "" {
			return actsAs(c, s, true)
		}
	}
	return remit.Errorf(remit.Forbidden, "subject: the token is of instance %s of agent %s in task %s, which may ask for itself only", c.Instance, c.Agent, c.Task)
}

// actsAs holds the actor that a subject names to the caller's agent (profile, Delegation and Acting Parties).
func actsAs(c remit.Caller, s *Entity, needed bool) error {
	raw, ok := s.Properties["act"]
	if !ok {
		if needed {
			return remit.Errorf(remit.Forbidden, "subject.properties.act: missing; agent %s acts for this person, and says so with sub: %s", c.Agent, c.Agent)
		}
		return nil
	}
	var act struct {
		Sub string          `json:"sub"`
		Act json.RawMessage `json:"act"`
	}
	if json.Unmarshal(raw, &act) != nil || act.Sub != c.Agent && act.Sub != string(c.Instance) || len(act.Act) > 0 {
		return remit.Errorf(remit.Forbidden, "subject.properties.act: the token proves that agent %s acts, and nobody else", c.Agent)
	}
	return nil
}

// args binds what a question says besides who does what where; zero where it says nothing.
func (q Question) args() (remit.Digest, error) {
	said := map[string]any{}
	if len(q.Action.Properties) > 0 {
		said["action"] = q.Action.Properties
	}
	if len(q.Resource.Properties) > 0 {
		said["resource"] = q.Resource.Properties
	}
	for _, name := range relevant(q.Context) {
		said["context."+name] = q.Context[name]
	}
	if len(said) == 0 {
		return remit.Digest{}, nil
	}
	b, err := canonical(said)
	return remit.Hash([]byte("remit authzen v1\n"), b), err
}

// call makes of a question about a tool what its gateway would ask.
func (a *Authority) call(ctx context.Context, r *remit.Request, q Question) error {
	server, tool, _ := strings.Cut(r.Steps[0].Resource.Name(), "/")
	arguments, ok := q.Action.Properties["arguments"]
	if !ok {
		arguments = q.Context["arguments"]
	}
	if len(arguments) > 0 {
		var object members
		if json.Unmarshal(arguments, &object) != nil || object == nil {
			return remit.Errorf(remit.BadRequest, "arguments: an object, as the tool takes it")
		}
		plain, err := canonical(object)
		if err != nil {
			return err
		}
		arguments = plain
	}
	asked := r.Steps[0].Action
	if server == remit.LocalTools {
		r.Tool = &remit.ToolCall{Server: server, Name: tool, Host: Name, Arguments: arguments}
		r.Steps[0].Args = remit.ToolDigest("", arguments)
		if len(arguments) > remit.MaxArguments {
			r.Tool.Arguments, r.Tool.Truncated = nil, true
		}
		return nil
	}
	steps, call, err := a.House.Tool(ctx, r.Caller, server, tool, arguments)
	if err != nil {
		return err
	}
	// The authority compares the action with what is declared of the tool; one that is stricter is taken at its word.
	r.Steps, r.Tool = steps, call
	r.Steps[0].Action = asked
	return nil
}

// Search lists what the caller would be allowed now. It says nothing of others: they are in no list.
func (a *Authority) Search(ctx context.Context, c remit.Caller, find Find, q Question) ([]Entity, error) {
	candidates, err := a.candidates(ctx, c, find, q)
	if err != nil {
		return nil, err
	}
	var out []Entity
	for _, e := range candidates[:min(len(candidates), maxCandidates)] {
		one := q
		switch find {
		case Subjects:
			one.Subject = &e
		case Resources:
			one.Resource = &e
		case Actions:
			one.Action = &e
		}
		r, err := a.Request(ctx, c, one)
		if err != nil {
			continue // no question that could be answered with yes
		}
		r.Advice = true
		d, err := a.House.Foresee(ctx, r)
		if err != nil {
			return nil, err
		}
		if d.Verdict == remit.Allow {
			out = append(out, e)
		}
	}
	return out, nil
}

// candidates are what could stand in the part that is looked for.
func (a *Authority) candidates(ctx context.Context, c remit.Caller, find Find, q Question) (out []Entity, err error) {
	switch find {
	case Subjects:
		for typ, id := range map[string]string{"instance": string(c.Instance), "agent": c.Agent, "task": string(c.Task)} {
			if q.Subject.Type == typ && id != "" {
				out = append(out, Entity{Type: typ, ID: id})
			}
		}
	case Resources:
		names, err := a.House.Named(ctx, c, q.Resource.Type)
		if err != nil {
			return nil, err
		}
		for _, r := range names {
			out = append(out, Entity{Type: r.Type(), ID: r.Name(), Properties: q.Resource.Properties})
		}
	case Actions:
		for _, info := range remit.Catalogue() {
			if info.Resource == q.Resource.Type {
				out = append(out, Entity{Name: string(info.Action)})
			}
		}
		slices.SortFunc(out, func(x, y Entity) int { return strings.Compare(x.Name, y.Name) })
	}
	return out, nil
}
