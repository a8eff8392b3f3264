package policy

import (
	"reflect"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// reads are the members of input that the rules of a bundle name: NAME, or NAME.MEMBER where all that is read of NAME are
// members named so. all: something reads input in another way, so it may see everything.
type reads struct {
	all     bool
	members map[string]map[string]bool // nil: the whole member
}

// always are the members of facts that input always has as a record, so that what one of their members is says nothing of
// the others.
var always = []string{"agent", "task", "instance"}

// readsOf looks at what was compiled: there, imports and aliases of input are references to input.
func readsOf(c *ast.Compiler) reads {
	r := reads{members: map[string]map[string]bool{}}
	for _, m := range c.Modules {
		if _, kind := placeOf(m.Package); kind == tests {
			continue
		}
		named := 0
		ast.WalkRefs(m, func(ref ast.Ref) bool {
			if ref.HasPrefix(ast.InputRootRef) {
				named++
				r.add(ref)
			}
			return false
		})
		ast.WalkTerms(m, func(t *ast.Term) bool {
			if v, ok := t.Value.(ast.Var); ok && v.Equal(ast.InputRootDocument.Value) {
				named--
			}
			return false
		})
		ast.WalkWiths(m, func(*ast.With) bool { r.all = true; return false })
		// input by itself, as an argument or a value, is no reference to a member of it.
		r.all = r.all || named != 0
	}
	return r
}

func (r *reads) add(ref ast.Ref) {
	name, ok := constantAt(ref, 1)
	if !ok {
		r.all = true
		return
	}
	within, seen := r.members[name]
	if seen && within == nil {
		return
	}
	part, ok := constantAt(ref, 2)
	if !ok || !slices.Contains(always, name) {
		r.members[name] = nil
		return
	}
	if within == nil {
		within = map[string]bool{}
		r.members[name] = within
	}
	within[part] = true
}

// constantAt is the constant that stands at a place of a reference.
func constantAt(ref ast.Ref, at int) (string, bool) {
	if len(ref) <= at {
		return "", false
	}
	s, ok := ref[at].Value.(ast.String)
	return string(s), ok
}

// Judges tells whether any package of the bundle judges a step of one of these actions.
func (b *Bundle) Judges(actions ...remit.Action) bool {
	_, all := b.queries[""]
	return all || slices.ContainsFunc(actions, func(a remit.Action) bool { _, ok := b.queries[a]; return ok })
}

// Narrow gives f without what no rule of the bundle reads: of facts that are then the same, Judge finds the same. What it
// cannot follow (input as a whole, a member by a computed name) it takes for everything.
func (b *Bundle) Narrow(f authority.Facts) authority.Facts {
	if b.reads.all {
		return f
	}
	v := reflect.ValueOf(&f).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		within, read := b.reads.members[name]
		switch {
		case name == "steps": // their actions say which packages judge
		case !read:
			v.Field(i).SetZero()
		case within != nil:
			for j := range v.Field(i).NumField() {
				part, _, _ := strings.Cut(v.Field(i).Type().Field(j).Tag.Get("json"), ",")
				if !within[part] {
					v.Field(i).Field(j).SetZero()
				}
			}
		}
	}
	return f
}
