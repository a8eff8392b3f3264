package web

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git"
)

const app = "/repos/acme/app"

// pull has the forge show an open pull request of topic into main.
func (w *world) pull(n int64, tune ...func(*pullNow)) pullNow {
	p := pullNow{Number: n, State: "open", Head: side{Ref: "topic", SHA: w.tip("topic")}, Base: side{Ref: "main", SHA: w.tip("main")}}
	p.Head.Repo.Name, p.Base.Repo.Name = "acme/app", "acme/app"
	for _, f := range tune {
		f(&p)
	}
	w.on(fmt.Sprintf("GET %s/pulls/%d", app, n), 200, p)
	w.on("GET "+app+"/branches/main", 200, map[string]any{"commit": map[string]any{"id": w.tip("main")}})
	return p
}

func TestReads(t *testing.T) {
	w := newWorld(t)
	w.handle("GET "+app+"/raw/a%20b/c.go", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		rw.Header().Set("X-Secret", "of the forge")
		rw.Write([]byte("<script>"))
	})
	w.on("GET "+app+"/pulls", 200, []any{})
	w.on("GET "+app+"/issues", 200, []any{})
	for _, c := range []struct {
		path   string
		action remit.Action
		status int
	}{
		{app + "/raw/a%20b/c.go?ref=main", "source.read", 200},
		{app + "/pulls?state=open", "review.read", 200},
		{app + "/issues", "issue.read", 200},
		{app + "/issues/99", "issue.read", 404},
	} {
		w.reset()
		status, body := w.do("GET", c.path, "", func(r *http.Request) { r.Header.Del("Content-Type"); r.Header.Set("Cookie", "a=b") })
		if status != c.status {
			t.Errorf("%s: status %d: %s", c.path, status, body)
		}
		req, _ := w.last()
		if len(req.Steps) != 1 || req.Steps[0].Action != c.action || req.Steps[0].Resource != "repo:forge/acme/app" || len(req.Refs) != 0 {
			t.Errorf("%s: %+v", c.path, req.Steps)
		}
		if res := w.outcome(); res.Outcome != remit.Done {
			t.Errorf("%s: %+v", c.path, res)
		}
	}
	if got := w.sent(); len(got) != 1 || got[0] != "GET "+app+"/issues/99" {
		t.Errorf("the forge saw %q", got)
	}
}

func TestAnswersOfTheForgeThatAreNotPassedOn(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		h      http.HandlerFunc
		status int
		says   string
	}{
		"a redirect": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://evil.example/x", http.StatusFound)
		}, 502, "redirects to evil.example"},
		"that the credential is wrong": {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(401) }, 502, "does not accept Remit's credential"},
		"a failure":                    {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500); rw.Write([]byte("stack trace")) }, 502, "fails (status 500)"},
	} {
		w.handle("GET "+app, c.h)
		status, body := w.do("GET", app, "")
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s", name, status, body)
		}
		if res := w.outcome(); res.Outcome != remit.NotApplied {
			t.Errorf("%s: %+v", name, res)
		}
		w.reset()
	}
	t.Run("the credential itself", func(t *testing.T) {
		w.handle("GET "+app, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Write([]byte(strings.Repeat("x", 40<<10)))
			rw.(http.Flusher).Flush()
			rw.Write([]byte("token: " + leaseToken[:9]))
			rw.(http.Flusher).Flush()
			rw.Write([]byte(leaseToken[9:]))
		})
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.srv.URL+"/v1/orgs/acme/forge/forge/api/v1"+app, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "token "+agentToken)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var got strings.Builder
		buf := make([]byte, 1024)
		for err == nil {
			var n int
			n, err = res.Body.Read(buf)
			got.Write(buf[:n])
		}
		if strings.Contains(got.String(), leaseToken) || err.Error() == "EOF" {
			t.Errorf("%d bytes came, ending with %v", got.Len(), err)
		}
	})
}

func TestWritesThatArePassedOn(t *testing.T) {
	w := newWorld(t)
	w.on("GET "+app+"/issues/3", 200, map[string]any{"number": 3})
	w.on("GET "+app+"/issues/4", 200, map[string]any{"number": 4, "pull_request": map[string]any{"merged": false}})
	w.on("GET "+app+"/tags/v1", 200, map[string]any{"commit": map[string]any{"sha": w.tip("main")}})
	w.on("GET "+app+"/releases/9", 200, map[string]any{"tag_name": "v1"})
	for _, c := range []struct {
		method, path, body string
		action             remit.Action
		on                 remit.Resource
		sent               string
	}{
		{"POST", "/pulls", `{"Title":"t","head":"topic","base":"main","body":"why","labels":null,"due_date":null}`, "source.propose", "", `POST /pulls {"head":"topic","base":"main","title":"t","body":"why"}`},
		{"PATCH", "/pulls/4", `{"state":"closed"}`, "source.propose", "", `PATCH /pulls/4 {"state":"closed"}`},
		{"POST", "/pulls/4/requested_reviewers", `{"reviewers":["mia"]}`, "source.propose", "", `POST /pulls/4/requested_reviewers {"reviewers":["mia"]}`},
		{"POST", "/issues", `{"title":"<b> & more"}`, "issue.write", "", `POST /issues {"title":"<b> & more"}`},
		{"PATCH", "/issues/3", `{"state":"closed"}`, "issue.write", "", `PATCH /issues/3 {"state":"closed"}`},
		{"PATCH", "/issues/4", `{"state":"closed"}`, "source.propose", "", `PATCH /issues/4 {"state":"closed"}`}, // a pull request
		{"POST", "/issues/3/comments", `{"body":"hello"}`, "issue.comment", "", `POST /issues/3/comments {"body":"hello"}`},
		{"POST", "/issues/3/labels", `{"labels":[1,"bug"]}`, "issue.write", "", `POST /issues/3/labels {"labels":[1,"bug"]}`},
		{"DELETE", "/issues/3/labels/1", ``, "issue.write", "", `DELETE /issues/3/labels/1`},
		{"POST", "/releases", `{"tag_name":"v1","name":"one","target_commitish":"evil"}`, "artifact.release", "", `POST /releases {"tag_name":"v1","target_commitish":"` + w.tip("main") + `","name":"one"}`},
		{"PATCH", "/releases/9", `{"draft":false}`, "artifact.release", "", `PATCH /releases/9 {"draft":false}`},
		{"POST", "/actions/workflows/build.yml/dispatches?return_run_details=true", `{"ref":"main","inputs":{"a":"b"}}`, "build.trigger", "pipeline:forge/acme/app/build.yml",
			`POST /actions/workflows/build.yml/dispatches?return_run_details=true {"ref":"main","inputs":{"a":"b"}}`},
	} {
		w.reset()
		p, _, _ := strings.Cut(c.path, "?")
		w.on(c.method+" "+app+p, 201, map[string]any{"id": 5})
		status, body := w.do(c.method, app+c.path, c.body)
		req, shown := w.last()
		if c.on == "" {
			c.on = "repo:forge/acme/app"
		}
		if status != 201 || req.Steps[0].Action != c.action || req.Steps[0].Resource != c.on || req.Steps[0].Args.IsZero() {
			t.Errorf("%s %s: %d %s %+v", c.method, c.path, status, body, req.Steps)
		}
		if got := w.sent(); len(got) != 1 || got[0] != strings.Replace(c.sent, " ", " "+app, 1) {
			t.Errorf("%s %s: sent %q; want %q", c.method, c.path, got, c.sent)
		}
		if !strings.Contains(shown.Diff, c.method+" "+app+p) {
			t.Errorf("the card shows %q", shown.Diff)
		}
		if res := w.outcome(); res.Outcome != remit.Done || !strings.Contains(string(res.Receipt), `"answer":{"id":5}`) {
			t.Errorf("%s %s: %+v %s", c.method, c.path, res, res.Receipt)
		}
	}
}

func TestOneArgumentMoreIsAnotherRequest(t *testing.T) {
	w := newWorld(t)
	w.on("POST "+app+"/issues/3/comments", 201, map[string]any{})
	seen := map[remit.Digest]bool{}
	for _, body := range []string{`{"body":"a"}`, `{"body":"b"}`, `{"BODY":"a"}`, "{ \"body\" : \"a\" }\n"} {
		w.do("POST", app+"/issues/3/comments", body)
		req, _ := w.last()
		seen[req.Steps[0].Args] = true
	}
	if len(seen) != 2 {
		t.Errorf("%d different requests; the spelling does not count, the words do", len(seen))
	}
}

func TestRefusedBeforeAnythingIsAsked(t *testing.T) {
	w := newWorld(t)
	w.commit("topic", "topic.go", "package topic\n")
	w.pull(4)
	w.on("GET "+app+"/issues/3", 200, map[string]any{"number": 3})
	long, _ := json.Marshal(strings.Repeat("x", 1<<20))
	for _, c := range []struct {
		what, method, path, body string
		status                   int
		says                     string
		tune                     func(*http.Request)
	}{
		{what: "an unknown member", method: "POST", path: "/issues", body: `{"title":"t","sudo":"root"}`, status: 400, says: "sudo"},
		{what: "a member twice", method: "POST", path: "/issues", body: `{"title":"t","Title":"u"}`, status: 400, says: "twice"},
		{what: "two values", method: "POST", path: "/issues", body: `{"title":"t"}{"title":"u"}`, status: 400, says: "more after"},
		{what: "a form", method: "POST", path: "/issues", body: `title=t`, status: 400, says: "application/json", tune: func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }},
		{what: "a huge body", method: "POST", path: "/issues", body: `{"title":"t","body":` + string(long) + `}`, status: 413, says: "larger than"},
		{what: "more than an order holds", method: "POST", path: "/issues", body: `{"title":"t","body":` + string(long[:30<<10]) + `"}`, status: 413, says: "at most"},
		{what: "a compressed body", method: "POST", path: "/issues", body: `{}`, status: 400, says: "Content-Encoding", tune: func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }},
		{what: "a body of a read", method: "GET", path: "/issues", body: `{}`, status: 400, says: "takes no body"},
		{what: "another repository", method: "GET", path: "/../other", status: 400, says: ""},
		{what: "a pull request of a fork", method: "POST", path: "/pulls", body: `{"title":"t","head":"evil:topic","base":"main"}`, status: 400, says: "of this repository"},
		{what: "push rights for others", method: "PATCH", path: "/pulls/4", body: `{"allow_maintainer_edit":true}`, status: 403, says: "leave it out"},
		{what: "a squash", method: "POST", path: "/pulls/4/merge", body: `{"Do":"squash"}`, status: 403, says: "squash or rebase the branch yourself"},
		{what: "a forced merge", method: "POST", path: "/pulls/4/merge", body: `{"Do":"merge","force_merge":true}`, status: 403, says: "leave force_merge"},
		{what: "a merge in the future", method: "POST", path: "/pulls/4/merge", body: `{"Do":"merge","merge_when_checks_succeed":true}`, status: 403, says: "merge_when_checks_succeed"},
		{what: "a merge of another head", method: "POST", path: "/pulls/4/merge", body: `{"Do":"merge","head_commit_id":"` + strings.Repeat("1", 40) + `"}`, status: 409, says: "look at it again"},
		{what: "a verdict on another head", method: "POST", path: "/pulls/4/reviews", body: `{"event":"APPROVED","commit_id":"` + w.tip("main") + `"}`, status: 409, says: "look at it again"},
		{what: "half a review", method: "POST", path: "/pulls/4/reviews", body: `{"event":"PENDING"}`, status: 400, says: "whole"},
		{what: "a review handed in later", method: "POST", path: "/pulls/4/reviews/7", body: `{"event":"APPROVED"}`, status: 403, says: "given whole"},
		{what: "a dismissal", method: "POST", path: "/pulls/4/reviews/7/dismissals", body: `{}`, status: 403, says: "stays"},
		{what: "somebody's comment", method: "PATCH", path: "/issues/comments/7", body: `{"body":"I agree"}`, status: 403, says: "rewrites what others"},
		{what: "a release that makes a tag", method: "POST", path: "/releases", body: `{"tag_name":"v9"}`, status: 409, says: "make it first"},
		{what: "a rebase", method: "POST", path: "/pulls/4/update?style=rebase", status: 403, says: "rebase it yourself"},
		{what: "a claimed author", method: "POST", path: "/contents/a", body: `{"content":"","author":{"name":"mia"}}`, status: 403, says: "Remit's to say"},
		{what: "content that is no base64", method: "POST", path: "/contents/a", body: `{"content":"!"}`, status: 400, says: "base64"},
		{what: "git's own files", method: "POST", path: "/contents/.git/config", body: `{"content":""}`, status: 400, says: "plain name"},
		{what: "a path inside a list", method: "POST", path: "/contents", body: `{"files":[{"operation":"create","path":"a/../../b"}]}`, status: 400, says: "in the repository"},
		{what: "a method that is another", method: "POST", path: "/issues", body: `{"title":"t"}`, status: 403, says: "is not taken here", tune: func(r *http.Request) { r.Header.Set("X-HTTP-Method-Override", "DELETE") }},
		{what: "another user", method: "POST", path: "/issues", body: `{"title":"t"}`, status: 403, says: "is not taken here", tune: func(r *http.Request) { r.Header.Set("Sudo", "root") }},
		{what: "a token in the address", method: "GET", path: "/issues?access_token=x", status: 403, says: "Authorization: token"},
		{what: "nobody", method: "GET", path: "/issues", status: 401, says: "nobody proved", tune: func(r *http.Request) { r.Header.Del("Authorization") }},
	} {
		w.reset()
		tune := c.tune
		if tune == nil {
			tune = func(*http.Request) {}
		}
		status, body := w.do(c.method, app+c.path, c.body, tune)
		var p problem
		if err := json.Unmarshal([]byte(body), &p); status != c.status || err == nil && !strings.Contains(p.Message, c.says) {
			t.Errorf("%s: %d %s; want %d %q", c.what, status, body, c.status, c.says)
		}
		if len(w.asked) != 0 || len(w.sent()) != 0 {
			t.Errorf("%s: asked %v, sent %q", c.what, w.asked, w.sent())
		}
	}
	if n := w.kept(); n != 0 {
		t.Errorf("%d packs are kept", n)
	}
}

func TestContents(t *testing.T) {
	w := newWorld(t)
	old := w.tip("main")
	blob := w.git(w.bare, "rev-parse", "main:README")
	text := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	status, body := w.do("PUT", app+"/contents/README", `{"content":"`+text("hi\n")+`","sha":"`+blob+`","message":"greet","branch":"main","new_branch":"remit/T-1/x"}`)
	req, shown := w.last()
	if status != 200 || len(req.Refs) != 1 || req.Refs[0].Ref != "refs/heads/remit/T-1/x" || req.Refs[0].Op != remit.RefCreate || req.Refs[0].Paths[0].Path != "README" || len(req.Refs[0].Brought) != 1 {
		t.Fatalf("%d %s %+v", status, body, req)
	}
	if req.Steps[0].Action != "source.push" || !strings.Contains(shown.Diff, "+hi") || shown.Commits[0].Author != "coder (T-1) <T-1@remit.invalid>" {
		t.Errorf("%+v %+v", req.Steps, shown)
	}
	if w.tip("main") != old || w.git(w.bare, "show", "remit/T-1/x:README") != "hi" {
		t.Error("the branch is not as asked for")
	}
	var answer struct{ Content, Commit struct{ SHA, Path string } }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Commit.SHA != w.tip("remit/T-1/x") || answer.Content.SHA != w.git(w.bare, "rev-parse", "remit/T-1/x:README") {
		t.Errorf("the answer is %s (%v)", body, err)
	}
	if len(w.sent()) != 0 {
		t.Errorf("the forge's own API was called: %q", w.sent())
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/contents/src/new.go", `{"content":"` + text("package src\n") + `","branch":"remit/T-1/x"}`},
		{"DELETE", "/contents/README", `{"sha":"` + w.git(w.bare, "rev-parse", "remit/T-1/x:README") + `","branch":"remit/T-1/x"}`},
		{"POST", "/contents", `{"branch":"remit/T-1/x","files":[{"operation":"create","path":"a","content":"` + text("a") + `"},{"operation":"create","path":"b/c","content":""}]}`},
	} {
		if status, body := w.do(c.method, app+c.path, c.body); status > 201 {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, body)
		}
	}
	if got := w.git(w.bare, "ls-tree", "-r", "--name-only", "remit/T-1/x"); got != "a\nb/c\nsrc/new.go" {
		t.Errorf("the branch holds %q", got)
	}
	if n := w.kept(); n != 0 {
		t.Errorf("%d packs are kept", n)
	}
}

func TestBranchesAndTags(t *testing.T) {
	w := newWorld(t)
	w.commit("topic", "topic.go", "package topic\n")
	w.commit("main", "other.go", "package other\n")
	main := w.tip("main")
	w.pull(4)
	w.on("GET "+app+"/branches/remit/T-1/y", 200, map[string]any{"name": "remit/T-1/y"})
	for _, c := range []struct {
		method, path, body, ref string
		op                      remit.RefOp
		status                  int
	}{
		{"POST", "/branches", `{"new_branch_name":"remit/T-1/y","old_ref_name":"main"}`, "refs/heads/remit/T-1/y", remit.RefCreate, 201},
		{"PUT", "/branches/remit/T-1/y", `{"new_commit_id":"` + w.tip("topic") + `"}`, "refs/heads/remit/T-1/y", remit.RefForce, 204},
		{"DELETE", "/branches/remit%2FT-1%2Fy", ``, "refs/heads/remit/T-1/y", remit.RefDelete, 204},
		{"POST", "/tags", `{"tag_name":"v1","target":"main","message":"one"}`, "refs/tags/v1", remit.RefCreate, 201},
		{"DELETE", "/tags/v1", ``, "refs/tags/v1", remit.RefDelete, 204},
		{"POST", "/pulls/4/update?style=merge", ``, "refs/heads/topic", remit.RefUpdate, 200},
	} {
		w.reset()
		status, body := w.do(c.method, app+c.path, c.body)
		req, _ := w.last()
		if status != c.status || len(req.Refs) != 1 || req.Refs[0].Ref != c.ref || req.Refs[0].Op != c.op || w.outcome().Outcome != remit.Done {
			t.Errorf("%s %s: %d %s %+v", c.method, c.path, status, body, req.Refs)
		}
	}
	if w.tip("main") != main || w.git(w.bare, "rev-parse", "topic^2") != main {
		t.Error("topic does not hold main")
	}
	if got := w.git(w.bare, "for-each-ref", "--format=%(refname)"); got != "refs/heads/main\nrefs/heads/topic" {
		t.Errorf("there are %q", got)
	}
}

func TestHeldAndDenied(t *testing.T) {
	w := newWorld(t)
	w.decide = func(remit.Request) remit.Decision {
		return remit.Decision{Verdict: remit.Hold, Code: remit.PathProtected, Access: "A-3", Entry: 9, Sentence: "a person decides"}
	}
	status, body := w.do("POST", app+"/contents/a", `{"content":"","branch":"main"}`)
	if status != 409 || !strings.Contains(body, "access request A-3") || !strings.Contains(body, "remit wait A-3") {
		t.Fatalf("%d %s", status, body)
	}
	req, _ := w.last()
	if w.kept() != 1 {
		t.Fatal("the pack of a held change is gone")
	}
	if _, ok := git.PackOf(req.Order); !ok {
		t.Error("whoever keeps packs for held orders does not find this one")
	}
	// The executor completes it from the order alone.
	order := remit.Order{Caller: req.Caller, Steps: req.Steps, Body: req.Order}
	if res := w.gw.Forward(t.Context(), order, w, nil); res.Outcome != remit.Done || w.tip("main") != req.Refs[0].New || w.kept() != 0 {
		t.Errorf("%+v %s; %d packs", res, res.Receipt, w.kept())
	}
	if res := w.gw.Reconcile(t.Context(), order); res.Outcome != remit.Done {
		t.Errorf("reconciled: %+v", res)
	}
	w.decide = func(remit.Request) remit.Decision {
		return remit.Decision{Verdict: remit.Deny, Code: remit.OutOfScope, Sentence: "not yours"}
	}
	if status, _ := w.do("POST", app+"/contents/b", `{"content":"","branch":"main"}`); status != 403 || w.kept() != 0 {
		t.Errorf("status %d; %d packs", status, w.kept())
	}
	if len(w.sent()) != 0 {
		t.Errorf("sent %q", w.sent())
	}
}
