package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// proposed is a world with a pull request of topic into main, which has moved on meanwhile.
func proposed(t *testing.T) (*world, pullNow) {
	w := newWorld(t)
	w.commit("topic", "topic.go", "package topic\n")
	w.commit("main", "other.go", "package other\n")
	return w, w.pull(4)
}

// merges has the forge merge as it would: with a merge commit, unless the head is another one.
func (w *world) merges(p pullNow, into string) {
	w.handle("POST "+app+"/pulls/4/merge", func(rw http.ResponseWriter, r *http.Request) {
		var b struct {
			Head string `json:"head_commit_id"`
		}
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil || b.Head != p.Head.SHA {
			rw.WriteHeader(http.StatusConflict)
			rw.Write([]byte(`{"message":"head out of date"}`))
			return
		}
		w.mergeNow(p, into)
		rw.WriteHeader(http.StatusOK)
	})
}

func (w *world) mergeNow(p pullNow, into string) {
	w.git(w.work, "checkout", "-q", into)
	w.git(w.work, "merge", "-q", "--no-ff", "-m", "merge", p.Head.SHA)
	made := w.git(w.work, "rev-parse", "HEAD")
	w.git(w.work, "push", "-q", "-f", "origin", "HEAD:"+into)
	p.Merged, p.State, p.Commit = true, "closed", made
	w.on("GET "+app+"/pulls/4", 200, p)
}

const mergeBody = `{"Do":"merge","MergeTitleField":"Merge it","force_merge":false,"head_commit_id":"","MergeCommitID":"","merge_when_checks_succeed":false}`

func TestMerge(t *testing.T) {
	w, p := proposed(t)
	w.merges(p, "main")
	status, body := w.do("POST", app+"/pulls/4/merge", mergeBody)
	req, shown := w.last()
	res := w.outcome()
	if status != 200 || res.Outcome != remit.Done || res.Made != w.git(w.work, "rev-parse", "HEAD") {
		t.Fatalf("%d %s %+v %s", status, body, res, res.Receipt)
	}
	r := req.Refs[0]
	if req.Steps[0].Action != "source.merge" || r.Ref != "refs/heads/main" || r.Old != p.Base.SHA || r.New != p.Head.SHA || r.Commits != 1 || len(r.Paths) != 1 || r.Paths[0].Path != "topic.go" {
		t.Errorf("%+v", req)
	}
	if r.Tree != w.git(w.work, "rev-parse", "HEAD^{tree}") || !strings.Contains(shown.Diff, "+package topic") || !strings.Contains(shown.Diff, "merge_title_field: Merge it") {
		t.Errorf("tree %s, card %+v", r.Tree, shown)
	}
	if got := w.sent(); len(got) != 1 || got[0] != "POST "+app+`/pulls/4/merge {"do":"merge","merge_title_field":"Merge it","head_commit_id":"`+p.Head.SHA+`"}` {
		t.Errorf("sent %q", got)
	}
	if rec := w.gw.Reconcile(t.Context(), remit.Order{Body: req.Order}); rec.Outcome != remit.Done || rec.Made != res.Made {
		t.Errorf("reconciled: %+v", rec)
	}
}

func TestMergeThatIsNotWhatWasDecided(t *testing.T) {
	for name, c := range map[string]struct {
		between func(*world, pullNow)
		want    remit.Outcome
		code    remit.Code
		sent    int
	}{
		"the head moved before it was sent": {func(w *world, p pullNow) {
			w.commit("topic", "evil.go", "package evil\n")
			w.pull(4)
		}, remit.NotApplied, remit.Stale, 0},
		"the base moved before it was sent": {func(w *world, p pullNow) {
			w.commit("main", "more.go", "package more\n")
			w.pull(4)
		}, remit.NotApplied, remit.Stale, 0},
		"it is for another branch now": {func(w *world, p pullNow) {
			w.pull(4, func(p *pullNow) { p.Base.Ref = "release" })
		}, remit.NotApplied, remit.Stale, 0},
		"the head moved while it was sent": {func(w *world, p pullNow) {
			w.on("POST "+app+"/pulls/4/merge", 409, map[string]string{"message": "head out of date"})
		}, remit.NotApplied, remit.Stale, 1},
		"the base moved while it was sent": {func(w *world, p pullNow) {
			w.handle("POST "+app+"/pulls/4/merge", func(rw http.ResponseWriter, _ *http.Request) {
				w.commit("main", "more.go", "package more\n")
				w.mergeNow(p, "main")
				rw.WriteHeader(200)
			})
		}, remit.Ambiguous, remit.Stale, 1},
		"the forge changes what it merges": {func(w *world, p pullNow) {
			w.handle("POST "+app+"/pulls/4/merge", func(rw http.ResponseWriter, _ *http.Request) {
				w.mergeNow(p, "main")
				w.git(w.work, "rm", "-q", "README")
				w.git(w.work, "commit", "-q", "--amend", "-m", "merge, and more")
				made := w.git(w.work, "rev-parse", "HEAD")
				w.git(w.work, "push", "-q", "-f", "origin", "HEAD:main")
				p.Merged, p.Commit = true, made
				w.on("GET "+app+"/pulls/4", 200, p)
				rw.WriteHeader(200)
			})
		}, remit.Ambiguous, remit.Stale, 1},
		"the forge lies": {func(w *world, p pullNow) {
			w.on("POST "+app+"/pulls/4/merge", 200, map[string]string{})
		}, remit.Ambiguous, remit.UpstreamDown, 1},
		"the forge fails and has not merged": {func(w *world, p pullNow) {
			w.on("POST "+app+"/pulls/4/merge", 500, map[string]string{})
		}, remit.Ambiguous, remit.UpstreamDown, 1},
		"the forge fails, but has merged": {func(w *world, p pullNow) {
			w.handle("POST "+app+"/pulls/4/merge", func(rw http.ResponseWriter, _ *http.Request) {
				w.mergeNow(p, "main")
				panic(http.ErrAbortHandler)
			})
		}, remit.Done, "", 1},
		"the forge's own rules refuse": {func(w *world, p pullNow) {
			w.on("POST "+app+"/pulls/4/merge", 405, map[string]string{"message": "not enough approvals"})
		}, remit.NotApplied, remit.Conflict, 1},
		"the forge is still looking": {func(w *world, p pullNow) {
			n := 0
			w.handle("POST "+app+"/pulls/4/merge", func(rw http.ResponseWriter, _ *http.Request) {
				if n++; n < 3 {
					rw.WriteHeader(405)
					rw.Write([]byte(`{"message":"Please try again later"}`))
					return
				}
				w.mergeNow(p, "main")
				rw.WriteHeader(200)
			})
		}, remit.Done, "", 3},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := proposed(t)
			w.decide = func(remit.Request) remit.Decision {
				return remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-1", Sentence: "a person decides"}
			}
			if status, body := w.do("POST", app+"/pulls/4/merge", mergeBody); status != 409 {
				t.Fatalf("%d %s", status, body)
			}
			req, _ := w.last()
			c.between(w, p)
			res := w.gw.Forward(t.Context(), remit.Order{Body: req.Order}, w, nil)
			if res.Outcome != c.want || res.Code != c.code || len(w.sent()) != c.sent {
				t.Errorf("%+v %s; sent %q", res, res.Receipt, w.sent())
			}
			if res.Outcome == remit.Ambiguous && c.code == remit.Stale && res.Made == "" {
				t.Error("the commit that was made is not recorded")
			}
		})
	}
}

func TestMergeOfWhatCannotBeMerged(t *testing.T) {
	w, _ := proposed(t)
	w.commit("main", "topic.go", "package other\n")
	w.pull(4)
	if status, body := w.do("POST", app+"/pulls/4/merge", mergeBody); status != 409 || !strings.Contains(body, "both changed") {
		t.Errorf("%d %s", status, body)
	}
	w.pull(4, func(p *pullNow) { p.State = "closed" })
	if status, body := w.do("POST", app+"/pulls/4/merge", mergeBody); status != 409 || !strings.Contains(body, "is closed") {
		t.Errorf("%d %s", status, body)
	}
	w.pull(4, func(p *pullNow) { p.Base.Repo.Name = "acme/other" })
	if status, body := w.do("POST", app+"/pulls/4/merge", mergeBody); status != 502 || !strings.Contains(body, "another repository") {
		t.Errorf("%d %s", status, body)
	}
	if len(w.asked) != 0 || len(w.sent()) != 0 {
		t.Errorf("asked %v, sent %q", w.asked, w.sent())
	}
}

func TestReview(t *testing.T) {
	w, p := proposed(t)
	w.on("POST "+app+"/pulls/4/reviews", 200, map[string]any{"id": 11})
	for event, verdict := range map[string]string{"APPROVED": remit.ReviewApprove, "REQUEST_CHANGES": remit.ReviewReject} {
		w.reset()
		status, body := w.do("POST", app+"/pulls/4/reviews", `{"event":"`+event+`","body":"I read it","comments":[{"path":"topic.go","body":"here","new_position":1}]}`)
		req, shown := w.last()
		if status != 200 || req.Review != verdict || req.Steps[0].Action != "review.submit" || len(req.Refs) != 1 || req.Refs[0].New != p.Head.SHA || req.Refs[0].Old != p.Base.SHA {
			t.Fatalf("%d %s %+v", status, body, req)
		}
		if got := w.sent(); len(got) != 1 || !strings.Contains(got[0], `"commit_id":"`+p.Head.SHA+`"`) {
			t.Errorf("sent %q", got)
		}
		if !strings.Contains(shown.Diff, "I read it") || !strings.Contains(shown.Diff, "+package topic") {
			t.Errorf("the card shows %q", shown.Diff)
		}
		var r receipt
		if err := json.Unmarshal(w.outcome().Receipt, &r); err != nil || r.Bind == nil || r.Bind.Base != p.Base.SHA || r.Bind.Head != p.Head.SHA || r.Bind.Tree != req.Refs[0].Tree || !strings.HasPrefix(r.Bind.Diff, "sha256:") || r.Bind.Review != verdict {
			t.Errorf("the receipt is %s (%v)", w.outcome().Receipt, err)
		}
	}
	t.Run("a comment is no verdict", func(t *testing.T) {
		w.reset()
		w.do("POST", app+"/pulls/4/reviews", `{"event":"COMMENT","body":"hm"}`)
		if req, _ := w.last(); req.Review != "" || req.Steps[0].Action != "issue.comment" || len(req.Refs) != 0 {
			t.Errorf("%+v", req)
		}
	})
	t.Run("the head moved after the decision", func(t *testing.T) {
		w.reset()
		w.do("POST", app+"/pulls/4/reviews", `{"event":"APPROVED"}`)
		req, _ := w.last()
		w.commit("topic", "evil.go", "package evil\n")
		w.pull(4)
		w.reset()
		if res := w.gw.Forward(t.Context(), remit.Order{Body: req.Order}, w, nil); res.Outcome != remit.NotApplied || res.Code != remit.Stale || len(w.sent()) != 0 {
			t.Errorf("%+v; sent %q", res, w.sent())
		}
	})
}

func TestReviewAndMergeAreOfTheSameChange(t *testing.T) {
	w, _ := proposed(t)
	w.on("POST "+app+"/pulls/4/reviews", 200, map[string]any{"id": 11})
	w.do("POST", app+"/pulls/4/reviews", `{"event":"APPROVED"}`)
	review, _ := w.last()
	w.commit("main", "unrelated.go", "package unrelated\n")
	p := w.pull(4)
	w.merges(p, "main")
	w.do("POST", app+"/pulls/4/merge", mergeBody)
	merge, _ := w.last()
	one, _ := json.Marshal(review.Refs[0].Paths)
	two, _ := json.Marshal(merge.Refs[0].Paths)
	if string(one) != string(two) || review.Refs[0].New != merge.Refs[0].New || review.Refs[0].Tree == merge.Refs[0].Tree {
		t.Errorf("review %+v\nmerge %+v", review.Refs[0], merge.Refs[0])
	}
}

func TestReconcile(t *testing.T) {
	w, _ := proposed(t)
	orderOf := func(o order) remit.Order {
		o.Forge, o.Repo = "forge", "forge/acme/app"
		b, err := marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return remit.Order{Body: b}
	}
	w.on("GET "+app+"/pulls/main/topic", 200, map[string]any{"number": 4})
	w.on("GET "+app+"/releases/tags/v2", 500, nil)
	for name, c := range map[string]struct {
		o    order
		want remit.Outcome
	}{
		"a read":                         {order{Read: true, Method: "GET", Path: app}, remit.NotApplied},
		"a proposal that is there":       {order{Method: "POST", Path: app + "/pulls", Body: []byte(`{"head":"topic","base":"main"}`)}, remit.Done},
		"a proposal that is not":         {order{Method: "POST", Path: app + "/pulls", Body: []byte(`{"head":"other","base":"main"}`)}, remit.NotApplied},
		"a release that cannot be seen":  {order{Method: "POST", Path: app + "/releases", Body: []byte(`{"tag_name":"v2"}`)}, remit.Ambiguous},
		"a release that is not there":    {order{Method: "POST", Path: app + "/releases", Body: []byte(`{"tag_name":"v1"}`)}, remit.NotApplied},
		"a comment":                      {order{Method: "POST", Path: app + "/issues/3/comments", Body: []byte(`{"body":"x"}`)}, remit.Ambiguous},
		"a merge that did not happen":    {order{Method: "POST", Path: app + "/pulls/4/merge", Bind: &binding{Pull: 4}}, remit.NotApplied},
		"a repository that is no longer": {order{Method: "POST", Path: "/repos/acme/gone/pulls", Body: []byte(`{"head":"other","base":"main"}`)}, remit.Ambiguous},
	} {
		if res := w.gw.Reconcile(t.Context(), orderOf(c.o)); res.Outcome != c.want {
			t.Errorf("%s: %+v %s; want %s", name, res, res.Receipt, c.want)
		}
	}
	var _ gateway.Protocol = w.gw
}
