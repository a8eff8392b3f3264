package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/server"
)

// verdict has an instance of the reviewer give a verdict on merging head into main, and says what came of it. It gives
// the entry of the outcome.
func verdict(t *testing.T, w *world.World, i client.Instance, head, review string, o remit.Outcome) remit.EntryIndex {
	t.Helper()
	d, err := w.Engine.Authorize(t.Context(), remit.Request{Gateway: "change", Caller: remit.Caller{Instance: i.ID, Agent: i.Agent, Task: i.Task},
		Steps: []remit.Step{{Action: "review.submit", Resource: world.Repo}}, Review: review,
		Refs: []remit.RefChange{{Ref: "refs/heads/main", Op: remit.RefUpdate, Old: strings.Repeat("0a", 20), New: head, Tree: strings.Repeat("7e", 20), Commits: 1, Outside: 1, Paths: changed()}}})
	if err != nil || d.Verdict != remit.Allow {
		t.Fatalf("%v, %+v", err, d)
	}
	w.Finish(d.Permit, o, "said")
	return d.Entry + 2
}

func changed() []remit.PathChange {
	return []remit.PathChange{{Path: "refund.go", OldMode: 0o100644, NewMode: 0o100644, Old: strings.Repeat("01", 20), New: strings.Repeat("02", 20)}}
}

// TestReviewStatements: the statement on a verdict says exactly what it is on, from the log; what is no verdict, was not
// recorded, or was taken back has none.
func TestReviewStatements(t *testing.T) {
	w := world.New(t, world.Options{})
	d := w.Team()
	d.Agents = append(d.Agents, remit.Agent{Name: "reviewer", Function: remit.FuncReview, Owner: "ben", Purpose: "reviews", Requesters: []string{"developers"}, Expires: "2030-01-31",
		Entitlements: []remit.Scope{{Actions: []remit.Action{"source.read", "review.submit"}, Resources: []remit.Pattern{remit.Pattern(world.Repo)}}}})
	w.Declare(d)
	task, err := w.SignIn("cleo").CreateTask(t.Context(), remit.TaskRequest{Agent: "reviewer", Intent: "look at it"})
	if err != nil {
		t.Fatal(err)
	}
	i := w.Instance("cleo", task.ID)
	one, two, three := strings.Repeat("1a", 20), strings.Repeat("2b", 20), strings.Repeat("3c", 20)
	first := verdict(t, w, i, one, remit.ReviewApprove, remit.Done)
	other := verdict(t, w, i, two, remit.ReviewApprove, remit.Done)
	lost := verdict(t, w, i, three, remit.ReviewApprove, remit.NotApplied)
	last := verdict(t, w, i, one, remit.ReviewReject, remit.Done)

	key := w.Key("ben")
	ben, session, err := w.Client().SignIn(t.Context(), key.PublicKey().Marshal(), func(text []byte) ([]byte, error) { return sign(t, key, text), nil })
	if err != nil {
		t.Fatal(err)
	}
	list, err := ben.Reviews(t.Context(), "")
	if err != nil || len(list) != 2 || list[0].Entry != last || list[0].Verdict != remit.ReviewReject || list[1].Entry != other || list[1].Head != two {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := ben.Reviews(t.Context(), "forge/other"); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	v, err := ben.Review(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	if v.At.IsZero() {
		t.Error("it has no time")
	}
	at := v.At
	want := remit.ReviewView{Entry: last, At: at, Repository: world.Repo, Verdict: remit.ReviewReject, Agent: "reviewer", Task: task.ID, Head: one, Ref: "refs/heads/main",
		Base: strings.Repeat("0a", 20), Tree: strings.Repeat("7e", 20), Diff: remit.DiffDigest(changed())}
	if v != want {
		t.Errorf("it says\n%+v, not\n%+v", v, want)
	}
	if v, err := ben.Review(t.Context(), first); err != nil || !v.Superseded || v.Verdict != remit.ReviewApprove {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := ben.Statement(t.Context(), "reviews", last); code(err) != remit.NotFound {
		t.Errorf("a server without a key signs: %v", err)
	}

	s := server.New(server.Config{Engine: w.Engine, Follow: w.Follow, CA: w.CA, Sessions: w.Sessions, Tokens: w.Tokens, Bundles: w.Bundles,
		Log: noLog{}, Base: w.URL, Key: [32]byte{1}, Clock: w.Clock, Attestor: said{}})
	t.Cleanup(s.Close)
	get := func(what, entry string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, ben.Base()[len(w.URL):]+"/"+what+"/"+entry+"/statement", nil)
		r.Header.Set("Authorization", "Bearer "+session.Token)
		rw := httptest.NewRecorder()
		s.ServeHTTP(rw, r)
		return rw
	}
	num := func(n remit.EntryIndex) string { return strconv.FormatUint(uint64(n), 10) }
	rw := get("reviews", num(last))
	var got struct {
		Origin string
		Review remit.ReviewView
	}
	if err := json.Unmarshal(rw.Body.Bytes(), &got); err != nil || rw.Code != 200 || got.Origin != "acme.example/log" || got.Review != want ||
		rw.Header().Get("Content-Type") != "application/vnd.in-toto.envelope+json" {
		t.Errorf("%d %s (%v)", rw.Code, rw.Body, err)
	}
	for _, x := range []struct {
		what, entry string
		code        remit.Code
	}{
		{"reviews", num(first), remit.Conflict}, // taken back
		{"reviews", num(lost), remit.NotFound},  // never recorded
		{"reviews", num(last - 1), remit.NotFound},
		{"reviews", num(last - 2), remit.NotFound},
		{"reviews", "0", remit.NotFound},
		{"reviews", "999999", remit.NotFound},
		{"reviews", "x", remit.BadRequest},
		{"releases", num(last), remit.NotFound},
	} {
		var p remit.Problem
		if rw := get(x.what, x.entry); json.Unmarshal(rw.Body.Bytes(), &p) != nil || p.Code != x.code {
			t.Errorf("%s %s: %d %s", x.what, x.entry, rw.Code, rw.Body)
		}
	}
}
