//go:build unix

package mcp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/sse"
)

// serverMode makes this test's own program a server over standard input and output.
const serverMode = "REMIT_TEST_MCP_SERVER"

func TestMain(m *testing.M) {
	switch mode := os.Getenv(serverMode); mode {
	case "":
		os.Exit(m.Run())
	case "sdk":
		_ = sdkServer(true).Run(context.Background(), &sdk.StdioTransport{}) // its client is gone
	default:
		misbehave(mode)
	}
}

// misbehave is a server of sessions that does one thing wrong when a tool is called.
func misbehave(mode string) {
	in := bufio.NewScanner(os.Stdin)
	if mode == "mute" {
		select {}
	}
	for in.Scan() {
		m, err := envelope.FromServer(bytes.Clone(in.Bytes()))
		if err != nil || m.ID == nil {
			continue
		}
		say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
		switch {
		case m.Method == "initialize":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25"}}`, m.ID)
		case m.Method == "tools/list":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}}`, m.ID)
		case m.Method != "tools/call":
			say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, m.ID)
		case mode == "crash":
			os.Exit(3)
		case mode == "hang":
		case mode == "flood":
			for {
				fmt.Print(strings.Repeat("x", 4096))
			}
		case mode == "garbage":
			for range 200 {
				say("this is my log")
			}
		case mode == "strangers": // answers to nobody, and requests without anybody to ask
			for i := range 50 {
				say(`{"jsonrpc":"2.0","id":"x%d","result":{}}`, i)
				say(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
			}
			say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID)
		case mode == "secret":
			fmt.Fprintln(os.Stderr, "my token is "+os.Getenv("TOKEN"))
			say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s %s"}]}}`, m.ID, os.Getenv("TOKEN"), strings.Join(os.Environ(), " "))
		case mode == "child":
			child := exec.Command("sh", "-c", "trap '' TERM; echo; exec sleep 1000") // it cannot be asked to end
			ready, err := child.StdoutPipe()
			if err != nil || child.Start() != nil {
				os.Exit(4)
			}
			_, _ = ready.Read(make([]byte, 1)) // it has begun, or it is over: the test sees
			say(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%d %d"}]}}`, m.ID, os.Getpid(), child.Process.Pid)
		}
	}
}

// logged is what a gateway logs.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// command declares a server that is a process of this program.
func (w *world) command(name, mode string, env ...string) {
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	w.servers[name] = Server{Name: name, Command: []string{self}, Env: func(context.Context) ([]string, error) {
		return append([]string{"PATH=/usr/bin:/bin", "HOME=/", serverMode + "=" + mode}, env...), nil
	}}
}

func TestThroughTheGatewayAProcessIsTheSameServer(t *testing.T) {
	w := newWorld(t, nil)
	w.command("things", "sdk")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{serverMode + "=sdk"}
	var mu sync.Mutex
	var notes []string
	note := func(n string) { mu.Lock(); notes = append(notes, n); mu.Unlock() }
	direct := seenBy(t, newClient(t, &sdk.CommandTransport{Command: cmd}, note), true)
	// By HTTP the library's client speaks 2026-07-28 with the process, which is shared, and asks nothing of its client.
	through := seenBy(t, newClient(t, overHTTP(w.url+"things"), note), false)
	for _, line := range through {
		if strings.HasPrefix(line, "begin") {
			continue
		}
		name, _, _ := strings.Cut(line, ":")
		found := false
		for _, d := range direct {
			found = found || d == line
		}
		if !found {
			t.Errorf("direct there is no %s like %s", name, line)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(through) < 12 || len(notes) != 6 {
		t.Errorf("%d things are seen, %v", len(through), notes)
	}
}

func (w *world) stdioSession(name string) string {
	w.t.Helper()
	id := w.session(name, "I-1")
	if resp, body := w.do(in(name, id, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)); resp.StatusCode != 202 {
		w.t.Fatalf("%d %s", resp.StatusCode, body)
	}
	return id
}

func TestASessionWithAProcessAsksItsClient(t *testing.T) {
	w := newWorld(t, nil)
	w.command("things", "sdk")
	id := w.stdioSession("things")
	for name, c := range map[string]struct {
		tool, deny, want string
	}{"sampling": {"sample", "", "sampled"}, "denied sampling": {"sample", "sampling/createMessage", "refused by the gateway"}} {
		w.mu.Lock()
		w.deny = denied(c.deny)
		w.mu.Unlock()
		resp, err := w.start(in("things", id, `{"jsonrpc":"2.0","id":"`+name+`","method":"tools/call","params":{"name":"`+c.tool+`","arguments":{"text":"x"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		stream := sse.NewReader(resp.Body, 1<<20)
		var last []byte
		if resp.Header.Get("Content-Type") == "application/json" {
			last, _ = io.ReadAll(resp.Body)
		}
		for last == nil {
			e, err := stream.Next()
			if err != nil {
				t.Fatal(name, err)
			}
			m, err := envelope.FromServer(e.Data)
			if err != nil {
				t.Fatal(name, err)
			}
			if m.Response() {
				last = e.Data
				break
			}
			if m.Method != "sampling/createMessage" || c.deny != "" {
				t.Fatalf("%s: the client sees %s", name, e.Data)
			}
			resp, body := w.do(in("things", id, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"role":"assistant","model":"m","content":{"type":"text","text":"sampled"}}}`))
			if resp.StatusCode != 202 {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
		}
		_ = resp.Body.Close()
		if !strings.Contains(string(last), c.want) {
			t.Errorf("%s: %s", name, last)
		}
	}
}

func TestAProcessThatFailsIsReportedAndTheGatewayGoesOn(t *testing.T) {
	for mode, want := range map[string]remit.Outcome{"crash": remit.Ambiguous, "hang": remit.Ambiguous, "flood": remit.Ambiguous, "garbage": remit.Ambiguous, "strangers": remit.Done} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, func(c *Config) {
				c.MaxAnswer = 64 << 10
				if mode == "hang" {
					c.Silence = 200 * time.Millisecond
				}
			})
			w.command("x", mode)
			id := w.stdioSession("x")
			_, body := w.do(in("x", id, tool))
			if e := fault(body); (e.Code == envelope.InternalError) != (want != remit.Done) {
				t.Errorf("%s", body)
			}
			if r := w.outcomes(2)[1]; r.Outcome != want {
				t.Errorf("%+v", r)
			}
			w.session("x", "I-1") // another process
		})
	}
}

func TestAProcessThatNeverBeginsIsReported(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Begin = 200 * time.Millisecond })
	w.command("mute", "mute")
	w.servers["none"] = Server{Name: "none", Command: []string{"/nonexistent/program"}}
	for _, name := range []string{"mute", "none"} {
		_, body := w.do(post{server: name, body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`})
		if fault(body).Code != envelope.InternalError {
			t.Errorf("%s: %s", name, body)
		}
		_, body = w.do(modern(name, "prompts/list", "", ""))
		if fault(body).Code != envelope.InternalError {
			t.Errorf("%s: %s", name, body)
		}
	}
	for i, r := range w.outcomes(4) {
		if want := []remit.Outcome{remit.Ambiguous, remit.NotApplied, remit.NotApplied, remit.NotApplied}[i]; r.Outcome != want {
			t.Errorf("%d: %+v", i, r)
		}
	}
}

func TestAStatelessClientOfAProcessWithSessionsIsToldSo(t *testing.T) {
	w := newWorld(t, nil)
	w.command("x", "strangers")
	resp, body := w.do(modern("x", "prompts/list", "", ""))
	if e := fault(body); resp.StatusCode != 400 || e.Code != envelope.UnsupportedVersion || !strings.Contains(body, "2025-11-25") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if r := w.outcomes(1)[0]; r.Outcome != remit.NotApplied {
		t.Errorf("%+v", r)
	}
}

func TestTheSecretsOfAProcessAreSeenByNobodyElse(t *testing.T) {
	t.Setenv("OTHERS_SECRET", "not-for-the-server")
	var log logged
	w := newWorld(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	w.command("x", "secret", "TOKEN="+upstreamToken)
	_, body := w.do(in("x", w.stdioSession("x"), tool))
	if !strings.Contains(body, "[secret of x]") || strings.Contains(body, upstreamToken) || strings.Contains(body, "not-for-the-server") {
		t.Errorf("%s", body)
	}
	w.Close()
	if text := log.String(); !strings.Contains(text, "my token is [secret of x]") || strings.Contains(text, upstreamToken) {
		t.Errorf("%s", text)
	}
}

func TestAProcessAndWhatItStartedEndWithTheInstance(t *testing.T) {
	w := newWorld(t, nil)
	w.command("x", "child")
	_, body := w.do(in("x", w.stdioSession("x"), tool))
	var pids []int
	for word := range strings.FieldsSeq(body[strings.Index(body, `"text":"`)+8 : strings.LastIndex(body, `"}]`)]) {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err, body)
		}
		pids = append(pids, n)
	}
	if len(pids) != 2 || syscall.Kill(pids[1], 0) != nil {
		t.Fatal(body)
	}
	close(w.ended["I-1"])
	for _, pid := range pids {
		for i := 0; syscall.Kill(pid, 0) == nil && !zombie(pid); i++ {
			if i > 8000 {
				t.Fatalf("process %d lives", pid)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// zombie tells whether a process has ended and nobody has looked yet: in a container nobody may.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(b), ") Z ")
}

func TestClientsThatShareAProcessDoNotGetEachOthersAnswers(t *testing.T) {
	w := newWorld(t, nil)
	w.command("things", "sdk")
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { // it has no answer until it is cancelled
		_, err := http.DefaultTransport.RoundTrip(w.request(modern("things", "tools/call", "wait", `"name":"wait","arguments":{"text":"1"}`)).WithContext(ctx))
		over <- err
	}()
	for range 2000 {
		w.mu.Lock()
		leased := w.leased
		w.mu.Unlock()
		if leased > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for _, text := range []string{"one", "two"} {
		if _, body := w.do(modern("things", "tools/call", "echo", `"name":"echo","arguments":{"text":"`+text+`"}`)); !strings.Contains(body, "<"+text+">") && !strings.Contains(body, `u003c`+text) {
			t.Errorf("%s", body)
		}
	}
	cancel()
	if err := <-over; err == nil {
		t.Error("the call that waits was answered")
	}
	for _, r := range w.outcomes(3) {
		if r.Outcome == remit.NotApplied {
			t.Errorf("%+v", r)
		}
	}
}

func TestProcessesAreLimited(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Processes = 1 })
	w.command("x", "strangers")
	w.stdioSession("x")
	_, body := w.do(post{server: "x", body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`})
	if fault(body).Code != envelope.InternalError || len(w.sessions.byID) != 1 {
		t.Errorf("%s", body)
	}
}
