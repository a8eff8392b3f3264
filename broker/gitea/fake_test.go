package gitea_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/remit-dev/remit"
)

const keeper = "keeper-token"

// fake is as much of Gitea as the provider speaks to, from its OpenAPI document and services/auth: users, tokens,
// collaborators, what a token is shown. Its knobs make it fail and lie.
type fake struct {
	*httptest.Server
	mu     sync.Mutex
	nextID int64
	users  map[string]*fakeUser
	repos  map[string]*fakeRepo
	calls  []string // METHOD path, of Remit's own
	answer func(r *http.Request) (status int, body string)
	scopes []string // of every token, whatever was asked
}

type fakeUser struct {
	name, full   string
	login        string // login_name
	admin, restr bool
	owns         bool
	tokens       map[int64]*fakeToken
}

type fakeToken struct {
	name, value string
	scopes      []string
}

type fakeRepo struct {
	private bool
	people  map[string]string
}

func newFake(t testing.TB) (*fake, remit.Upstream) {
	f := &fake{users: map[string]*fakeUser{"remit": {name: "remit", admin: true}}, repos: map[string]*fakeRepo{}, nextID: 100}
	for name, private := range map[string]bool{"acme/app": true, "acme/other": true, "acme/open": false} {
		f.repos[name] = &fakeRepo{private, map[string]string{}}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/user", func(w http.ResponseWriter, r *http.Request) {
		switch u, ok := f.who(r); {
		case !ok:
			f.say(w, 401, nil)
		case u != nil: // a lease's token has no scope for that
			f.say(w, 403, map[string]any{"message": "token does not have at least one of required scope(s)"})
		default:
			f.say(w, 200, f.view("remit"))
		}
	})
	mux.HandleFunc("GET /api/v1/users/{u}", f.admin(f.withUser(func(w http.ResponseWriter, _ *http.Request, u *fakeUser) { f.say(w, 200, f.view(u.name)) })))
	mux.HandleFunc("GET /api/v1/admin/users", f.admin(f.list))
	mux.HandleFunc("POST /api/v1/admin/users", f.admin(f.create))
	mux.HandleFunc("PATCH /api/v1/admin/users/{u}", f.admin(f.withUser(func(w http.ResponseWriter, r *http.Request, u *fakeUser) {
		var in struct {
			LoginName         string `json:"login_name"`
			Admin, Restricted *bool
		}
		if json.NewDecoder(r.Body).Decode(&in) != nil || in.LoginName == "" || in.Admin == nil || in.Restricted == nil {
			f.say(w, 422, nil)
			return
		}
		u.admin, u.restr = *in.Admin, *in.Restricted
		f.say(w, 200, f.view(u.name))
	})))
	mux.HandleFunc("DELETE /api/v1/admin/users/{u}", f.admin(f.withUser(func(w http.ResponseWriter, r *http.Request, u *fakeUser) {
		if u.owns && r.FormValue("purge") != "true" {
			f.say(w, 422, map[string]any{"message": "user still has ownership of repositories"})
			return
		}
		delete(f.users, u.name)
		for _, repo := range f.repos {
			delete(repo.people, u.name)
		}
		f.say(w, 204, nil)
	})))
	mux.HandleFunc("POST /api/v1/users/{u}/tokens", f.admin(f.withUser(f.mint)))
	mux.HandleFunc("DELETE /api/v1/users/{u}/tokens/{id}", f.admin(f.withUser(func(w http.ResponseWriter, r *http.Request, u *fakeUser) {
		id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
		for n, x := range u.tokens {
			if n == id || x.name == r.PathValue("id") {
				delete(u.tokens, n)
				f.say(w, 204, nil)
				return
			}
		}
		f.say(w, 404, nil)
	})))
	mux.HandleFunc("PUT /api/v1/repos/{o}/{r}/collaborators/{u}", f.admin(f.withUser(func(w http.ResponseWriter, r *http.Request, u *fakeUser) {
		var in struct{ Permission string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		f.repos[r.PathValue("o")+"/"+r.PathValue("r")].people[u.name] = in.Permission
		f.say(w, 204, nil)
	})))
	mux.HandleFunc("GET /api/v1/repos/search", f.search)
	mux.HandleFunc("GET /api/v1/repos/{o}/{r}", f.repo)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.answer != nil {
			if status, body := f.answer(r); status != 0 {
				if status/100 == 3 {
					w.Header().Set("Location", cmp.Or(body, "https://elsewhere.example/"))
				}
				w.WriteHeader(status)
				fmt.Fprint(w, body)
				return
			}
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f, remit.Upstream{Name: "forge", Kind: remit.KindGitea, Location: f.URL, Insecure: true, Write: remit.Source{From: "file", Name: keep(t, keeper)}}
}

func (f *fake) say(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	if v != nil {
		_ = json.NewEncoder(w).Encode(v)
	}
}

// admin lets in the administrator's token only, as the password of basic authentication.
func (f *fake) admin(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, token, ok := r.BasicAuth(); !ok || token != keeper {
			f.say(w, 401, nil)
			return
		}
		f.calls = append(f.calls, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/api/v1"))
		next(w, r)
	}
}

func (f *fake) withUser(next func(http.ResponseWriter, *http.Request, *fakeUser)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if u := f.users[r.PathValue("u")]; u != nil {
			next(w, r, u)
			return
		}
		f.say(w, 404, nil)
	}
}

func (f *fake) view(name string) map[string]any {
	u := f.users[name]
	return map[string]any{"login": u.name, "full_name": u.full, "login_name": u.login, "is_admin": u.admin, "restricted": u.restr}
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	all := []map[string]any{}
	if r.FormValue("page") == "1" {
		for name := range f.users {
			if strings.Contains(name, r.FormValue("q")) {
				all = append(all, f.view(name))
			}
		}
	}
	f.say(w, 200, all)
}

func (f *fake) create(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Username string
		FullName string `json:"full_name"`
		Login    string `json:"login_name"`
		Password string
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	if in.Username == "" || len(in.Username) > 40 || strings.Contains(in.Username, "--") || len(in.Password) < 20 || f.users[in.Username] != nil {
		f.say(w, 422, map[string]any{"message": "user already exists"})
		return
	}
	f.users[in.Username] = &fakeUser{name: in.Username, full: in.FullName, login: in.Login, tokens: map[int64]*fakeToken{}}
	f.say(w, 201, f.view(in.Username))
}

func (f *fake) mint(w http.ResponseWriter, r *http.Request, u *fakeUser) {
	var in fakeToken
	var raw struct {
		Name   string
		Scopes []string
	}
	_ = json.NewDecoder(r.Body).Decode(&raw)
	in.name, in.scopes = raw.Name, raw.Scopes
	for _, x := range u.tokens {
		if x.name == in.name {
			f.say(w, 400, map[string]any{"message": "access token name has been used already"})
			return
		}
	}
	if f.scopes != nil {
		in.scopes = f.scopes
	}
	f.nextID++
	in.value = fmt.Sprintf("token-%d-of-%s", f.nextID, u.name)
	u.tokens[f.nextID] = &in
	f.say(w, 201, map[string]any{"id": f.nextID, "name": in.name, "sha1": in.value, "scopes": in.scopes})
}

// who is the user of a lease's token.
func (f *fake) who(r *http.Request) (*fakeUser, bool) {
	_, token, _ := r.BasicAuth()
	for _, u := range f.users {
		for _, x := range u.tokens {
			if x.value == token {
				return u, true
			}
		}
	}
	return nil, token == keeper
}

func (f *fake) shown(name string, u *fakeUser) map[string]any {
	mode := f.repos[name].people[u.name]
	return map[string]any{"full_name": name, "private": f.repos[name].private,
		"permissions": map[string]bool{"admin": mode == "admin" || u.admin, "push": mode == "write" || mode == "admin" || u.admin, "pull": true}}
}

func (f *fake) repo(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("o") + "/" + r.PathValue("r")
	u, ok := f.who(r)
	switch {
	case !ok:
		f.say(w, 401, nil)
	case f.repos[name] == nil, u != nil && f.repos[name].private && f.repos[name].people[u.name] == "":
		f.say(w, 404, nil)
	case u == nil:
		f.say(w, 200, map[string]any{"full_name": name})
	default:
		f.say(w, 200, f.shown(name, u))
	}
}

func (f *fake) search(w http.ResponseWriter, r *http.Request) {
	u, ok := f.who(r)
	if !ok || u == nil {
		f.say(w, 401, nil)
		return
	}
	all := []map[string]any{}
	if r.FormValue("page") == "1" {
		for name, repo := range f.repos {
			if repo.people[u.name] != "" || !repo.private || u.admin {
				all = append(all, f.shown(name, u))
			}
		}
	}
	slices.SortFunc(all, func(a, b map[string]any) int {
		return strings.Compare(a["full_name"].(string), b["full_name"].(string))
	})
	f.say(w, 200, map[string]any{"ok": true, "data": all})
}

func (u *fakeUser) tokensOf() map[int64]*fakeToken {
	if u == nil {
		return nil
	}
	return u.tokens
}
