package authority

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// MaxFindingEntries is how many entries a finding names; its count tells how many there are.
const MaxFindingEntries = 16

// decideFinding writes down what a detection found, and suspends the agent where the detection may. It is written once
// for each detection, agent and day: what finds reads the log at least once, and from its start after a restart. Only a
// finding that was completed after the one before was recorded, of an agent that somebody resumed meanwhile, comes
// sooner. A finding is told by its last entry, which completed it: the first may be older than what was found before.
func decideFinding(s *State, now int64, c *RecordFinding) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	a := s.Agents[c.Agent]
	switch {
	case !detectionName(c.Detection):
		return fail(remit.BadRequest, "the name of a detection is 1 to 40 of a-z 0-9 -, not %q", c.Detection)
	case c.Agent != "" && a == nil:
		return fail(remit.UnknownPrincipal, "there is no agent %q", c.Agent)
	case c.Task != "" && s.Tasks[c.Task] == nil:
		return fail(remit.NotFound, "there is no task %s", c.Task)
	case c.Instance != "" && !s.madeHere("I-", c.Instance):
		return fail(remit.NotFound, "there was no instance %.32q", c.Instance)
	case len(c.Entries) == 0 || len(c.Entries) > MaxFindingEntries || c.Count < len(c.Entries):
		return fail(remit.BadRequest, "a finding names 1 to %d entries, and counts at least those", MaxFindingEntries)
	}
	for i, e := range c.Entries {
		if e >= s.Next || i > 0 && e <= c.Entries[i-1] {
			return fail(remit.BadRequest, "a finding names entries of the log in their order, each once; not %v", c.Entries)
		}
	}
	suspends := false
	if d := s.Detections[c.Detection]; d != nil && a != nil {
		suspends = d.Suspend && a.Status == remit.AgentActive
	}
	if last, ok := s.Findings[c.Detection+"/"+c.Agent]; ok {
		ends := c.Entries[len(c.Entries)-1]
		again := ends > last.Entry && suspends
		if ends <= last.Ends || a != nil && !again && sameDay(now, last.At) {
			return nil, Result{Decision: remit.Decision{Entry: last.Entry}}, nil
		}
	}
	end := s.ending("")
	end.events = []remit.Event{&remit.Found{Detection: c.Detection, Agent: c.Agent, Task: c.Task, Instance: c.Instance, Entries: slices.Clone(c.Entries),
		Count: c.Count, Suspended: suspends}}
	if suspends {
		end.events = append(end.events, &remit.AgentChanged{Agent: c.Agent, Status: remit.AgentSuspended})
		end.agent(c.Agent)
	}
	return end.events, Result{ID: newID(s, "F", 0), Decision: remit.Decision{Entry: s.Next}}, nil
}

// sameDay tells whether two times lie on one day of UTC.
func sameDay(a, b int64) bool { return a/int64(24*time.Hour) == b/int64(24*time.Hour) }

func detectionName(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// madeHere tells whether an id is one that an entry of this log made: what has ended leaves the state.
func (s *State) madeHere(letter string, id remit.ID) bool {
	number, ok := strings.CutPrefix(string(id), letter)
	n, err := strconv.ParseUint(number, 10, 63)
	return ok && err == nil && strconv.FormatUint(n, 10) == number && remit.EntryIndex(n) < s.Next
}

// detections is what detections may do by themselves. To take that from one of them widens.
func (d *differ) detections() error {
	for i, x := range d.set.Detections {
		path := fmt.Sprintf("detections[%d].name", i)
		if twice(d.set.Detections, i, func(o remit.DetectionDeclared) string { return o.Name }) {
			return wrong(path, "detection %q is declared twice", x.Name)
		}
		if !detectionName(x.Name) {
			return wrong(path, "the name of a detection is 1 to 40 of a-z 0-9 -, not %q", x.Name)
		}
		x.By = d.by
		switch old := d.s.Detections[x.Name]; {
		case old == nil:
			d.add("detection", x.Name, "add", "", &x)
		case old.Suspend != x.Suspend:
			widens := ""
			if old.Suspend {
				widens = fmt.Sprintf("detection %s no longer suspends the agent that it finds", x.Name)
			}
			d.add("detection", x.Name, "change", widens, &x)
		}
	}
	for _, name := range sorted(d.s.Detections) {
		if !slices.ContainsFunc(d.set.Detections, func(x remit.DetectionDeclared) bool { return x.Name == name }) {
			widens := ""
			if d.s.Detections[name].Suspend {
				widens = fmt.Sprintf("detection %s no longer suspends the agent that it finds", name)
			}
			d.remove("detection", name, widens)
		}
	}
	return nil
}
