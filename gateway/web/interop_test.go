//go:build interop

package web

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"code.gitea.io/sdk/gitea"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git"
	"github.com/remit-dev/remit/internal/real"
)

// TestInteropGitea takes a change from branch to release through the gateway, with Gitea's own client and a real Gitea.
func TestInteropGitea(t *testing.T) {
	f := real.Gitea(t)
	ctx := t.Context()
	must := func(_ int, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(f.Do(ctx, "POST", "/api/v1/orgs", map[string]any{"username": "acme"}, nil))
	must(f.Do(ctx, "POST", "/api/v1/orgs/acme/repos", map[string]any{"name": "app", "auto_init": true, "default_branch": "main", "private": true}, nil))
	must(f.Do(ctx, "POST", "/api/v1/admin/users", map[string]any{"username": "critic", "email": "critic@example.invalid", "password": "correct horse battery", "must_change_password": false}, nil))
	must(f.Do(ctx, "PUT", "/api/v1/repos/acme/app/collaborators/critic", map[string]any{"permission": "write"}, nil))

	w := newWorld(t)
	observe := func(r *http.Request) error {
		r.Header.Set("Authorization", f.Authorization())
		return nil
	}
	transport, err := git.NewRemote(git.RemoteConfig{URL: f.URL, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	w.up = Forge{Name: "forge", URL: f.URL, Transport: transport, Observer: observe}
	w.repo.URL, w.repo.Transport, w.repo.Observer = f.URL+"/acme/app.git", transport, observe
	w.lease = f.Authorization()
	w.gw.Again = 200 * time.Millisecond
	client, err := gitea.NewClient(w.srv.URL+"/v1/orgs/acme/forge/forge", gitea.SetToken(agentToken), gitea.SetGiteaVersion("1.26.2")) // this build calls itself development
	if err != nil {
		t.Fatal(err)
	}

	t.Run("its own list of operations is the one that was looked at", func(t *testing.T) {
		res, err := http.Get(f.URL + "/swagger.v1.json")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		var api struct {
			Paths map[string]map[string]json.RawMessage `json:"paths"`
		}
		if err := json.Unmarshal(body, &api); err != nil {
			t.Fatal(err)
		}
		var have, want []string
		for path, methods := range api.Paths {
			for m := range methods {
				have = append(have, strings.ToUpper(m)+" "+path)
			}
		}
		for _, o := range operations(t) {
			want = append(want, o.method+" "+o.path)
		}
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Errorf("the server documents %d operations, the list has %d", len(have), len(want))
		}
	})

	branch := "remit/T-1/greet"
	if _, _, err := client.CreateBranch("acme", "app", gitea.CreateBranchOption{BranchName: branch, OldBranchName: "main"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.CreateFile("acme", "app", "src/greet.go", gitea.CreateFileOptions{Content: "cGFja2FnZSBzcmMK",
		FileOptions: gitea.FileOptions{Message: "Greet", BranchName: branch}}); err != nil {
		t.Fatal(err)
	}
	req, _ := w.last()
	made := req.Refs[0].New
	pull, _, err := client.CreatePullRequest("acme", "app", gitea.CreatePullRequestOption{Head: branch, Base: "main", Title: "Greet", Body: "why"})
	if err != nil || pull.Head.Sha != made {
		t.Fatalf("%+v %v", pull, err)
	}
	if _, _, err := client.CreateIssueComment("acme", "app", pull.Index, gitea.CreateIssueCommentOption{Body: "look"}); err != nil {
		t.Error(err)
	}
	if _, _, err := client.ListPullRequestCommits("acme", "app", pull.Index, gitea.ListPullRequestCommitsOptions{}); err != nil {
		t.Error(err)
	}
	// The forge lets nobody review their own pull request: the verdict comes with another lease.
	keeper := w.lease
	w.lease = basic("critic", "correct horse battery")
	if _, _, err := client.CreatePullReview("acme", "app", pull.Index, gitea.CreatePullReviewOptions{State: gitea.ReviewStateApproved, Body: "good"}); err != nil {
		t.Error(err)
	}
	if req, _ := w.last(); req.Review != remit.ReviewApprove || req.Refs[0].New != made || w.outcome().Outcome != remit.Done {
		t.Errorf("%+v %+v", req, w.outcome())
	}
	w.lease = keeper
	if ok, res, err := client.MergePullRequest("acme", "app", pull.Index, gitea.MergePullRequestOption{Style: gitea.MergeStyleMerge}); !ok || err != nil {
		t.Fatalf("merged: %v %+v %v: %+v %s", ok, res.StatusCode, err, w.outcome(), w.outcome().Receipt)
	}
	merge, _ := w.last()
	res := w.outcome()
	if res.Outcome != remit.Done || res.Made == "" {
		t.Fatalf("%+v %s", res, res.Receipt)
	}
	if got, _, err := client.GetPullRequest("acme", "app", pull.Index); err != nil || !got.HasMerged || *got.MergedCommitID != res.Made {
		t.Errorf("%+v %v", got, err)
	}
	if rec := w.gw.Reconcile(ctx, remit.Order{Body: merge.Order}); rec.Outcome != remit.Done || rec.Made != res.Made {
		t.Errorf("reconciled: %+v", rec)
	}
	if _, _, err := client.CreateRelease("acme", "app", gitea.CreateReleaseOption{TagName: "v1", Title: "one"}); err == nil {
		t.Error("a release made a tag")
	}
	if _, _, err := client.CreateTag("acme", "app", gitea.CreateTagOption{TagName: "v1", Target: "main", Message: "one"}); err != nil {
		t.Error(err)
	}
	if r, _, err := client.CreateRelease("acme", "app", gitea.CreateReleaseOption{TagName: "v1", Title: "one"}); err != nil || r.TagName != "v1" {
		t.Errorf("%+v %v", r, err)
	}
	if _, _, err := client.DeleteRepoBranch("acme", "app", branch); err != nil {
		t.Error(err)
	}

	t.Run("a branch is brought up to date", func(t *testing.T) {
		if _, _, err := client.CreateFile("acme", "app", "b.go", gitea.CreateFileOptions{Content: "cGFja2FnZSBzcmMK",
			FileOptions: gitea.FileOptions{Message: "B", BranchName: "main", NewBranchName: "remit/T-1/b"}}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.CreateFile("acme", "app", "c.go", gitea.CreateFileOptions{Content: "cGFja2FnZSBzcmMK", FileOptions: gitea.FileOptions{Message: "C", BranchName: "main"}}); err != nil {
			t.Fatal(err)
		}
		pull, _, err := client.CreatePullRequest("acme", "app", gitea.CreatePullRequestOption{Head: "remit/T-1/b", Base: "main", Title: "B"})
		if err != nil {
			t.Fatal(err)
		}
		if status, body := w.do("POST", "/repos/acme/app/pulls/"+itoa(pull.Index)+"/update?style=merge", ""); status != 200 {
			t.Errorf("%d %s", status, body)
		}
		// The forge works out the merge base again in the background.
		tick, end := time.NewTicker(50*time.Millisecond), time.After(time.Minute)
		defer tick.Stop()
		for {
			got, _, err := client.GetPullRequest("acme", "app", pull.Index)
			if err == nil && got.MergeBase == got.Base.Sha {
				break
			}
			select {
			case <-end:
				t.Fatalf("%+v %v", got, err)
			case <-tick.C:
			}
		}
		// Merged by somebody else's hand after the decision: nothing is sent.
		w.decide = func(remit.Request) remit.Decision {
			return remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-1"}
		}
		if _, _, err := client.MergePullRequest("acme", "app", pull.Index, gitea.MergePullRequestOption{Style: gitea.MergeStyleMerge}); err != nil {
			t.Fatal(err)
		}
		held, _ := w.last()
		must(f.Do(ctx, "POST", "/api/v1/repos/acme/app/contents/d.go", map[string]any{"content": "", "branch": "main"}, nil))
		if res := w.gw.Forward(ctx, remit.Order{Body: held.Order}, w, nil); res.Outcome != remit.NotApplied || res.Code != remit.Stale {
			t.Errorf("%+v %s", res, res.Receipt)
		}
	})
}

func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}
