package card

import (
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

func TestAReceiptIsReadable(t *testing.T) {
	for receipt, want := range map[string][]line{
		"":                     nil,
		"pushed\nby \u202egit": {{"the upstream said", "pushed\nby ⟨U+202E⟩git", true}},
		`"text"`:               {{"the upstream said", `"text"`, true}},
		`{}`:                   {{"the upstream said", `{}`, true}},
		`{"environment":"a/b","attempt":"X-1","kind":"command","wanted":["sha256:1","sha256:2"],"now":["sha256:1"],"exit":"exit status 1","output":"a\nb\u202e","why":"it runs something else","next":"look"}`: {
			{"what was seen", "it runs something else", false}, {"what to do now", "look", false}, {"the command ended with", "exit status 1", false}, {"there now", "sha256:1", false},
			{"wanted", "sha256:1\nsha256:2", true}, {"it printed", "a\nb⟨U+202E⟩", true}},
		`{"objects":[{"object":"Deployment/app","state":"applied","rollout":"1 of 2"},{"object":"Service/app","state":"refused","why":"no"}]}`: {
			{"objects", "Deployment/app: applied; 1 of 2\nService/app: refused; no", true}},
		`{"why":"fine","later":{"a":1}}`: {{"what was seen", "fine", false}, {"the receipt", "{\n  \"why\": \"fine\",\n  \"later\": {\n    \"a\": 1\n  }\n}", true}},
	} {
		if got := receiptLines(receipt); !slices.Equal(got, want) {
			t.Errorf("%s:\n%+v, not\n%+v", receipt, got, want)
		}
	}
	page, err := Page("acme", remit.AccessView{Outcome: remit.Ambiguous, Receipt: `{"environment":"a/b","why":"<b>nobody</b> can tell","output":"one\ntwo"}`})
	if err != nil {
		t.Fatal(err)
	}
	if s := string(page); !strings.Contains(s, "<dt>what was seen</dt><dd>&lt;b&gt;nobody&lt;/b&gt; can tell</dd>") || !strings.Contains(s, "<dt>it printed</dt><dd><blockquote>one\ntwo</blockquote></dd>") || strings.Contains(s, `{&#34;`) {
		t.Error(s)
	}
}
