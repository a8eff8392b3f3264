package broker_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// secret must stand nowhere but in the header.
const secret = "s3cret-of-the-forge"

// one is the only upstream that is declared.
type one remit.Upstream

func (o one) Upstream(_ context.Context, name string) (remit.Upstream, error) {
	if name != o.Name {
		return remit.Upstream{}, remit.Errorf(remit.UnknownResource, "no upstream %q is declared", name)
	}
	return remit.Upstream(o), nil
}

func keep(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

// redemption takes a request through a real engine: there is no other way to have one.
func redemption(t *testing.T, agent string, request func(remit.Caller) remit.Request) *authority.Redemption {
	t.Helper()
	ctx := t.Context()
	c, err := world.OpenCore(ctx, world.CoreOptions{Store: &ledgertest.Memory{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Engine.Close()
	return redeemed(t, c, agent, request)
}

func redeemed(t *testing.T, c *world.Core, agent string, request func(remit.Caller) remit.Request) *authority.Redemption {
	t.Helper()
	ctx := t.Context()
	caller, err := c.Task(ctx, agent, "mia")
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.Engine.Authorize(ctx, request(caller))
	if err != nil || d.Verdict != remit.Allow {
		t.Fatalf("%+v %v", d, err)
	}
	a, err := c.Engine.Redeem(ctx, d.Permit)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Engine.Take(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func push(c remit.Caller) remit.Request { return world.Push(c, "fix", "1", "main.go") }

func read(c remit.Caller) remit.Request {
	return remit.Request{Gateway: "git", Caller: c, Steps: []remit.Step{{Action: "source.read", Resource: world.App}}}
}

func probe(c remit.Caller) remit.Request { return world.Ask(c, "probe.write") }

func coded(t *testing.T, err error, code remit.Code) {
	t.Helper()
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	if strings.Contains(err.Error(), secret) {
		t.Fatalf("the error has the secret: %v", err)
	}
}

func step(action remit.Action, on ...remit.Resource) func(remit.Caller) remit.Request {
	return func(c remit.Caller) remit.Request {
		r := remit.Request{Gateway: "web", Caller: c}
		for _, res := range on {
			r.Steps = append(r.Steps, remit.Step{Action: action, Resource: res})
		}
		return r
	}
}

// TestACredentialServesOneUpstreamInOneZone is R4d.
func TestACredentialServesOneUpstreamInOneZone(t *testing.T) {
	b := broker.New(one{Name: "forge", Kind: remit.KindHTTP, Write: remit.Source{From: "env", Name: "PATH"}, Observer: remit.Source{From: "env", Name: "PATH"}})
	_, err := b.Lease(t.Context(), redemption(t, "coder", step("issue.read", world.App)))
	coded(t, err, remit.CrossesBoundary)
	_, err = b.Lease(t.Context(), redemption(t, "coder", step("source.read", world.App, "repo:mirror/acme/app")))
	coded(t, err, remit.CrossesBoundary)
	_, err = b.Lease(t.Context(), redemption(t, "coder", step("build.read", "pipeline:acme/ci")))
	coded(t, err, remit.UnknownResource)
}

func header(t *testing.T, l *broker.Lease) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "https://forge.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer what-the-agent-sent")
	if err := l.Apply(r); err != nil {
		t.Fatal(err)
	}
	return r.Header.Get("Authorization")
}

func TestOnlyARedemptionOfTheEngineIsACredential(t *testing.T) {
	b := broker.New(one{Name: "forge", Kind: remit.KindHTTP, Write: remit.Source{From: "file", Name: keep(t, secret, 0o600)}})
	for name, r := range map[string]*authority.Redemption{"nil": nil, "zero": {}, "new": new(authority.Redemption)} {
		if l, err := b.Lease(t.Context(), r); !errors.Is(err, broker.ErrNoRedemption) || l != nil {
			t.Fatalf("%s: %v %v", name, l, err)
		}
	}
}

func TestTheCredentialIsThatOfTheUpstreamForWhatIsDone(t *testing.T) {
	b := broker.New(one{Name: "forge", Kind: remit.KindHTTP, Write: remit.Source{From: "file", Name: keep(t, secret+"\n", 0o600)},
		Observer: remit.Source{From: "file", Name: keep(t, "reader\r\n", 0o400), User: "remit"}})
	for _, c := range []struct {
		name, agent string
		request     func(remit.Caller) remit.Request
		want        string
	}{
		{"a push is written with the credential for writing", "coder", push, "Bearer " + secret},
		{"a read is read with the credential for reading", "coder", read, "Basic " + base64.StdEncoding.EncodeToString([]byte("remit:reader"))},
		{"a probe needs none, and what the agent sent goes nowhere", "canary", probe, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := b.Lease(t.Context(), redemption(t, c.agent, c.request))
			if err != nil {
				t.Fatal(err)
			}
			if got := header(t, l); got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			if err := l.End(t.Context()); err != nil {
				t.Fatal(err)
			}
			coded(t, l.Apply(&http.Request{Header: http.Header{}}), remit.NotLive)
		})
	}
}

func TestACredentialThatCannotBeHadIsNone(t *testing.T) {
	r := redemption(t, "coder", push)
	_, err := broker.New(one{Name: "other", Kind: remit.KindHTTP}).Lease(t.Context(), r)
	coded(t, err, remit.UnknownResource)
	_, err = broker.New(one{Name: "forge", Kind: remit.KindHTTP, Write: remit.Source{From: "env", Name: "REMIT_TEST_UNSET"}}).Lease(t.Context(), r)
	coded(t, err, remit.UpstreamDown)
}

func TestWhereSecretsComeFrom(t *testing.T) {
	t.Setenv("REMIT_TEST_SECRET", secret)
	t.Setenv("REMIT_TEST_EMPTY", "")
	for _, c := range []struct {
		name string
		from remit.Source
		code remit.Code // empty: it is read
	}{
		{"a file", remit.Source{From: "file", Name: keep(t, secret, 0o600)}, ""},
		{"a file that ends its line", remit.Source{From: "file", Name: keep(t, secret+"\r\n", 0o400)}, ""},
		{"a file that its group can read", remit.Source{From: "file", Name: keep(t, secret, 0o640)}, remit.Forbidden},
		{"a file that everybody can read", remit.Source{From: "file", Name: keep(t, secret, 0o604)}, remit.Forbidden},
		{"no file", remit.Source{From: "file", Name: "/nowhere"}, remit.UpstreamDown},
		{"a directory", remit.Source{From: "file", Name: t.TempDir()}, remit.BadRequest},
		{"two lines", remit.Source{From: "file", Name: keep(t, secret+"\nmore", 0o600)}, remit.UpstreamDown},
		{"a header of its own", remit.Source{From: "file", Name: keep(t, secret+"\r\nX-Evil: 1", 0o600)}, remit.UpstreamDown},
		{"a control character", remit.Source{From: "file", Name: keep(t, secret+"\x1b[0m", 0o600)}, remit.UpstreamDown},
		{"an empty file", remit.Source{From: "file", Name: keep(t, "\n", 0o600)}, remit.UpstreamDown},
		{"too long a file", remit.Source{From: "file", Name: keep(t, strings.Repeat(secret, 1000), 0o600)}, remit.UpstreamDown},
		{"a variable", remit.Source{From: "env", Name: "REMIT_TEST_SECRET"}, ""},
		{"no variable", remit.Source{From: "env", Name: "REMIT_TEST_UNSET"}, remit.UpstreamDown},
		{"an empty variable", remit.Source{From: "env", Name: "REMIT_TEST_EMPTY"}, remit.UpstreamDown},
		{"a command", remit.Source{From: "exec", Argv: []string{"printf", secret + `\n`}}, ""},
		{"a command that fails after it said the secret", remit.Source{From: "exec", Argv: []string{"sh", "-c", "echo " + secret + "; echo " + secret + " >&2; exit 3"}}, remit.UpstreamDown},
		{"no command", remit.Source{From: "exec"}, remit.BadRequest},
		{"a declaration in the text", remit.Source{From: "text", Name: secret}, remit.BadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("files have no modes here")
			}
			got, err := broker.Authorization(t.Context(), c.from)
			if c.code != "" {
				coded(t, err, c.code)
				return
			}
			if err != nil || got != "Bearer "+secret {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
	if got, err := broker.Authorization(t.Context(), remit.Source{}); got != "" || err != nil {
		t.Fatalf("no source is no credential: %q %v", got, err)
	}
}
