package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/gateway/authzen"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/sshsig"
)

// house is the program itself, as users start it: a server that is a process of its own, with an organisation in it.
type house struct {
	b         testing.TB
	dir, addr string
	ca        []byte
	ana, door *client.Client
	anaKey    ssh.Signer
	server    *exec.Cmd
	bearers   []string // tokens for the decision point, each of an instance of a task of its own
}

// full tells that the figures count (bench/run). Otherwise a benchmark only shows that it still runs.
var full = os.Getenv("REMIT_BENCH") == "full"

// atMost is n where the figures count, and least otherwise.
func atMost[N any](n, least N) N {
	if full {
		return n
	}
	return least
}

// freePort is an address that nobody listens at.
func freePort(b testing.TB) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newHouse starts a server with the administrator ana and what d adds to that, people as further administrators; build goes to go build, args to the server.
func newHouse(b testing.TB, d remit.Declarations, build []string, args ...string) *house {
	b.Helper()
	h := &house{b: b, dir: b.TempDir(), addr: freePort(b)}
	binary := filepath.Join(h.dir, "remit")
	h.run("go", slices.Concat([]string{"build", "-o", binary}, build, []string{"../cmd/remit"})...)
	signer, line := newKey(b)
	pub := filepath.Join(h.dir, "ana.pub")
	if err := os.WriteFile(pub, []byte(line+"\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	data := filepath.Join(h.dir, "data")
	h.run(binary, "init", "--data", data, "--org", "acme", "--admin", "ana", "--key", pub)
	h.server = exec.Command(binary, append([]string{"server", "--data", data, "--listen", h.addr}, args...)...)
	h.server.Stderr = b.Output()
	if err := h.server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = h.server.Process.Kill(); _ = h.server.Wait() })
	var err error
	if h.ca, err = os.ReadFile(filepath.Join(data, "ca.crt")); err != nil {
		b.Fatal(err)
	}
	until(b, "the server", func() error { _, err := h.anyone().Org(b.Context()); return err })
	h.anaKey, h.ana = signer, h.signIn(signer)
	d.People = append(d.People, remit.Person{Name: "ana", Keys: []string{line}})
	var all []string
	for _, p := range d.People {
		all = append(all, p.Name)
	}
	d.Groups = append(d.Groups, remit.Group{Name: remit.Administrators, Members: all}, remit.Group{Name: "reviewers", Members: []string{"ana"}})
	if _, err := h.ana.Apply(b.Context(), remit.ApplyRequest{Declarations: d}); err != nil {
		b.Fatal(err)
	}
	return h
}

// newKey makes a person's key, and the line of authorized_keys that declares it.
func newKey(b testing.TB) (ssh.Signer, string) {
	b.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		b.Fatal(err)
	}
	return signer, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

func (h *house) anyone() *client.Client {
	h.b.Helper()
	c, err := client.New("https://"+h.addr, "acme", h.ca)
	if err != nil {
		h.b.Fatal(err)
	}
	return c
}

func (h *house) signIn(key ssh.Signer) *client.Client {
	h.b.Helper()
	if h.door == nil {
		h.door = h.anyone() // one set of connections, however often people sign in
	}
	c, _, err := h.door.SignIn(h.b.Context(), key.PublicKey().Marshal(), func(text []byte) ([]byte, error) {
		return sshsig.Sign(key, identity.SignInNamespace, text)
	})
	if err != nil {
		h.b.Fatal(err)
	}
	return c
}

func (h *house) run(name string, args ...string) {
	h.b.Helper()
	cmd := exec.Command(name, args...)
	if slices.Contains(args, "-race") {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	} else {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		h.b.Fatalf("%s %s: %v\n%s", name, args, err, out)
	}
}

// until waits for what a process makes true in its own time.
func until(b testing.TB, what string, f func() error) {
	b.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	b.Fatalf("%s: %v", what, err)
}

// commenters is one agent that comments on issues, and the repository that it does it on.
func commenters(upstream string) remit.Declarations {
	return remit.Declarations{
		Upstreams:    []remit.Upstream{{Name: "forge", Kind: "local", Location: upstream}},
		Repositories: []remit.Repository{{Name: "forge/payments", DefaultBranch: "main", Effects: &[]remit.Effect{}}},
		Agents: []remit.Agent{{Name: "commenter", Function: remit.FuncCode, Owner: "ana", Purpose: "answers", Requesters: []string{"reviewers"}, Expires: "2099-01-31",
			Entitlements: []remit.Scope{{Actions: []remit.Action{"issue.comment", "issue.read"}, Resources: []remit.Pattern{"repo:forge/*"}}}}},
	}
}

// start begins n tasks with an instance and a token each. They live until the benchmark ends.
func (h *house) start(n int) {
	h.b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h.b.Cleanup(cancel)
	s := h.ana.Session()
	for range n {
		t, err := h.ana.CreateTask(ctx, remit.TaskRequest{Agent: "commenter", Intent: "answer the reports of today"})
		if err != nil {
			h.b.Fatal(err)
		}
		i, err := s.StartInstance(ctx, client.InstanceStart{Task: t.ID, Confinement: remit.ConfineNone})
		if err != nil {
			h.b.Fatal(err)
		}
		if _, err := s.Hold(ctx, i.ID, i.Secret); err != nil {
			h.b.Fatal(err)
		}
		token, _, err := s.Token(ctx, i.ID, i.Secret, authzen.Name)
		if err != nil {
			h.b.Fatal(err)
		}
		h.bearers = append(h.bearers, token)
	}
}

func (h *house) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(h.ca)
	return p
}

// judge is the house's decision point: AuthZEN evaluations as they stand on the wire, one for each token.
func (h *house) judge() *judge {
	h.b.Helper()
	j := &judge{addr: h.addr, pid: h.server.Process.Pid, roots: h.roots(), yes: `"decision":true`}
	body := `{"subject":{"type":"agent","id":"commenter"},"action":{"name":"issue.comment"},"resource":{"type":"repo","id":"forge/payments"}}`
	for _, t := range h.bearers {
		j.requests = append(j.requests, fmt.Appendf(nil, "POST /v1/orgs/acme/authzen/access/v1/evaluation HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			h.addr, t, len(body), body))
	}
	return j
}
