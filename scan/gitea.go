package scan

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// forge is a scan of a Gitea or Forgejo, as its API has it (/api/v1/swagger).
type forge struct {
	*reader
	found []thing
	level map[string]power    // of accounts, over the declared repositories
	reach map[string][]string // paths of declared repositories that an account may write to
	open  map[string]bool     // declared repositories whose default branch takes direct pushes of whoever may write
	let   map[string][]string // accounts, keys and teams whose direct pushes to it are taken all the same, by repository
	keys  map[string][]int    // things that are the same key, by fingerprint
}

type giteaUser struct {
	Login     string     `json:"login"`
	Admin     bool       `json:"is_admin"`
	Active    *bool      `json:"active"`
	Prohibit  bool       `json:"prohibit_login"`
	LastLogin *time.Time `json:"last_login"`
	Created   *time.Time `json:"created"`
}

// gitea looks at a forge: what belongs to each declared repository, to their owners, to every account, and to the whole.
func gitea(r *reader) []thing {
	f := &forge{reader: r, level: map[string]power{}, reach: map[string][]string{}, open: map[string]bool{}, let: map[string][]string{}, keys: map[string][]int{}}
	var me giteaUser
	var g *gap
	if r.target.Auth != nil {
		if me, g = object[giteaUser](r, "/api/v1/user"); g != nil {
			r.unseen("who the observer is", g)
		}
		if me.Login != "" {
			r.target.Own = append(slices.Clone(r.target.Own), strings.ToLower(me.Login))
		}
	} else {
		r.unsupported("what only members see", "no observer is declared for this upstream, so it was looked at as a stranger")
	}
	for _, repo := range r.target.Repositories {
		f.repository(repo)
	}
	for _, owner := range r.target.owners() {
		f.owner(owner)
	}
	f.accounts()
	f.instance()
	f.shared()
	r.unsupported("OAuth applications of people", "Gitea tells each person only their own; look at Site Administration, Applications")
	r.unsupported("default permissions of workflows", "Gitea's API does not tell them; look at the settings of Actions")
	return f.found
}

// part is an address below a repository or an owner.
func part(kind, of, rest string) string {
	var b strings.Builder
	b.WriteString("/api/v1/" + kind)
	for seg := range strings.SplitSeq(of, "/") {
		b.WriteString("/" + url.PathEscape(seg))
	}
	return b.String() + rest
}

func (f *forge) add(x thing) int {
	f.found = append(f.found, x)
	return len(f.found) - 1
}

// person fills in who has a thing.
func (x *thing) person(forge, login string) {
	x.holder, x.account = forge+":user/"+clip(strings.ToLower(login)), strings.ToLower(login)
}

// may notes what an account may do in a declared repository.
func (f *forge) may(login, repo string, p power) {
	login = strings.ToLower(login)
	f.level[login] = max(f.level[login], p)
	if p >= writes && !slices.Contains(f.reach[login], repo) {
		f.reach[login] = append(f.reach[login], repo)
	}
}

// permission is a forge's word for what somebody may do. An unknown one is the most.
func permission(word string) power {
	switch word {
	case "none", "":
		return none
	case "read", "pull", "triage":
		return reads
	case "write", "push", "maintain":
		return writes
	}
	return administers
}

func (f *forge) repository(repo Repository) {
	at, where := func(rest string) string { return part("repos", repo.Path, rest) }, repo.Path
	is, g := object[struct {
		Mirror   *bool  `json:"mirror"`
		Original string `json:"original_url"`
		Private  bool   `json:"private"`
		Internal bool   `json:"internal"`
		Branch   string `json:"default_branch"`
	}](f.reader, at(""))
	if g != nil {
		f.unseen("repository "+where, g)
	} else {
		f.seen("repository "+where, 1)
		if is.Mirror != nil && *is.Mirror {
			x := thing{subject: "gitea:mirror/" + where, kind: "mirror", where: where, text: "pull mirror " + where}
			x.saw(holdsPassword, "takes whatever %s has, with a credential if that asks for one", hostOf(is.Original))
			f.add(x)
		}
	}
	f.gates(repo)
	f.deployKeys(repo)
	if members, g := items[struct {
		Login string `json:"login"`
	}](f.reader, at("/collaborators"), ""); g != nil {
		f.unseen("collaborators of "+where, g)
	} else {
		f.seen("collaborators of "+where, len(members))
		for _, m := range members {
			may, g := object[struct {
				Permission string `json:"permission"`
			}](f.reader, at("/collaborators/"+url.PathEscape(m.Login)+"/permission"))
			if g != nil || may.Permission == "" { // unknown is the most that it may be
				f.unseen("permission of "+m.Login+" in "+where, gapOr(g, "the answer has no permission"))
				may.Permission = "admin"
			}
			f.may(m.Login, repo.Path, permission(may.Permission))
		}
	}
	f.hooks(where, at("/hooks"))
	f.secrets(where, at("/actions/secrets"))
	f.count("variables of CI in "+where, at("/actions/variables"), "")
	f.runners(where, at("/actions/runners"))
	for _, m := range list[struct {
		Name    string     `json:"remote_name"`
		Address string     `json:"remote_address"`
		Created *time.Time `json:"created"`
	}](f.reader, "push mirrors of "+where, at("/push_mirrors"), "") {
		x := thing{subject: "gitea:push_mirror/" + where + "/" + clip(m.Name), kind: "mirror", where: where, text: "push mirror of " + where, created: when0(m.Created)}
		x.saw(holdsPassword, "sends all of it to %s, with a credential that the forge keeps", hostOf(m.Address))
		f.add(x)
	}
}

func gapOr(g *gap, why string) *gap {
	if g != nil {
		return g
	}
	return &gap{code: gapMalformed, why: why}
}

// hostOf is the host of an address that may have a password, or be none.
func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Hostname() != "" {
		return clip(u.Hostname())
	}
	return "another place"
}

// when0 is a time that a forge told; the years in which none of them was there mean that it did not tell.
func when0(t *time.Time) *time.Time {
	if t == nil || t.Year() <= 1970 {
		return nil
	}
	u := t.UTC()
	return &u
}

// gates reads who may change the default branch, and how.
func (f *forge) gates(repo Repository) {
	type protection struct {
		Rule        string   `json:"rule_name"`
		Branch      string   `json:"branch_name"`
		Push        bool     `json:"enable_push"`
		PushList    bool     `json:"enable_push_whitelist"`
		PushUsers   []string `json:"push_whitelist_usernames"`
		PushTeams   []string `json:"push_whitelist_teams"`
		PushKeys    bool     `json:"push_whitelist_deploy_keys"`
		Force       bool     `json:"enable_force_push"`
		ForceList   bool     `json:"enable_force_push_allowlist"`
		ForceUsers  []string `json:"force_push_allowlist_usernames"`
		ForceTeams  []string `json:"force_push_allowlist_teams"`
		ForceKeys   bool     `json:"force_push_allowlist_deploy_keys"`
		MergeList   bool     `json:"enable_merge_whitelist"`
		MergeUsers  []string `json:"merge_whitelist_usernames"`
		MergeTeams  []string `json:"merge_whitelist_teams"`
		Approvals   int      `json:"required_approvals"`
		HoldsAdmins bool     `json:"block_admin_merge_override"`
		Unprotected string   `json:"unprotected_file_patterns"`
	}
	all, g := items[protection](f.reader, part("repos", repo.Path, "/branch_protections"), "")
	if g != nil {
		f.unseen("branch protection of "+repo.Path, g)
		f.open[repo.Path] = true // nobody knows
		return
	}
	f.seen("branch protection of "+repo.Path, len(all))
	covered := false
	for _, p := range all {
		rule := p.Rule
		if rule == "" {
			rule = p.Branch
		}
		matched, _ := path.Match(rule, repo.DefaultBranch) // a pattern that is none covers nothing
		ours := rule == repo.DefaultBranch || matched
		covered = covered || ours
		x := thing{subject: "gitea:branch_protection/" + repo.Path + "/" + clip(rule), kind: "gate", where: repo.Path, text: "branch protection " + strconv.Quote(clip(rule)) + " of " + repo.Path}
		pass := func(does string, users, teams []string) {
			for _, u := range users {
				if !f.target.owns(strings.ToLower(u)) {
					x.saw(passesGate, "lets %s %s", clip(u), does)
				}
			}
			for _, t := range teams {
				x.saw(passesGate, "lets team %s %s", clip(t), does)
			}
		}
		switch {
		case p.Push && p.PushList:
			pass("push without a review", p.PushUsers, p.PushTeams)
			if ours {
				for _, u := range p.PushUsers {
					f.let[repo.Path] = append(f.let[repo.Path], strings.ToLower(u))
				}
				if len(p.PushTeams) > 0 || p.PushKeys { // who is in a team is not looked up here: it may be anybody
					f.let[repo.Path] = append(f.let[repo.Path], map[bool]string{true: anybody, false: deployKey}[len(p.PushTeams) > 0])
				}
			}
			if p.PushKeys {
				x.saw(passesGate, "lets every deploy key that writes push without a review")
			}
		case p.Push:
			x.saw(noGate, "lets whoever may write push without a review")
			f.open[repo.Path] = f.open[repo.Path] || ours
		}
		switch {
		case p.Force && p.ForceList:
			pass("rewrite its history", p.ForceUsers, p.ForceTeams)
			if p.ForceKeys {
				x.saw(passesGate, "lets every deploy key that writes rewrite its history")
			}
		case p.Force:
			x.saw(noGate, "lets whoever may push rewrite its history")
		}
		if p.Approvals == 0 {
			if p.MergeList {
				pass("merge without an approval", p.MergeUsers, p.MergeTeams)
			} else {
				x.saw(noGate, "asks for no approval before a merge")
			}
		}
		if p.Unprotected != "" {
			x.saw(passesGate, "leaves files open that anybody who may write can push: %s", clip(p.Unprotected))
		}
		if !p.HoldsAdmins {
			x.saw(exceptsAdmins, "lets administrators merge whatever its conditions are")
		}
		f.add(x)
	}
	if !covered {
		f.open[repo.Path] = true
		x := thing{subject: "gitea:branch/" + repo.Path + "/" + clip(repo.DefaultBranch), kind: "gate", where: repo.Path, text: "branch " + clip(repo.DefaultBranch) + " of " + repo.Path}
		x.saw(noGate, "is not protected: whoever may write pushes to it")
		f.add(x)
	}
}

// What stands in forge.let besides accounts.
const (
	anybody   = "*"
	deployKey = "deploy-key"
)

// reachesDefault tells whether x may push to the default branch of a declared repository, as far as is known.
func (f *forge) reachesDefault(x *thing, repo string) bool {
	return f.open[repo] || slices.ContainsFunc(f.let[repo], func(who string) bool {
		return who == anybody || x.kind == deployKey && who == deployKey || x.account != "" && who == x.account
	})
}

// writing is what a credential that writes does in declared repositories; the default branch is excepted where it takes no
// direct push.
func (f *forge) writing(x *thing, paths []string) {
	x.actions = []remit.Action{"source.read", "source.push"}
	for _, p := range paths {
		x.resources = append(x.resources, f.target.resource(p))
		if !f.reachesDefault(x, p) && len(paths) == 1 {
			for _, repo := range f.target.Repositories {
				if repo.Path == p {
					x.except = append(x.except, refPatterns(repo.DefaultBranch)...)
				}
			}
		}
	}
	if len(paths) > 1 && !slices.ContainsFunc(paths, func(p string) bool { return f.reachesDefault(x, p) }) {
		x.note = "the default branches take no direct push"
	}
}

func (f *forge) deployKeys(repo Repository) {
	for _, k := range list[struct {
		ID          int64      `json:"id"`
		Title       string     `json:"title"`
		Fingerprint string     `json:"fingerprint"`
		ReadOnly    bool       `json:"read_only"` // missing: it writes
		Created     *time.Time `json:"created_at"`
		Used        *time.Time `json:"last_used_at"`
	}](f.reader, "deploy keys of "+repo.Path, part("repos", repo.Path, "/keys"), "") {
		x := thing{subject: fmt.Sprintf("gitea:deploy_key/%s/%d", repo.Path, k.ID), kind: "deploy-key", where: repo.Path,
			text: fmt.Sprintf("deploy key %q of %s", clip(k.Title), repo.Path), credential: true, answerable: true, endless: true,
			created: when0(k.Created), used: when0(k.Used), power: writes}
		if k.ReadOnly {
			x.power, x.actions, x.resources = reads, []remit.Action{"source.read"}, []remit.Pattern{f.target.resource(repo.Path)}
		} else {
			f.writing(&x, []string{repo.Path})
		}
		f.key(k.Fingerprint, f.add(x))
	}
}

// key notes a key, so that the same one elsewhere is found.
func (f *forge) key(fingerprint string, i int) {
	if fingerprint != "" {
		f.keys[fingerprint] = append(f.keys[fingerprint], i)
	}
}

func (f *forge) shared() {
	for _, mark := range slices.Sorted(maps.Keys(f.keys)) {
		for _, i := range f.keys[mark] {
			if len(f.keys[mark]) > 1 {
				f.found[i].saw(heldTwice, "is the same key in %d places", len(f.keys[mark]))
			}
		}
	}
}

func (f *forge) hooks(where, address string) {
	for _, h := range list[struct {
		ID     int64             `json:"id"`
		Type   string            `json:"type"`
		Config map[string]string `json:"config"`
		Active bool              `json:"active"`
	}](f.reader, "hooks of "+where, address, "") {
		x := thing{subject: fmt.Sprintf("gitea:hook/%s/%d", where, h.ID), kind: "hook", where: where, text: fmt.Sprintf("hook %d of %s", h.ID, where)}
		host, outside, insecure := f.target.outside(h.Config["url"])
		if outside {
			x.saw(outsideHook, "tells %s what happens", host)
		}
		if insecure {
			x.saw(insecureHook, "sends to %s in the clear", host)
		}
		f.add(x)
	}
}

func (f *forge) secrets(where, address string) {
	for _, s := range list[struct {
		Name    string     `json:"name"`
		Created *time.Time `json:"created_at"`
	}](f.reader, "secrets of CI in "+where, address, "") {
		x := thing{subject: "gitea:ci_secret/" + where + "/" + clip(s.Name), kind: "ci-secret", where: where, text: fmt.Sprintf("secret %q of CI in %s", clip(s.Name), where), created: when0(s.Created)}
		x.saw(ciSecret, "is given to jobs, whoever wrote what they run")
		f.add(x)
	}
}

// count only counts: what the items say is not kept.
func (f *forge) count(what, address, pick string) {
	list[struct{}](f.reader, what, address, pick)
}

func (f *forge) runners(where, address string) {
	for _, u := range list[struct {
		ID        int64  `json:"id"`
		Name      string `json:"name"`
		Ephemeral bool   `json:"ephemeral"`
	}](f.reader, "runners of "+where, address, "runners") {
		if u.Ephemeral {
			continue
		}
		x := thing{subject: fmt.Sprintf("gitea:runner/%s/%d", where, u.ID), kind: "runner", where: where, text: fmt.Sprintf("runner %q of %s", clip(u.Name), where)}
		x.saw(standingRunner, "runs one job after the other")
		f.add(x)
	}
}

// owner looks at whom declared repositories belong to.
func (f *forge) owner(name string) {
	_, g := object[struct {
		ID int64 `json:"id"`
	}](f.reader, part("orgs", name, ""))
	if g != nil && g.status == http.StatusNotFound {
		for _, repo := range f.target.of(name) { // a person's
			f.may(name, repo.Path, administers)
		}
		return
	}
	if g != nil {
		f.unseen("organisation "+name, g)
		return
	}
	for _, t := range list[struct {
		ID    int64             `json:"id"`
		Name  string            `json:"name"`
		May   string            `json:"permission"`
		All   bool              `json:"includes_all_repositories"`
		Units map[string]string `json:"units_map"`
	}](f.reader, "teams of "+name, part("orgs", name, "/teams"), "") {
		p := permission(t.May)
		if t.May == "none" || t.May == "" { // then the units say it
			p = permission(t.Units["repo.code"])
		}
		var paths []string
		if t.All {
			for _, repo := range f.target.of(name) {
				paths = append(paths, repo.Path)
			}
		} else {
			for _, repo := range list[struct {
				Path string `json:"full_name"`
			}](f.reader, "repositories of team "+name+"/"+t.Name, fmt.Sprintf("/api/v1/teams/%d/repos", t.ID), "") {
				if slices.ContainsFunc(f.target.Repositories, func(d Repository) bool { return d.Path == repo.Path }) {
					paths = append(paths, repo.Path)
				}
			}
		}
		for _, m := range list[giteaUser](f.reader, "members of team "+name+"/"+t.Name, fmt.Sprintf("/api/v1/teams/%d/members", t.ID), "") {
			for _, repo := range paths {
				f.may(m.Login, repo, p)
			}
		}
	}
	f.hooks(name, part("orgs", name, "/hooks"))
	f.secrets(name, part("orgs", name, "/actions/secrets"))
	f.count("variables of CI in "+name, part("orgs", name, "/actions/variables"), "")
	f.runners(name, part("orgs", name, "/actions/runners"))
}

// accounts looks at everybody, or, where the observer may not list them, at those who have access to what is declared.
func (f *forge) accounts() {
	users := list[giteaUser](f.reader, "accounts", "/api/v1/admin/users", "")
	if len(users) == 0 {
		for _, login := range slices.Sorted(maps.Keys(f.level)) {
			users = append(users, giteaUser{Login: login})
		}
	}
	for _, u := range users {
		login := strings.ToLower(u.Login)
		dead := u.Prohibit || u.Active != nil && !*u.Active
		x := thing{subject: "gitea:user/" + clip(login), kind: "account", where: f.target.Name, text: "account " + clip(u.Login), answerable: true,
			power: max(min(f.level[login], writes), reads), created: when0(u.Created), used: when0(u.LastLogin), usable: u.LastLogin != nil}
		x.never = x.usable && x.used == nil
		x.person("gitea", u.Login)
		paths := f.reach[login]
		slices.Sort(paths)
		switch {
		case dead:
			x.power = none
		case u.Admin:
			x.power = administers
			x.actions, x.resources = []remit.Action{"source.read", "source.push", "source.merge", "artifact.release"}, []remit.Pattern{f.target.all("repo")}
		case f.level[login] == administers: // of a repository
			x.power = administers
			f.writing(&x, paths)
			x.actions, x.except, x.note = append(x.actions, "source.merge"), nil, "it can change the repository's gates"
		case len(paths) > 0:
			f.writing(&x, paths)
		}
		f.add(x)
		f.tokens(u, x)
		f.personKeys(u, x)
	}
}

// tokens reads somebody's tokens; power is what their account has.
func (f *forge) tokens(u giteaUser, of thing) {
	tokens := list[struct {
		ID      int64      `json:"id"`
		Name    string     `json:"name"`
		Scopes  []string   `json:"scopes"`
		Created *time.Time `json:"created_at"`
		Used    *time.Time `json:"last_used_at"`
	}](f.reader, "tokens of "+u.Login, "/api/v1/users/"+url.PathEscape(u.Login)+"/tokens", "")
	for _, t := range tokens {
		x := thing{subject: fmt.Sprintf("gitea:token/%s/%d", clip(strings.ToLower(u.Login)), t.ID), kind: "token", where: f.target.Name,
			text: fmt.Sprintf("token %q of %s", clip(t.Name), clip(u.Login)), credential: true, answerable: true, endless: true,
			created: when0(t.Created), used: when0(t.Used), usable: t.Created != nil && t.Created.Year() > 1970, power: reads}
		x.never = x.usable && (x.used == nil || !x.used.After(*x.created)) // Gitea begins with the time at which it was made
		x.person("gitea", u.Login)
		full := len(t.Scopes) == 0 || slices.Contains(t.Scopes, "all") || slices.Contains(t.Scopes, "sudo") // a forge that tells no scopes has none that bound it
		switch {
		case of.power == none: // the account is shut
			x.power = none
		case full && of.power == administers || slices.Contains(t.Scopes, "write:admin"):
			x.power, x.actions, x.resources = administers, of.actions, of.resources
		case full || slices.Contains(t.Scopes, "write:repository"):
			x.power, x.actions, x.resources, x.except = writes, of.actions, of.resources, of.except
		case slices.ContainsFunc(t.Scopes, func(s string) bool { return strings.HasPrefix(s, "write:") }):
			x.power, x.note = writes, "scopes "+clip(strings.Join(t.Scopes, " "))
		}
		f.add(x)
	}
}

func (f *forge) personKeys(u giteaUser, of thing) {
	home := "/api/v1/users/" + url.PathEscape(u.Login)
	for _, k := range list[struct {
		ID          int64      `json:"id"`
		Title       string     `json:"title"`
		Fingerprint string     `json:"fingerprint"`
		Created     *time.Time `json:"created_at"`
		Used        *time.Time `json:"last_used_at"`
	}](f.reader, "SSH keys of "+u.Login, home+"/keys", "") {
		x := thing{subject: fmt.Sprintf("gitea:ssh_key/%s/%d", clip(strings.ToLower(u.Login)), k.ID), kind: "ssh-key", where: f.target.Name,
			text: fmt.Sprintf("SSH key %q of %s", clip(k.Title), clip(u.Login)), credential: true, answerable: true, endless: true,
			created: when0(k.Created), used: when0(k.Used), power: min(of.power, writes), resources: of.resources, except: of.except}
		x.person("gitea", u.Login)
		if x.power == writes {
			x.actions = []remit.Action{"source.read", "source.push"} // a key speaks git only
		}
		f.key(k.Fingerprint, f.add(x))
	}
	f.count("signing keys of "+u.Login, home+"/gpg_keys", "")
}

// instance looks at what holds for the whole forge.
func (f *forge) instance() {
	f.hooks("the forge", "/api/v1/admin/hooks")
	f.runners("the forge", "/api/v1/admin/actions/runners")
	for _, o := range list[struct {
		ID      int64      `json:"id"`
		Name    string     `json:"name"`
		Created *time.Time `json:"created"`
	}](f.reader, "OAuth applications of the observer", "/api/v1/user/applications/oauth2", "") {
		x := thing{subject: fmt.Sprintf("gitea:oauth_app/%d", o.ID), kind: "app", where: f.target.Name, text: fmt.Sprintf("OAuth application %q", clip(o.Name)), created: when0(o.Created)}
		x.saw(standingApp, "acts for whoever lets it")
		f.add(x)
	}
}
