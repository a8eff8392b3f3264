package analysis

import (
	"encoding/json"
	"errors"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// What an entitlement is made smaller by: the names that were used, in the place of a pattern, as long as they are few; the
// directories of the second level; and limits that are powers of two.
const (
	maxNames   = 16      // in the place of one declared pattern; more are named by their next segment, or stay the pattern
	minBytes   = 1 << 20 // no limit is smaller
	minCommits = 16

	maxUses = 5_000 // different ones, of one agent
)

// Evidence is how often something happened, and where the log says so.
type Evidence struct {
	Count           int
	First, Last     remit.EntryIndex
	FirstAt, LastAt time.Time
}

// Add counts once more. Entries come in the order of the log, or against it.
func (e *Evidence) Add(i remit.EntryIndex, at time.Time) {
	if e.Count++; e.Count == 1 || i < e.First {
		e.First, e.FirstAt = i, at
	}
	if e.Count == 1 || i > e.Last {
		e.Last, e.LastAt = i, at
	}
}

// With is e and what another says of the same; nil says nothing.
func (e Evidence) With(o *Evidence) *Evidence {
	if o == nil || o.Count == 0 {
		return &e
	}
	sum := e.Count + o.Count
	e.Add(o.First, o.FirstAt)
	e.Add(o.Last, o.LastAt)
	e.Count = sum
	return &e
}

// Used is a use, and all that entitlements cannot tell from it.
type Used struct {
	authority.Use
	Unread bool // its paths are not known any more: they could have been any
	Evidence
	under int // the first declared entitlement that covers it; -1: none does
}

// Asked is what a child task of the agent asked for by name. It is given whole or not at all.
type Asked struct {
	Scope []remit.Scope // with {task} for the task whose branches it works on
	Evidence
}

// Usage is what an agent did with its entitlements. Make one with NewUsage.
type Usage struct {
	declared []remit.Scope
	covers   []func(authority.Use) bool // each of declared
	paths    []remit.Pattern            // of all of declared
	uses     map[string]*Used
	still    map[remit.Step]*Used // of uses, those that move no ref: what a busy agent does most
	asks     map[string]*Asked
}

// anyTask stands for the task whose branches are meant.
const anyTask = remit.ID("{task}")

// anywhere is a path in no directory that has a name: only what has no limit of paths covers it.
const anywhere = "\x00/\x00"

// ErrTooMany is returned where an agent did more different things than can be weighed at once.
var ErrTooMany = errors.New("too many different uses")

// NewUsage is no use yet of the entitlements of one agent.
func NewUsage(declared []remit.Scope) *Usage {
	u := &Usage{declared: declared, uses: map[string]*Used{}, still: map[remit.Step]*Used{}, asks: map[string]*Asked{}}
	for _, d := range declared {
		u.covers = append(u.covers, authority.Entitled([]remit.Scope{d}))
		u.paths = append(u.paths, d.Paths...)
	}
	return u
}

// Add notes a use. Unread says that its paths are not known.
func (u *Usage) Add(use authority.Use, unread bool, i remit.EntryIndex, at time.Time) error {
	if x := u.still[use.Step]; x != nil && use.Ref == "" {
		x.Evidence.Add(i, at)
		return nil
	}
	under := slices.IndexFunc(u.covers, func(covers func(authority.Use) bool) bool { return covers(use) })
	use.Paths, use.Ref = u.typical(use.Paths), u.ownRef(use.Ref)
	weight := use // what differs in size within one step of the limits is the same
	weight.Bytes, weight.Commits = int64(step(uint64(max(use.Bytes, 0)), minBytes)), int(step(uint64(max(use.Commits, 0)), minCommits))
	key := keyOf(struct {
		authority.Use
		Unread bool
		Under  int
	}{weight, unread, under})
	x := u.uses[key]
	if x == nil {
		if len(u.uses) >= maxUses {
			return ErrTooMany
		}
		x = &Used{Use: use, Unread: unread, under: under}
		if u.uses[key] = x; use.Ref == "" {
			u.still[use.Step] = x
		}
	}
	x.Bytes, x.Commits = max(x.Bytes, use.Bytes), max(x.Commits, use.Commits)
	x.Evidence.Add(i, at)
	return nil
}

// Ask notes what a child task asked for by name. own is the task whose branches it works on.
func (u *Usage) Ask(scope []remit.Scope, own remit.ID, i remit.EntryIndex, at time.Time) error {
	var as []remit.Scope
	for _, sc := range scope {
		sc.Refs = slices.Clone(sc.Refs)
		for n, r := range sc.Refs {
			segments := strings.Split(string(r), "/")
			for k, s := range segments {
				if s == string(own) && own != "" {
					segments[k] = "{task}"
				}
			}
			sc.Refs[n] = remit.Pattern(strings.Join(segments, "/"))
		}
		as = append(as, sc)
	}
	key := keyOf(as)
	x := u.asks[key]
	if x == nil {
		if len(u.asks) >= maxUses {
			return ErrTooMany
		}
		x = &Asked{Scope: as}
		u.asks[key] = x
	}
	x.Evidence.Add(i, at)
	return nil
}

func keyOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("analysis: a use is JSON: " + err.Error())
	}
	return string(b)
}

// typical gives for each path one that stands for all that no entitlement made of the declared ones tells from it.
func (u *Usage) typical(paths []string) (out []string) {
	for _, p := range paths {
		narrowest := remit.Pattern("")
		for _, d := range u.paths {
			if d.MatchPath(p) {
				if b := below(d, p); narrowest == "" || narrowest.Contains(b) {
					narrowest = b
				}
			}
		}
		if p = anywhere; narrowest != "" {
			p = somewhere(narrowest)
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// ownRef is typical for a branch of the task's own: its name is the agent's to choose, and means nothing.
func (u *Usage) ownRef(ref string) string {
	before, _, own := strings.Cut(ref, "/{task}/")
	all := remit.Pattern(before + "/{task}/**")
	if !own {
		return ref
	}
	for _, d := range u.declared {
		for _, r := range orBranches(d.Refs) {
			if r.Match(remit.Resource(ref)) && !r.Contains(all) {
				return ref
			}
		}
	}
	return somewhere(all)
}

// below is the pattern that covers a path one level under a directory of the first level: a directory in it, or its files.
// Any other declared pattern is as small as it gets: work that goes on where it was must not be cut off with each review.
func below(declared remit.Pattern, path string) remit.Pattern {
	prefix, deep := strings.CutSuffix(string(declared), "/**")
	if !deep || strings.Contains(prefix, "/") {
		return declared
	}
	first, _, more := strings.Cut(strings.TrimPrefix(path, prefix+"/"), "/")
	if !more || strings.ContainsAny(first, "*?[]\\\x00") { // a pattern has no such segment
		if more {
			return declared
		}
		return remit.Pattern(prefix + "/*")
	}
	return remit.Pattern(prefix + "/" + first + "/**")
}

// step is the power of two from least on that is not less than n.
func step(n, least uint64) uint64 {
	if n <= least {
		return least
	}
	return 1 << bits.Len64(n-1)
}

// Fit is the smallest entitlements that cover what was done.
type Fit struct {
	Entitlements []ScopeFit
	Outside      []Used // what none of the declared entitlements covers any more
	Asked        []Asked
}

// Scopes is what is proposed, in all.
func (f Fit) Scopes() (out []remit.Scope) {
	for _, e := range f.Entitlements {
		out = append(out, e.Proposed...)
	}
	return out
}

// ScopeFit is one declared entitlement, and what would be in its place.
type ScopeFit struct {
	Declared remit.Scope
	Proposed []remit.Scope // empty: nothing of it was used
	Used     []Used        // under it; a use that several cover counts under the first
}

// Fit gives the smallest entitlements of these forms that cover every use and every ask, as authority decides it, and
// nothing that is not declared: no part of them can be left out without refusing something that was done.
func (u *Usage) Fit() Fit {
	out := Fit{Entitlements: make([]ScopeFit, len(u.declared))}
	for i, d := range u.declared {
		out.Entitlements[i].Declared = d
	}
	for _, key := range slices.Sorted(maps.Keys(u.uses)) {
		x := *u.uses[key]
		i := x.under
		if i < 0 {
			out.Outside = append(out.Outside, x)
			continue
		}
		if x.Unread {
			x.Paths = nil
			for _, d := range u.declared[i].Paths { // somewhere in each of them, in no directory that has a name
				x.Paths = append(x.Paths, somewhere(d))
			}
		}
		out.Entitlements[i].Used = append(out.Entitlements[i].Used, x)
	}
	for i := range out.Entitlements {
		e := &out.Entitlements[i]
		e.Proposed = propose(e.Declared, e.Used)
		covers := authority.Entitled(e.Proposed)
		if slices.ContainsFunc(e.Used, func(x Used) bool { return !covers(x.Use) }) {
			e.Proposed = append(e.Proposed, e.Declared) // a list of tools goes with any use of them: what is too much of it goes below
		}
	}
	for _, key := range slices.Sorted(maps.Keys(u.asks)) {
		ask := *u.asks[key]
		if !authority.MayAsk(ask.Scope, u.declared, anyTask) {
			continue // it was asked for under others
		}
		out.Asked = append(out.Asked, ask)
		if authority.MayAsk(ask.Scope, out.Scopes(), anyTask) {
			continue
		}
		for i := range out.Entitlements {
			e := &out.Entitlements[i]
			for _, piece := range authority.Cut(ask.Scope, []remit.Scope{e.Declared}) {
				e.Proposed = append(e.Proposed, tidy(e.Declared, piece))
			}
		}
	}
	out.reduce()
	return out
}

// Shown is the ref of a use for people.
func (u Used) Shown() string { return strings.ReplaceAll(u.Ref, "/\x00/\x00", "/**") }

// somewhere is a name that a pattern covers and nothing narrower of the same form does.
func somewhere(p remit.Pattern) string {
	if prefix, ok := strings.CutSuffix(string(p), "/**"); ok {
		return prefix + "/\x00/\x00"
	}
	if prefix, ok := strings.CutSuffix(string(p), "/*"); ok {
		return prefix + "/\x00"
	}
	return string(p)
}

// cell is what one action did on one resource.
type cell struct {
	refs, paths    []remit.Pattern
	bytes, commits uint64
	moves          bool // it moves refs, so that refs, paths and limits bind it
}

func (c cell) same(d cell) bool {
	return c.moves == d.moves && slices.Equal(c.refs, d.refs) && slices.Equal(c.paths, d.paths)
}

// propose makes scopes of what was used of a declared one: first what one action did on one resource, then what is alike
// together, so that no pair of an action and a resource is in them that was not used.
func propose(d remit.Scope, used []Used) []remit.Scope {
	names := map[string]bool{}
	refs := map[string]bool{}
	for _, x := range used {
		names[string(x.Step.Resource)] = true
		if x.Ref != "" {
			refs[x.Ref] = true
		}
	}
	resource, ref := narrowed(d.Resources, names, literal), narrowed(orBranches(d.Refs), refs, branch)
	type line struct {
		actions   []remit.Action
		resources []remit.Pattern
		cell
	}
	cells := map[remit.Pattern]map[remit.Action]*cell{}
	for _, x := range used {
		res := resource[string(x.Step.Resource)]
		if res == "" || !slices.Contains(d.Actions, x.Step.Action) {
			continue
		}
		if cells[res] == nil {
			cells[res] = map[remit.Action]*cell{}
		}
		c := cells[res][x.Step.Action]
		if c == nil {
			c = &cell{}
			cells[res][x.Step.Action] = c
		}
		if x.Ref == "" {
			continue
		}
		c.moves = true
		c.refs = with(c.refs, ref[x.Ref])
		for _, p := range x.Paths {
			for _, dp := range d.Paths {
				if dp.MatchPath(p) {
					c.paths = with(c.paths, below(dp, p))
					break
				}
			}
		}
		c.bytes, c.commits = max(c.bytes, step(uint64(max(x.Bytes, 0)), minBytes)), max(c.commits, step(uint64(max(x.Commits, 0)), minCommits))
	}
	var lines []line
	for _, res := range slices.Sorted(maps.Keys(cells)) {
		var of []line
		for _, act := range slices.Sorted(maps.Keys(cells[res])) {
			c := *cells[res][act]
			i := slices.IndexFunc(of, func(l line) bool { return l.same(c) || !l.moves || !c.moves })
			if i < 0 {
				of = append(of, line{[]remit.Action{act}, []remit.Pattern{res}, c})
				continue
			}
			l := &of[i]
			l.actions = append(l.actions, act)
			if c.moves && !l.moves {
				l.cell = c
			}
			l.bytes, l.commits = max(l.bytes, c.bytes), max(l.commits, c.commits)
		}
		for _, l := range of {
			i := slices.IndexFunc(lines, func(o line) bool { return slices.Equal(o.actions, l.actions) && o.same(l.cell) })
			if i < 0 {
				lines = append(lines, l)
				continue
			}
			o := &lines[i]
			o.resources = append(o.resources, l.resources...)
			o.bytes, o.commits = max(o.bytes, l.bytes), max(o.commits, l.commits)
		}
	}
	var out []remit.Scope
	for _, l := range lines {
		sc := remit.Scope{Actions: l.actions, Resources: l.resources, Refs: d.Refs, Paths: d.Paths, MaxBytes: d.MaxBytes, MaxCommits: d.MaxCommits}
		if l.moves {
			sc.Refs, sc.Paths = l.refs, nil
			if len(l.paths) <= maxNames {
				sc.Paths = l.paths
			} else {
				sc.Paths = d.Paths
			}
			sc.MaxBytes, sc.MaxCommits = least(d.MaxBytes, int64(l.bytes)), least(d.MaxCommits, int(l.commits))
			if len(sc.Paths) == 0 {
				sc.Paths = d.Paths // only refs without a changed path: no list would be no limit
			}
		}
		out = append(out, tidy(d, sc))
	}
	return out
}

func least[N int | int64](declared, used N) N {
	if declared != 0 && declared < used {
		return declared
	}
	return used
}

func with(list []remit.Pattern, p remit.Pattern) []remit.Pattern {
	if p == "" || slices.Contains(list, p) {
		return list
	}
	list = append(list, p)
	slices.Sort(list)
	return list
}

// orBranches is the refs of an entitlement: none are the task's own branches.
func orBranches(refs []remit.Pattern) []remit.Pattern {
	if len(refs) == 0 {
		return []remit.Pattern{authority.TaskBranches}
	}
	return refs
}

// narrowed gives the pattern in the place of a declared one for each used name: the name itself, or where these are too
// many what they have in common with their neighbours, at last the declared one.
func narrowed(declared []remit.Pattern, names map[string]bool, as func(declared remit.Pattern, name string) remit.Pattern) map[string]remit.Pattern {
	out := map[string]remit.Pattern{}
	under := map[remit.Pattern][]string{}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		i := slices.IndexFunc(declared, func(d remit.Pattern) bool { return d.Match(remit.Resource(n)) })
		if i >= 0 {
			under[declared[i]] = append(under[declared[i]], n)
		}
	}
	for d, list := range under {
		for _, form := range []func(remit.Pattern, string) remit.Pattern{as, next, func(d remit.Pattern, _ string) remit.Pattern { return d }} {
			made := map[remit.Pattern]bool{}
			for _, n := range list {
				out[n] = form(d, n)
				made[out[n]] = true
			}
			if len(made) <= maxNames {
				break
			}
		}
	}
	return out
}

// literal is the name itself.
func literal(_ remit.Pattern, name string) remit.Pattern { return remit.Pattern(name) }

// branch is a ref itself, and for a branch of the task's own all of its branches there, if so much is declared.
func branch(declared remit.Pattern, ref string) remit.Pattern {
	before, after, own := strings.Cut(ref, "/{task}/")
	if !own || after == "" {
		return remit.Pattern(ref)
	}
	if p := remit.Pattern(before + "/{task}/**"); declared.Contains(p) {
		return p
	}
	return declared
}

// next is what lies under the segment after those of a declared pattern.
func next(declared remit.Pattern, name string) remit.Pattern {
	prefix, ok := strings.CutSuffix(string(declared), "/**")
	if !ok {
		return declared
	}
	first, _, more := strings.Cut(strings.TrimPrefix(name, prefix+"/"), "/")
	if !more {
		return remit.Pattern(prefix + "/*")
	}
	return remit.Pattern(prefix + "/" + first + "/**")
}

// tidy writes a scope as the declared one does: its lists in the declared order, and what is the same not said anew.
func tidy(d, sc remit.Scope) remit.Scope {
	sc.Actions = ordered(d.Actions, sc.Actions)
	sc.Resources, sc.Paths = ordered(d.Resources, sc.Resources), ordered(d.Paths, sc.Paths)
	if sc.Refs = ordered(d.Refs, sc.Refs); len(d.Refs) == 0 && len(sc.Refs) == 1 && sc.Refs[0] == authority.TaskBranches {
		sc.Refs = nil
	}
	return sc
}

func ordered[T ~string](declared, list []T) []T {
	var out []T
	for _, x := range declared {
		if slices.Contains(list, x) && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	for _, x := range list {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// reduce leaves out whatever can be left out without refusing a use or an ask: what one entitlement gives, another need
// not give as well.
func (f *Fit) reduce() {
	var uses []authority.Use
	for _, e := range f.Entitlements {
		for _, x := range e.Used {
			uses = append(uses, x.Use)
		}
	}
	enough := func() bool {
		all := f.Scopes()
		covers := authority.Entitled(all)
		for _, u := range uses {
			if !covers(u) {
				return false
			}
		}
		return !slices.ContainsFunc(f.Asked, func(a Asked) bool { return !authority.MayAsk(a.Scope, all, anyTask) })
	}
	for i := range f.Entitlements {
		e := &f.Entitlements[i]
		for n := len(e.Proposed) - 1; n >= 0; n-- {
			was := e.Proposed
			if e.Proposed = slices.Delete(slices.Clone(was), n, n+1); enough() {
				continue
			}
			e.Proposed = was
			sc := &e.Proposed[n]
			sc.Actions = fewer(sc.Actions, func(list []remit.Action) { sc.Actions = list }, enough)
			sc.Resources = fewer(sc.Resources, func(list []remit.Pattern) { sc.Resources = list }, enough)
			sc.Refs = fewer(sc.Refs, func(list []remit.Pattern) { sc.Refs = list }, enough)
			sc.Paths = fewer(sc.Paths, func(list []remit.Pattern) { sc.Paths = list }, enough)
			for half := sc.MaxBytes / 2; sc.MaxBytes != 0 && half >= minBytes; half /= 2 {
				full := sc.MaxBytes
				if sc.MaxBytes = half; !enough() {
					sc.MaxBytes = full
					break
				}
			}
			for half := sc.MaxCommits / 2; sc.MaxCommits != 0 && half >= minCommits; half /= 2 {
				full := sc.MaxCommits
				if sc.MaxCommits = half; !enough() {
					sc.MaxCommits = full
					break
				}
			}
		}
	}
}

// fewer leaves members out of a list as long as it is enough. The last one stays: an empty list of refs or paths is not
// nothing.
func fewer[T any](list []T, set func([]T), enough func() bool) []T {
	for i := len(list) - 1; i >= 0 && len(list) > 1; i-- {
		less := slices.Delete(slices.Clone(list), i, i+1)
		if set(less); enough() {
			list = less
		} else {
			set(list)
		}
	}
	return list
}
