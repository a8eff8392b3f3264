package authority

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// toolZones gives the zones that tools have by a set that is not in force yet.
func (d *differ) toolZones(p remit.Pattern) []remit.Zone {
	if d.then == nil {
		d.then = &State{Tools: map[string]*Tool{}}
		for _, t := range d.set.Tools {
			d.then.Tools[t.Name] = &Tool{ToolDeclared: t}
		}
	}
	return d.then.toolZones(p)
}

func (d *differ) tools() error {
	var err error
	remit.CheckTools(d.set.Tools, d.kindOf, func(path, format string, args ...any) {
		if err == nil {
			err = wrong(path, format, args...)
		}
	})
	if err != nil {
		return err
	}
	for i, t := range d.set.Tools {
		path := fmt.Sprintf("tools[%d]", i)
		if twice(d.set.Tools, i, func(o remit.ToolDeclared) string { return o.Name }) {
			return wrong(path+".name", "tool %q is declared twice", t.Name)
		}
		if (t.Recovery == remit.RecoverProbe) == t.Spec.IsZero() {
			return wrong(path+".probe", "recovery probe says which call tells whether another one was carried out, and no other recovery does")
		}
		if err := d.needs(path+".approvers", t.Approvers); err != nil {
			return err
		}
		t.By = d.by
		old := d.s.Tools[t.Name]
		switch {
		case old == nil:
			widens := d.covered(remit.Resource("tool:"+t.Name), d.back("tool", t.Name))
			if was := d.shorter(t.Name); widens == "" && was != nil {
				widens = toolWidens(was.ToolDeclared, t)
			}
			d.add("tool", t.Name, "add", widens, &t)
		case !equal(old.ToolDeclared, by(t, old.By)):
			d.add("tool", t.Name, "change", toolWidens(old.ToolDeclared, t), &t)
		}
	}
	declared := func(name string) int {
		return slices.IndexFunc(d.set.Tools, func(t remit.ToolDeclared) bool { return t.Name == name })
	}
	for _, name := range sorted(d.s.Tools) {
		if declared(name) >= 0 {
			continue
		}
		// What this record said of a tool, a shorter one says from now on, perhaps less strictly. Where there is none, the
		// strictest holds.
		widens := ""
		if now, ok := above(name, func(n string) bool { return declared(n) >= 0 }); ok {
			widens = toolWidens(d.s.Tools[name].ToolDeclared, d.set.Tools[declared(now)])
		}
		d.remove("tool", name, widens)
	}
	return nil
}

func by(t remit.ToolDeclared, who remit.ID) remit.ToolDeclared {
	t.By = who
	return t
}

func (d *differ) kindOf(upstream string) string {
	for _, u := range d.set.Upstreams {
		if u.Name == upstream {
			return u.Type
		}
	}
	return ""
}

// shorter is the record in force that says of a new one's tools what holds of them, until there is the new one.
func (d *differ) shorter(name string) *Tool {
	name, _ = above(name, func(n string) bool { return d.s.Tools[n] != nil })
	return d.s.Tools[name]
}

// above finds the record, other than that of name itself, that covers all that name covers.
func above(name string, has func(string) bool) (string, bool) {
	all := name
	if strings.HasSuffix(name, "/**") {
		all += "/**" // not within NAME/*, which stands beside it
	}
	return covering(all, func(n string) bool { return n != name && has(n) })
}

func toolApprovers(t remit.ToolDeclared) []remit.Need {
	if len(t.Approvers) > 0 {
		return t.Approvers
	}
	return []remit.Need{{Group: remit.Administrators, N: 1}}
}

// toolWidens is why a declaration lets pass what the one before did not.
func toolWidens(old, now remit.ToolDeclared) string {
	switch {
	case old.Zone != now.Zone:
		return fmt.Sprintf("tool %s moves from zone %s to %s", now.Name, old.Zone, now.Zone)
	case now.Impact > old.Impact:
		return fmt.Sprintf("tool %s counts as %s, and no longer as %s", now.Name, now.Impact, old.Impact)
	case !equal(old.Steps, now.Steps):
		return fmt.Sprintf("a call of tool %s is judged as something else besides", now.Name)
	case old.Pin != now.Pin:
		return fmt.Sprintf("another definition of tool %s is admitted", now.Name)
	case loosens(toolApprovers(old), toolApprovers(now)):
		return fmt.Sprintf("tool %s asks for fewer approvers, or for others", now.Name)
	case slices.ContainsFunc(old.Taints, func(l string) bool { return !slices.Contains(now.Taints, l) }):
		return fmt.Sprintf("what comes in with the answers of tool %s is marked with less", now.Name)
	case old.Recovery != now.Recovery || old.Spec != now.Spec:
		return fmt.Sprintf("whether a call of tool %s was carried out is found out otherwise", now.Name)
	}
	return ""
}
