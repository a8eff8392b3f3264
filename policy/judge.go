package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

const (
	maxRules    = 32   // distinct rules in one finding; they stand in a leaf
	maxRuleName = 64   // bytes
	maxText     = 512  // bytes of one text
	maxSentence = 2048 // bytes of the texts together
	maxVotes    = 16   // distinct groups in one finding
	maxSeats    = 16   // people of one group
)

// Judge evaluates, for each distinct action among the steps, the package of that action with these steps, and remit.any
// with all of them; what has no package is not evaluated. The worst verdict wins: the rules of all are named, the texts
// of the worst are joined. What goes wrong denies.
func (b *Bundle) Judge(f authority.Facts) authority.Finding {
	actions := []remit.Action{""}
	for _, s := range f.Steps {
		if !slices.Contains(actions, s.Action) {
			actions = append(actions, s.Action)
		}
	}
	slices.Sort(actions)
	var in *input
	var all verdicts
	for _, action := range actions {
		query, ok := b.queries[action]
		if !ok {
			continue
		}
		if in == nil {
			in = newInput(f)
		}
		if failed := b.evaluate(query, action, in, f.Minute, &all); failed != nil {
			return *failed
		}
	}
	return all.finding()
}

// evaluate adds what one package says to all; a failure is the finding that denies.
func (b *Bundle) evaluate(query rego.PreparedEvalQuery, action remit.Action, in *input, minute int64, all *verdicts) (failed *authority.Finding) {
	pkg := "remit.any"
	if action != "" {
		pkg = "remit." + string(action)
	}
	defer func() {
		if r := recover(); r != nil {
			failed = deny(remit.PolicyError, "The policy package %s failed. An administrator has to correct it.", pkg)
		}
	}()
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(b.limit, cancel.Cancel)
	defer timer.Stop()
	// The time that an evaluation would see is the minute of the facts, so that even a function that slipped through
	// would read nothing else.
	rs, err := query.Eval(context.Background(), rego.EvalParsedInput(in.of(action)), rego.EvalExternalCancel(cancel),
		rego.EvalTime(time.Unix(minute*60, 0).UTC()))
	switch {
	case topdown.IsCancel(err):
		f := deny(remit.PolicyTimeout, "The policy package %s did not answer within %v. Ask again; if it happens twice, an administrator has to make it cheaper.", pkg, b.limit)
		f.Limit = true
		return f
	case err != nil:
		where := ""
		var te *topdown.Error
		if errors.As(err, &te) && te.Location != nil {
			where = fmt.Sprintf(" at %s:%d", te.Location.File, te.Location.Row)
		}
		return deny(remit.PolicyError, "The policy package %s failed%s. An administrator has to correct it.", pkg, where)
	case len(rs) != 1:
		return deny(remit.PolicyResult, "The policy package %s gave %d answers; an administrator has to correct it.", pkg, len(rs))
	}
	for _, name := range sets {
		value, ok := rs[0].Bindings[name]
		if !ok {
			continue
		}
		if err := all.add(name, value); err != nil {
			return deny(remit.PolicyResult, "%s.%s %v. An administrator has to correct it.", pkg, name, err)
		}
	}
	return nil
}

func deny(code remit.Code, format string, args ...any) *authority.Finding {
	return &authority.Finding{Verdict: remit.Deny, Code: code, Sentence: fmt.Sprintf(format, args...)}
}

// member of deny, hold or observe.
type member struct {
	rule, text string
	verdict    remit.Verdict // that a member of observe would give
}

// verdicts gathers what the packages say.
type verdicts struct {
	deny, hold []member
	votes      []remit.Need // sorted by group
	observed   []remit.Observation
}

// add reads the array that queryFor binds to name. Errors say no value: values may be personal.
func (v *verdicts) add(name string, bound any) error {
	arr, ok := bound.(*ast.Array)
	if !ok {
		return errors.New("has no value that can be read")
	}
	if arr.Len() == 0 {
		return nil
	}
	set, ok := arr.Elem(0).Value.(ast.Set)
	if !ok {
		return fmt.Errorf("is not a set but %s; write `%s contains {…} if …`", ast.ValueName(arr.Elem(0).Value), name)
	}
	for _, t := range set.Slice() {
		obj, ok := t.Value.(ast.Object)
		if !ok {
			return fmt.Errorf("has a member that is not an object but %s; write {\"rule\": …, \"text\": …}", ast.ValueName(t.Value))
		}
		m, votes, err := readMember(obj, name)
		switch {
		case err != nil:
			return err
		case name == "deny":
			v.deny = append(v.deny, m)
			continue
		case name == "observe":
			v.observed = append(v.observed, remit.Observation{Rule: m.rule, Verdict: m.verdict, Text: m.text})
			continue
		}
		v.hold = append(v.hold, m)
		for _, n := range votes {
			v.need(n)
		}
	}
	return nil
}

// need keeps, of two lines for one group, the one that asks for more.
func (v *verdicts) need(n remit.Need) {
	i, found := slices.BinarySearchFunc(v.votes, n, func(a, b remit.Need) int { return strings.Compare(a.Group, b.Group) })
	if !found {
		v.votes = slices.Insert(v.votes, i, n)
		return
	}
	v.votes[i].N = max(v.votes[i].N, n.N)
}

// onTrial are what a member of observe says that it would give.
var onTrial = map[ast.String]remit.Verdict{"deny": remit.Deny, "hold": remit.Hold}

func readMember(obj ast.Object, set string) (m member, votes []remit.Need, err error) {
	says := false // what it would give
	err = obj.Iter(func(k, t *ast.Term) error {
		key, _ := k.Value.(ast.String)
		switch s, isString := t.Value.(ast.String); {
		case key == "rule":
			if m.rule = string(s); !isString || !ValidRule(m.rule) {
				return fmt.Errorf("has a member whose rule is not 1 to %d of a-z 0-9 . _ -", maxRuleName)
			}
		case key == "text":
			if m.text = string(s); !isString || !validText(m.text) {
				return fmt.Errorf("has a member whose text is not one line of 1 to %d bytes", maxText)
			}
		case key == "verdict" && set == "observe":
			if m.verdict, says = onTrial[s]; !says {
				return errors.New(`has a member whose verdict is not "deny" or "hold"`)
			}
		case key == "votes" && set == "hold":
			votes, err = readVotes(t.Value)
			return err
		case key == "votes":
			return errors.New("has a member with votes; only hold asks for votes")
		default:
			return errors.New("has a member with more than rule, text and what belongs to its set: votes to hold, verdict to observe")
		}
		return nil
	})
	if err == nil && (m.rule == "" || m.text == "") {
		err = errors.New("has a member without rule or text; write {\"rule\": …, \"text\": …}")
	}
	if err == nil && set == "observe" && !says {
		err = errors.New(`has a member without verdict; write {"rule": …, "text": …, "verdict": "deny"}`)
	}
	return m, votes, err
}

func readVotes(v ast.Value) ([]remit.Need, error) {
	wrong := fmt.Errorf("has votes that are not a list of {\"group\": NAME, \"n\": 1 to %d}", maxSeats)
	arr, ok := v.(*ast.Array)
	if !ok {
		return nil, wrong
	}
	var votes []remit.Need
	for i := range arr.Len() {
		obj, ok := arr.Elem(i).Value.(ast.Object)
		if !ok || obj.Len() != 2 {
			return nil, wrong
		}
		group, n := obj.Get(ast.StringTerm("group")), obj.Get(ast.StringTerm("n"))
		if group == nil || n == nil {
			return nil, wrong
		}
		name, isString := group.Value.(ast.String)
		number, isNumber := n.Value.(ast.Number)
		count, isInt := number.Int()
		if !isString || !ValidRule(string(name)) || !isNumber || !isInt || count < 1 || count > maxSeats {
			return nil, wrong
		}
		votes = append(votes, remit.Need{Group: string(name), N: count})
	}
	return votes, nil
}

// ValidRule tells whether s can be the name of a rule in a finding: 1 to 64 of a-z 0-9 . _ -. A rule is named in a leaf
// of the log, so its name is never made of facts.
func ValidRule(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= maxRuleName
}

func validText(s string) bool {
	return s != "" && len(s) <= maxText && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

func (v *verdicts) finding() authority.Finding {
	f := authority.Finding{Verdict: remit.Allow, Observed: observations(v.observed)}
	if len(f.Observed) > remit.MaxObserved {
		return *deny(remit.PolicyResult, "More than %d rules that are observed apply at once. An administrator has to correct it.", remit.MaxObserved)
	}
	texts := v.hold
	switch {
	case len(v.deny) > 0:
		f.Verdict, f.Code, texts = remit.Deny, remit.PolicyDenied, v.deny
	case len(v.hold) > 0:
		f.Verdict, f.Code, f.Votes = remit.Hold, remit.PolicyHeld, v.votes
	default:
		return f
	}
	for _, m := range slices.Concat(v.deny, v.hold) {
		f.Rules = append(f.Rules, m.rule)
	}
	slices.Sort(f.Rules)
	f.Rules = slices.Compact(f.Rules)
	if len(f.Rules) > maxRules || len(f.Votes) > maxVotes {
		return *deny(remit.PolicyResult, "The policy names more than %d rules or %d groups at once. An administrator has to correct it.", maxRules, maxVotes)
	}
	f.Sentence = join(texts)
	return f
}

// observations has each rule and verdict once, with the first text, in the order of their names in a leaf.
func observations(list []remit.Observation) []remit.Observation {
	slices.SortFunc(list, func(a, b remit.Observation) int {
		return cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(a.Text, b.Text))
	})
	return slices.CompactFunc(list, func(a, b remit.Observation) bool { return a.Name() == b.Name() })
}

// join is the texts in the order of rule and text, each once, cut to maxSentence between two texts.
func join(ms []member) string {
	slices.SortFunc(ms, func(a, b member) int {
		if c := strings.Compare(a.rule, b.rule); c != 0 {
			return c
		}
		return strings.Compare(a.text, b.text)
	})
	var texts []string
	size := 0
	for _, m := range ms {
		if slices.Contains(texts, m.text) {
			continue
		}
		if size += len(m.text) + 1; size > maxSentence {
			return strings.Join(texts, " ") + " And more of the kind."
		}
		texts = append(texts, m.text)
	}
	return strings.Join(texts, " ")
}
