//go:build interop && unix

package gitea_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/brokertest"
	"github.com/remit-dev/remit/broker/gitea"
	"github.com/remit-dev/remit/internal/real"
)

type object = map[string]any

// forge is a real Gitea with three repositories of one organisation, and Remit's administrator in it.
type forge struct {
	*real.Forge
	upstream remit.Upstream
}

func newForge(t testing.TB) *forge {
	f := &forge{Forge: real.Gitea(t)}
	f.do(t, http.MethodPost, "/api/v1/orgs", object{"username": "acme"}, nil)
	for name, private := range map[string]bool{"app": true, "other": true, "open": false} {
		f.do(t, http.MethodPost, "/api/v1/orgs/acme/repos", object{"name": name, "private": private, "auto_init": true, "default_branch": "main"}, nil)
	}
	f.do(t, http.MethodPost, "/api/v1/admin/users", object{"username": "remit", "email": "remit@example.invalid", "password": "Aa1-" + f.Password, "must_change_password": false}, nil)
	f.do(t, http.MethodPatch, "/api/v1/admin/users/remit", object{"login_name": "remit", "source_id": 0, "admin": true}, nil)
	var token struct {
		SHA1 string `json:"sha1"`
	}
	f.do(t, http.MethodPost, "/api/v1/users/remit/tokens", object{"name": "remit", "scopes": []string{"write:admin", "write:user", "write:repository"}}, &token)
	f.upstream = remit.Upstream{Name: "forge", Kind: remit.KindGitea, Location: f.URL, Insecure: true,
		Write: remit.Source{From: "file", Name: keep(t, token.SHA1)}}
	return f
}

func (f *forge) do(t testing.TB, method, path string, in, out any) {
	t.Helper()
	if _, err := f.Do(t.Context(), method, path, in, out); err != nil {
		t.Fatal(err)
	}
}

func (f *forge) asked(n int, write bool) broker.Asked {
	return broker.Asked{Lease: remit.ID(fmt.Sprintf("L-%d", n)), Name: fmt.Sprintf("%s%d", prefix, n), Upstream: f.upstream,
		Target: "repo:forge/acme/app", Write: write, NotAfter: time.Now().Add(time.Hour)}
}

func header(s broker.Secret) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(s.User+":"+s.Value))
}

// as makes one request with a lease's credential and gives the status.
func (f *forge) as(t testing.TB, s broker.Secret, method, path, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", header(s))
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// git runs real git with a lease's credential, which stands in no argument.
func (f *forge) git(t testing.TB, s broker.Secret, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_COUNT=3",
		"GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=Authorization: " + header(s),
		"GIT_CONFIG_KEY_1=user.name", "GIT_CONFIG_VALUE_1=a", "GIT_CONFIG_KEY_2=user.email", "GIT_CONFIG_VALUE_2=a@example.invalid"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (f *forge) must(t testing.TB, s broker.Secret, dir string, args ...string) {
	t.Helper()
	if out, err := f.git(t, s, dir, args...); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func TestInteropALeaseWritesItsRepositoryAndNothingElse(t *testing.T) {
	f := newForge(t)
	p, a := gitea.New(prefix), f.asked(1, true)
	s := lease(t, p, a)
	if s.Wider != "" || s.Handle == "" || s.User != a.Name || !s.NotAfter.IsZero() {
		t.Fatalf("wider %q handle %q user %q until %v", s.Wider, s.Handle, s.User, s.NotAfter)
	}
	life(t, p, a, &s, broker.Alive)
	dir := t.TempDir()
	f.must(t, s, dir, "clone", "-q", f.URL+"/acme/app.git", "w")
	work := filepath.Join(dir, "w")
	f.must(t, s, work, "commit", "-q", "--allow-empty", "-m", "x")
	f.must(t, s, work, "push", "-q", "origin", "HEAD:refs/heads/topic")
	f.must(t, s, work, "fetch", "-q", "origin", "topic")
	for _, c := range []struct {
		what, method, path, body string
		want                     int
	}{
		{"its repository", "GET", "/api/v1/repos/acme/app", "", 200},
		{"an issue there", "POST", "/api/v1/repos/acme/app/issues", `{"title":"x"}`, 201},
		{"a pull request there", "POST", "/api/v1/repos/acme/app/pulls", `{"title":"x","head":"topic","base":"main"}`, 201},
		{"another repository", "GET", "/api/v1/repos/acme/other", "", 404},
		{"a hook there", "POST", "/api/v1/repos/acme/app/hooks", `{"type":"gitea","config":{"url":"http://127.0.0.1:1/","content_type":"json"}}`, 403},
		{"a collaborator there", "PUT", "/api/v1/repos/acme/app/collaborators/keeper", `{"permission":"admin"}`, 403},
		{"a token of more", "POST", "/api/v1/users/" + a.Name + "/tokens", `{"name":"y","scopes":["all"]}`, 403},
		{"a repository of its own", "POST", "/api/v1/user/repos", `{"name":"mine"}`, 403},
		{"a key of its own", "POST", "/api/v1/user/keys", `{"title":"k","key":"ssh-ed25519 AAAA"}`, 403},
		{"administration", "GET", "/api/v1/admin/users", "", 403},
	} {
		if got := f.as(t, s, c.method, c.path, c.body); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	if out, err := f.git(t, s, dir, "ls-remote", f.URL+"/acme/other.git"); err == nil {
		t.Errorf("git reads another repository: %s", out)
	}
	// A public repository is everybody's to read, and not this lease's to write.
	f.must(t, s, dir, "clone", "-q", f.URL+"/acme/open.git", "o")
	if out, err := f.git(t, s, filepath.Join(dir, "o"), "push", "origin", "HEAD:refs/heads/topic"); err == nil {
		t.Errorf("git writes another repository: %s", out)
	}

	if err := p.Revoke(t.Context(), a, &s); err != nil {
		t.Fatal(err)
	}
	life(t, p, a, &s, broker.Dead)
	life(t, p, a, nil, broker.Dead)
	for _, args := range [][]string{{"ls-remote", f.URL + "/acme/app.git"}, {"push", f.URL + "/acme/open.git", "HEAD:refs/heads/late"}} {
		// Git answers a 401 by asking for a name and a password.
		if out, err := f.git(t, s, work, args...); err == nil || !strings.Contains(out, "could not read Username") {
			t.Errorf("git %v with a dead token: %v %s", args, err, out)
		}
	}
	for _, service := range []string{"git-upload-pack", "git-receive-pack"} {
		if got := f.as(t, s, "GET", "/acme/app.git/info/refs?service="+service, ""); got != 401 {
			t.Errorf("%s with a dead token: %d", service, got)
		}
	}
	if err := p.Revoke(t.Context(), a, &s); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	// From the forge's own side: no user, no collaborator, and what was written is still there.
	if status, _ := f.Do(t.Context(), "GET", "/api/v1/users/"+a.Name, nil, nil); status != 404 {
		t.Errorf("the user is still there: %d", status)
	}
	var people []object
	f.do(t, "GET", "/api/v1/repos/acme/app/collaborators", nil, &people)
	var issue object
	f.do(t, "GET", "/api/v1/repos/acme/app/issues/1", nil, &issue)
	if len(people) != 0 || issue["title"] != "x" {
		t.Errorf("collaborators %v, issue %v", people, issue["title"])
	}
}

func TestInteropALeaseForReadingDoesNotWrite(t *testing.T) {
	f := newForge(t)
	p, a := gitea.New(prefix), f.asked(2, false)
	s := lease(t, p, a)
	if s.Wider != "" {
		t.Fatal(s.Wider)
	}
	dir := t.TempDir()
	f.must(t, s, dir, "clone", "-q", f.URL+"/acme/app.git", "w")
	for _, ref := range []string{"refs/heads/topic", "refs/for/main/topic"} {
		f.must(t, s, filepath.Join(dir, "w"), "commit", "-q", "--allow-empty", "-m", ref)
		if out, err := f.git(t, s, filepath.Join(dir, "w"), "push", "origin", "HEAD:"+ref); err == nil {
			t.Errorf("it writes %s: %s", ref, out)
		}
	}
	if got := f.as(t, s, "POST", "/api/v1/repos/acme/app/issues", `{"title":"x"}`); got != 403 {
		t.Errorf("it writes an issue: %d", got)
	}
}

func TestInteropWhatACrashLeavesIsSweptAndMadeAnew(t *testing.T) {
	f := newForge(t)
	p := gitea.New(prefix)
	anchored, minted, long := f.asked(3, true), f.asked(4, true), f.asked(5, true)
	long.Name = prefix + strings.Repeat("5", 30)
	if err := p.Anchor(t.Context(), anchored); err != nil {
		t.Fatal(err)
	}
	lost := lease(t, p, minted)
	if err := p.Anchor(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	names, err := p.Sweep(t.Context(), f.upstream)
	if want := []string{anchored.Name, minted.Name, long.Name}; err != nil || !slices.Equal(sorted(names), sorted(want)) {
		t.Fatalf("%v %v, want %v", names, err, want)
	}
	if other, err := gitea.New("remit-acme-").Sweep(t.Context(), f.upstream); err != nil || len(other) != 0 {
		t.Fatalf("another organisation's sweep: %v %v", other, err)
	}
	life(t, p, anchored, nil, broker.Alive)
	// A second mint ends the first token, which nobody knows any more.
	again, err := p.Mint(t.Context(), minted)
	if err != nil || again.Wider != "" {
		t.Fatal(err, again.Wider)
	}
	life(t, p, minted, &lost, broker.Dead)
	life(t, p, minted, &again, broker.Alive)
	if err := p.Revoke(t.Context(), minted, nil); err != nil {
		t.Fatal(err)
	}
	life(t, p, minted, &again, broker.Dead)
	if err := p.Contain(t.Context(), f.upstream); err != nil {
		t.Fatal(err)
	}
	if names, err := p.Sweep(t.Context(), f.upstream); err != nil || len(names) != 0 {
		t.Fatalf("after containment: %v %v", names, err)
	}
	life(t, p, anchored, nil, broker.Dead)
}

func sorted(s []string) []string { s = slices.Clone(s); slices.Sort(s); return s }

// Whoever registers the name of a lease to come must not find themselves in the repository.
func TestInteropAUserThatWasThereBeforeIsMadeAnew(t *testing.T) {
	f := newForge(t)
	p, a := gitea.New(prefix), f.asked(6, true)
	f.do(t, http.MethodPost, "/api/v1/admin/users", object{"username": a.Name, "email": "m@example.invalid", "password": "Aa1-mallory-knows", "must_change_password": false}, nil)
	s := lease(t, p, a)
	if s.Wider != "" {
		t.Fatal(s.Wider)
	}
	if got := f.as(t, broker.Secret{User: a.Name, Value: "Aa1-mallory-knows"}, "GET", "/api/v1/repos/acme/app", ""); got != 401 {
		t.Fatalf("the old password gets %d", got)
	}
}

func TestInteropMoreThanAskedIsSeen(t *testing.T) {
	f := newForge(t)
	p := gitea.New(prefix)
	for i, c := range []struct {
		want  string
		write bool
		widen func(user string)
	}{
		{"also sees acme/other", true, func(u string) {
			f.do(t, "PUT", "/api/v1/repos/acme/other/collaborators/"+u, object{"permission": "read"}, nil)
		}},
		{"also writes acme/open", true, func(u string) {
			f.do(t, "PUT", "/api/v1/repos/acme/open/collaborators/"+u, object{"permission": "write"}, nil)
		}},
		{"administers the repository", true, func(u string) {
			f.do(t, "PUT", "/api/v1/repos/acme/app/collaborators/"+u, object{"permission": "admin"}, nil)
		}},
		{"writes the repository", false, func(u string) {
			f.do(t, "PUT", "/api/v1/repos/acme/app/collaborators/"+u, object{"permission": "write"}, nil)
		}},
		{"is an administrator", true, func(u string) {
			f.do(t, "PATCH", "/api/v1/admin/users/"+u, object{"login_name": u, "source_id": 0, "admin": true}, nil)
		}},
		{"is not restricted", true, func(u string) {
			f.do(t, "PATCH", "/api/v1/admin/users/"+u, object{"login_name": u, "source_id": 0, "restricted": false}, nil)
		}},
	} {
		a := f.asked(10+i, c.write)
		if err := p.Anchor(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		c.widen(a.Name)
		s, err := p.Mint(t.Context(), a)
		if err != nil || !strings.Contains(s.Wider, c.want) {
			t.Errorf("%v: %q, want %q", err, s.Wider, c.want)
		}
	}
}

// A lease's user that has come to own a repository, by a fork, cannot just be deleted.
func TestInteropAUserThatOwnsSomethingIsPurged(t *testing.T) {
	f := newForge(t)
	p, a := gitea.New(prefix), f.asked(7, true)
	s := lease(t, p, a)
	if got := f.as(t, s, "POST", "/api/v1/repos/acme/app/forks", `{}`); got != 202 {
		t.Fatalf("it was not forked: %d", got)
	}
	if err := p.Revoke(t.Context(), a, &s); err != nil {
		t.Fatal(err)
	}
	life(t, p, a, &s, broker.Dead)
	if status, _ := f.Do(t.Context(), "GET", "/api/v1/repos/"+a.Name+"/app", nil, nil); status != 404 {
		t.Fatalf("the fork is still there: %d", status)
	}
}

// What was let in before the end is answered to its end: this is what Traits.Survive says.
func TestInteropARequestUnderWaySurvives(t *testing.T) {
	f := newForge(t)
	p, a := gitea.New(prefix), f.asked(8, true)
	s := lease(t, p, a)
	dir := t.TempDir()
	f.must(t, s, dir, "clone", "-q", f.URL+"/acme/app.git", "w")
	work := filepath.Join(dir, "w")
	noise := make([]byte, 24<<20) // more than the buffers between here and git upload-pack hold
	state := uint64(1)
	for i := range noise {
		state = state*6364136223846793005 + 1442695040888963407
		noise[i] = byte(state >> 56)
	}
	if err := os.WriteFile(filepath.Join(work, "noise"), noise, 0o644); err != nil {
		t.Fatal(err)
	}
	f.must(t, s, work, "add", "noise")
	f.must(t, s, work, "commit", "-q", "-m", "noise")
	f.must(t, s, work, "push", "-q", "origin", "HEAD:refs/heads/main")
	out, err := f.git(t, s, work, "rev-parse", "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	want := "want " + strings.TrimSpace(out) + " side-band-64k ofs-delta\n"
	body := fmt.Sprintf("%04x%s00000009done\n", len(want)+4, want)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL+"/acme/app.git/git-upload-pack", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", header(s))
	r.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	answer, err := http.DefaultClient.Do(r)
	if err != nil || answer.StatusCode != 200 {
		t.Fatal(err, answer.Status)
	}
	defer answer.Body.Close()
	var got bytes.Buffer
	if _, err := io.CopyN(&got, answer.Body, 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := p.Revoke(t.Context(), a, &s); err != nil {
		t.Fatal(err)
	}
	life(t, p, a, &s, broker.Dead)
	_, err = io.Copy(&got, answer.Body)
	survived := err == nil && got.Len() > len(noise) && bytes.HasSuffix(got.Bytes(), []byte("0000"))
	if survived != p.Traits().Survive {
		t.Fatalf("a fetch under way survives: %v (%v, %d bytes); the traits say %v", survived, err, got.Len(), p.Traits().Survive)
	}
}

func TestInteropTheContractOfProviders(t *testing.T) {
	f := newForge(t)
	brokertest.Run(t, func(*testing.T) brokertest.Subject {
		return brokertest.Subject{Provider: gitea.New("remit-suite-0a1b2c3d-l-"), Upstream: f.upstream, Target: "repo:forge/acme/app",
			Uses: func(ctx context.Context, s broker.Secret) (bool, error) {
				r, err := http.NewRequestWithContext(ctx, "GET", f.URL+"/api/v1/repos/acme/app", nil)
				if err != nil {
					return false, err
				}
				r.Header.Set("Authorization", header(s))
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					return false, err
				}
				return answer.StatusCode == 200, answer.Body.Close()
			}}
	})
}
