package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/remit-dev/remit"
)

// Widens tells why the bundle now may let pass what the bundle old denied or held, or hold it for fewer; empty where it
// cannot. It is shown from the text of the rules alone and for all facts: every rule of deny and hold is there as it was,
// with the votes that it asked for or more, and what rules read is as it was. Everything else widens, whatever it would
// do: a body that is written otherwise is another rule. Tests, comments, rules of observe and texts that are constant do
// not count.
func Widens(old, now []remit.PolicyFile) string {
	was, err := shapeOf(old)
	if err != nil {
		return "the policy in force cannot be read, so nothing shows that the new one asks for as much"
	}
	will, err := shapeOf(now)
	if err != nil {
		return "the policy cannot be read, so nothing shows that it asks for as much as the one in force"
	}
	for _, r := range was.rules {
		if !slices.ContainsFunc(will.rules, func(n shape) bool { return n.covers(r) }) {
			return fmt.Sprintf("rule %s of %s (%s:%d) is removed, or says less, or is written otherwise", r.name, r.pkg, r.file, r.line)
		}
	}
	added := false
	for _, r := range will.rules {
		if !slices.ContainsFunc(was.rules, func(o shape) bool { return o.pkg == r.pkg && o.text == r.text }) {
			added = true
		}
		if r.judges || slices.ContainsFunc(was.rules, func(o shape) bool { return o.pkg == r.pkg && o.text == r.text }) {
			continue // a rule more of deny or hold narrows: nothing reads these sets
		}
		// A helper: one more body of it can make a `not` false, and its name may have been a variable of a rule.
		if slices.ContainsFunc(was.rules, func(o shape) bool {
			return o.pkg == r.pkg && (o.name == r.name || slices.Contains(o.vars, r.name)) || slices.Contains(o.vars, r.name) && strings.HasPrefix(r.pkg, "remit.lib")
		}) {
			return fmt.Sprintf("%s of %s (%s:%d) is new, and rules that were there before may rest on it", r.name, r.pkg, r.file, r.line)
		}
	}
	if added {
		return will.reads
	}
	return ""
}

// shapes are the rules of a bundle that decide, without what decides nothing.
type shapes struct {
	rules []shape
	reads string // why a rule more of deny could make something true: something reads these sets, or all of data
}

type shape struct {
	pkg, name, file string
	line            int
	judges          bool   // a member of deny or hold
	text            string // canonical, with what it imports, without a constant sentence and without its votes
	sentence        string // as written
	constant        bool   // the sentence is
	votes           []remit.Need
	open            bool // the votes are not constant: they stand in text
	vars            []string
}

// covers tells whether n denies or holds all that o does, of no fewer.
func (n shape) covers(o shape) bool {
	if n.pkg != o.pkg || n.text != o.text || n.open != o.open {
		return false
	}
	if !n.constant && n.sentence != o.sentence {
		return false // a sentence that is undefined takes the rule with it
	}
	if n.open || !n.judges {
		return true
	}
	if len(o.votes) == 0 && len(n.votes) > 0 || len(o.votes) > 0 && len(n.votes) == 0 {
		return false // none is an administrator's
	}
	return !slices.ContainsFunc(o.votes, func(v remit.Need) bool {
		return !slices.ContainsFunc(n.votes, func(m remit.Need) bool { return m.Group == v.Group && m.N >= v.N })
	})
}

func shapeOf(files []remit.PolicyFile) (out shapes, err error) {
	sorted, err := arrange(files)
	if err != nil {
		return out, err
	}
	modules, err := parse(sorted)
	if err != nil {
		return out, err
	}
	c := newCompiler()
	if err := compile(c, modules); err != nil {
		return out, err
	}
	out.reads = readsMore(c)
	for _, m := range ordered(modules) {
		_, kind := placeOf(m.Package)
		if kind == tests {
			continue
		}
		pkg := strings.TrimPrefix(m.Package.Path.String(), "data.")
		for _, rule := range m.Rules {
			name := ruleName(rule)
			if kind == judges && name == "observe" {
				continue
			}
			s := shape{pkg: pkg, name: name, file: rule.Location.File, line: rule.Location.Row, vars: variables(rule)}
			s.judges = kind == judges && (name == "deny" || name == "hold")
			s.canonical(rule, m.Imports)
			out.rules = append(out.rules, s)
		}
	}
	return out, nil
}

// canonical fills in what the rule says: the text as OPA writes it, without the member text where that is constant and
// without constant votes.
func (s *shape) canonical(rule *ast.Rule, imports []*ast.Import) {
	r := rule.Copy()
	s.constant = true
	if obj, ok := headObject(r); s.judges && ok {
		var kept [][2]*ast.Term
		obj.Foreach(func(k, v *ast.Term) {
			switch key, _ := k.Value.(ast.String); key {
			case "text":
				s.sentence = v.String()
				_, s.constant = v.Value.(ast.String)
				return
			case "votes":
				if votes, err := readVotes(v.Value); err == nil {
					s.votes = votes
					return
				}
				s.open = true
			}
			kept = append(kept, [2]*ast.Term{k, v})
		})
		r.Head.Key = ast.ObjectTerm(kept...)
	}
	var used []string
	for _, i := range imports {
		name := string(i.Name())
		if slices.Contains(s.vars, name) && name != "input" && name != "data" {
			used = append(used, i.String())
		}
	}
	slices.Sort(used)
	s.text = strings.Join(append(used, r.String()), "\n")
}

func headObject(r *ast.Rule) (ast.Object, bool) {
	if r.Head.Key == nil {
		return nil, false
	}
	obj, ok := r.Head.Key.Value.(ast.Object)
	return obj, ok
}

// variables are the names that stand in a rule, each once.
func variables(r *ast.Rule) []string {
	var out []string
	ast.WalkVars(r, func(v ast.Var) bool {
		if !slices.Contains(out, string(v)) {
			out = append(out, string(v))
		}
		return false
	})
	// Segments of references say what is read of other packages.
	ast.WalkRefs(r, func(ref ast.Ref) bool {
		for _, t := range ref[1:] {
			if seg, ok := t.Value.(ast.String); ok && !ref.HasPrefix(ast.InputRootRef) && !slices.Contains(out, string(seg)) {
				out = append(out, string(seg))
			}
		}
		return false
	})
	return out
}

// readsMore tells what in a bundle could say less because there is a rule more of deny or hold, or a helper more: what
// reads one of these sets, or a package as a whole. In compiled modules all names are those of data.
func readsMore(c *ast.Compiler) (why string) {
	for _, m := range c.Modules {
		if _, kind := placeOf(m.Package); kind == tests {
			continue
		}
		for _, rule := range m.Rules {
			ast.WalkRefs(rule, func(ref ast.Ref) bool {
				if !ref.HasPrefix(ast.DefaultRootRef) {
					return false
				}
				read := c.GetRulesForVirtualDocument(ref.ConstantPrefix())
				more := len(read) == 0
				for _, r := range read {
					_, kind := placeOf(r.Module.Package)
					more = more || kind == judges && slices.Contains(sets, ruleName(r))
				}
				if more && (why == "" || why > rule.Location.File) {
					why = fmt.Sprintf("%s:%d reads %s, so a rule more can make another say less", rule.Location.File, rule.Location.Row, ref)
				}
				return false
			})
		}
	}
	return why
}
