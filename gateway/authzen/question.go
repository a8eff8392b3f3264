package authzen

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
)

// Limits of what is read, in bytes, and of how many questions are asked at once.
const (
	maxBody        = 64 << 10
	maxBatch       = 512 << 10
	maxEvaluations = 100
)

// members are those of an object by their exact names: encoding/json takes Subject for subject, and others do not.
type members map[string]json.RawMessage

// Entity is a subject, an action or a resource (AuthZEN §5): a subject and a resource have a type and an id, an action a
// name. What else stands in it is kept for what binds it, and decides nothing by itself.
type Entity struct {
	Type       string
	ID         string
	Name       string
	Properties map[string]json.RawMessage

	all members
}

// Question is what is asked: may the subject do the action on the resource?
type Question struct {
	Subject  *Entity
	Action   *Entity
	Resource *Entity
	Context  map[string]json.RawMessage
}

// Find is which part of a question is looked for.
type Find string

const (
	Nothing   Find = ""
	Subjects  Find = "subject"
	Resources Find = "resource"
	Actions   Find = "action"
)

// read takes the body of a request apart. What it says twice, and what is too much, is refused (§10.1).
func read(r *http.Request, limit int64) (members, error) {
	if t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(t), "application/json") {
		return nil, remit.Errorf(remit.BadRequest, "the request has the Content-Type %.64q; send application/json", r.Header.Get("Content-Type"))
	}
	var m members
	if err := remit.DecodeKnown(r.Body, limit, &m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, remit.Errorf(remit.BadRequest, "the request is null; send an object with subject, action and resource")
	}
	return m, nil
}

// part decodes the member of a name into v; ok is false where there is none.
func (m members) part(name string, v any) (ok bool, err error) {
	raw, ok := m[name]
	if !ok || string(raw) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, remit.Errorf(remit.BadRequest, "%s: not of the type that it has to be of: %w", name, err)
	}
	return true, nil
}

// entity is the entity of a name, or nil.
func (m members) entity(name string) (*Entity, error) {
	var all members
	if ok, err := m.part(name, &all); !ok {
		return nil, err
	}
	e := &Entity{all: all}
	return e, e.fill(name)
}

// fill reads what the members of e say.
func (e *Entity) fill(name string) error {
	for member, to := range map[string]any{"type": &e.Type, "id": &e.ID, "name": &e.Name, "properties": &e.Properties} {
		if _, err := e.all.part(member, to); err != nil {
			return remit.Errorf(remit.BadRequest, "%s.%w", name, err)
		}
	}
	return nil
}

// over gives e, with what it needs and does not say taken from a default: a part of a batch replaces the default whole,
// but for the members that name it (AuthZEN certification scenario, default value merging).
func (e *Entity) over(def *Entity, name string) (*Entity, error) {
	if e == nil || def == nil {
		if e == nil {
			e = def
		}
		return e, nil
	}
	out := &Entity{all: maps.Clone(e.all)}
	for _, member := range []string{"type", "id", "name"} {
		if _, ok := out.all[member]; !ok && def.all[member] != nil {
			out.all[member] = def.all[member]
		}
	}
	return out, out.fill(name)
}

// question reads the four parts of a question, whatever of them is there.
func (m members) question() (q Question, err error) {
	if q.Subject, err = m.entity("subject"); err != nil {
		return q, err
	}
	if q.Action, err = m.entity("action"); err != nil {
		return q, err
	}
	if q.Resource, err = m.entity("resource"); err != nil {
		return q, err
	}
	_, err = m.part("context", &q.Context)
	return q, err
}

// check tells what is missing of a question in which one part is looked for.
func (q Question) check(find Find) error {
	missing := func(what string) error {
		return remit.Errorf(remit.BadRequest, "%s: missing; the request needs it (AuthZEN, Authorization API 1.0)", what)
	}
	switch {
	case q.Subject == nil:
		return missing("subject")
	case q.Subject.Type == "":
		return missing("subject.type")
	case q.Subject.ID == "" && find != Subjects:
		return missing("subject.id")
	case q.Action == nil && find != Actions:
		return missing("action")
	case q.Action != nil && q.Action.Name == "" && find != Actions:
		return missing("action.name")
	case q.Resource == nil:
		return missing("resource")
	case q.Resource.Type == "":
		return missing("resource.type")
	case q.Resource.ID == "" && find != Resources:
		return missing("resource.id")
	}
	return nil
}
