package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/world"
)

// cardOf holds a push and gives its card's address below the server.
func cardOf(t *testing.T, w *world.World) (remit.AccessView, string) {
	t.Helper()
	w.Declare(w.Team())
	d := w.Push(w.Instance("cleo", w.Task("cleo").ID), shown(), ".github/workflows/ci.yml")
	v, err := w.SignIn("ben").Access(t.Context(), d.Access)
	if err != nil {
		t.Fatal(err)
	}
	path, ok := strings.CutPrefix(v.Link, w.URL)
	if !ok {
		t.Fatalf("the link is %s", v.Link)
	}
	return v, path
}

func TestTheCardShowsWhatAnApproverNeedsAndCanDoNothing(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	v, path := cardOf(t, w)
	status, h, page := call(t, w, "GET", path, "", "")
	if status != 200 || !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %s", status, page)
	}
	if out := os.Getenv("REMIT_CARD"); out != "" { // to look at it in a browser
		if err := os.WriteFile(out, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"coder", "requested by", "cleo", "fix the rounding of refunds", "own words", "refs/heads/remit/" + string(v.Task) + "/fix", "brought outside Remit",
		"round half to even", "refund.go", "runs by itself", "only its beginning is shown", `class="add"`, `class="del"`, `class="hunk"`,
		"confinement: none", "it can read that person", "profile: demo", "prove nothing", "1 of reviewers", "ben",
		"remit approvals approve " + string(v.ID), v.Card.String(), v.Effect.String(), "may not", "cleo caused", "source.push",
		"⟨U+202E⟩gnisrever", "⟨U+202E⟩5.0⟨U+2066⟩", "<script>alert(1)</script>", "prefers-color-scheme",
	} {
		if !strings.Contains(html.UnescapeString(regexp.MustCompile(`</?span[^>]*data-bind[^>]*>|</span>`).ReplaceAllString(page, "")), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, never := range []string{"<script", "<form", "<img", "<iframe", "http://", "https://", "\u202e", "\u2066", "ZgotmplZ", "(erased)", "javascript:", " style="} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	csp := h.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'; style-src 'sha256-") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") {
		t.Errorf("%s", csp)
	}
	_, style, _ := strings.Cut(page, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	if sum := sha256.Sum256([]byte(style)); !strings.Contains(csp, base64.StdEncoding.EncodeToString(sum[:])) {
		t.Error("the policy is not that of the page's style sheet, so browsers would show none")
	}
	if h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("the link may leak: %v", h)
	}
}

func TestALinkThatWasNotGivenHereIsRefused(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	v, path := cardOf(t, w)
	u, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	token := u.Query().Get("view")
	flipped := []byte(token)
	flipped[3] ^= 1
	second := w.Push(w.Instance("cleo", w.Task("cleo").ID), shown(), ".envrc")
	for name, p := range map[string]string{
		"no token":        u.Path,
		"an empty one":    u.Path + "?view=",
		"one byte of it":  u.Path + "?view=" + string(flipped),
		"a shorter one":   u.Path + "?view=" + token[:20],
		"another card's":  "/v1/orgs/acme/approvals/" + string(second.Access) + "/card?view=" + token,
		"of no card":      "/v1/orgs/acme/approvals/A-999/card?view=" + token,
		"two of them":     u.Path + "?view=x&view=" + token,
		"as a credential": u.Path,
	} {
		auth := ""
		if name == "as a credential" {
			auth = "Bearer " + token
		}
		if status, _, body := call(t, w, "GET", p, auth, ""); status != 403 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, _, _ := call(t, w, "POST", "/v1/orgs/acme/approvals/"+string(v.ID)+"/votes?view="+token, "Bearer "+token, "{}"); status != 401 {
		t.Errorf("a link votes: %d", status)
	}
	w.Clock.Advance(v.NotAfter.Sub(w.Clock.Now()))
	if status, _, _ := call(t, w, "GET", path, "", ""); status != 409 {
		t.Errorf("a link beyond its time: %d", status)
	}
}

func TestWaitingEndsWhenTheRequestIsSettledOrPatienceIs(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	w.Declare(w.Team())
	inst := w.Instance("cleo", w.Task("cleo").ID)
	d := w.Push(inst, shown(), ".envrc")
	c := w.Client()
	answers := make(chan remit.AccessView)
	ask := func() {
		v, err := c.WaitAccess(t.Context(), d.Access, inst.ID, []byte(inst.Secret))
		if err != nil {
			t.Error(err)
		}
		answers <- v
	}
	before := w.Clock.Waiting()
	go ask()
	w.Waits(before + 1)
	w.Clock.Advance(31 * time.Second)
	if v := <-answers; v.Status != remit.AccessOpen || v.YouMay || v.WhyNot == "" {
		t.Fatalf("%+v", v)
	}
	before = w.Clock.Waiting()
	go ask()
	w.Waits(before + 1)
	v, err := w.SignIn("ben").Access(t.Context(), d.Access)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Vote("ben", v, false); err != nil {
		t.Fatal(err)
	}
	if v := <-answers; v.Status != remit.AccessVoid || v.Why != remit.Vetoed {
		t.Fatalf("%+v", v)
	}
}
