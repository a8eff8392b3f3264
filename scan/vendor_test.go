package scan_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	sdk "code.gitea.io/sdk/gitea"
	"github.com/google/go-github/v88/github"
	admission "k8s.io/api/admissionregistration/v1"
	certificates "k8s.io/api/certificates/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"

	"github.com/remit-dev/remit/scan"
)

// asked notes which paths of an upstream are asked for.
type asked struct {
	mu    sync.Mutex
	paths map[string]bool
	next  http.Handler
}

func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	if a.paths == nil {
		a.paths = map[string]bool{}
	}
	a.paths[strings.TrimPrefix(r.URL.Path, "/api/v3")] = true
	a.mu.Unlock()
	a.next.ServeHTTP(w, r)
}

// The fake GitHub is one that GitHub's Go client by Google understands, and a scan asks for the same addresses as that.
func TestTheFakeGitHubIsOne(t *testing.T) {
	full := load(t, "github.json")
	theirs, ours := &asked{next: full}, &asked{next: full}
	s := httptest.NewServer(theirs)
	defer s.Close()
	c, err := github.NewClient(github.WithEnterpriseURLs(s.URL, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	ok := func(what string, good bool, err error) {
		t.Helper()
		if err != nil || !good {
			t.Errorf("%s: %v, %v", what, good, err)
		}
	}
	repo, _, err := c.Repositories.Get(ctx, "acme", "payments")
	ok("repository", repo.GetPrivate(), err)
	keys, _, err := c.Repositories.ListKeys(ctx, "acme", "payments", nil)
	ok("keys", len(keys) == 2 && keys[0].GetReadOnly() && !keys[1].GetReadOnly() && keys[1].GetAddedBy() == "mallory", err)
	protection, _, err := c.Repositories.GetBranchProtection(ctx, "acme", "payments", "main")
	ok("protection", protection.RequiredPullRequestReviews.BypassPullRequestAllowances.Users[0].GetLogin() == "bob" && !protection.EnforceAdmins.Enabled && protection.AllowForcePushes.Enabled, err)
	_, _, err = c.Repositories.ListRulesForBranch(ctx, "acme", "payments", "main", nil)
	ok("rules", true, err)
	sets, _, err := c.Repositories.GetAllRulesets(ctx, "acme", "payments", nil)
	ok("rulesets", len(sets) == 1, err)
	set, _, err := c.Repositories.GetRuleset(ctx, "acme", "payments", 11, false)
	ok("ruleset", len(set.BypassActors) == 1 && set.BypassActors[0].GetActorID() == 5, err)
	people, _, err := c.Repositories.ListCollaborators(ctx, "acme", "payments", nil)
	ok("collaborators", people[0].Permissions.GetPush(), err)
	secrets, _, err := c.Actions.ListRepoSecrets(ctx, "acme", "payments", nil)
	ok("secrets", secrets.TotalCount == 1, err)
	_, _, err = c.Actions.ListRepoVariables(ctx, "acme", "payments", nil)
	ok("variables", true, err)
	defaults, _, err := c.Repositories.GetDefaultWorkflowPermissions(ctx, "acme", "payments")
	ok("workflows", defaults.GetDefaultWorkflowPermissions() == "write" && defaults.GetCanApprovePullRequestReviews(), err)
	runners, _, err := c.Actions.ListRunners(ctx, "acme", "payments", nil)
	ok("runners", runners.TotalCount == 1, err)
	sub, _, err := c.Actions.GetRepoOIDCSubjectClaimCustomTemplate(ctx, "acme", "payments")
	ok("subject", !sub.GetUseDefault() && len(sub.IncludeClaimKeys) == 2, err)
	envs, _, err := c.Repositories.ListEnvironments(ctx, "acme", "payments", nil)
	ok("environments", envs.Environments[1].ProtectionRules[0].GetType() == "required_reviewers", err)
	hooks, _, err := c.Repositories.ListHooks(ctx, "acme", "payments", nil)
	ok("hooks", hooks[0].Config.GetInsecureSSL() == "1", err)
	org, _, err := c.Organizations.Get(ctx, "acme")
	ok("organisation", org.GetLogin() == "acme", err)
	apps, _, err := c.Organizations.ListInstallations(ctx, "acme", nil)
	ok("Apps", apps.Installations[0].GetAppSlug() == "merge-bot" && apps.Installations[0].Permissions.GetContents() == "write", err)
	tokens, _, err := c.Organizations.ListFineGrainedPersonalAccessTokens(ctx, "acme", &github.ListFineGrainedPATOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ok("tokens", tokens[1].GetTokenName() == "everything" && tokens[1].Permissions.Repo["administration"] == "write", err)
	_, _, err = c.Actions.ListOrgSecrets(ctx, "acme", nil)
	ok("secrets of the organisation", true, err)
	_, _, err = c.Actions.ListOrgVariables(ctx, "acme", nil)
	ok("variables of the organisation", true, err)
	_, _, err = c.Actions.GetDefaultWorkflowPermissionsInOrganization(ctx, "acme")
	ok("workflows of the organisation", true, err)
	_, _, err = c.Actions.ListOrganizationRunners(ctx, "acme", nil)
	ok("runners of the organisation", true, err)
	_, _, err = c.Actions.GetOrgOIDCSubjectClaimCustomTemplate(ctx, "acme")
	ok("subject of the organisation", true, err)
	_, _, err = c.Organizations.ListHooks(ctx, "acme", nil)
	ok("hooks of the organisation", true, err)
	_, _, err = c.Organizations.ListAllRepositoryRulesets(ctx, "acme", nil)
	ok("rulesets of the organisation", true, err)
	_, _, err = c.Organizations.ListOutsideCollaborators(ctx, "acme", nil)
	ok("outside collaborators", true, err)
	_, _, err = c.Organizations.ListMembers(ctx, "acme", &github.ListMembersOptions{Role: "admin"})
	ok("owners", true, err)
	_, _, err = c.Teams.ListTeams(ctx, "acme", nil)
	ok("teams", true, err)
	_, _, err = c.Teams.ListTeamReposBySlug(ctx, "acme", "platform", nil)
	ok("repositories of a team", true, err)
	_, _, err = c.Teams.ListTeamMembersBySlug(ctx, "acme", "platform", nil)
	ok("members of a team", true, err)

	scan.Look(ctx, target(t, scan.GitHub, ours))
	for path := range ours.paths {
		// The client has no call for the repositories of a token, and asks for the secrets of an environment by the repository's number, as older documents have it.
		if !theirs.paths[path] && !strings.HasSuffix(path, "/secrets") && !strings.HasSuffix(path, "/51/repositories") {
			t.Errorf("a scan asks for %s, and the client never does", path)
		}
	}
	for path := range full {
		if !ours.paths[path] {
			t.Errorf("a scan does not ask for %s", path)
		}
	}
}

// The fake Gitea is one that Gitea's own Go client understands.
func TestTheFakeGiteaIsOne(t *testing.T) {
	full := load(t, "gitea.json")
	ours := &asked{next: full}
	s := httptest.NewServer(full)
	defer s.Close()
	c, err := sdk.NewClient(s.URL, sdk.SetGiteaVersion("1.26.2"), sdk.SetContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	ok := func(what string, good bool, err error) {
		t.Helper()
		if err != nil || !good {
			t.Errorf("%s: %v, %v", what, good, err)
		}
	}
	users, _, err := c.AdminListUsers(sdk.AdminListUsersOptions{})
	ok("accounts", len(users) == 6 && users[0].IsAdmin, err)
	keys, _, err := c.ListDeployKeys("acme", "payments", sdk.ListDeployKeysOptions{})
	ok("deploy keys", len(keys) == 2 && keys[0].ReadOnly && !keys[1].ReadOnly, err)
	rules, _, err := c.ListBranchProtections("acme", "payments", sdk.ListBranchProtectionsOptions{})
	ok("branch protection", rules[0].EnablePushWhitelist && rules[0].PushWhitelistUsernames[0] == "bob" && rules[0].PushWhitelistDeployKeys, err)
	people, _, err := c.ListCollaborators("acme", "payments", sdk.ListCollaboratorsOptions{})
	ok("collaborators", len(people) == 2, err)
	may, _, err := c.CollaboratorPermission("acme", "payments", "bob")
	ok("permission", may.Permission == sdk.AccessModeWrite, err)
	hooks, _, err := c.ListRepoHooks("acme", "payments", sdk.ListHooksOptions{})
	ok("hooks", hooks[0].Config["url"] == "http://hooks.elsewhere.example/in", err)
	secrets, _, err := c.ListRepoActionSecret("acme", "payments", sdk.ListRepoActionSecretOption{})
	ok("secrets", secrets[0].Name == "DEPLOY_TOKEN", err)
	mirrors, _, err := c.ListPushMirrors("acme", "payments", sdk.ListOptions{})
	ok("push mirrors", len(mirrors) == 1, err)
	teams, _, err := c.ListOrgTeams("acme", sdk.ListTeamsOptions{})
	ok("teams", teams[0].IncludesAllRepositories, err)
	members, _, err := c.ListTeamMembers(3, sdk.ListTeamMembersOptions{})
	ok("members", members[0].UserName == "ada", err)
	public, _, err := c.ListPublicKeys("bob", sdk.ListPublicKeysOptions{})
	ok("SSH keys", public[0].Fingerprint == "SHA256:same", err)

	scan.Look(t.Context(), target(t, scan.Gitea, ours))
	for path := range full {
		if !ours.paths[path] {
			t.Errorf("a scan does not ask for %s", path)
		}
	}
}

// The fake cluster's answers are what the API's own types are written as.
func TestTheFakeClusterIsOne(t *testing.T) {
	full := load(t, "kubernetes.json")
	lists := map[string]any{
		"/apis/rbac.authorization.k8s.io/v1/clusterroles":                       &rbac.ClusterRoleList{},
		"/apis/rbac.authorization.k8s.io/v1/roles":                              &rbac.RoleList{},
		"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings":                &rbac.ClusterRoleBindingList{},
		"/apis/rbac.authorization.k8s.io/v1/rolebindings":                       &rbac.RoleBindingList{},
		"/api/v1/serviceaccounts":                                               &core.ServiceAccountList{},
		"/api/v1/secrets":                                                       &core.SecretList{},
		"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations": &admission.ValidatingWebhookConfigurationList{},
		"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations":   &admission.MutatingWebhookConfigurationList{},
		"/apis/certificates.k8s.io/v1/certificatesigningrequests":               &certificates.CertificateSigningRequestList{},
	}
	for path, body := range full {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if lists[path] == nil {
			t.Errorf("nobody knows %s", path)
		} else if err := d.Decode(lists[path]); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	ours := &asked{next: full}
	scan.Look(t.Context(), target(t, scan.Kubernetes, ours))
	var want []string
	for path := range lists {
		want = append(want, path)
	}
	for _, path := range want {
		if !ours.paths[path] {
			t.Errorf("a scan does not ask for %s", path)
		}
	}
	if len(ours.paths) != len(want) {
		t.Errorf("a scan asks for %v", ours.paths)
	}
}
