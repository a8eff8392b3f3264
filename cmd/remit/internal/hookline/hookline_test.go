package hookline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

// TestMain is the command itself in a process of its own, for those tests that need one.
func TestMain(m *testing.M) {
	if os.Getenv("HOOKLINE") != "" {
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// socket is a launcher that answers once.
type socket struct {
	asked  bytes.Buffer
	answer io.Reader
	closed bool
	werr   error
}

func (s *socket) Write(b []byte) (int, error) {
	if s.werr != nil {
		return 0, s.werr
	}
	return s.asked.Write(b)
}
func (s *socket) Read(b []byte) (int, error) { return s.answer.Read(b) }
func (s *socket) Close() error               { s.closed = true; return nil }

const (
	bash   = `{"session_id":"s","cwd":"/w","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls"},"tool_use_id":"t"}`
	letGo  = "HTTP/1.0 204 No Content\r\nRemit-Hook: no-objection\r\n\r\n"
	refuse = "HTTP/1.0 403 Forbidden\r\nContent-Type: application/problem+json\r\n\r\n" + `{"code":"OUT_OF_SCOPE","detail":"denied: push through the gateway"}`
)

func lineOf(t *testing.T, args ...string) line {
	t.Helper()
	l, err := parse(args, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTheRequestIsWhatTheSocketTakes(t *testing.T) {
	s := &socket{answer: strings.NewReader(letGo)}
	l := lineOf(t, "claude-code", "--socket", "/run/s", "--org=acme", "--tree", "/w\r\nX: y/ä", "--front", "remit,forge", "--shell", "zsh", "--home", "/h", "--deadline", "12s")
	if got := l.ask(strings.NewReader(bash), func(at string) (io.ReadWriteCloser, error) {
		if at != "/run/s" {
			t.Errorf("it dials %q", at)
		}
		return s, nil
	}); got != "" {
		t.Fatalf("it denies: %s", got)
	}
	want := "POST /v1/orgs/acme/hook/claude-code/PreToolUse HTTP/1.0\r\nHost: instance\r\nContent-Type: application/json\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n", len(bash)) + "Prefer: wait=7\r\nRemit-Tree: /w%0D%0AX%3A%20y/%C3%A4\r\nRemit-Front: remit,forge\r\nRemit-Shell: zsh\r\nRemit-Home: /h\r\n\r\n" + bash
	if s.asked.String() != want || !s.closed {
		t.Fatalf("it asks\n%q\nwant\n%q", s.asked.String(), want)
	}
}

// Every way in which the hook can fail denies, with a sentence. What lets a call go is one answer only.
func TestEveryFailureDenies(t *testing.T) {
	ok := func() *socket { return &socket{answer: strings.NewReader(letGo)} }
	answer := func(s string) *socket { return &socket{answer: strings.NewReader(s)} }
	claude := []string{"claude-code", "--socket", "s", "--org", "acme"}
	for _, c := range []struct {
		name  string
		args  []string
		stdin io.Reader
		s     *socket
		want  string
	}{
		{"nothing on standard input", claude, strings.NewReader(""), ok(), "no JSON object"},
		{"half of the JSON", claude, strings.NewReader(bash[:40]), ok(), "no JSON object"},
		{"text before the JSON", claude, strings.NewReader("x" + bash), ok(), "no JSON object"},
		{"text after the JSON", claude, strings.NewReader(bash + "x"), ok(), "no JSON object"},
		{"a list", claude, strings.NewReader("[]"), ok(), "no JSON object"},
		{"null", claude, strings.NewReader("null"), ok(), "no JSON object"},
		{"no event", claude, strings.NewReader(`{"tool_name":"Bash"}`), ok(), "no hook_event_name"},
		{"an event that is no text", claude, strings.NewReader(`{"hook_event_name":["PreToolUse"]}`), ok(), "is no text"},
		{"an event in another case", claude, strings.NewReader(`{"Hook_Event_Name":"PreToolUse"}`), ok(), "no hook_event_name"},
		{"another event than registered", append(claude, "--event", "SessionStart"), strings.NewReader(bash), ok(), "registered for"},
		{"more than a MiB", claude, io.MultiReader(strings.NewReader(bash), zeros(maxInput)), ok(), "more than"},
		{"standard input breaks", claude, io.MultiReader(strings.NewReader("{"), broken{}), ok(), "cannot be read"},
		{"nobody listens", claude, strings.NewReader(bash), nil, "does not answer"},
		{"the launcher ends at once", claude, strings.NewReader(bash), answer(""), "broke off"},
		{"the launcher reads nothing", claude, strings.NewReader(bash), &socket{answer: broken{}, werr: syscall.EPIPE}, "broke off"},
		{"204 that is not of the hook gateway", claude, strings.NewReader(bash), answer("HTTP/1.0 204 No Content\r\n\r\n"), "none"},
		{"204 that says something else", claude, strings.NewReader(bash), answer("HTTP/1.0 204 No Content\r\nRemit-Hook: deny\r\n\r\n"), "none"},
		{"204 that breaks off", claude, strings.NewReader(bash), answer("HTTP/1.0 204 No Content\r\nRemit-Hook: no-objection\r\n"), "none"},
		{"the words in the body of a 500", claude, strings.NewReader(bash), answer("HTTP/1.0 500 X\r\n\r\nRemit-Hook: no-objection\r\n"), "none"},
		{"the words with a 200", claude, strings.NewReader(bash), answer("HTTP/1.0 200 OK\r\nRemit-Hook: no-objection\r\n\r\n"), "none"},
		{"2040", claude, strings.NewReader(bash), answer("HTTP/1.0 2040 OK\r\nRemit-Hook: no-objection\r\n\r\n"), "none"},
		{"not HTTP", claude, strings.NewReader(bash), answer("SSH-2.0 204 x\r\nRemit-Hook: no-objection\r\n\r\n"), "none"},
		{"a host's own allow", claude, strings.NewReader(bash), answer("HTTP/1.0 200 OK\r\n\r\n{\"decision\":\"allow\"}"), "none"},
		{"a denial", claude, strings.NewReader(bash), answer(refuse), "push through the gateway [OUT_OF_SCOPE]"},
		{"a denial that breaks off", claude, strings.NewReader(bash), answer(refuse[:len(refuse)-3]), "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := lineOf(t, c.args...).ask(c.stdin, func(string) (io.ReadWriteCloser, error) {
				if c.s == nil {
					return nil, errors.New("connection refused")
				}
				return c.s, nil
			})
			if !strings.Contains(got, c.want) {
				t.Fatalf("it says %q, want %q in it", got, c.want)
			}
		})
	}
}

func TestACommandLineThatIsWrongDenies(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--socket", "s"}, {"codex"}, {"codex", "--socket", "s"}, {"codex", "--org", "o"}, {"codex", "--socket"}, {"codex", "--ask", "x", "--socket", "s", "--org", "o"},
		{"codex", "--socket", "s", "--org", "o", "--deadline", "2m"}, {"codex", "--socket", "s", "--org", "o", "--deadline", "0s"}, {"codex", "--socket", "s", "--org", "o", "extra"},
	} {
		if _, err := parse(args, func(string) string { return "" }); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	l, err := parse([]string{"codex"}, func(name string) string { return map[string]string{"REMIT_SOCKET": "/s", "REMIT_ORG": "acme"}[name] })
	if err != nil || l.socket != "/s" || l.org != "acme" {
		t.Errorf("the environment is not taken: %+v %v", l, err)
	}
}

func TestCopilotNamesNoEvent(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"copilot"}, "/copilot/preToolUse "}, {[]string{"copilot", "--event", "sessionStart"}, "/copilot/sessionStart "}} {
		s := &socket{answer: strings.NewReader(letGo)}
		lineOf(t, append(c.args, "--socket", "s", "--org", "o")...).ask(strings.NewReader(`{"toolName":"bash"}`), func(string) (io.ReadWriteCloser, error) { return s, nil })
		if !strings.Contains(s.asked.String(), c.want) {
			t.Errorf("%q", s.asked.String())
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

func zeros(n int) io.Reader { return bytes.NewReader(bytes.Repeat([]byte(" "), n)) }

// process runs the command as hosts do, and wants that it denies in their terms: 2, a sentence, and nothing else.
func process(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "HOOKLINE=1")
	cmd.Stdin = stdin
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != denied || out.Len() > 0 || !strings.HasPrefix(errs.String(), "remit: ") || strings.Count(errs.String(), "\n") != 1 {
		t.Fatalf("%v, standard output %q, standard error %q", err, out.String(), errs.String())
	}
	return errs.String()
}

// The command's own deadline is before the host's: a host that ends its hook lets the call pass.
func TestItsOwnDeadlineDenies(t *testing.T) {
	at := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: at}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 1); err != nil { // it accepts, and nobody ever answers
		t.Fatal(err)
	}
	if got := process(t, strings.NewReader(bash), "claude-code", "--socket", at, "--org", "acme", "--deadline", "200ms"); !strings.Contains(got, "within 200ms") {
		t.Fatal(got)
	}
	// A host that never closes standard input.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if got := process(t, r, "claude-code", "--socket", at, "--org", "acme", "--deadline", "200ms"); !strings.Contains(got, "within 200ms") {
		t.Fatal(got)
	}
}

func TestAProcessThatFindsNobodyDenies(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	process(t, strings.NewReader(bash), "claude-code", "--socket", none, "--org", "acme")
	process(t, strings.NewReader("{"), "claude-code", "--socket", none, "--org", "acme")
	process(t, strings.NewReader(bash), "claude-code", "--socket", strings.Repeat("x", 300), "--org", "acme")
	process(t, strings.NewReader(bash))
}

func TestWhatIsShownIsOneLine(t *testing.T) {
	if got := visible("a\x1b[31m\r\n\u202eb\xff" + strings.Repeat("x", 2*maxShown)); !utf8.ValidString(got) || strings.ContainsAny(got, "\x1b\r\n\u202e") || len(got) > maxShown+8 {
		t.Fatalf("%q", got[:40])
	}
}

func FuzzVerdict(f *testing.F) {
	f.Add([]byte(letGo))
	f.Add([]byte(refuse))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if verdict(answer) == "" && (!bytes.HasPrefix(answer, []byte("HTTP/1.")) || !bytes.Contains(answer, []byte(" 204")) || !bytes.Contains(bytes.ToLower(answer), []byte("remit-hook:")) || !bytes.Contains(answer, []byte("\r\n\r\n"))) {
			t.Fatalf("%q lets a call go", answer)
		}
	})
}

func FuzzAsk(f *testing.F) {
	f.Add([]byte(bash), "acme", "/w")
	f.Fuzz(func(t *testing.T, body []byte, org, tree string) {
		l, err := parse([]string{"claude-code", "--socket", "s", "--org", org, "--tree", tree}, func(string) string { return "" })
		if err != nil {
			return
		}
		s := &socket{answer: strings.NewReader(letGo)}
		if l.ask(bytes.NewReader(body), func(string) (io.ReadWriteCloser, error) { return s, nil }) != "" {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is let go", body)
		}
		head, sent, _ := bytes.Cut(s.asked.Bytes(), []byte("\r\n\r\n"))
		if n := bytes.Count(head, []byte("\r\n")); n != 5 || !bytes.Equal(sent, body) {
			t.Fatalf("%d lines of header: %q", n, head)
		}
	})
}

// What this package imports is initialised before it answers. Each of these is there within a millisecond; package net, or
// anything of a library, would have half of the binary wait its turn before it.
func TestItImportsNoMoreThanItNeeds(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "hookline.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	few := []string{"bytes", "encoding/json", "errors", "fmt", "io", "os", "strconv", "strings", "sync/atomic", "syscall", "time"}
	for _, i := range f.Imports {
		if p, _ := strconv.Unquote(i.Path.Value); !slices.Contains(few, p) {
			t.Errorf("it imports %s", p)
		}
	}
}
