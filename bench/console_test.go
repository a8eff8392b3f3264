package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"crypto/tls"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/browser"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/server"
	"github.com/remit-dev/remit/sshsig"
)

// lobby is an organisation in which requests wait for ben.
type lobby struct {
	*world.World
	b      testing.TB
	cleo   remit.ID
	cookie string
}

func newLobby(b testing.TB) *lobby {
	b.Helper()
	l := &lobby{World: world.New(b, world.Options{Host: "localhost"}), b: b}
	l.Declare(l.Team())
	l.cleo, _ = server.Authority{Engine: l.Engine}.ByKey(l.Key("cleo").PublicKey().Marshal())
	text := l.Sessions.Challenge()
	sig, err := sshsig.Sign(l.Key("ben"), identity.SignInNamespace, text)
	if err != nil {
		b.Fatal(err)
	}
	if l.cookie, _, err = l.Sessions.SignIn(text, sig, true); err != nil {
		b.Fatal(err)
	}
	return l
}

// hold has an agent ask for a push that ben and others decide on.
func (l *lobby) hold(ctx context.Context, n int) (remit.ID, error) {
	words, err := l.Engine.NewPayload([]byte("fix the rounding of refunds"))
	if err != nil {
		return "", err
	}
	task, err := l.Engine.Do(ctx, &authority.CreateTask{By: l.cleo, Agent: "coder", Intent: words.Commitment()}, words)
	if err != nil {
		return "", err
	}
	in, err := l.Engine.Do(ctx, &authority.StartInstance{By: l.cleo, Task: task.ID, Confinement: remit.ConfineNone, Secret: remit.Hash(fmt.Append(nil, n)), Host: remit.Hash([]byte("laptop"))})
	if err != nil {
		return "", err
	}
	r := world.Push(remit.Caller{Instance: in.ID, Agent: "coder", Task: task.ID}, "fix", fmt.Sprint(n), ".github/workflows/ci.yml")
	r.Steps[0].Resource = world.Repo
	d, err := l.Engine.Authorize(ctx, r)
	if err == nil && d.Verdict != remit.Hold {
		err = fmt.Errorf("%s: %s", d.Verdict, d.Sentence)
	}
	return d.Access, err
}

// open gets a page as ben's browser does, rows of it, and how long that took.
func (l *lobby) open(c *http.Client, path string) (rows int, took float64) {
	l.b.Helper()
	r, err := http.NewRequestWithContext(l.b.Context(), http.MethodGet, l.URL+path, nil)
	if err != nil {
		l.b.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: identity.SessionCookie, Value: l.cookie})
	begin := time.Now()
	resp, err := c.Do(r)
	if err != nil {
		l.b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		l.b.Fatalf("%s: %d %v", path, resp.StatusCode, err)
	}
	return strings.Count(string(body), "<article"), float64(time.Since(begin).Microseconds()) / 1000
}

// BenchmarkInbox is what the inbox takes to open with ten thousand requests in it, beside one that holds a single page
// of them; and how long a person waits who has it open in a browser until a new request stands there.
func BenchmarkInbox(b *testing.B) {
	l := newLobby(b)
	c := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: l.CA.Pool()}}}
	made := 0
	fill := func(to int) {
		first := made
		spread(to-made, func(i int) {
			if _, err := l.hold(b.Context(), first+i); err != nil {
				b.Error(err)
			}
		})
		made = to
	}
	measure := func(path string) float64 {
		var all []float64
		for range atMost(101, 5) {
			rows, took := l.open(c, path)
			if rows != 50 {
				b.Fatalf("%s has %d rows", path, rows)
			}
			all = append(all, took)
		}
		return median(all)
	}
	for b.Loop() {
		fill(50)
		one := measure("/console/")
		fill(atMost(10_000, 300))
		for name, path := range map[string]string{"mine": "/console/", "all": "/console/?show=all"} {
			took := measure(path)
			b.ReportMetric(took, name+"-ms")
			if name == "mine" {
				b.ReportMetric(took/one, "of-a-page-x")
			}
		}
		p := browser.New(b).Open(browser.Desktop)
		p.Cookie(l.URL, identity.SessionCookie, l.cookie)
		p.Go(l.URL + "/console/")
		p.See("You may vote.")
		var seen []float64
		for range atMost(60, 3) {
			begin := time.Now()
			id, err := l.hold(b.Context(), made)
			if err != nil {
				b.Fatal(err)
			}
			made++
			p.Until(fmt.Sprintf(`document.getElementById(%q)`, id))
			seen = append(seen, float64(time.Since(begin).Microseconds())/1000)
		}
		b.ReportMetric(median(seen), "visible-p50-ms")
		slices.Sort(seen)
		b.ReportMetric(seen[len(seen)*95/100], "visible-p95-ms")
	}
	b.ReportMetric(0, "ns/op")
}
