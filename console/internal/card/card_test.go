package card

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// bound is a card that shows what it binds, as the authority digests it.
func bound(t testing.TB) (remit.AccessView, remit.OrgInfo) {
	t.Helper()
	c := authority.Card{Origin: "acme.example/log", Org: "acme", Profile: remit.Team, Request: "A-7", Task: "T-3", Requester: "p-1", Intent: remit.Digest{1}, Agent: "coder",
		Function: remit.FuncCode, Owner: "p-2", Instance: "I-5", Launcher: "p-1", Confinement: remit.ConfineNone, Ungoverned: []string{"TOKEN<"}, Effect: remit.Digest{2}, Change: remit.Digest{3},
		Shown: remit.Digest{4}, Needs: []remit.Need{{Group: "reviewers", N: 1}}, Rules: []string{"protected"}, Zone: remit.ZoneSource, NotAfter: 1_900_000_000_123_456_789}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return remit.AccessView{ID: "A-7", Profile: remit.Team, Task: "T-3", Agent: "coder", Function: remit.FuncCode, Confinement: remit.ConfineNone, Zone: remit.ZoneSource, Effect: c.Effect,
		Change: c.Change, Card: c.Digest(), Fixed: b, NotAfter: time.Unix(0, c.NotAfter)}, remit.OrgInfo{Org: "acme", Origin: "acme.example/log"}
}

func TestACardIsBoundToWhatItShows(t *testing.T) {
	v, org := bound(t)
	if err := Bind(v, org); err != nil {
		t.Fatal(err)
	}
	for what, bend := range map[string]func(*remit.AccessView, *remit.OrgInfo){
		"another request":      func(v *remit.AccessView, _ *remit.OrgInfo) { v.ID = "A-8" },
		"another profile":      func(v *remit.AccessView, _ *remit.OrgInfo) { v.Profile = remit.Demo },
		"another task":         func(v *remit.AccessView, _ *remit.OrgInfo) { v.Task = "T-4" },
		"another agent":        func(v *remit.AccessView, _ *remit.OrgInfo) { v.Agent = "other" },
		"another function":     func(v *remit.AccessView, _ *remit.OrgInfo) { v.Function = remit.FuncDeploy },
		"another confinement":  func(v *remit.AccessView, _ *remit.OrgInfo) { v.Confinement = remit.ConfineHost },
		"another zone":         func(v *remit.AccessView, _ *remit.OrgInfo) { v.Zone = remit.ZoneNone },
		"another effect":       func(v *remit.AccessView, _ *remit.OrgInfo) { v.Effect[9]++ },
		"another change":       func(v *remit.AccessView, _ *remit.OrgInfo) { v.Change[9]++ },
		"another end":          func(v *remit.AccessView, _ *remit.OrgInfo) { v.NotAfter = v.NotAfter.Add(time.Second) },
		"another digest":       func(v *remit.AccessView, _ *remit.OrgInfo) { v.Card[9]++ },
		"another log":          func(_ *remit.AccessView, o *remit.OrgInfo) { o.Origin = "evil.example/log" },
		"another organisation": func(_ *remit.AccessView, o *remit.OrgInfo) { o.Org = "evil" },
		"a space more":         func(v *remit.AccessView, _ *remit.OrgInfo) { v.Fixed = append([]byte(" "), v.Fixed...) },
		"nothing":              func(v *remit.AccessView, _ *remit.OrgInfo) { v.Fixed = json.RawMessage("null") },
		"a member more": func(v *remit.AccessView, _ *remit.OrgInfo) {
			v.Fixed = append([]byte(`{"Root":true,`), v.Fixed[1:]...)
			v.Card = remit.Hash([]byte("remit card v1\n"), v.Fixed)
		},
	} {
		v, org := bound(t)
		bend(&v, &org)
		if err := Bind(v, org); err == nil {
			t.Errorf("%s is voted on", what)
		}
	}
}

func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "plain", "a\u202eb", "a\x00b", "\xff\xfe", "tab\tline\n", "\u3164", "\ufffd", "🏳️‍🌈"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := Visible(s)
		for _, r := range out {
			if r != '\t' && r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar) {
				t.Fatalf("%q shows as %q", s, out)
			}
		}
		if Visible(out) != out {
			t.Fatalf("%q is not what it says", out)
		}
	})
}

func FuzzPage(f *testing.F) {
	f.Add("refs/heads/x", "intent", `{"why":"x"}`, "--- a\n+++ b\n")
	f.Fuzz(func(t *testing.T, ref, intent, receipt, diff string) {
		v := remit.AccessView{ID: "A-1", Agent: ref, Task: remit.ID(intent), Intent: intent, Receipt: receipt, Sentence: intent, Refs: []remit.RefView{{Ref: ref, Old: receipt, New: diff}},
			Shown: &remit.Shown{Diff: diff, Paths: []remit.ShownPath{{Path: ref, Kind: "add", Note: intent}}, Commits: []remit.ShownCommit{{ID: diff, Author: ref, Subject: intent}}}}
		page, err := Page("acme", v)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(page); strings.Contains(s, "<script") || strings.Contains(s, "\u202e") || strings.Contains(s, "<img") {
			t.Fatalf("%q %q %q %q is markup", ref, intent, receipt, diff)
		}
	})
}

func TestAPlanSaysWhatItLetsPass(t *testing.T) {
	v := remit.AccessView{ID: "A-1", Plan: &remit.PlanView{Task: "T-1", Steps: []remit.PlanUsage{
		{PlanStep: remit.PlanStep{Action: "deploy.promote", Resource: "environment:payments/production", Effect: remit.Digest{0xab}}},
		{PlanStep: remit.PlanStep{Action: "source.push", Resource: "repo:forge/payments", Paths: []remit.Pattern{"docs/**"}, MaxPaths: 3, Uses: 4}, Used: 2},
	}}}
	page, err := Page("acme", v)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"deploy.promote on <code>environment:payments/production</code>: exactly effect <code>ab00", "; once",
		`<strong class="warn">anything</strong> inside <code>docs/**</code>, at most 3 paths; up to 4 times; used 2 times so far`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
}
