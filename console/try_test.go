package console_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/browser"
)

// stricter denies one push of those that were allowed and holds two others (world.Bundles); what it says wants to be markup.
const stricter = "package remit.any\n# no refund.go\n# look look/one.go\n# look look/two.go\n"

// A bundle is tried on what happened, in the page: what would be denied and held instead is there by number, by rule and
// agent, and one by one; each leads to its entry. It changes nothing.
func TestABundleIsTriedInThePage(t *testing.T) {
	h := newHouse(t, remit.Team)
	task := h.Task("cleo")
	i := h.Instance("cleo", task.ID)
	h.ask(push(i, "1", "main.go"), remit.Allow)
	denied := h.ask(push(i, "2", "refund.go"), remit.Allow)
	held := h.ask(push(i, "3", "look/one.go"), remit.Allow)
	h.ask(push(i, "4", "look/two.go"), remit.Allow)
	before, err := h.SignIn("ada").Policy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(stricter)
	if err != nil {
		t.Fatal(err)
	}
	b := chromium.New(t)
	dark := browser.Desktop
	dark.Dark = true
	for name, s := range map[string]browser.Screen{"desktop": browser.Desktop, "phone": browser.Phone, "dark": dark} {
		p := b.Open(s)
		h.enter(p, "ada")
		p.Go(h.URL + "/console/policy")
		p.Click(`form[action$="/observe"] summary`)
		p.Until(`document.getElementById("text").checkVisibility()`)
		p.Run(`document.getElementById("text").value = ` + string(text))
		p.Click(`form[action$="/observe"] button`)
		p.See("3 would have been decided otherwise:")
		for _, says := range []string{"1 allow to deny", "2 allow to hold", "reviewers would be asked 2 instead of 0 times", "rule no: allow to deny, 1 from entry " + fmt.Sprint(denied.Entry),
			"rule look: allow to hold, 2 from entry " + fmt.Sprint(held.Entry), "agent coder: allow to deny, 1 from", "was allow would be deny <script>alert(1)</script> That is changed by people."} {
			if got := strings.Join(strings.Fields(p.Text()), " "); !strings.Contains(got, says) {
				t.Errorf("%s: it does not say %q:\n%s", name, says, got)
			}
		}
		fine(t, p)
		p.Shot("tried-"+name, true)

		// Each leads to its entry.
		for entry, was := range map[remit.EntryIndex]string{denied.Entry: "refund.go", held.Entry: "look/one.go"} {
			link := fmt.Sprintf(`[role="status"] a[href="/console/log/%d"]`, entry)
			if n := browser.Eval[int](p, `document.querySelectorAll('`+link+`').length`); n < 2 { // by rule, and by itself
				t.Errorf("%s: %d links to entry %d, of the push of %s", name, n, entry, was)
			}
		}
		p.Click(fmt.Sprintf(`[role="status"] a[href="/console/log/%d"]`, denied.Entry))
		p.Until(`location.pathname.endsWith("/log/` + fmt.Sprint(denied.Entry) + `")`)
		p.See("source.push")

		// One rule alone.
		p.Go(h.URL + "/console/policy")
		p.Type("#only", "look")
		p.Click(`form[action$="/observe"] summary`)
		p.Until(`document.getElementById("text").checkVisibility()`)
		p.Run(`document.getElementById("text").value = ` + string(text))
		p.Click(`form[action$="/observe"] button`)
		p.See("only look")
		if got := p.Text(); strings.Contains(got, "changed by people") {
			t.Errorf("%s: another rule is there as well:\n%s", name, got)
		}
		fine(t, p)
	}
	after, err := h.SignIn("ada").Policy(t.Context())
	if err != nil || after.Digest != before.Digest {
		t.Fatalf("%v: to try is to change", err)
	}
}
