package scan

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// hub is a scan of GitHub or GitHub Enterprise Server, by its REST API of version 2022-11-28.
type hub struct {
	*reader
	found []thing
	firm  map[string]bool // declared repositories whose default branch takes no direct push of anybody
}

type hubUser struct {
	Login string `json:"login"`
}

// github looks at each declared repository and at the organisations and people to whom they belong.
func github(r *reader) []thing {
	h := &hub{reader: r, firm: map[string]bool{}}
	if r.target.Auth == nil {
		r.unsupported("what only members see", "no observer is declared for this upstream, so it was looked at as a stranger")
	}
	for _, repo := range r.target.Repositories {
		h.repository(repo)
	}
	for _, owner := range r.target.owners() {
		h.owner(owner)
	}
	r.unsupported("classic personal access tokens and SSH keys of people", "GitHub shows them to nobody but the person; forbid classic tokens in the organisation")
	r.unsupported("OAuth apps that people let in", "GitHub's API does not tell them; restrict them in the organisation")
	return h.found
}

func at(kind, of, rest string) string {
	var b strings.Builder
	b.WriteString("/" + kind)
	for seg := range strings.SplitSeq(of, "/") {
		b.WriteString("/" + url.PathEscape(seg))
	}
	return b.String() + rest
}

func (h *hub) add(x thing) { h.found = append(h.found, x) }

func (h *hub) repository(repo Repository) {
	path := func(rest string) string { return at("repos", repo.Path, rest) }
	is, g := object[struct {
		Private *bool `json:"private"`
	}](h.reader, path(""))
	if g != nil {
		h.unseen("repository "+repo.Path, g)
		return // GitHub answers everything below it in the same way
	}
	h.seen("repository "+repo.Path, 1)
	if is.Private != nil && !*is.Private {
		h.seen("public repository "+repo.Path, 1)
	}
	h.protection(repo)
	h.rulesets("rulesets of "+repo.Path, repo.Path, path("/rulesets"), path("/rulesets/%d"), "includes_parents", "false")
	for _, k := range list[struct {
		ID       int64      `json:"id"`
		Title    string     `json:"title"`
		ReadOnly bool       `json:"read_only"` // missing: it writes
		Created  *time.Time `json:"created_at"`
		Used     *time.Time `json:"last_used"`
		By       string     `json:"added_by"`
		Enabled  *bool      `json:"enabled"`
	}](h.reader, "deploy keys of "+repo.Path, path("/keys"), "") {
		x := thing{subject: fmt.Sprintf("github:deploy_key/%s/%d", repo.Path, k.ID), kind: "deploy-key", where: repo.Path, text: fmt.Sprintf("deploy key %q of %s", clip(k.Title), repo.Path),
			credential: true, answerable: true, endless: true, created: when0(k.Created), used: when0(k.Used), usable: true, power: writes}
		x.never = x.used == nil
		if k.By != "" {
			x.person("github", k.By)
		}
		h.acts(&x, repo.Path)
		switch {
		case k.Enabled != nil && !*k.Enabled:
			x.power, x.actions = none, nil
		case k.ReadOnly:
			x.power, x.actions, x.except = reads, []remit.Action{"source.read"}, nil
		}
		h.add(x)
	}
	h.members(repo)
	h.secrets(repo.Path, path("/actions/secrets"), "")
	list[struct{}](h.reader, "variables of CI in "+repo.Path, path("/actions/variables"), "variables")
	h.workflows(repo.Path, path("/actions/permissions/workflow"))
	h.runners(repo.Path, path("/actions/runners"))
	h.subject(repo.Path, path("/actions/oidc/customization/sub"))
	h.environments(repo)
	h.hooks(repo.Path, path("/hooks"))
}

// acts is what a credential that writes to one repository does.
func (h *hub) acts(x *thing, repo string) {
	x.actions, x.resources = []remit.Action{"source.read", "source.push"}, []remit.Pattern{h.target.resource(repo)}
	for _, r := range h.target.Repositories {
		if r.Path == repo && h.firm[repo] {
			x.except = refPatterns(r.DefaultBranch)
		}
	}
}

type actors struct {
	Users []hubUser `json:"users"`
	Teams []struct {
		Slug string `json:"slug"`
	} `json:"teams"`
	Apps []struct {
		Slug string `json:"slug"`
	} `json:"apps"`
}

// each calls f with the name of everybody but Remit.
func (a actors) each(t Target, f func(who string)) {
	for _, u := range a.Users {
		if !t.owns(strings.ToLower(u.Login)) {
			f(clip(u.Login))
		}
	}
	for _, team := range a.Teams {
		f("team " + clip(team.Slug))
	}
	for _, app := range a.Apps {
		if !t.owns(strings.ToLower(app.Slug)) {
			f("App " + clip(app.Slug))
		}
	}
}

// protection reads the classic protection of the default branch, and the rules of rulesets that hold for it.
func (h *hub) protection(repo Repository) {
	type flag struct {
		Enabled bool `json:"enabled"`
	}
	x := thing{subject: "github:branch/" + repo.Path + "/" + clip(repo.DefaultBranch), kind: "gate", where: repo.Path, text: "branch " + clip(repo.DefaultBranch) + " of " + repo.Path}
	branch := at("repos", repo.Path, "/branches/"+url.PathEscape(repo.DefaultBranch)+"/protection")
	p, g := object[struct {
		Admins  flag `json:"enforce_admins"`
		Reviews *struct {
			Count  int    `json:"required_approving_review_count"`
			Bypass actors `json:"bypass_pull_request_allowances"`
		} `json:"required_pull_request_reviews"`
		Restrict *actors `json:"restrictions"`
		Force    flag    `json:"allow_force_pushes"`
		Delete   flag    `json:"allow_deletions"`
	}](h.reader, branch)
	classic := g == nil
	if g != nil && !(g.status == http.StatusNotFound && g.message == "Branch not protected") {
		h.unseen("protection of "+x.text, g)
		return
	}
	rules, g := items[struct {
		Type       string `json:"type"`
		Parameters struct {
			Count int `json:"required_approving_review_count"`
		} `json:"parameters"`
	}](h.reader, at("repos", repo.Path, "/rules/branches/"+url.PathEscape(repo.DefaultBranch)), "")
	if g != nil {
		h.unseen("rules of "+x.text, g)
	} else {
		h.seen("rules of "+x.text, len(rules))
	}
	asks, approvals := false, 0
	for _, rule := range rules {
		if rule.Type == "pull_request" {
			asks, approvals = true, max(approvals, rule.Parameters.Count)
		}
	}
	if classic {
		h.seen("protection of "+x.text, 1)
		if p.Reviews != nil {
			asks, approvals = true, max(approvals, p.Reviews.Count)
			p.Reviews.Bypass.each(h.target, func(who string) { x.saw(passesGate, "lets %s push without a review", who) })
		}
		if !p.Admins.Enabled {
			x.saw(exceptsAdmins, "does not hold administrators to its protection")
		}
		if p.Force.Enabled {
			x.saw(noGate, "lets whoever may push rewrite its history")
		}
		if p.Delete.Enabled {
			x.saw(noGate, "lets whoever may push delete it")
		}
	}
	restricted := p.Restrict != nil
	switch {
	case !classic && len(rules) == 0:
		x.saw(noGate, "is not protected: whoever may write pushes to it")
	case !asks && !restricted:
		x.saw(noGate, "asks for no pull request: whoever may write pushes to it")
	case asks && approvals == 0:
		x.saw(noGate, "asks for no approval before a merge")
	case !asks:
		p.Restrict.each(h.target, func(who string) { x.saw(passesGate, "lets %s push without a review", who) })
	}
	h.firm[repo.Path] = classic && asks && len(x.facts) == 0
	h.add(x)
}

// rulesets reads who may bypass them. one is the address of one, with %d for its number.
func (h *hub) rulesets(what, where, address, one string, query ...string) {
	for _, s := range list[struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	}](h.reader, what, address, "", query...) {
		set, g := object[struct {
			Enforcement string `json:"enforcement"`
			Bypass      *[]struct {
				ID   *int64 `json:"actor_id"`
				Type string `json:"actor_type"`
				Mode string `json:"bypass_mode"`
			} `json:"bypass_actors"`
		}](h.reader, fmt.Sprintf(one, s.ID))
		name := fmt.Sprintf("ruleset %q of %s", clip(s.Name), where)
		switch {
		case g != nil:
			h.unseen(name, g)
			continue
		case set.Bypass == nil: // only whoever may change a ruleset is told who bypasses it
			h.unseen("who bypasses "+name, &gap{code: gapForbidden, why: "GitHub leaves bypass_actors out for who may not change the ruleset: the observer's credential needs to read administration"})
		}
		x := thing{subject: fmt.Sprintf("github:ruleset/%s/%d", where, s.ID), kind: "gate", where: where, text: name}
		if set.Enforcement != "active" {
			x.saw(noGate, "is not enforced (%s)", clip(set.Enforcement))
		}
		if set.Bypass != nil {
			for _, a := range *set.Bypass {
				who := clip(a.Type)
				if a.ID != nil {
					who = fmt.Sprintf("%s %d", who, *a.ID)
				}
				x.saw(passesGate, "lets %s bypass it (%s)", who, clip(a.Mode))
			}
		}
		h.add(x)
	}
}

// members are the people whom a repository names, apart from what the organisation gives everybody.
func (h *hub) members(repo Repository) {
	for _, m := range list[struct {
		hubUser
		Role        string          `json:"role_name"`
		Permissions map[string]bool `json:"permissions"`
	}](h.reader, "collaborators of "+repo.Path, at("repos", repo.Path, "/collaborators"), "", "affiliation", "direct") {
		p := permission(m.Role)
		switch { // a role of the organisation's own is what its permissions say
		case m.Permissions["admin"]:
			p = administers
		case m.Permissions["push"] || m.Permissions["maintain"]:
			p = writes
		case m.Permissions["pull"]:
			p = reads
		}
		x := thing{subject: "github:collaborator/" + repo.Path + "/" + clip(strings.ToLower(m.Login)), kind: "account", where: repo.Path,
			text: "account " + clip(m.Login) + " in " + repo.Path, answerable: true, power: p}
		x.person("github", m.Login)
		if p >= writes {
			h.acts(&x, repo.Path)
		}
		if p == administers {
			x.actions, x.except, x.note = append(x.actions, "source.merge"), nil, "it can change the repository's gates"
		}
		h.add(x)
	}
}

func (h *hub) secrets(where, address, environment string) {
	for _, s := range list[struct {
		Name       string     `json:"name"`
		Created    *time.Time `json:"created_at"`
		Visibility string     `json:"visibility"`
	}](h.reader, "secrets of CI in "+where, address, "secrets") {
		x := thing{subject: "github:ci_secret/" + where + "/" + clip(s.Name), kind: "ci-secret", where: where, text: fmt.Sprintf("secret %q of CI in %s", clip(s.Name), where), created: when0(s.Created)}
		switch {
		case environment != "":
			x.saw(ciSecret, "is given to jobs that name the environment %s", clip(environment))
		case s.Visibility == "all":
			x.saw(heldTwice, "is given to jobs of every repository")
			x.saw(ciSecret, "is given to jobs, whoever wrote what they run")
		default:
			x.saw(ciSecret, "is given to jobs, whoever wrote what they run")
		}
		h.add(x)
	}
}

func (h *hub) workflows(where, address string) {
	p, g := object[struct {
		Default string `json:"default_workflow_permissions"`
		Approve *bool  `json:"can_approve_pull_request_reviews"`
	}](h.reader, address)
	if g == nil && (p.Default == "" || p.Approve == nil) {
		g = gapOr(nil, "the answer does not say both permissions")
	}
	if g != nil {
		h.unseen("default permissions of workflows in "+where, g)
		return
	}
	h.seen("default permissions of workflows in "+where, 1)
	x := thing{subject: "github:workflow_permissions/" + where, kind: "ci", where: where, text: "CI in " + where}
	if p.Default != "read" {
		x.saw(writingWorkflows, "gives every job a token that may %s", clip(p.Default))
		if strings.Contains(where, "/") {
			h.acts(&x, where)
		}
	}
	if *p.Approve {
		x.saw(approvingJobs, "lets jobs create and approve pull requests")
	}
	h.add(x)
}

func (h *hub) runners(where, address string) {
	for _, u := range list[struct {
		ID        int64  `json:"id"`
		Name      string `json:"name"`
		Ephemeral bool   `json:"ephemeral"`
	}](h.reader, "self-hosted runners of "+where, address, "runners") {
		if u.Ephemeral {
			continue
		}
		x := thing{subject: fmt.Sprintf("github:runner/%s/%d", where, u.ID), kind: "runner", where: where, text: fmt.Sprintf("runner %q of %s", clip(u.Name), where)}
		x.saw(standingRunner, "runs one job after the other on a machine of yours")
		h.add(x)
	}
}

// subject reads whether CI jobs' tokens have another sub than GitHub's own.
func (h *hub) subject(where, address string) {
	sub, g := object[struct {
		Default *bool    `json:"use_default"`
		Claims  []string `json:"include_claim_keys"`
	}](h.reader, address)
	if g != nil {
		h.unseen("subject of CI jobs' tokens in "+where, g)
		return
	}
	h.seen("subject of CI jobs' tokens in "+where, 1)
	own := len(sub.Claims) > 0
	if sub.Default != nil {
		own = !*sub.Default
	}
	if own {
		x := thing{subject: "github:oidc_subject/" + where, kind: "ci", where: where, text: "CI in " + where}
		x.saw(customSubject, "gives jobs tokens whose subject is made of %s", clip(strings.Join(sub.Claims, ", ")))
		h.add(x)
	}
}

func (h *hub) environments(repo Repository) {
	for _, e := range list[struct {
		Name     string `json:"name"`
		Branches *struct {
			Protected bool `json:"protected_branches"`
			Custom    bool `json:"custom_branch_policies"`
		} `json:"deployment_branch_policy"`
		Protection []struct {
			Type string `json:"type"`
		} `json:"protection_rules"`
		AdminsBypass bool `json:"can_admins_bypass"`
	}](h.reader, "environments of "+repo.Path, at("repos", repo.Path, "/environments"), "environments") {
		x := thing{subject: "github:environment/" + repo.Path + "/" + clip(e.Name), kind: "gate", where: repo.Path, text: fmt.Sprintf("environment %q of %s", clip(e.Name), repo.Path)}
		reviewed := false
		for _, p := range e.Protection {
			reviewed = reviewed || p.Type == "required_reviewers"
		}
		if !reviewed && e.Branches == nil {
			x.saw(openEnvironment, "asks for no reviewer, and jobs of every branch may use it")
		} else if !reviewed {
			x.saw(noGate, "asks for no reviewer")
		}
		if e.AdminsBypass && reviewed {
			x.saw(exceptsAdmins, "lets administrators pass its protection by")
		}
		h.add(x)
		h.secrets(repo.Path+" environment "+e.Name, at("repos", repo.Path, "/environments/"+url.PathEscape(e.Name)+"/secrets"), e.Name)
	}
}

func (h *hub) hooks(where, address string) {
	for _, k := range list[struct {
		ID     int64 `json:"id"`
		Active bool  `json:"active"`
		Config struct {
			URL      string `json:"url"`
			Insecure any    `json:"insecure_ssl"` // "0", "1", 0 or 1
			Secret   string `json:"secret"`       // stars where there is one
		} `json:"config"`
		Created *time.Time `json:"created_at"`
	}](h.reader, "hooks of "+where, address, "") {
		x := thing{subject: fmt.Sprintf("github:hook/%s/%d", where, k.ID), kind: "hook", where: where, text: fmt.Sprintf("hook %d of %s", k.ID, where), created: when0(k.Created)}
		host, outside, insecure := h.target.outside(k.Config.URL)
		if outside {
			x.saw(outsideHook, "tells %s what happens", host)
		}
		if insecure {
			x.saw(insecureHook, "sends to %s in the clear", host)
		} else if verify := fmt.Sprint(k.Config.Insecure); verify != "0" && verify != "<nil>" {
			x.saw(insecureHook, "sends to %s without checking its certificate", host)
		}
		if k.Config.Secret == "" {
			x.saw(insecureHook, "has no secret, so that %s takes it from anybody", host)
		}
		h.add(x)
	}
}

// permissions of Apps and tokens, by what they do here.
func (h *hub) granted(x *thing, all map[string]string, every bool) {
	write := func(name string) bool { return all[name] == "write" || all[name] == "admin" }
	x.power = reads
	var doing []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if write(name) {
			x.power = max(x.power, writes)
			doing = append(doing, clip(name))
		}
		if strings.HasSuffix(name, "administration") && write(name) {
			x.power = administers
		}
	}
	if write("contents") {
		x.actions = []remit.Action{"source.read", "source.push"}
		if write("pull_requests") {
			x.actions = append(x.actions, "source.merge")
		}
	} else if all["contents"] == "read" {
		x.actions = []remit.Action{"source.read"}
	}
	if write("workflows") || write("actions") {
		x.actions = append(x.actions, "build.trigger")
	}
	if len(doing) > 0 {
		x.note = "writes " + strings.Join(doing, ", ")
	}
	if !every {
		x.note = strings.TrimPrefix(x.note+"; selected repositories, which GitHub tells the App alone", "; ")
	}
}

func (h *hub) owner(name string) {
	_, g := object[struct {
		ID int64 `json:"id"`
	}](h.reader, at("orgs", name, ""))
	if g != nil && g.status == http.StatusNotFound {
		who, g := object[struct {
			Type string `json:"type"`
		}](h.reader, at("users", name, ""))
		if g == nil && who.Type == "User" {
			x := thing{subject: "github:user/" + clip(strings.ToLower(name)), kind: "account", where: name, text: "account " + clip(name), answerable: true, power: administers,
				actions: []remit.Action{"source.read", "source.push", "source.merge"}, resources: []remit.Pattern{h.target.all("repo")}}
			x.person("github", name)
			h.add(x)
			h.unsupported("credentials of "+name, "GitHub shows a person's tokens, keys and installed Apps to nobody else; keep repositories in an organisation")
			return
		}
	}
	if g != nil {
		h.unseen("organisation "+name, g)
		return
	}
	h.seen("organisation "+name, 1)
	org := func(rest string) string { return at("orgs", name, rest) }
	for _, a := range list[struct {
		ID          int64             `json:"id"`
		Slug        string            `json:"app_slug"`
		Selection   string            `json:"repository_selection"`
		Permissions map[string]string `json:"permissions"`
		Created     *time.Time        `json:"created_at"`
		Suspended   *time.Time        `json:"suspended_at"`
	}](h.reader, "Apps of "+name, org("/installations"), "installations") {
		x := thing{subject: fmt.Sprintf("github:installation/%s/%d", name, a.ID), kind: "app", where: name, text: fmt.Sprintf("App %q in %s", clip(a.Slug), name),
			holder: "github:app/" + clip(a.Slug), account: strings.ToLower(a.Slug), credential: true, answerable: true, created: when0(a.Created),
			resources: []remit.Pattern{remit.Pattern("repo:" + h.target.Name + "/" + names(name) + "/**")}}
		h.granted(&x, a.Permissions, a.Selection == "all")
		x.saw(standingApp, "acts by itself in %s repositories", map[bool]string{true: "all", false: "selected"}[a.Selection == "all"])
		if a.Suspended != nil {
			x.power, x.actions, x.facts = none, nil, nil
		}
		h.add(x)
	}
	for _, t := range list[struct {
		ID          int64   `json:"id"`
		Owner       hubUser `json:"owner"`
		Selection   string  `json:"repository_selection"`
		Permissions struct {
			Organization map[string]string `json:"organization"`
			Repository   map[string]string `json:"repository"`
		} `json:"permissions"`
		Granted *time.Time `json:"access_granted_at"`
		Name    string     `json:"token_name"`
		Expired bool       `json:"token_expired"`
		Expires *time.Time `json:"token_expires_at"`
		Used    *time.Time `json:"token_last_used_at"`
	}](h.reader, "fine-grained tokens of "+name, org("/personal-access-tokens"), "") {
		x := thing{subject: fmt.Sprintf("github:token/%s/%d", name, t.ID), kind: "token", where: name, text: fmt.Sprintf("token %q of %s", clip(t.Name), clip(t.Owner.Login)),
			credential: true, answerable: true, endless: t.Expires == nil, ends: when0(t.Expires), created: when0(t.Granted), used: when0(t.Used), usable: true,
			resources: []remit.Pattern{remit.Pattern("repo:" + h.target.Name + "/" + names(name) + "/**")}}
		x.never = x.used == nil
		x.person("github", t.Owner.Login)
		all := maps.Clone(t.Permissions.Repository)
		if all == nil {
			all = map[string]string{}
		}
		for k, v := range t.Permissions.Organization {
			all["organization_"+strings.TrimPrefix(k, "organization_")] = v
		}
		h.granted(&x, all, true)
		if t.Selection != "all" {
			x.resources = nil
			for _, repo := range list[struct {
				Path string `json:"full_name"`
			}](h.reader, "repositories of token "+t.Name, org(fmt.Sprintf("/personal-access-tokens/%d/repositories", t.ID)), "") {
				x.resources = append(x.resources, h.target.resource(repo.Path))
			}
		}
		if t.Expired {
			x.power, x.actions = none, nil
		}
		h.add(x)
	}
	h.secrets(name, org("/actions/secrets"), "")
	list[struct{}](h.reader, "variables of CI in "+name, org("/actions/variables"), "variables")
	h.workflows(name, org("/actions/permissions/workflow"))
	h.runners(name, org("/actions/runners"))
	h.subject(name, org("/actions/oidc/customization/sub"))
	h.hooks(name, org("/hooks"))
	h.rulesets("rulesets of "+name, name, org("/rulesets"), org("/rulesets/%d"))
	for _, u := range list[hubUser](h.reader, "outside collaborators of "+name, org("/outside_collaborators"), "") {
		x := thing{subject: "github:outsider/" + name + "/" + clip(strings.ToLower(u.Login)), kind: "account", where: name, text: "account " + clip(u.Login), answerable: true, power: reads}
		x.person("github", u.Login)
		x.saw(fromOutside, "is no member of %s and has access to some of its repositories", name)
		h.add(x)
	}
	for _, u := range list[hubUser](h.reader, "owners of "+name, org("/members"), "", "role", "admin") {
		x := thing{subject: "github:owner/" + name + "/" + clip(strings.ToLower(u.Login)), kind: "account", where: name, text: "owner " + clip(u.Login) + " of " + name, answerable: true, power: administers,
			actions: []remit.Action{"source.read", "source.push", "source.merge", "artifact.release"}, resources: []remit.Pattern{remit.Pattern("repo:" + h.target.Name + "/" + names(name) + "/**")}}
		x.person("github", u.Login)
		h.add(x)
	}
	for _, t := range list[struct {
		Slug string `json:"slug"`
	}](h.reader, "teams of "+name, org("/teams"), "") {
		h.team(name, t.Slug)
	}
}

// team looks at what a team may do in declared repositories; its members have that.
func (h *hub) team(org, slug string) {
	may := power(none)
	var paths []string
	for _, repo := range list[struct {
		Path        string          `json:"full_name"`
		Role        string          `json:"role_name"`
		Permissions map[string]bool `json:"permissions"`
	}](h.reader, "repositories of team "+org+"/"+slug, at("orgs", org, "/teams/"+url.PathEscape(slug)+"/repos"), "") {
		if !slices.ContainsFunc(h.target.Repositories, func(r Repository) bool { return r.Path == repo.Path }) {
			continue
		}
		p := permission(repo.Role)
		if repo.Role == "" || repo.Permissions["admin"] {
			p = administers
		} else if repo.Permissions["push"] {
			p = max(p, writes)
		}
		if may = max(may, p); p >= writes {
			paths = append(paths, repo.Path)
		}
	}
	if len(paths) == 0 {
		return
	}
	for _, u := range list[hubUser](h.reader, "members of team "+org+"/"+slug, at("orgs", org, "/teams/"+url.PathEscape(slug)+"/members"), "") {
		x := thing{subject: "github:team/" + org + "/" + clip(slug) + "/" + clip(strings.ToLower(u.Login)), kind: "account", where: org,
			text: "account " + clip(u.Login) + ", by team " + clip(slug) + ",", answerable: true, power: may}
		x.person("github", u.Login)
		x.actions = []remit.Action{"source.read", "source.push"}
		if may == administers {
			x.actions = append(x.actions, "source.merge")
		}
		for _, p := range paths {
			x.resources = append(x.resources, h.target.resource(p))
		}
		h.add(x)
	}
}
