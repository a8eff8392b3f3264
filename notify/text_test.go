package notify_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/notify"
)

// FuzzCard holds that whatever an agent, a commit or a path says, it stays text: it ends no block of code, makes no link
// and no mention, is no markup and no line of a header, and nothing of it is out of sight.
func FuzzCard(f *testing.F) {
	for _, s := range []string{"fix the typo", "```\n<!channel> <https://evil.example|card>", "\r\nBcc: eve@evil.example", "\u202e\u2066\u200b\ufeff\x00\xff",
		"</pre><script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", strings.Repeat("`", 5000)} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, diff bool) {
		v := remit.AccessView{ID: "A-1", Status: remit.AccessOpen, Agent: s, Owner: s, Requester: s, Intent: s, Sentence: s, Rules: []string{s}, Eligible: []string{s},
			Steps: []remit.Step{{Action: remit.Action(s), Resource: remit.Resource(s)}}, Needs: []remit.Need{{Group: s, N: 1}},
			Refs:    []remit.RefView{{Ref: s, Effects: []string{s}, Matched: []string{s}}},
			Changes: []remit.Change{{Kind: s, Name: s, Widens: s}}, Plan: &remit.PlanView{Steps: []remit.PlanUsage{{PlanStep: remit.PlanStep{Resource: remit.Pattern(s), Paths: []remit.Pattern{remit.Pattern(s)}}}}},
			Shown: &remit.Shown{Commits: []remit.ShownCommit{{ID: s, Author: s, Subject: s}}, Paths: []remit.ShownPath{{Path: s, Note: s}}, Diff: s}}
		title, text, mrkdwn, html, err := notify.Render(v, diff)
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range []string{title, text, mrkdwn, html} {
			if !utf8.ValidString(out) {
				t.Fatalf("no UTF-8: %q", out)
			}
			for _, r := range out {
				if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
					t.Fatalf("%U is out of sight in %q", r, out)
				}
			}
		}
		if strings.ContainsAny(title, "\n\r") {
			t.Fatalf("a title of several lines: %q", title)
		}
		if head, body, _ := strings.Cut(mrkdwn, "```\n"); strings.Count(body, "```") != 1 || strings.ContainsAny(strings.TrimSuffix(body, "<https://remit.example/approve/A-1>"), "<>") || strings.ContainsAny(head, "<>") {
			t.Fatalf("it leaves its block: %q", mrkdwn)
		}
		before, _, _ := strings.Cut(html, "<title>")
		if !strings.HasPrefix(before, "<!doctype html>") || strings.Contains(html, "<script") || strings.Contains(html, "<img") || strings.Count(html, "<a ") != 1 {
			t.Fatalf("markup: %q", html)
		}
	})
}
