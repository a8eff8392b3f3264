package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/server/internal/check"
	"github.com/remit-dev/remit/sshsig"
)

// apply puts declarations in force, or says what would change.
func apply(s *Server, c *call, in remit.ApplyRequest) (remit.ApplyAnswer, error) {
	ctx := c.r.Context()
	isAdmin := false
	s.view(func(st *authority.State) { isAdmin = st.IsAdmin(c.person) })
	if !isAdmin && !in.DryRun {
		return remit.ApplyAnswer{}, remit.Errorf(remit.Forbidden, "declarations are applied by administrators; with a dry run you see what they would change")
	}
	d, err := s.declare(ctx, in.Declarations, in.DryRun)
	if err != nil {
		return remit.ApplyAnswer{}, err
	}
	if err := d.reach(c.person); err != nil {
		return remit.ApplyAnswer{}, err
	}
	if in.DryRun {
		return s.dryRun(ctx, c.person, d)
	}
	res, err := s.do(c, &authority.ApplySet{By: c.person, Set: d.set}, d.payloads...)
	if err != nil {
		return remit.ApplyAnswer{}, d.explain(err)
	}
	return remit.ApplyAnswer{Changes: readable(d.names, res.Changes), Decision: res.Decision}, nil
}

func (s *Server) dryRun(ctx context.Context, by remit.ID, d *declaring) (remit.ApplyAnswer, error) {
	var changes []remit.Change
	var err error
	others := 0
	s.view(func(st *authority.State) {
		changes, err = authority.Diff(st, &d.set)
		if g := st.Groups[remit.Administrators]; g != nil {
			for _, m := range g.Members {
				if m != by && st.IsAdmin(m) {
					others++
				}
			}
		}
	})
	if err != nil {
		return remit.ApplyAnswer{}, d.explain(err)
	}
	out := remit.ApplyAnswer{Changes: readable(d.names, changes), Decision: remit.Decision{Verdict: remit.Allow}}
	for _, ch := range changes {
		if ch.Widens != "" && others > 0 {
			out.Decision = remit.Decision{Verdict: remit.Hold, Code: remit.ControlWidens, Sentence: ch.Widens}
			break
		}
	}
	if d.set.ReachWidens != "" && others > 0 && out.Decision.Verdict == remit.Allow && len(changes) > 0 {
		out.Decision = remit.Decision{Verdict: remit.Hold, Code: remit.ControlWidens, Sentence: named(d.names, d.set.ReachWidens)}
	}
	return out, nil
}

// readable puts the names of people in the place of ids.
func readable(d follow.Directory, changes []remit.Change) []remit.Change {
	out := make([]remit.Change, len(changes))
	for i, ch := range changes {
		if ch.Kind == "person" {
			ch.Name = d.Name(remit.ID(ch.Name))
		}
		ch.Widens, ch.Details = named(d, ch.Widens), named(d, ch.Details)
		out[i] = ch
	}
	return out
}

// declaring turns declarations into a set: names of people become ids, texts become commitments, and what is in force
// already keeps its commitment, so that applying the same declarations again changes nothing.
type declaring struct {
	s        *Server
	ctx      context.Context
	names    follow.Directory
	ids      map[string]remit.ID // of the declared people
	known    map[remit.Identity]remit.Digest
	texts    map[string]remit.Digest
	set      authority.Set
	payloads []remit.Payload
	judge    authority.Policy // of the bundle in set; nil: it has none
}

func (s *Server) declare(ctx context.Context, in remit.Declarations, dry bool) (*declaring, error) {
	if err := check.Declarations(in); err != nil {
		return nil, err
	}
	d := &declaring{s: s, ctx: ctx, ids: map[string]remit.ID{}, texts: map[string]remit.Digest{}}
	s.view(func(st *authority.State) { // what is in force now, by kind and name
		for name, a := range st.Agents {
			d.texts["agent "+name] = a.Text
		}
		for name, u := range st.Upstreams {
			d.texts["upstream "+name] = u.Spec
		}
		for name, e := range st.Environments {
			d.texts["environment "+name] = e.Spec
		}
		for name, x := range st.Secrets {
			d.texts["secret "+name] = x.Spec
		}
		for name, x := range st.Tools {
			d.texts["tool "+name] = x.Spec
		}
	})
	for _, step := range []func(remit.Declarations) error{d.people, d.groups, d.agents, d.places, d.tools, d.told, d.reviews} {
		if err := step(in); err != nil {
			return nil, err
		}
	}
	return d, d.policy(in.Policy, dry)
}

// explain puts names into an error of the authority.
func (d *declaring) explain(err error) error {
	switch e := err.(type) {
	case *remit.DeclarationError:
		return &remit.DeclarationError{Path: e.Path, Sentence: named(d.names, e.Sentence)}
	case *remit.Error:
		return &remit.Error{Code: e.Code, Sentence: named(d.names, e.Sentence), Err: e.Err}
	}
	return err
}

func wrong(path, format string, args ...any) error {
	return &remit.DeclarationError{Path: path, Sentence: fmt.Sprintf(format, args...)}
}

// commit makes a payload of a text, or finds the one that says the same in the place of the old.
func (d *declaring) commit(old remit.Digest, body []byte) (remit.Digest, error) {
	if !old.IsZero() {
		if had, ok := d.s.cfg.Engine.Text(d.ctx, old); ok && bytes.Equal(had, body) {
			return old, nil
		}
	}
	p, err := d.s.cfg.Engine.NewPayload(body)
	if err != nil {
		return remit.Digest{}, err
	}
	d.payloads = append(d.payloads, p)
	return p.Commitment(), nil
}

func (d *declaring) people(in remit.Declarations) error {
	known := d.s.people(d.ctx)
	had := map[remit.ID]remit.Digest{}
	d.s.view(func(st *authority.State) {
		for id, p := range st.People {
			had[id] = p.Name
		}
	})
	fresh := map[remit.ID]string{}
	for i, p := range in.People {
		id, ok := known.ID(p.Name)
		name := had[id]
		if !ok {
			payload, err := d.s.cfg.Engine.NewPayload(follow.NameBody(p.Name))
			if err != nil {
				return err
			}
			d.payloads = append(d.payloads, payload)
			id, name = follow.PersonID(payload), payload.Commitment()
			fresh[id] = p.Name
		}
		declared := remit.PersonDeclared{ID: id, Name: name}
		for j, line := range p.Keys {
			k, err := sshsig.ParseAuthorizedKey(line)
			if err != nil {
				return wrong(fmt.Sprintf("people[%d].keys[%d]", i, j), "%v", err)
			}
			declared.Keys = append(declared.Keys, remit.Key{Public: k.Marshal()})
		}
		for _, x := range p.Identities {
			as, err := d.identity(x)
			if err != nil {
				return err
			}
			declared.Identities = append(declared.Identities, as)
		}
		d.ids[p.Name] = id
		d.set.People = append(d.set.People, declared)
	}
	d.names = known.With(fresh)
	return nil
}

func (d *declaring) person(path, name string) (remit.ID, error) {
	id, ok := d.ids[name]
	if !ok {
		return "", wrong(path, "no person %q is declared", name)
	}
	return id, nil
}

func (d *declaring) groups(in remit.Declarations) error {
	for i, g := range in.Groups {
		declared := remit.GroupDeclared{Name: g.Name, From: g.From, Asks: g.Asks}
		for j, m := range g.Members {
			id, err := d.person(fmt.Sprintf("groups[%d].members[%d]", i, j), m)
			if err != nil {
				return err
			}
			declared.Members = append(declared.Members, id)
		}
		d.set.Groups = append(d.set.Groups, declared)
	}
	return nil
}

func (d *declaring) agents(in remit.Declarations) error {
	for i, a := range in.Agents {
		path := fmt.Sprintf("agents[%d]", i)
		owner, err := d.person(path+".owner", a.Owner)
		if err != nil {
			return err
		}
		text, err := d.commit(d.texts["agent "+a.Name], []byte(a.Purpose))
		if err != nil {
			return err
		}
		declared := remit.AgentDeclared{Name: a.Name, Function: a.Function, Owner: owner, Text: text,
			Requesters: some(a.Requesters), Entitlements: scopes(a.Entitlements), MayRequest: some(a.MayRequest), Jobs: some(a.Jobs)}
		if declared.Expires, err = date(path+".expires", a.Expires); err != nil {
			return err
		}
		if declared.Review, err = date(path+".review", a.Review); err != nil {
			return err
		}
		d.set.Agents = append(d.set.Agents, declared)
	}
	return nil
}

// places are upstreams, repositories, environments and boundaries.
func (d *declaring) places(in remit.Declarations) error {
	for _, u := range in.Upstreams {
		u.Write.Argv, u.Observer.Argv, u.Command = some(u.Write.Argv), some(u.Observer.Argv), some(u.Command)
		spec, err := json.Marshal(u)
		if err != nil {
			return err
		}
		commitment, err := d.commit(d.texts["upstream "+u.Name], spec)
		if err != nil {
			return err
		}
		d.set.Upstreams = append(d.set.Upstreams, remit.UpstreamDeclared{Name: u.Name, Type: u.Kind, Spec: commitment})
	}
	for i, r := range in.Repositories {
		if r.Effects == nil {
			return wrong(fmt.Sprintf("repositories[%d].effects", i), "a repository says what a push sets off: a list, or `none`")
		}
		declared := remit.RepositoryDeclared{Name: r.Name, Path: r.Path, DefaultBranch: r.DefaultBranch,
			Approvers: some(r.Approvers), Protected: some(r.Protected), Effects: some(*r.Effects), Artifacts: some(r.Artifacts), Reviews: r.Reviews}
		for j := range declared.Effects {
			declared.Effects[j].Runs = some(declared.Effects[j].Runs)
		}
		if declared.Path == "" {
			declared.Path = defaultPath(r.Name)
		}
		d.set.Repositories = append(d.set.Repositories, declared)
	}
	for _, e := range in.Environments {
		declared := remit.EnvironmentDeclared{Name: e.Name, Tier: e.Tier, Approvers: some(e.Approvers), Artifacts: some(e.Artifacts),
			Evidence: some(e.Evidence), Rollback: some(e.Rollback)}
		if e.Target != nil {
			spec, err := json.Marshal(e.Target)
			if err != nil {
				return err
			}
			declared.Upstream = e.Target.Upstream
			if declared.Spec, err = d.commit(d.texts["environment "+e.Name], spec); err != nil {
				return err
			}
		}
		d.set.Environments = append(d.set.Environments, declared)
	}
	for _, x := range in.Secrets {
		declared := remit.SecretDeclared{Name: x.Name, Zone: remit.Zone(x.Zone), Approvers: some(x.Approvers)}
		if x.Send != nil {
			spec, err := json.Marshal(x.Send)
			if err != nil {
				return err
			}
			if declared.Spec, err = d.commit(d.texts["secret "+x.Name], spec); err != nil {
				return err
			}
		}
		d.set.Secrets = append(d.set.Secrets, declared)
	}
	for _, g := range in.BreakGlass {
		d.set.BreakGlass = append(d.set.BreakGlass, remit.BreakGlassDeclared{Name: g.Name, Who: g.Who, Scope: scopes(g.Scope), Minutes: g.Minutes, Reviewers: g.Reviewers, ReviewHours: g.ReviewHours})
	}
	for _, x := range in.Detections {
		d.set.Detections = append(d.set.Detections, remit.DetectionDeclared{Name: x.Name, Suspend: x.Suspend})
	}
	for _, a := range in.Activation {
		x := remit.ActivationDeclared{Of: a.Name, Within: cmp.Or(a.TriedWithinHours, 24), Over: cmp.Or(a.OverHours, 168), Bound: a.MaxMoreQuestions != nil}
		if x.Bound {
			x.More = *a.MaxMoreQuestions
		}
		d.set.Activations = append(d.set.Activations, x)
	}
	for _, b := range in.Boundaries {
		d.set.Boundaries = append(d.set.Boundaries, remit.BoundaryDeclared{Name: b.Name, Seal: some(b.Seal), Functions: some(b.Functions)})
	}
	return nil
}

// defaultPath is where a repository lies at its upstream, unless it is said otherwise.
func defaultPath(name string) string {
	_, path, _ := strings.Cut(name, "/")
	return path + ".git"
}

// policy compiles the bundle, and keeps it where it is to be put in force. Without files the policy stays as it is.
func (d *declaring) policy(files []remit.PolicyFile, dry bool) error {
	if len(files) == 0 {
		return nil
	}
	var old remit.Digest
	d.s.view(func(st *authority.State) { old = st.Policy })
	p, err := d.s.cfg.Bundles.Compile(d.ctx, files)
	if err != nil {
		return err
	}
	d.set.Policy, d.judge = p.Digest(), p
	if d.set.Policy == old {
		return nil
	}
	if !dry {
		kept, err := d.s.cfg.Bundles.Install(d.ctx, files)
		if err != nil {
			return err
		}
		if kept != d.set.Policy {
			return remit.Errorf(remit.Internal, "the bundle that was kept is not the one that was compiled")
		}
	}
	had, err := d.s.cfg.Bundles.Files(d.ctx, old)
	if err != nil {
		return err
	}
	d.set.PolicyWidens = d.s.widens(had, files)
	return nil
}

// policyWidens tells why a bundle may allow what the one before did not. A new module can only narrow where nothing that
// was there before reads its package: a helper that becomes true can make a rule's `not` false.
func policyWidens(old, now []remit.PolicyFile) string {
	for _, o := range old {
		i := slices.IndexFunc(now, func(n remit.PolicyFile) bool { return n.Name == o.Name })
		if i < 0 {
			return fmt.Sprintf("policy module %s is removed", o.Name)
		}
		if now[i].Text != o.Text {
			return fmt.Sprintf("policy module %s changes", o.Name)
		}
	}
	for _, n := range now {
		pkg := packageOf(n)
		if slices.ContainsFunc(old, func(o remit.PolicyFile) bool { return o.Name == n.Name }) || strings.HasSuffix(pkg, "_test") {
			continue
		}
		helps := pkg == "remit.lib" || strings.HasPrefix(pkg, "remit.lib.")
		for _, o := range old {
			if strings.HasSuffix(packageOf(o), "_test") {
				continue // tests read everything and judge nothing
			}
			if pkg == "" || packageOf(o) == pkg || helps && strings.Contains(o.Text, "lib") ||
				strings.Contains(strings.ReplaceAll(o.Text, "data.remit.lib", ""), "data") {
				return fmt.Sprintf("policy module %s adds to what module %s may rest on", n.Name, o.Name)
			}
		}
	}
	return ""
}

var packageLine = regexp.MustCompile(`^package\s+([A-Za-z0-9_.]+)$`)

// packageOf is the package of a module, which its first line names that is no comment; "" where it is not plain.
func packageOf(f remit.PolicyFile) string {
	for line := range strings.Lines(f.Text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if m := packageLine.FindStringSubmatch(line); m != nil {
			return m[1]
		}
		break
	}
	return ""
}

// some is a copy of list, nil where it is empty: a state that went through the log knows no empty lists.
func some[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list)
}

func scopes(list []remit.Scope) []remit.Scope {
	out := some(list)
	for i := range out {
		out[i].Actions, out[i].Resources = some(out[i].Actions), some(out[i].Resources)
		out[i].Refs, out[i].Paths = some(out[i].Refs), some(out[i].Paths)
	}
	return out
}

// date is the beginning of a day in UTC, in Unix seconds; 0 for none.
func date(path, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil || t.Year() < 2000 || t.Year() > 2200 {
		return 0, wrong(path, "%q is not a date such as 2027-01-31", text)
	}
	return t.Unix(), nil
}

func dateText(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return time.Unix(seconds, 0).UTC().Format(time.DateOnly)
}

// declarations are those in force, in a form that can be applied again.
func declarations(s *Server, c *call) (remit.Declarations, error) {
	return s.declared(c.r.Context())
}

func (s *Server) declared(ctx context.Context) (out remit.Declarations, err error) {
	d := s.people(ctx)
	known, _ := s.identities(ctx)
	var policy remit.Digest
	specs := map[string]remit.Digest{}
	purposes, targets, senders, probes := map[string]remit.Digest{}, map[string]remit.Digest{}, map[string]remit.Digest{}, map[string]remit.Digest{}
	s.view(func(st *authority.State) {
		policy = st.Policy
		for _, p := range st.People {
			if p.Removed {
				continue
			}
			out.People = append(out.People, declaredPerson(p, d.Name(p.ID), known))
		}
		for name, g := range st.Groups {
			if len(g.Members) > 0 || len(g.From) > 0 {
				members := namesOf(d, g.Members)
				slices.Sort(members)
				out.Groups = append(out.Groups, remit.Group{Name: name, Members: members, From: some(g.From), Asks: g.Asks})
			}
		}
		for name, a := range st.Agents {
			if a.Status == remit.AgentRetired {
				continue
			}
			purposes[name] = a.Text
			out.Agents = append(out.Agents, remit.Agent{Name: name, Function: a.Function, Owner: d.Name(a.Owner), Requesters: some(a.Requesters),
				Expires: dateText(a.Expires), Review: dateText(a.Review), Entitlements: scopes(a.Entitlements), MayRequest: some(a.MayRequest), Jobs: some(a.Jobs)})
		}
		for name, u := range st.Upstreams {
			specs[name] = u.Spec
		}
		for _, r := range st.Repositories {
			effects := append([]remit.Effect{}, r.Effects...)
			declared := remit.Repository{Name: r.Name, Path: r.Path, DefaultBranch: r.DefaultBranch, Approvers: some(r.Approvers),
				Protected: some(r.Protected), Effects: &effects, Artifacts: some(r.Artifacts), Reviews: r.Reviews}
			if declared.Path == defaultPath(r.Name) {
				declared.Path = ""
			}
			out.Repositories = append(out.Repositories, declared)
		}
		for _, e := range st.Environments {
			targets[e.Name] = e.Spec
			out.Environments = append(out.Environments, remit.Environment{Name: e.Name, Tier: e.Tier, Approvers: some(e.Approvers),
				Artifacts: some(e.Artifacts), Evidence: some(e.Evidence), Rollback: some(e.Rollback)})
		}
		for _, x := range st.Secrets {
			senders[x.Name] = x.Spec
			out.Secrets = append(out.Secrets, remit.Secret{Name: x.Name, Zone: string(x.Zone), Approvers: some(x.Approvers)})
		}
		for _, x := range st.Tools {
			probes[x.Name] = x.Spec
			out.Tools = append(out.Tools, x.Tool())
		}
		for _, g := range st.Glasses {
			out.BreakGlass = append(out.BreakGlass, remit.BreakGlass{Name: g.Name, Who: slices.Clone(g.Who), Scope: scopes(g.Scope), Minutes: g.Minutes, Reviewers: g.Reviewers, ReviewHours: g.ReviewHours})
		}
		for _, x := range st.Activations {
			a := remit.Activation{Name: x.Of, TriedWithinHours: x.Within, OverHours: x.Over}
			if x.Bound {
				more := x.More
				a.MaxMoreQuestions = &more
			}
			out.Activation = append(out.Activation, a)
		}
		for _, x := range st.Detections {
			out.Detections = append(out.Detections, remit.Detection{Name: x.Name, Suspend: x.Suspend})
		}
		declaredReviews(st, d, &out)
		for _, b := range st.Boundaries {
			out.Boundaries = append(out.Boundaries, remit.Boundary{Name: b.Name, Seal: some(b.Seal), Functions: some(b.Functions)})
		}
	})
	for i := range out.Agents {
		out.Agents[i].Purpose = s.text(ctx, purposes[out.Agents[i].Name])
	}
	for i := range out.Environments {
		e := &out.Environments[i]
		if spec := targets[e.Name]; !spec.IsZero() {
			e.Target = &remit.Target{}
			if err := s.spec(ctx, spec, e.Target); err != nil {
				return out, err
			}
		}
	}
	for i := range out.Secrets {
		x := &out.Secrets[i]
		if spec := senders[x.Name]; !spec.IsZero() {
			x.Send = &remit.Sender{}
			if err := s.spec(ctx, spec, x.Send); err != nil {
				return out, err
			}
		}
	}
	if err := s.probes(ctx, out.Tools, probes); err != nil {
		return out, err
	}
	if err := s.declaredTold(ctx, &out); err != nil {
		return out, err
	}
	for name := range specs {
		u, err := s.upstream(ctx, specs[name])
		if err != nil {
			return out, err
		}
		out.Upstreams = append(out.Upstreams, u)
	}
	if out.Policy, err = s.cfg.Bundles.Files(ctx, policy); err != nil {
		return out, err
	}
	sortDeclarations(&out)
	return out, nil
}

func sortDeclarations(d *remit.Declarations) {
	slices.SortFunc(d.People, func(a, b remit.Person) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Groups, func(a, b remit.Group) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Agents, func(a, b remit.Agent) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Upstreams, func(a, b remit.Upstream) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Repositories, func(a, b remit.Repository) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Environments, func(a, b remit.Environment) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Secrets, func(a, b remit.Secret) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Tools, func(a, b remit.Tool) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Boundaries, func(a, b remit.Boundary) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.BreakGlass, func(a, b remit.BreakGlass) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Activation, func(a, b remit.Activation) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Detections, func(a, b remit.Detection) int { return strings.Compare(a.Name, b.Name) })
}

// upstream reads the declaration behind a commitment.
func (s *Server) upstream(ctx context.Context, spec remit.Digest) (u remit.Upstream, err error) {
	return u, s.spec(ctx, spec, &u)
}

// spec reads what a commitment of a declaration stands for.
func (s *Server) spec(ctx context.Context, spec remit.Digest, v any) error {
	b, ok := s.cfg.Engine.Text(ctx, spec)
	if !ok {
		return remit.Errorf(remit.Internal, "the declaration of an upstream or a target is gone; apply it again")
	}
	if err := remit.DecodeStrict(bytes.NewReader(b), remit.MaxPayload, v); err != nil {
		return remit.Errorf(remit.Internal, "the declaration of an upstream or a target cannot be read: %w", err)
	}
	return nil
}
