// Package gitea makes credentials for one repository of a Gitea, and ends them.
//
// Gitea's access tokens have no end and are good for everything that their user may see, so each lease has a user of its
// own, the anchor: restricted, without a known password, collaborator of exactly the one repository. Its token has the
// scopes of repositories (and, for writing, of issues) only; deleting the token or the user ends it at once.
//
// The credential of Remit itself is declared as the upstream's `write`: that of a dedicated administrator, best an access
// token with the scopes write:admin, write:user and write:repository. Tokens of other users are only made for basic
// authentication, so a bearer token is sent as the password, which Gitea takes for the same; a password works as well,
// unless the administrator has a second factor.
package gitea

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
)

// Provider makes users and tokens, and touches none of another name.
type Provider struct{ prefix string }

// New is a provider of leases whose names are prefix and a number: remit-acme-0a1b2c3d-l- and 12.
func New(prefix string) *Provider { return &Provider{prefix} }

// Traits: a token is looked up at each request, so it is dead with its deletion. A request that was let in before is
// answered to its end.
func (p *Provider) Traits() broker.Traits {
	return broker.Traits{Revocation: remit.RevokeImmediate, Survive: true, Anchored: true}
}

const (
	maxName    = 63
	maxLogin   = 40 // of Gitea's CreateUserOption.Username
	tokenLabel = "remit"
	// mark and the lease's name are the login name of a user that Remit made. Only an administrator sets that of a user who
	// signs in here, and for those it means nothing else.
	mark     = "remit:"
	pageSize = 50 // what Gitea gives at most by default (MAX_RESPONSE_ITEMS)
	maxPages = 40
	maxUsers = 2000 // pages; a server that never ends its list is not asked for ever
)

// login is the user's name for a lease's name. Gitea's are shorter and have no two signs in a row; another one is folded,
// and stands whole in the user's full name, where Sweep finds it again. No name of a lease has a dot.
func login(name string) string {
	if len(name) <= maxLogin && !strings.Contains(name, "--") {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "remit." + hex.EncodeToString(sum[:16])
}

var number = regexp.MustCompile(`^[0-9]+$`)

// ours tells whether a name is this provider's to make and to delete.
func (p *Provider) ours(name string) bool {
	rest, ok := strings.CutPrefix(name, p.prefix)
	return ok && len(name) <= maxName && number.MatchString(rest)
}

func (p *Provider) check(a broker.Asked) error {
	if !p.ours(a.Name) {
		return remit.Errorf(remit.BadRequest, "%.80q does not name a lease here; it is %s and a number", a.Name, p.prefix)
	}
	return nil
}

// repository is the one that a lease is good for: OWNER/NAME as the declaration has it, or the path that Spec, the JSON
// of a remit.Repository, says.
func repository(a broker.Asked) (owner, name string, err error) {
	upstream, path, _ := strings.Cut(a.Target.Name(), "/")
	if a.Target.Type() != "repo" || upstream != a.Upstream.Name {
		return "", "", remit.Errorf(remit.UnknownResource, "%s is no repository of upstream %s", a.Target, a.Upstream.Name)
	}
	if len(a.Spec) > 0 {
		var r remit.Repository
		if err := json.Unmarshal(a.Spec, &r); err != nil {
			return "", "", remit.Errorf(remit.BadRequest, "what %s needs besides is not the declaration of a repository: %w", a.Target, err)
		}
		if r.Path != "" {
			path = r.Path
		}
	}
	owner, name, _ = strings.Cut(strings.TrimSuffix(strings.Trim(path, "/"), ".git"), "/")
	if owner == "" || name == "" || strings.Contains(name, "/") || slices.Contains([]string{".", ".."}, owner) || slices.Contains([]string{".", ".."}, name) {
		return "", "", remit.Errorf(remit.UnknownResource, "%s lies at %.100q; at a Gitea it is OWNER/NAME", a.Target, path)
	}
	return owner, name, nil
}

// Anchor makes the lease's user, and makes it collaborator of the repository. A user of that name who was put there by
// somebody else, who knew the name to come, is deleted first: they know its password.
func (p *Provider) Anchor(ctx context.Context, a broker.Asked) error {
	c, err := p.dial(ctx, a)
	if err != nil {
		return err
	}
	owner, name, err := repository(a)
	if err != nil {
		return err
	}
	if _, r, err := c.sdk.GetRepo(owner, name); err != nil {
		if status(r) == http.StatusNotFound {
			return remit.Errorf(remit.UnknownResource, "upstream %s shows no repository %s/%s to the administrator that is declared for it", a.Upstream.Name, owner, name)
		}
		return c.failed("look for the repository", r, err)
	}
	user := login(a.Name)
	r, err := c.create(user, a.Name)
	if status(r) == http.StatusUnprocessableEntity && !c.ours(user, a.Name) {
		if err := c.remove(user); err != nil {
			return err
		}
		r, err = c.create(user, a.Name)
	} else if status(r) == http.StatusUnprocessableEntity {
		err = nil // from before a crash
	}
	if err != nil {
		return c.failed("make the lease's user", r, err)
	}
	// Restricted users see what they are collaborators of, and owning nothing they can be deleted.
	if r, err := c.sdk.AdminEditUser(user, sdk.EditUserOption{LoginName: mark + a.Name, Restricted: ptr(true), Admin: ptr(false), MaxRepoCreation: ptr(0),
		AllowCreateOrganization: ptr(false), AllowGitHook: ptr(false), AllowImportLocal: ptr(false)}); err != nil {
		return c.failed("restrict the lease's user", r, err)
	}
	mode := sdk.AccessModeRead
	if a.Write {
		mode = sdk.AccessModeWrite
	}
	if r, err := c.sdk.AddCollaborator(owner, name, user, sdk.AddCollaboratorOption{Permission: &mode}); err != nil {
		return c.failed("make the lease's user a collaborator", r, err)
	}
	return nil
}

// ours tells whether a user that is there was made here for the lease.
func (c *client) ours(user, name string) bool {
	u, _, err := c.sdk.GetUserInfo(user)
	return err == nil && u.LoginName == mark+name && u.SourceID == 0
}

// create makes a user with a password that nobody will ever know.
func (c *client) create(user, name string) (*sdk.Response, error) {
	visibility := sdk.VisibleTypeLimited
	_, r, err := c.sdk.AdminCreateUser(sdk.CreateUserOption{Username: user, LoginName: mark + name, FullName: name, Email: user + "@remit.invalid", // RFC 2606 §2
		Password: "Aa1-" + rand.Text() + rand.Text(), MustChangePassword: ptr(false), Visibility: &visibility})
	return r, err
}

// scopes are what a token of a lease is for.
func scopes(write bool) []sdk.AccessTokenScope {
	if write {
		return []sdk.AccessTokenScope{"write:issue", "write:repository"}
	}
	return []sdk.AccessTokenScope{"read:repository"}
}

// Mint makes the token. A token that an earlier call made is lost, so it is deleted first.
func (p *Provider) Mint(ctx context.Context, a broker.Asked) (broker.Secret, error) {
	c, err := p.dial(ctx, a)
	if err != nil {
		return broker.Secret{}, err
	}
	owner, name, err := repository(a)
	if err != nil {
		return broker.Secret{}, err
	}
	user := login(a.Name)
	of := c.of(user)
	if r, err := of.DeleteAccessToken(tokenLabel); err != nil && status(r) != http.StatusNotFound {
		return broker.Secret{}, c.failed("delete an earlier token", r, err)
	}
	t, r, err := of.CreateAccessToken(sdk.CreateAccessTokenOption{Name: tokenLabel, Scopes: scopes(a.Write)})
	if err != nil {
		return broker.Secret{}, c.failed("make the token", r, err)
	}
	if t.Token == "" || t.ID == 0 || strings.ContainsFunc(t.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return broker.Secret{}, remit.Errorf(remit.UpstreamDown, "upstream %s answered without a token when one was made", a.Upstream.Name)
	}
	s := broker.Secret{User: user, Value: t.Token, Handle: strconv.FormatInt(t.ID, 10)}
	// From here on there is a credential, so it is given back whatever happens: one that could not be looked at counts as wider.
	if s.Wider, err = c.wider(ctx, a, t, owner+"/"+name); err != nil {
		s.Wider = "it could not be seen what it is good for"
	}
	return s, nil
}

// wider says what a token is good for beyond what was asked; nothing: the empty string. The repositories are those that
// the token itself is shown: public ones that it may only read are everybody's.
func (c *client) wider(ctx context.Context, a broker.Asked, t *sdk.AccessToken, repository string) (string, error) {
	for _, scope := range t.Scopes {
		if !slices.Contains(scopes(a.Write), scope) {
			return fmt.Sprintf("the token has the scope %.40s, which was not asked", scope), nil
		}
	}
	user, r, err := c.sdk.GetUserInfo(login(a.Name))
	if err != nil {
		return "", c.failed("look at the lease's user", r, err)
	}
	if user.IsAdmin {
		return "the lease's user is an administrator", nil
	}
	if !user.Restricted {
		return "the lease's user is not restricted", nil
	}
	as, err := dial(ctx, a.Upstream, basic(user.UserName, t.Token))
	if err != nil {
		return "", err
	}
	seen := false
	for page := 1; ; page++ {
		if page > maxPages {
			return fmt.Sprintf("the token sees more than %d repositories", maxPages*pageSize), nil
		}
		list, r, err := as.sdk.SearchRepos(sdk.SearchRepoOptions{ListOptions: sdk.ListOptions{Page: page, PageSize: pageSize}})
		if err != nil {
			return "", as.failed("list what the token sees", r, err)
		}
		for _, x := range list {
			may := sdk.Permission{}
			if x.Permissions != nil {
				may = *x.Permissions
			}
			one := strings.EqualFold(x.FullName, repository)
			seen = seen || one
			switch {
			case one && may.Admin:
				return "the token administers the repository", nil
			case one && may.Push && !a.Write:
				return "the token writes the repository, and reading was asked", nil
			case !one && (may.Admin || may.Push):
				return fmt.Sprintf("the token also writes %.100s", x.FullName), nil
			case !one && (x.Private || x.Internal):
				return fmt.Sprintf("the token also sees %.100s", x.FullName), nil
			}
		}
		if len(list) == 0 {
			break
		}
	}
	if !seen {
		return "", errors.New("the token does not see the repository")
	}
	return "", nil
}

// Revoke deletes the token, then the user. What the lease's user wrote stays, under Gitea's name for users that are gone:
// a purge would delete its comments, so it is used only for a user that has come to own something.
func (p *Provider) Revoke(ctx context.Context, a broker.Asked, s *broker.Secret) error {
	c, err := p.dial(ctx, a)
	if err != nil {
		return err
	}
	user := login(a.Name)
	if s != nil && s.Handle != "" {
		id, err := strconv.ParseInt(s.Handle, 10, 64)
		if err != nil || id <= 0 {
			return remit.Errorf(remit.BadRequest, "the handle of lease %s is no id of a token", a.Lease)
		}
		if r, err := c.of(user).DeleteAccessToken(id); err != nil && status(r) != http.StatusNotFound {
			return c.failed("delete the token", r, err)
		}
	}
	return c.remove(user)
}

// remove deletes a user and with it its tokens; none is as well.
func (c *client) remove(user string) error {
	r, err := c.sdk.AdminDeleteUser(user)
	if status(r) == http.StatusUnprocessableEntity {
		r, err = c.purge(user)
	}
	if err != nil && status(r) != http.StatusNotFound {
		return c.failed("delete the lease's user", r, err)
	}
	return nil
}

// Probe asks who the token is: 401 means that it is dead, provided that at the same time the same server takes Remit's own
// credential. A live one hears 403, for it has no scope for that. Without the token the user stands for it.
func (p *Provider) Probe(ctx context.Context, a broker.Asked, s *broker.Secret) (broker.Life, error) {
	c, err := p.dial(ctx, a)
	if err != nil {
		return broker.Unknown, err
	}
	if s != nil && s.Value != "" {
		as, err := dial(ctx, a.Upstream, basic(login(a.Name), s.Value))
		if err != nil {
			return broker.Unknown, err
		}
		_, r, err := as.sdk.GetMyUserInfo()
		switch status(r) {
		case http.StatusOK, http.StatusForbidden:
			return broker.Alive, nil
		case http.StatusUnauthorized:
			if err := c.administrator(); err != nil {
				return broker.Unknown, err
			}
			return broker.Dead, nil
		}
		return broker.Unknown, as.failed("be asked about the lease's token", r, err)
	}
	_, r, err := c.sdk.GetUserInfo(login(a.Name))
	switch status(r) {
	case http.StatusOK:
		return broker.Alive, nil
	case http.StatusNotFound:
		if err := c.administrator(); err != nil {
			return broker.Unknown, err
		}
		return broker.Dead, nil
	}
	return broker.Unknown, c.failed("look for the lease's user", r, err)
}

// administrator holds that Remit's own credential is taken, and that of an administrator.
func (c *client) administrator() error {
	u, r, err := c.sdk.GetMyUserInfo()
	if err != nil {
		return c.failed("say who Remit is there", r, err)
	}
	if !u.IsAdmin {
		return remit.Errorf(remit.Forbidden, "upstream %s takes Remit for %.60s, who is no administrator there", c.upstream, u.UserName)
	}
	return nil
}

// Sweep lists the names of the users that were made here.
func (p *Provider) Sweep(ctx context.Context, u remit.Upstream) ([]string, error) {
	c, err := remits(ctx, u)
	if err != nil {
		return nil, err
	}
	if err := c.administrator(); err != nil {
		return nil, err // whoever is none is shown fewer users
	}
	var names []string
	for page := 1; ; page++ {
		list, r, err := c.sdk.AdminListUsers(sdk.AdminListUsersOptions{ListOptions: sdk.ListOptions{Page: page, PageSize: pageSize}, Query: "remit"})
		if err != nil {
			return nil, c.failed("list the leases' users", r, err)
		}
		for _, x := range list {
			// The full name is what was asked; the login is it, or follows from it.
			if name := strings.ToLower(x.UserName); p.ours(name) && login(name) == name {
				names = append(names, name)
			} else if p.ours(x.FullName) && login(x.FullName) == name {
				names = append(names, x.FullName)
			}
		}
		if len(list) == 0 {
			slices.Sort(names)
			return slices.Compact(names), nil
		}
		if page > maxUsers {
			return nil, remit.Errorf(remit.UpstreamDown, "upstream %s lists users without end", u.Name)
		}
	}
}

// Contain deletes every user that was made here, and with it its tokens.
func (p *Provider) Contain(ctx context.Context, u remit.Upstream) error {
	names, err := p.Sweep(ctx, u)
	if err != nil {
		return err
	}
	c, err := remits(ctx, u)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		failed = append(failed, c.remove(login(name)))
	}
	return errors.Join(failed...)
}

func ptr[T any](v T) *T { return &v }
