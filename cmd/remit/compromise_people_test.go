package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/sshsig"
)

func contentDigest(body []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(body)) }

func (b *breach) csr() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.must(err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	b.must(err)
	return csr
}

// lease steals a token that Remit made for the builder at the registry, and goes there with it, past Remit.
func (b *breach) lease() {
	b.t.Helper()
	const who = "a lease"
	b.in("builder", "echo fresh > fresh && tar -cf payments.tar fresh && remit artifact push oci/payments payments.tar")
	token := ""
	for l := range b.leases {
		var claims struct {
			Exp    int64 `json:"exp"`
			Access []struct {
				Actions []string `json:"actions"`
			} `json:"access"`
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(l, ".")[1])
		b.must(err)
		b.must(json.Unmarshal(payload, &claims))
		if slices.Contains(claims.Access[0].Actions, "push") {
			token = l
		}
	}
	if token == "" {
		b.t.Fatal("no lease that writes was seen")
	}
	before := b.ground("")
	direct := func(move, method, path string, in blob) (int, string) {
		r, err := http.NewRequestWithContext(b.ctx, method, "http://"+b.q.registry+path, bytes.NewReader(in.body))
		b.must(err)
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", in.kind)
		resp, err := http.DefaultClient.Do(r)
		b.must(err)
		resp.Body.Close()
		h := "allowed"
		if resp.StatusCode >= 300 {
			h = fmt.Sprintf("denied HTTP %d", resp.StatusCode)
		}
		b.note(who, move, h)
		return resp.StatusCode, resp.Header.Get("Location")
	}
	m := manifest(who)
	for _, repo := range []string{"payments", "other"} {
		if status, at := direct("upload to the registry itself: "+repo, http.MethodPost, "/v2/"+repo+"/blobs/uploads/", blob{}); status == http.StatusAccepted {
			direct("upload to the registry itself: "+repo, http.MethodPut, at+"?digest="+emptied, blob{body: []byte("{}")})
		}
		direct("push to the registry itself: "+repo, http.MethodPut, "/v2/"+repo+"/manifests/"+contentDigest(m.body), m)
		direct("push a tag to the registry itself: "+repo, http.MethodPut, "/v2/"+repo+"/manifests/latest", m)
		direct("delete at the registry itself: "+repo, http.MethodDelete, "/v2/"+repo+"/manifests/"+contentDigest(m.body), blob{})
	}
	for path, method := range map[string]string{"/git/" + b.q.name + ".git/info/refs?service=git-upload-pack": http.MethodGet, "/task/request": http.MethodPost, "/change/merge": http.MethodPost,
		"/secret/read/robot": http.MethodPost, "/v2/oci/payments/tags/list": http.MethodGet, "/registry/token": http.MethodGet, "/probe/read?name=x": http.MethodPost} {
		b.try(who, "Remit's own "+path, b.http, "Bearer "+token, method, path, nil)
	}
	b.walk(who, "lease", b.http, "Bearer "+token, b.c.task, nil)
	// What lies in the registry is not evidence: the releaser, who is honest, cannot have it deployed anywhere.
	for _, env := range []string{"staging", "production"} {
		out, err := b.c.agents["releaser"].must("remit release request --environment payments/"+env+" --artifact "+string(image)+"@"+contentDigest(m.body)+" --intent 'What lies there'", false)
		if err != nil || !strings.Contains(out, string(remit.EvidenceMissing)) {
			b.t.Errorf("what was pushed past Remit could go to %s: %v\n%s", env, err, out)
		}
	}
	for _, h := range b.harm(before, "") {
		b.t.Errorf("with a lease alone: %s", h)
	}
}

// executor steals the directory of the executor of production, while one of two people has voted.
func (b *breach) executor() {
	b.t.Helper()
	const who = "executor/production"
	dir := filepath.Join(b.q.dir, "executor")
	_, err := b.c.c.EnrolExecutor(b.ctx, b.q.house.URL, dir, who, remit.ZoneProduction)
	b.must(err)
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "executor.crt"), filepath.Join(dir, "executor.key"))
	b.must(err)
	c := b.client(cert)
	cem, _ := b.signIn("cem")
	_, err = castVote(b.ctx, cem, b.open, b.q.people["cem"], true)
	b.must(err)
	before := b.ground("")
	b.walk(who, "certificate", c, "", b.c.task, nil)
	var all []remit.ID
	b.q.house.Engine.View(func(s *authority.State) {
		for id := range s.Accesses {
			all = append(all, id)
		}
	})
	slices.Sort(all)
	for _, id := range all {
		status, out := b.do(c, "", http.MethodPost, "/executor/claim", remit.ClaimRequest{Access: id})
		var answer remit.ClaimAnswer
		_ = json.Unmarshal(out, &answer)
		b.note(who, "claim of any order", how(status < 300, string(out)))
		if answer.Permit != nil || answer.Decision.Verdict == remit.Allow {
			b.t.Errorf("the executor claimed %s, for which too few have voted: %s", id, out)
		}
		b.try(who, "record what came of any order", c, "", http.MethodPost, "/executor/record", remit.RecordRequest{Attempt: id, Outcome: remit.Done})
	}
	for _, h := range b.harm(before, "") {
		b.t.Errorf("with the identity of the executor of production alone: %s", h)
	}
	b.must(b.c.c.EndTask(b.ctx, b.access(b.open).Task, "cancel", remit.EndRequest{DropHolds: true}))
}

// signIn gives a person's session as well.
func (b *breach) signIn(name string) (*client.Client, string) {
	b.t.Helper()
	c, err := client.New(b.q.house.URL, b.q.house.Org, b.q.house.CA.PEM())
	b.must(err)
	pub, err := publicKey(b.q.people[name])
	b.must(err)
	c, s, err := c.SignIn(b.ctx, pub.Marshal(), func(text []byte) ([]byte, error) {
		return sshsig.SignFile(b.ctx, b.q.people[name], identity.SignInNamespace, text, sshsig.Person{})
	})
	b.must(err)
	b.tokens = append(b.tokens, s.Token)
	return c, s.Token
}

// votes casts a vote of ben's on all that is open.
func (b *breach) votes(c *client.Client) {
	list, err := c.Accesses(b.ctx, false)
	b.must(err)
	for _, a := range list {
		move := "approve " + string(a.Steps[0].Action) + " " + string(a.Steps[0].Resource)
		for _, move := range []string{move, move + ", again"} {
			_, err := castVote(b.ctx, c, a.ID, b.q.people["ben"], true)
			said := ""
			if err != nil {
				said = fmt.Sprintf("(%s)", remitCode(err))
			}
			b.note("ben's key", move, how(err == nil, said))
		}
	}
}

// approver steals the key of one who may vote, while a merge waits for one person and production for two.
func (b *breach) approver() {
	b.t.Helper()
	const who = "ben's key"
	c, session := b.signIn("ben")
	said, err := b.c.agents["merger"].must("remit merge --repo "+b.q.name+" --head "+b.head, false)
	b.must(err)
	m := heldAs.FindStringSubmatch(said)
	if m == nil {
		b.t.Fatalf("the merge does not wait:\n%s", said)
	}
	// A merge that others asked for, wrote and reviewed needs one person, and ben is one: that much his key is worth.
	_, err = castVote(b.ctx, c, remit.ID(m[1]), b.q.people["ben"], true)
	b.must(err)
	_, err = b.q.await(b.ctx, c, remit.ID(m[1]))
	b.must(err)
	if second, err := b.q.git.run(b.ctx, b.q.upstream, "rev-parse", "refs/heads/main^2"); err != nil || second != b.head {
		b.t.Fatalf("what was merged is %s, not what was asked for (%v)", second, err)
	}
	b.note(who, "approve a merge that others reviewed", "allowed")

	before := b.ground("")
	b.votes(c)
	taking := func(_, path string) bool {
		for _, p := range []string{"/kill", "/suspend", "/retire", "/cancel", "/complete", "/secrets/", "/votes", "/resume", "/session/end"} {
			if strings.Contains(path, p) {
				return true
			}
		}
		return strings.HasSuffix(path, "/wait")
	}
	b.walk(who, "session", b.http, "Bearer "+session, b.c.task, taking)
	for _, h := range b.harm(before, "") {
		b.t.Errorf("with the key of one approver alone: %s", h)
	}
	if a := b.access(b.open); a.Status != remit.AccessOpen || len(a.Votes) != 1 {
		b.t.Errorf("production waits for two people, and is %s with %d votes", a.Status, len(a.Votes))
	}
	b.looser(c)
	b.looksAround()
	// Taking away is for everybody, and so for a thief; it gives nothing.
	before = b.ground("")
	b.walk(who, "session", b.http, "Bearer "+session, b.c.task, func(method, path string) bool {
		return !taking(method, path) || strings.HasSuffix(path, "/wait") || strings.HasSuffix(path, "/session/end")
	})
	b.try(who, "end its own session", b.http, "Bearer "+session, http.MethodPost, "/session/end", struct{}{})
	for _, h := range b.harm(before, "") {
		if !strings.HasPrefix(h, "secret ") && !strings.HasPrefix(h, "agent ") && !strings.HasPrefix(h, "instance ") {
			b.t.Errorf("with the key of one approver alone: %s", h)
		}
	}
}

// looser sees that all of this can fail: where production asks for one person, ben's key is enough, and that is found.
func (b *breach) looser(ben *client.Client) {
	b.t.Helper()
	set, err := b.c.c.Declarations(b.ctx)
	b.must(err)
	for i := range set.Environments {
		set.Environments[i].Approvers = []remit.Need{{Group: "operators", N: 1}}
	}
	b.must(b.c.c.EndTask(b.ctx, b.access(b.open).Task, "cancel", remit.EndRequest{DropHolds: true}))
	b.declare(&set)
	b.stand()
	before, rows := b.ground(""), len(b.rows)
	b.votes(ben)
	b.rows = b.rows[:rows]
	found := b.harm(before, "")
	if !slices.ContainsFunc(found, func(h string) bool { return strings.HasPrefix(h, "what runs in production was") }) {
		b.t.Errorf("production asks for one vote, ben's key gave it, and this test saw only %q", found)
	}
}

// remitCode is the code of an error that reached a user.
func remitCode(err error) remit.Code {
	for _, i := range remit.Codes() {
		if isCode(err, i.Code) {
			return i.Code
		}
	}
	return remit.Internal
}

// report logs the table: what was reached, move by move, and what was denied, by code. What is reached is what a stolen
// identity is worth: if it becomes more or less, somebody is to look, and to change testdata/compromised.txt.
func (b *breach) report() {
	b.t.Helper()
	var text, worth strings.Builder
	denied := map[string]map[string]int{}
	lines := map[string][]string{}
	var order []string
	for _, r := range b.rows {
		if denied[r.who] == nil {
			order = append(order, r.who)
			denied[r.who] = map[string]int{}
		}
		if code, ok := strings.CutPrefix(r.how, "denied "); ok {
			denied[r.who][code]++
		} else if l := fmt.Sprintf("  %-8s %s\n", r.how, r.move); !slices.Contains(lines[r.who], l) {
			lines[r.who] = append(lines[r.who], l)
		}
	}
	for _, who := range order {
		slices.Sort(lines[who])
		reached := who + "\n" + strings.Join(lines[who], "")
		worth.WriteString(reached)
		var codes []string
		for code, n := range denied[who] {
			codes = append(codes, fmt.Sprintf("%s %d", code, n))
		}
		slices.Sort(codes)
		fmt.Fprintf(&text, "\n%s  denied   %s\n", reached, strings.Join(codes, ", "))
	}
	b.t.Log(text.String())
	want, err := os.ReadFile("testdata/compromised.txt")
	b.must(err)
	named := func(text string) (out []string) {
		who := ""
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, " ") {
				who = strings.TrimSpace(line)
				continue
			}
			out = append(out, who+": "+strings.TrimSpace(line))
		}
		return out
	}
	now, was := named(worth.String()), named(string(want))
	for _, l := range now {
		if !slices.Contains(was, l) {
			b.t.Errorf("this is reached, and was not: %s", l)
		}
	}
	for _, l := range was {
		if !slices.Contains(now, l) {
			b.t.Errorf("this is not reached any more: %s", l)
		}
	}
}
