package web

import (
	"net/http"
	"testing"

	"code.gitea.io/sdk/gitea"

	"github.com/remit-dev/remit"
)

// TestGiteasOwnClient goes through the gateway with Gitea's Go SDK, which knows nothing of Remit.
func TestGiteasOwnClient(t *testing.T) {
	w, p := proposed(t)
	w.on("GET /version", 200, map[string]string{"version": "1.26.2"})
	w.on("GET "+app+"/pulls", 200, []any{p})
	w.on("POST "+app+"/pulls", 201, p)
	w.on("POST "+app+"/issues/4/comments", 201, map[string]any{"id": 5, "body": "hello"})
	w.on("POST "+app+"/pulls/4/reviews", 200, map[string]any{"id": 11, "state": "APPROVED"})
	w.on("GET "+app+"/branches/remit/T-1/x", 200, map[string]any{"name": "remit/T-1/x"})
	w.merges(p, "main")
	client, err := gitea.NewClient(w.srv.URL+"/v1/orgs/acme/forge/forge", gitea.SetToken(agentToken))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.CreateBranch("acme", "app", gitea.CreateBranchOption{BranchName: "remit/T-1/x", OldBranchName: "main"}); err != nil {
		t.Error(err)
	}
	file, _, err := client.CreateFile("acme", "app", "src/new.go", gitea.CreateFileOptions{Content: "cGFja2FnZSBzcmMK",
		FileOptions: gitea.FileOptions{Message: "add", BranchName: "remit/T-1/x"}})
	if err != nil || file.Commit == nil || file.Commit.SHA != w.tip("remit/T-1/x") || file.Content.Path != "src/new.go" {
		t.Errorf("%+v %v", file, err)
	}
	if err == nil {
		_, _, err = client.UpdateFile("acme", "app", "src/new.go", gitea.UpdateFileOptions{SHA: file.Content.SHA, Content: "cGFja2FnZSBuZXcK",
			FileOptions: gitea.FileOptions{Message: "change", BranchName: "remit/T-1/x"}})
	}
	if err != nil {
		t.Error(err)
	}
	if _, _, err := client.ListRepoPullRequests("acme", "app", gitea.ListPullRequestsOptions{State: gitea.StateOpen}); err != nil {
		t.Error(err)
	}
	if _, _, err := client.CreatePullRequest("acme", "app", gitea.CreatePullRequestOption{Head: "topic", Base: "main", Title: "t"}); err != nil {
		t.Error(err)
	}
	if _, _, err := client.CreateIssueComment("acme", "app", 4, gitea.CreateIssueCommentOption{Body: "hello"}); err != nil {
		t.Error(err)
	}
	if _, _, err := client.CreatePullReview("acme", "app", 4, gitea.CreatePullReviewOptions{State: gitea.ReviewStateApproved, Body: "good"}); err != nil {
		t.Error(err)
	}
	if _, _, err := client.DeleteRepoBranch("acme", "app", "remit/T-1/x"); err != nil {
		t.Error(err)
	}
	if ok, _, err := client.DeleteRepoBranch("acme", "app", "remit/T-1/x"); ok || err != nil {
		t.Errorf("deleted twice: %v %v", ok, err)
	}
	if ok, _, err := client.MergePullRequest("acme", "app", 4, gitea.MergePullRequestOption{Style: gitea.MergeStyleMerge}); !ok || err != nil {
		t.Errorf("merged: %v %v", ok, err)
	}
	t.Run("a hold reads as an error that says what to do", func(t *testing.T) {
		w.decide = func(remit.Request) remit.Decision {
			return remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-1", Sentence: "a person decides"}
		}
		_, res, err := client.CreateIssue("acme", "app", gitea.CreateIssueOption{Title: "t"})
		if err == nil || res.StatusCode != http.StatusConflict {
			t.Fatalf("%v", err)
		}
		if want := "remit: held, waiting for people as access request A-1 (do: remit wait A-1; Remit then completes it): a person decides [IMPACT_HELD]"; err.Error() != want {
			t.Errorf("the client sees %q", err)
		}
	})
	t.Run("what is not served says why", func(t *testing.T) {
		_, _, err := client.CreateRepoHook("acme", "app", gitea.CreateHookOption{Type: gitea.HookTypeGitea, Config: map[string]string{"url": "https://evil.example", "content_type": "json"}})
		if err == nil || err.Error() != "remit: this operation is not served: it is about what the forge calls when something happens [FORBIDDEN]" {
			t.Errorf("the client sees %v", err)
		}
	})
}
