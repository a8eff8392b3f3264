package policy

import (
	"bytes"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// input is facts as Rego sees them: the value of their JSON, built without writing JSON (a test proves them equal).
// It is used by one Judge only; OPA's values sort themselves when they are first read.
type input struct {
	facts   authority.Facts
	members [][2]*ast.Term // all but steps
	steps   []*ast.Term
}

func newInput(f authority.Facts) *input {
	in := &input{facts: f, steps: make([]*ast.Term, len(f.Steps))}
	in.members = members{
		str("org", f.Org), str("profile", f.Profile), num("minute", f.Minute), str("gateway", f.Gateway),
		obj("agent", str("name", f.Agent.Name), str("function", f.Agent.Function), str("owner", f.Agent.Owner)),
		task(f.Task),
		obj("instance", str("id", f.Instance.ID), str("confinement", f.Instance.Confinement), str("launcher", f.Instance.Launcher), boolean("ungoverned", f.Instance.Ungoverned)),
		num("bytes", f.Bytes),
	}
	if len(f.Artifacts) > 0 {
		in.members = append(in.members, listed("artifacts", f.Artifacts, artifact))
	}
	if d := f.Deploy; !empty(d) {
		in.members = append(in.members, obj("deploy", str("environment", d.Environment), listed("artifacts", d.Artifacts, artifact), boolean("rollback", d.Rollback),
			num("from", d.From), listed("evidence", d.Evidence, evidence)))
	}
	if v := f.Review; v != (authority.ReviewFacts{}) {
		in.members = append(in.members, obj("review", str("verdict", v.Verdict), str("into", v.Into), str("base", v.Base), str("head", v.Head)))
	}
	if !reflect.ValueOf(f.Tool).IsZero() {
		in.members = append(in.members, tool(f.Tool))
	}
	if p := f.Plan; p != (authority.PlanState{}) {
		in.members = append(in.members, obj("plan", num("files", p.Files), num("exact", p.Exact), num("before", p.Before), str("in", p.In), boolean("inside", p.Inside)))
	}
	if !reflect.ValueOf(f.Approval).IsZero() {
		var m members
		if len(f.Approval.Votes) > 0 {
			m = append(m, listed("votes", f.Approval.Votes, vote))
		}
		in.members = append(in.members, obj("approval", m...))
	}
	for i := range f.Steps {
		in.steps[i] = stepTerm(&f.Steps[i])
	}
	return in
}

// of is the input for the package of action: its steps only; all steps for "".
func (in *input) of(action remit.Action) ast.Value {
	steps := ast.NullTerm()
	if in.facts.Steps != nil {
		var list []*ast.Term
		for i := range in.steps {
			if action == "" || in.facts.Steps[i].Action == action {
				list = append(list, in.steps[i])
			}
		}
		steps = ast.ArrayTerm(list...)
	}
	// OPA keeps the slots of the members, so it gets its own slice.
	return ast.NewObject(append(in.members[:len(in.members):len(in.members)], [2]*ast.Term{key("steps"), steps})...)
}

type members = [][2]*ast.Term

func task(t authority.TaskFacts) [2]*ast.Term {
	m := members{str("id", t.ID), str("requester", t.Requester), envelope(t.Envelope), num("open_holds", t.OpenHolds), str("parent", t.Parent),
		inputs(t.Inputs), boolean("delegated", t.Delegated), num("depth", t.Depth)}
	if !reflect.ValueOf(t.History).IsZero() {
		m = append(m, history(t.History))
	}
	return obj("task", m...)
}

func history(h authority.HistoryFacts) [2]*ast.Term {
	var m members
	if len(h.Taints) > 0 {
		m = append(m, listed("taints", h.Taints, text))
	}
	for _, c := range [...]struct {
		name string
		n    int
	}{{"decisions", h.Decisions}, {"denied", h.Denied}, {"held", h.Held}, {"calls", h.Calls}, {"done", h.Done}, {"failed", h.Failed}} {
		if c.n != 0 {
			m = append(m, num(c.name, c.n))
		}
	}
	if h.Bytes != 0 {
		m = append(m, num("bytes", h.Bytes))
	}
	if h.LastFailure != "" {
		m = append(m, str("last_failure", h.LastFailure))
	}
	return obj("history", m...)
}

func tool(c remit.ToolCall) [2]*ast.Term {
	m := members{str("server", c.Server), str("name", c.Name), str("method", c.Method)}
	if len(c.Arguments) > 0 {
		arguments, err := ast.ValueFromReader(bytes.NewReader(c.Arguments))
		if err != nil {
			arguments = ast.Null{} // authority has denied what is no JSON
		}
		m = append(m, [2]*ast.Term{key("arguments"), ast.NewTerm(arguments)})
	}
	if c.Truncated {
		m = append(m, boolean("truncated", true))
	}
	if !c.Pin.IsZero() {
		m = append(m, str("pin", c.Pin.String()))
	}
	if c.Host != "" {
		m = append(m, str("host", c.Host))
	}
	if len(c.Why) > 0 {
		m = append(m, listed("why", c.Why, text))
	}
	return obj("tool", m...)
}

func stepTerm(s *authority.StepView) *ast.Term {
	m := members{
		str("action", s.Action), str("stage", s.Stage), str("zone", s.Zone), str("impact", s.Impact.String()),
		str("resource", s.Resource), boolean("effect", s.Effect), str("tier", s.Tier), str("secrets", s.Secrets),
		str("ref", s.Ref), str("default_branch", s.DefaultBranch), str("op", s.Op), num("commits", s.Commits),
		[2]*ast.Term{key("paths"), changes(s.Paths)}, [2]*ast.Term{key("pinned"), changes(s.Pinned)},
		[2]*ast.Term{key("protected"), patterns(s.Protected)},
		boolean("outside_envelope", s.OutsideEnvelope), boolean("runs", s.Runs),
		str("child_function", s.ChildFunction), str("child_zone", s.ChildZone), boolean("debt", s.Debt),
	}
	if len(s.Dependencies) > 0 {
		m = append(m, listed("dependencies", s.Dependencies, dependency))
	}
	if len(s.Workflows) > 0 {
		m = append(m, listed("workflows", s.Workflows, workflow))
	}
	if len(s.Owners) > 0 {
		m = append(m, listed("owners", s.Owners, ownership))
	}
	if s.Truncated {
		m = append(m, boolean("truncated", true))
	}
	if s.Planned {
		m = append(m, boolean("planned", true))
	}
	return ast.ObjectTerm(m...)
}

func vote(v authority.VoteFacts) *ast.Term {
	m := members{str("person", v.Person), boolean("approve", v.Approve), str("assurance", v.Assurance)}
	for _, x := range [...]struct{ name, value string }{{"method", v.Method}, {"provider", v.Provider}, {"acr", v.ACR}} {
		if x.value != "" {
			m = append(m, str(x.name, x.value))
		}
	}
	if len(v.AMR) > 0 {
		m = append(m, listed("amr", v.AMR, text))
	}
	if v.Age != 0 {
		m = append(m, num("age", v.Age))
	}
	return ast.ObjectTerm(m...)
}

func dependency(d remit.DependencyChange) *ast.Term {
	return ast.ObjectTerm(str("file", d.File), str("ecosystem", d.Ecosystem), str("name", d.Name), str("from", d.From), str("to", d.To),
		str("registry", d.Registry), boolean("elsewhere", d.Elsewhere), boolean("new", d.New), boolean("scripts", d.Scripts), boolean("past", d.Past),
		listed("findings", d.Findings, text), str("text", d.Text))
}

func workflow(f remit.WorkflowFinding) *ast.Term {
	return ast.ObjectTerm(str("path", f.Path), num("line", f.Line), str("kind", f.Kind), str("text", f.Text))
}

func ownership(o remit.Ownership) *ast.Term {
	return ast.ObjectTerm(listed("owners", o.Owners, text), num("paths", o.Paths), str("path", o.Path))
}

func artifact(a remit.Artifact) *ast.Term {
	return ast.ObjectTerm(str("resource", a.Resource), str("digest", a.Digest))
}

func evidence(e authority.EvidenceFacts) *ast.Term {
	return ast.ObjectTerm(str("name", e.Name), boolean("met", e.Met))
}

func empty(d authority.DeployFacts) bool {
	return d.Environment == "" && d.Artifacts == nil && !d.Rollback && d.From == 0 && d.Evidence == nil
}

// listed is a list under a name; null where there is none.
func listed[T any](name string, list []T, term func(T) *ast.Term) [2]*ast.Term {
	if list == nil {
		return [2]*ast.Term{key(name), ast.NullTerm()}
	}
	terms := make([]*ast.Term, len(list))
	for i := range list {
		terms[i] = term(list[i])
	}
	return [2]*ast.Term{key(name), ast.ArrayTerm(terms...)}
}

func changes(list []remit.PathChange) *ast.Term {
	if list == nil {
		return ast.NullTerm()
	}
	terms := make([]*ast.Term, len(list))
	for i := range list {
		c := &list[i]
		m := make(members, 1, 7)
		m[0] = str("path", c.Path)
		for _, f := range [...]struct{ name, value string }{{"fold", c.Fold}, {"old", c.Old}, {"new", c.New}} {
			if f.value != "" {
				m = append(m, str(f.name, f.value))
			}
		}
		if c.OldMode != 0 {
			m = append(m, num("old_mode", c.OldMode))
		}
		if c.NewMode != 0 {
			m = append(m, num("new_mode", c.NewMode))
		}
		if c.Past {
			m = append(m, boolean("past", true))
		}
		terms[i] = ast.ObjectTerm(m...)
	}
	return ast.ArrayTerm(terms...)
}

func inputs(list []remit.Input) [2]*ast.Term {
	if list == nil {
		return [2]*ast.Term{key("inputs"), ast.NullTerm()}
	}
	terms := make([]*ast.Term, len(list))
	for i, in := range list {
		terms[i] = ast.ObjectTerm(str("resource", in.Resource), str("id", in.ID))
	}
	return [2]*ast.Term{key("inputs"), ast.ArrayTerm(terms...)}
}

func envelope(e remit.Envelope) [2]*ast.Term {
	var m members
	if len(e.Refs) > 0 {
		m = append(m, [2]*ast.Term{key("refs"), patterns(e.Refs)})
	}
	if len(e.Paths) > 0 {
		m = append(m, [2]*ast.Term{key("paths"), patterns(e.Paths)})
	}
	if e.MaxBytes != 0 {
		m = append(m, num("max_bytes", e.MaxBytes))
	}
	if e.MaxCommits != 0 {
		m = append(m, num("max_commits", e.MaxCommits))
	}
	return obj("envelope", m...)
}

func patterns(list []remit.Pattern) *ast.Term {
	if list == nil {
		return ast.NullTerm()
	}
	terms := make([]*ast.Term, len(list))
	for i, p := range list {
		terms[i] = text(string(p))
	}
	return ast.ArrayTerm(terms...)
}

func key(name string) *ast.Term { return ast.InternedTerm(name) }

func str[T ~string](name string, v T) [2]*ast.Term { return [2]*ast.Term{key(name), text(string(v))} }

// text is s as encoding/json writes it: each byte that is not UTF-8 becomes U+FFFD.
func text(s string) *ast.Term {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return ast.StringTerm(s)
}

func num[T int | int64 | uint32 | remit.EntryIndex](name string, v T) [2]*ast.Term {
	if v < 0 {
		return [2]*ast.Term{key(name), ast.NewTerm(ast.Number(strconv.FormatInt(int64(v), 10)))}
	}
	return [2]*ast.Term{key(name), ast.NewTerm(ast.Number(strconv.FormatUint(uint64(v), 10)))}
}

func boolean(name string, v bool) [2]*ast.Term { return [2]*ast.Term{key(name), ast.InternedTerm(v)} }

func obj(name string, m ...[2]*ast.Term) [2]*ast.Term {
	return [2]*ast.Term{key(name), ast.ObjectTerm(m...)}
}
