package authority

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// zoneOf is the zone of an action on a resource: of its stage, or for secrets and tools the zone declared on the resource.
// What is not declared lies in production.
func (s *State) zoneOf(info remit.ActionInfo, r remit.Resource) remit.Zone {
	if info.Stage == remit.StageSecret {
		if x := s.Secrets[r.Name()]; x != nil && r.Type() == "secret" {
			return x.Zone
		}
	}
	if info.Stage == remit.StageTool && r.Type() == "tool" {
		return s.toolZone(r)
	}
	return info.Stage.Zone()
}

// zoned is where zones of resources are declared: what is in force, or a set that is not in force yet.
type zoned interface {
	secretZones() map[string]remit.Zone
	toolZones(remit.Pattern) []remit.Zone // of the tools that a pattern over resources covers
}

// secretZones gives the zone of each declared secret.
func (s *State) secretZones() map[string]remit.Zone {
	zones := map[string]remit.Zone{}
	for _, name := range sorted(s.Secrets) {
		zones[name] = s.Secrets[name].Zone
	}
	return zones
}

// zonesOfAction is in which zones an action on resources may land. A pattern over secrets or tools lands where those that
// it covers are declared; one that covers none lands in production.
func zonesOfAction(info remit.ActionInfo, resources []remit.Pattern, in zoned) []remit.Zone {
	var out []remit.Zone
	switch info.Stage {
	case remit.StageSecret:
		out = zonesOfSecrets(resources, in.secretZones())
	case remit.StageTool:
		for _, p := range resources {
			if remit.Resource(p).Type() == "tool" {
				out = append(out, in.toolZones(p)...)
			}
		}
	default:
		return []remit.Zone{info.Stage.Zone()}
	}
	if len(out) == 0 {
		return []remit.Zone{remit.ZoneProduction}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func zonesOfSecrets(resources []remit.Pattern, declared map[string]remit.Zone) (out []remit.Zone) {
	for _, p := range resources {
		if !strings.HasPrefix(string(p), "secret:") {
			continue
		}
		n := len(out)
		for _, name := range sorted(declared) {
			if p.Match(remit.Resource("secret:" + name)) {
				out = append(out, declared[name])
			}
		}
		if len(out) == n {
			out = append(out, remit.ZoneProduction)
		}
	}
	return out
}

// zonesOf is Z of R4: the zones of the steps that scopes allow, but for reads. Secrets count whatever is done with them.
func (s *State) zonesOf(scopes []remit.Scope) []remit.Zone {
	var out []remit.Zone
	for _, sc := range scopes {
		for _, act := range sc.Actions {
			info, known := remit.Lookup(act)
			if !known || info.Impact == remit.Read && info.Stage != remit.StageSecret {
				continue
			}
			for _, z := range zonesOfAction(info, sc.Resources, s) {
				if z != remit.ZoneNone && !slices.Contains(out, z) {
					out = append(out, z)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

func secretApprovers(x remit.SecretDeclared) []remit.Need {
	if len(x.Approvers) > 0 {
		return x.Approvers
	}
	return []remit.Need{{Group: remit.Administrators, N: 1}}
}

// secretZones gives the zone of each secret of a set that is not in force yet.
func (d *differ) secretZones() map[string]remit.Zone {
	zones := map[string]remit.Zone{}
	for _, x := range d.set.Secrets {
		zones[x.Name] = x.Zone
	}
	return zones
}

func (d *differ) secrets() error {
	for i, x := range d.set.Secrets {
		path := fmt.Sprintf("secrets[%d]", i)
		if twice(d.set.Secrets, i, func(o remit.SecretDeclared) string { return o.Name }) {
			return wrong(path+".name", "secret %q is declared twice", x.Name)
		}
		if _, err := remit.ParseResource("secret:" + x.Name); err != nil {
			return wrong(path+".name", "%v", err)
		}
		if x.Zone != remit.ZoneSource && x.Zone != remit.ZoneBuild && x.Zone != remit.ZoneProduction {
			return wrong(path+".zone", "a secret lies in zone S, B or P, not %q", x.Zone)
		}
		if err := d.needs(path+".approvers", x.Approvers); err != nil {
			return err
		}
		x.By = d.by
		old := d.s.Secrets[x.Name]
		if old == nil {
			d.add("secret", x.Name, "add", d.covered(remit.Resource("secret:"+x.Name), d.back("secret", x.Name)), &x)
			continue
		}
		x.By = old.By
		if equal(old.SecretDeclared, x) {
			continue
		}
		x.By = d.by
		widens := ""
		switch {
		case old.Zone != x.Zone:
			widens = fmt.Sprintf("secret %s moves from zone %s to %s", x.Name, old.Zone, x.Zone)
		case old.Spec != x.Spec:
			widens = fmt.Sprintf("secret %s may be sent elsewhere, or otherwise", x.Name)
		case loosens(secretApprovers(old.SecretDeclared), secretApprovers(x)):
			widens = fmt.Sprintf("secret %s asks for fewer approvers, or for others", x.Name)
		}
		d.add("secret", x.Name, "change", widens, &x)
	}
	for _, name := range sorted(d.s.Secrets) {
		if !slices.ContainsFunc(d.set.Secrets, func(x remit.SecretDeclared) bool { return x.Name == name }) {
			d.remove("secret", name, "")
		}
	}
	return nil
}

// firstSegment of artifact:UPSTREAM/NAME is the upstream.
func firstSegment(r remit.Resource) string {
	first, _, _ := strings.Cut(r.Name(), "/")
	return first
}

// changesOf is who changed an environment, a secret or what is declared of tools.
func (s *State) changesOf(r remit.Resource) []Change {
	if e := s.Environments[r.Name()]; e != nil && r.Type() == "environment" {
		return e.Changes
	}
	if x := s.Secrets[r.Name()]; x != nil && r.Type() == "secret" {
		return x.Changes
	}
	if t := s.Tools[r.Name()]; t != nil && r.Type() == "tool" {
		return t.Changes
	}
	return nil
}
