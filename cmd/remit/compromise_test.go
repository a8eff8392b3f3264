package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/server"
)

// TestOneCompromisedIdentity gives away one identity after another, and plays every move that it then has. What it reaches is
// logged; none of it alone changes what runs, what is merged, what is declared, or what counts as evidence. Then it looks
// for every secret in play in everything that was said and kept.
func TestOneCompromisedIdentity(t *testing.T) {
	needsProcesses(t)
	b := newBreach(t)
	b.stand()
	for _, name := range []string{"planner", "coder", "reviewer", "merger", "builder", "releaser", "deployer"} {
		b.agent(name)
	}
	b.lease()
	b.executor()
	b.stand()
	b.approver()
	b.report()
	b.leaks()
}

func (b *breach) note(who, move, how string) { b.rows = append(b.rows, reached{who, move, how}) }

var (
	ownCode = regexp.MustCompile(`"remit":"([A-Z_]{4,})"()()`) // beside the registry's own code
	codeIn  = regexp.MustCompile(`"code":"([A-Z_]{4,})"|code=([A-Z_]{4,})|\(([A-Z_]{4,})\)`)
	heldIn  = regexp.MustCompile(`"verdict":"hold"|remit wait A-[0-9]+`)
	emptied = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" // of {}
)

// how reads an answer of any gateway.
func how(ok bool, said string) string {
	if heldIn.MatchString(said) {
		return "held"
	}
	m := ownCode.FindStringSubmatch(said)
	if m == nil {
		m = codeIn.FindStringSubmatch(said)
	}
	switch {
	case strings.Contains(said, `"verdict":"deny"`), strings.Contains(said, "ERR remit:"), !ok && m != nil: // a fetch is refused with status 200
		if m == nil {
			return "denied"
		}
		return "denied " + cmp.Or(m[1], m[2], m[3])
	case ok:
		return "allowed"
	}
	return "denied without a code"
}

// try makes a request and notes what came of it.
func (b *breach) try(who, move string, c *http.Client, auth, method, path string, in any) (int, []byte) {
	status, out := b.do(c, auth, method, path, in)
	h := how(status < 300, string(out))
	if method == http.MethodGet && status < 300 && h == "held" {
		h = "allowed" // what was read tells of a hold
	}
	if status >= 300 && h == "denied without a code" {
		h = fmt.Sprintf("denied HTTP %d", status)
	}
	b.note(who, move, h)
	return status, out
}

// stand has the releaser ask for the next release in production, if nothing waits: two people are to decide.
func (b *breach) stand() {
	b.t.Helper()
	said := b.in("releaser", "remit release request --environment payments/production --artifact "+b.next+" --intent 'The next release'")
	m := heldAs.FindStringSubmatch(said)
	if m == nil {
		b.t.Fatalf("nothing waits for people:\n%s", said)
	}
	b.open = remit.ID(m[1])
}

func (b *breach) access(id remit.ID) (a authority.Access) {
	b.q.house.Engine.View(func(s *authority.State) { a = *s.Accesses[id] })
	return a
}

// thief is who has an instance's secret, and so all of its tokens and its SVID.
type thief struct {
	name, auth string
	inst       client.Instance
	tokens     map[string]string
	cert       *http.Client
	commit     string
	release    func()
}

var gateways = []string{"git", "forge", "probe", "task", "change", "secret", "registry", "oci", "admission"}

func (b *breach) steal(name string, task remit.ID) *thief {
	s := b.c.c.Session()
	inst, err := s.StartInstance(b.ctx, client.InstanceStart{Task: task, Confinement: remit.ConfineNone})
	b.must(err)
	_, err = s.Hold(b.ctx, inst.ID, inst.Secret)
	b.must(err)
	th := &thief{name: name, inst: inst, tokens: map[string]string{}, auth: "Remit-Instance " + string(inst.ID) + ":" + base64.RawURLEncoding.EncodeToString([]byte(inst.Secret))}
	b.tokens = append(b.tokens, strings.TrimPrefix(th.auth, "Remit-Instance "+string(inst.ID)+":"))
	for _, g := range gateways {
		if th.tokens[g], _, err = s.Token(b.ctx, inst.ID, inst.Secret, g); err != nil {
			b.t.Fatal(err)
		}
		b.tokens = append(b.tokens, th.tokens[g])
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.must(err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	b.must(err)
	chain, _, err := s.SVID(b.ctx, inst.ID, inst.Secret, csr)
	b.must(err)
	leaf, err := x509.ParseCertificates(chain)
	b.must(err)
	th.cert = b.client(tls.Certificate{Certificate: [][]byte{leaf[0].Raw}, PrivateKey: key})
	th.release = func() { b.must(s.End(b.ctx, inst.ID, inst.Secret)) }
	return th
}

// agent steals an instance of an agent of the story.
func (b *breach) agent(name string) {
	task := b.access(b.open).Task // the deployer's
	if a := b.c.agents[name]; a != nil {
		task = a.task
	}
	th := b.steal(name, task)
	known := b.tasks()
	before := b.ground(task)
	b.gitMoves(th)
	b.askMoves(th)
	b.changeMoves(th)
	b.ociMoves(th)
	b.otherMoves(th)
	other := b.c.task
	if name == "planner" {
		other = b.c.agents["coder"].task
	}
	for form, auth := range map[string]string{"token": bearer(th.tokens["git"]), "instance": th.auth} {
		b.walk(th.name, form, b.http, auth, other, nil)
	}
	b.walk(th.name, "SVID", th.cert, "", other, nil)
	b.try(name, "read its own task", b.http, th.auth, http.MethodGet, "/tasks/"+string(task), nil)
	for _, h := range b.harm(before, task) {
		b.t.Errorf("with the identity of %s alone: %s", name, h)
	}
	b.clean(th, known)
}

func (b *breach) tasks() map[remit.ID]bool {
	out := map[remit.ID]bool{}
	b.q.house.Engine.View(func(s *authority.State) {
		for id := range s.Tasks {
			out[id] = true
		}
	})
	return out
}

// clean takes back what the thief began, so that each identity is judged alone, and looks at the tasks that it made.
func (b *breach) clean(th *thief, known map[remit.ID]bool) {
	type made struct {
		id  remit.ID
		why string
	}
	var began []made
	var holds []remit.ID
	b.q.house.Engine.View(func(s *authority.State) {
		asker := s.Agents[th.inst.Agent]
		for id, task := range s.Tasks {
			if known[id] {
				continue
			}
			why, f := "", s.Agents[task.Agent].Function
			switch {
			case task.By != th.inst.ID || task.Parent != th.inst.Task:
				why = "is not a child of the thief's"
			case task.Delegated && f != asker.Function, !task.Delegated && !slices.Contains(asker.MayRequest, f):
				why = "is of function " + string(f) + ", which " + asker.Name + " may not ask for"
			}
			if s.LiveTasks[id] {
				began = append(began, made{id, why})
			} else if why != "" {
				began = append(began, made{"", string(id) + " " + why})
			}
		}
		for id := range s.OpenHolds {
			if a := s.Accesses[id]; a.Instance == th.inst.ID {
				holds = append(holds, id)
			}
		}
	})
	for _, m := range began {
		if m.why != "" {
			b.t.Errorf("%s made a task: %s %s", th.name, m.id, m.why)
		}
		if m.id != "" {
			b.must(b.c.c.EndTask(b.ctx, m.id, "cancel", remit.EndRequest{DropHolds: true}))
		}
	}
	for _, id := range holds {
		refused := false
		for _, p := range []string{"cem", "ben"} {
			c, err := b.q.as(b.ctx, p)
			b.must(err)
			if _, err := castVote(b.ctx, c, id, b.q.people[p], false); err == nil {
				refused = true
				break
			}
		}
		if !refused {
			b.t.Errorf("nobody could refuse %s of %s", id, th.name)
		}
	}
	th.release()
}

// gitMoves pushes a commit of the thief's own wherever there is.
func (b *breach) gitMoves(th *thief) {
	dir := filepath.Join(b.q.dir, "stolen")
	if !b.exists(dir) {
		_, err := b.q.git.run(b.ctx, b.q.dir, "clone", "--quiet", b.q.upstream, dir)
		b.must(err)
	}
	_, err := b.q.git.run(b.ctx, dir, "commit", "--quiet", "--allow-empty", "-m", "Owned by "+th.name)
	b.must(err)
	th.commit, err = b.q.git.run(b.ctx, dir, "rev-parse", "HEAD")
	b.must(err)
	foreign := b.c.agents["coder"].task
	if th.inst.Task == foreign {
		foreign = b.c.task
	}
	at := "/git/" + b.q.name + ".git"
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("remit:"+th.tokens["git"]))
	b.try(th.name, "git read "+b.q.name, b.http, basic, http.MethodGet, at+"/info/refs?service=git-upload-pack", nil)
	b.try(th.name, "git read another repository", b.http, basic, http.MethodGet, "/git/local/"+otherRepository+".git/info/refs?service=git-upload-pack", nil)
	b.try(th.name, "git with the token of another gateway", b.http, bearer(th.tokens["oci"]), http.MethodGet, at+"/info/refs?service=git-upload-pack", nil)
	for move, ref := range map[string]string{
		"git push main": "HEAD:refs/heads/main", "git push own branch": "HEAD:refs/heads/remit/" + string(th.inst.Task) + "/owned",
		"git push another task's branch": "HEAD:refs/heads/remit/" + string(foreign) + "/owned", "git delete main and push a tag": ":refs/heads/main HEAD:refs/tags/v9",
	} {
		out, err := b.git(th.tokens["git"], append([]string{"push", b.base + at}, strings.Fields(ref)...)...)
		b.note(th.name, move, how(err == nil, out))
	}
}

// askMoves asks for children of every agent, with all that it is entitled to and with all there is, and for every
// deployment.
func (b *breach) askMoves(th *thief) {
	ask := func(move, verb string, in remit.ChildRequest) {
		b.try(th.name, move, b.http, bearer(th.tokens["task"]), http.MethodPost, "/task/"+verb, in)
	}
	all := remit.Scope{Resources: []remit.Pattern{"repo:local/*", "artifact:oci/payments", "environment:payments/*", "secret:*"}, Refs: []remit.Pattern{"refs/heads/**"}}
	for _, a := range remit.Catalogue() {
		all.Actions = append(all.Actions, a.Action)
	}
	set, err := b.c.c.Declarations(b.ctx)
	b.must(err)
	inputs := func(list ...string) (out []remit.Input) {
		for _, s := range list {
			in, err := remit.ParseInput(s)
			b.must(err)
			out = append(out, in)
		}
		return out
	}
	rest := inputs("repo:"+b.q.name+"@"+th.commit, "repo:"+b.q.name+"@"+b.c.merged, b.c.good)
	for _, a := range set.Agents {
		for _, verb := range []string{"request", "delegate"} {
			ask("task."+verb+" "+a.Name, verb, remit.ChildRequest{Agent: a.Name, Intent: "More", Scope: a.Entitlements, Inputs: rest})
			ask("task."+verb+" "+a.Name+" with all there is", verb, remit.ChildRequest{Agent: a.Name, Intent: "All", Scope: []remit.Scope{all}, Inputs: rest})
		}
	}
	nothing := string(image) + "@sha256:" + strings.Repeat("0", 64)
	for _, env := range []string{"staging", "production"} {
		for what, name := range map[string]string{"good": b.c.good, "next": b.next, "an unpublished digest": nothing} {
			in := inputs(name)[0]
			d := remit.Deploy{Environment: "payments/" + env, Artifacts: []remit.Artifact{{Resource: in.Resource, Digest: in.ID}}}
			ask("release "+what+" to "+env, "request", remit.ChildRequest{Intent: "Release", Deploy: &d})
			back := d
			back.Rollback = true
			ask("roll "+env+" back to "+what, "request", remit.ChildRequest{Intent: "Back", Deploy: &back})
		}
		ask("roll "+env+" back", "request", remit.ChildRequest{Intent: "Back", Deploy: &remit.Deploy{Environment: "payments/" + env, Rollback: true}})
	}
}

func (b *breach) changeMoves(th *thief) {
	for _, c := range []struct{ move, verb, head, verdict string }{
		{"approve its own commit", "review", th.commit, remit.ReviewApprove}, {"approve another's commit", "review", b.head, remit.ReviewApprove},
		{"merge its own commit", "merge", th.commit, ""}, {"merge the reviewed commit", "merge", b.head, ""}, {"merge an unreviewed commit", "merge", b.raw, ""},
	} {
		b.try(th.name, c.move, b.http, bearer(th.tokens["change"]), http.MethodPost, "/change/"+c.verb, remit.ChangeRequest{Repo: b.q.name, Head: c.head, Verdict: c.verdict})
	}
}

// manifest is an image of nothing, different for each name.
func manifest(name string) blob {
	return blob{"application/vnd.oci.image.manifest.v1+json", fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[],"annotations":{"by":%q}}`, emptied, name)}
}

func (b *breach) ociMoves(th *thief) {
	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte("remit:"+th.tokens["oci"]))
	_, good, _ := strings.Cut(b.c.good, "@")
	for _, repo := range []string{"oci/payments", "mirror/payments", "oci/other"} {
		at := "/v2/" + repo
		b.try(th.name, "pull from "+repo, b.http, auth, http.MethodGet, at+"/manifests/"+good, nil)
		b.try(th.name, "list tags of "+repo, b.http, auth, http.MethodGet, at+"/tags/list", nil)
		if status, where := b.try(th.name, "upload to "+repo, b.http, auth, http.MethodPost, at+"/blobs/uploads/", nil); status == http.StatusAccepted {
			b.do(b.http, auth, http.MethodPut, string(where)+"?digest="+emptied, blob{"application/octet-stream", []byte("{}")})
		}
		m := manifest(th.name)
		b.try(th.name, "publish in "+repo, b.http, auth, http.MethodPut, at+"/manifests/"+contentDigest(m.body), m)
		b.try(th.name, "publish in "+repo+" under a tag", b.http, auth, http.MethodPut, at+"/manifests/latest", manifest(th.name+" again"))
		b.try(th.name, "delete in "+repo, b.http, auth, http.MethodDelete, at+"/manifests/"+good, nil)
	}
	b.try(th.name, "token of the registry's front", b.http, auth, http.MethodGet, "/registry/token?scope=repository:oci/payments:*", nil)
}

func (b *breach) otherMoves(th *thief) {
	to := func(gateway, move, method, path string, in any) {
		b.try(th.name, move, b.http, bearer(th.tokens[gateway]), method, path, in)
	}
	for _, name := range []string{"robot", "deploy", "nothing"} {
		to("secret", "read secret "+name, http.MethodPost, "/secret/read/"+name, nil)
		to("secret", "use secret "+name, http.MethodPost, "/secret/use/"+name+"/-/steal", nil)
	}
	to("secret", "collect another's answer", http.MethodGet, "/secret/answer/"+string(b.used), nil)
	to("forge", "forge read", http.MethodGet, "/forge/local/api/v1/repos/local/payments", nil)
	to("forge", "forge merge", http.MethodPost, "/forge/local/api/v1/repos/local/payments/pulls/1/merge", map[string]string{"Do": "merge"})
	for _, kind := range []string{"read", "write", "privileged"} {
		to("probe", "probe."+kind, http.MethodPost, "/probe/"+kind+"?name=x", nil)
	}
	to("admission", "ask what production may run", http.MethodPost, "/admission/"+strings.Repeat("0", 64)+"/payments/production", map[string]string{"kind": "AdmissionReview"})
}

// walk tries every route of the API that is not for everybody, as whoever auth and c prove to be, on what is another's.
func (b *breach) walk(who, form string, c *http.Client, auth string, other remit.ID, skip func(method, path string) bool) {
	var doc struct {
		Paths map[string]map[string]struct {
			Security []any `json:"security"`
		} `json:"paths"`
	}
	b.must(json.Unmarshal(server.OpenAPI(), &doc))
	var instance, lease remit.ID
	b.q.house.Engine.View(func(s *authority.State) {
		for _, id := range s.InstancesOf(other) {
			instance = id
		}
		for id := range s.Leases {
			lease = id
		}
	})
	_, good, _ := strings.Cut(b.c.good, "@")
	set, err := b.c.c.Declarations(b.ctx)
	b.must(err)
	for i := range set.Environments {
		set.Environments[i].Approvers = []remit.Need{{Group: "operators", N: 1}}
		set.Environments[i].Evidence = nil
	}
	csr := b.csr()
	ids := strings.NewReplacer("{org}", "quickstart", "/tasks/{id}", "/tasks/"+string(other), "/instances/{id}", "/instances/"+string(instance),
		"/approvals/{id}", "/approvals/"+string(b.open), "/leases/{id}", "/leases/"+string(lease), "{name}", "merger", "{digest}", good,
		"{entry}", fmt.Sprint(b.access(b.open).Decision))
	secret := remit.WireSecret{ID: "K-1", Secret: make([]byte, 32)}
	bodies := map[string]any{
		"/declarations": remit.ApplyRequest{Declarations: set}, "/tasks": remit.TaskRequest{Agent: "merger", Intent: "Mine"},
		"/kill": remit.KillRequest{What: "task", ID: string(b.c.task)}, "/instances": remit.InstanceRequest{Task: other, Confinement: remit.ConfineNone},
		"/instances/{id}/token": remit.TokenRequest{Gateway: "git"}, "/instances/{id}/svid": remit.SVIDRequest{CSR: csr},
		"/executors": remit.EnrolRequest{Zone: remit.ZoneProduction, CSR: csr}, "/executor/claim": remit.ClaimRequest{Access: b.open},
		"/executor/environment": remit.PlaceRequest{Environment: "payments/production"}, "/executor/redeem": secret,
		"/executor/lease": remit.AttemptRequest{Attempt: secret}, "/executor/secret": remit.AttemptRequest{Attempt: secret, Secret: "secret:deploy"},
		"/executor/revoked": remit.AttemptRequest{Attempt: secret}, "/executor/record": remit.RecordRequest{Attempt: "K-1", Outcome: remit.Done},
		"/executor/svid": remit.SVIDRequest{CSR: csr}, "/secrets/put": remit.SecretValue{Name: "deploy", Value: []byte(b.values[deploySecret] + "x")},
		"/secrets/remove": remit.SecretName{Name: "robot"}, "/leases/{id}/abandon": remit.AbandonRequest{Reason: "gone"},
		"/approvals/{id}/votes": remit.VoteRequest{Statement: []byte("x"), Signature: []byte("x")},
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			short := strings.TrimPrefix(path, "/v1/orgs/{org}")
			method = strings.ToUpper(method)
			if len(op.Security) == 0 || skip != nil && skip(method, short) {
				continue
			}
			var in any
			if method == http.MethodPost {
				if in = bodies[short]; in == nil {
					in = struct{}{}
				}
			}
			b.try(who, "API "+method+" "+short+", "+form, c, auth, method, strings.TrimPrefix(ids.Replace(path), "/v1/orgs/quickstart"), in)
		}
	}
}
