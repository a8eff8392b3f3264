package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// testNow is when unit tests happen.
var testNow = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// output is what an app of a test said.
type output struct{ out, err bytes.Buffer }

// testApp is an app that reads nothing and whose environment is env.
func testApp(t testing.TB, env map[string]string) *app {
	t.Helper()
	return &app{ctx: t.Context(), more: newApp(t.Context()).more, stdin: strings.NewReader(""), stdout: new(bytes.Buffer), stderr: new(bytes.Buffer), now: func() time.Time { return testNow },
		env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
}

// said runs one command line.
func said(t testing.TB, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var o output
	a := testApp(t, env)
	a.stdout, a.stderr = &o.out, &o.err
	code = a.run(args)
	return code, o.out.String(), o.err.String()
}

// writeKey makes an SSH key in dir and gives its file; its public half lies beside it.
func writeKey(t testing.TB, dir, name string) (path string, pub ssh.PublicKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, name)
	if err != nil {
		t.Fatal(err)
	}
	if pub, err = ssh.NewPublicKey(private.Public()); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, name)
	if err := errors.Join(os.WriteFile(path, pem.EncodeToMemory(block), 0o600), os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(pub), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path, pub
}

// makeLog writes an exported log with one decision in it, and its trust file.
func makeLog(ctx context.Context, dir, bundle, trust string) (decision remit.EntryIndex, err error) {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return 0, err
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		return 0, err
	}
	if err := found(ctx, Founding{Data: dir, Org: "acme", Profile: remit.Team, Admin: "ana", Keys: []string{string(ssh.MarshalAuthorizedKey(key))}}); err != nil {
		return 0, err
	}
	h, err := Open(ctx, Config{Data: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		return 0, err
	}
	defer h.Close()
	d, err := h.Engine.Authorize(ctx, remit.Request{Gateway: "git", Caller: remit.Caller{Instance: "I-7", Agent: "coder", Task: "T-7"},
		Steps: []remit.Step{{Action: "source.read", Resource: "repo:forge/acme/payments"}}})
	if err != nil {
		return 0, err
	}
	blobs, err := ledger.OpenBlobDir(layout(dir).blobs(), ledger.BlobOptions{})
	if err != nil {
		return 0, err
	}
	book := logbook{h, blobs, &bundles{blobs: blobs}}
	head, err := book.Head(ctx)
	if err != nil {
		return 0, err
	}
	f, err := os.Create(bundle)
	if err != nil {
		return 0, err
	}
	return d.Entry, errors.Join(book.Export(ctx, f), f.Close(), os.WriteFile(trust, []byte(head.Trust), 0o600))
}

// cmdMakeLog makes an exported log with one decision in it, whose entry is then $ENTRY: makelog BUNDLE TRUST.
func cmdMakeLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: makelog BUNDLE TRUST")
	}
	entry, err := makeLog(context.Background(), ts.MkAbs("data-"+args[0]), ts.MkAbs(args[0]), ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Setenv("ENTRY", strconv.FormatUint(uint64(entry), 10))
}

// cmdDamage changes a file: damage FILE flip|cut|add.
func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE flip|cut|add")
	}
	b := []byte(ts.ReadFile(args[0]))
	switch args[1] {
	case "flip":
		b[len(b)/2] ^= 1
	case "cut":
		b = b[:len(b)-1]
	case "add":
		b = append(b, 0)
	default:
		ts.Fatalf("damage: %s", args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// cmdExitCode runs a command that ends with a code: exits CODE COMMAND ….
func cmdExitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND …")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("it ended with %d, not %s", code, args[0])
	}
}
