package evidence

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// view is what a state is read from.
type view struct {
	*Fold
	settings remit.EvidenceSettings
}

// said is one reason of a state.
type said struct {
	state   remit.EvidenceState
	text    string
	entries []remit.EntryIndex
}

func good(entries []remit.EntryIndex, format string, args ...any) said {
	return said{remit.EvidenceInForce, fmt.Sprintf(format, args...), entries}
}

func weak(entries []remit.EntryIndex, format string, args ...any) said {
	return said{remit.EvidencePartly, fmt.Sprintf(format, args...), entries}
}

func absent(entries []remit.EntryIndex, format string, args ...any) said {
	return said{remit.EvidenceNotInForce, fmt.Sprintf(format, args...), entries}
}

func unseen(format string, args ...any) said {
	return said{remit.EvidenceNotSeen, fmt.Sprintf(format, args...), nil}
}

// combine is the state of what has parts of these: one only where all agree, partly where they do not. What was not seen
// takes no part where something was; nothing at all is not seen.
func combine(states []remit.EvidenceState) remit.EvidenceState {
	states = slices.DeleteFunc(slices.Clone(states), func(s remit.EvidenceState) bool { return s == remit.EvidenceNotSeen })
	if len(states) == 0 {
		return remit.EvidenceNotSeen
	}
	for _, s := range states {
		if s != states[0] {
			return remit.EvidencePartly
		}
	}
	return states[0]
}

// answered is the state of an item: that of its controls together. A control that was not seen keeps it from being in force.
func answered(states []remit.EvidenceState) remit.EvidenceState {
	s := combine(states)
	if s == remit.EvidenceInForce && slices.Contains(states, remit.EvidenceNotSeen) {
		return remit.EvidencePartly
	}
	return s
}

// Report says what was folded of a framework. The fold has read the whole log.
func (f *Fold) Report(m Framework, settings remit.EvidenceSettings) (remit.EvidenceReport, error) {
	g := f.world.genesis
	if g == nil {
		return remit.EvidenceReport{}, remit.Errorf(remit.BadRequest, "the log had not begun before %s", f.until.Format("2006-01-02 15:04:05Z"))
	}
	out := remit.EvidenceReport{Org: g.Org, Origin: g.Origin, Profile: g.Profile, Rules: f.world.rules.said.Version, Framework: m.About(), Since: f.since, Until: f.until,
		Size: f.size, Entries: f.entries, Settings: settings, Items: []remit.EvidenceItem{}, Controls: []remit.EvidenceControl{}}
	made := map[string]remit.EvidenceState{}
	v := view{f, settings}
	for _, item := range m.Items {
		var states []remit.EvidenceState
		for _, name := range item.Controls {
			if _, ok := made[name]; !ok {
				c, known := find(name)
				if !known {
					return out, remit.Errorf(remit.BadRequest, "item %s rests on control %s, which this release does not have", item.ID, name)
				}
				r := c.report(v)
				made[name] = r.State
				out.Controls = append(out.Controls, r)
			}
			states = append(states, made[name])
		}
		x := remit.EvidenceItem{ID: item.ID, Title: item.Title, State: answered(states), Controls: append([]string{}, item.Controls...), Gaps: append([]string{}, item.Gaps...)}
		if len(item.Controls) == 0 {
			x.State = remit.EvidenceNotInForce
		}
		out.Items = append(out.Items, x)
	}
	slices.SortFunc(out.Controls, func(a, b remit.EvidenceControl) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// report is how a control stands, and its figures.
func (c control) report(v view) remit.EvidenceControl {
	out := remit.EvidenceControl{Name: c.name, Title: c.title, Claim: c.claim, Why: []remit.EvidenceSaid{}, Figures: []remit.EvidenceFigure{}, Silent: true}
	var states []remit.EvidenceState
	for _, s := range c.state(v) {
		states = append(states, s.state)
		out.Why = append(out.Why, remit.EvidenceSaid{State: s.state, Text: s.text, Entries: remit.NewEvidenceEntries(slices.Compact(slices.Sorted(slices.Values(s.entries))))})
	}
	out.State = combine(states)
	for _, s := range c.figures {
		x := v.value(s)
		out.Figures = append(out.Figures, x)
		out.Silent = out.Silent && x.Entries.Count == 0
	}
	return out
}

// Listed are the entries that a report lists, ascending, each once: those that a pack proves.
func Listed(r remit.EvidenceReport) []remit.EntryIndex {
	var out []remit.EntryIndex
	for _, c := range r.Controls {
		for _, w := range c.Why {
			out = append(out, w.Entries.Listed...)
		}
		for _, x := range c.Figures {
			out = append(out, x.Entries.Listed...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
