package bench

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/gateway/hook"
	"github.com/remit-dev/remit/launch/front"
)

// BenchmarkHook is what an agent's program waits before each of its own tools: a process `remit hook`, the instance's
// socket, TLS, a decision that is durable, and the outcome. Beside it stands the start of the same binary alone, once as
// every other command does it and once so far as the hook needs it, with nobody to ask.
func BenchmarkHook(b *testing.B) {
	h := newHouse(b, remit.Declarations{Agents: []remit.Agent{{Name: "coder", Function: remit.FuncCode, Owner: "ana", Purpose: "codes", Requesters: []string{"reviewers"}, Expires: "2099-01-31",
		Entitlements: []remit.Scope{{Actions: []remit.Action{"tool.read", "tool.write", "tool.run"}, Resources: []remit.Pattern{"tool:local/**"}}}}}}, nil)
	binary, socket := filepath.Join(h.dir, "remit"), h.serveFront("coder")
	n := atMost(400, 8)
	command := 0
	ask := func(socket string) *exec.Cmd {
		command++
		cmd := exec.Command(binary, "hook", "claude-code", "--socket", socket, "--org", "acme", "--tree", "/w", "--home", "/h")
		cmd.Stdin = strings.NewReader(`{"session_id":"s","transcript_path":"","cwd":"/w","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls ` +
			strconv.Itoa(command) + `"},"tool_use_id":"t` + strconv.Itoa(command) + `"}`)
		return cmd
	}
	for b.Loop() {
		var hooked, bare, full []time.Duration
		for range n {
			hooked = append(hooked, timed(b, ask(socket), 0))
			bare = append(bare, timed(b, ask(filepath.Join(h.dir, "nobody")), 2))
			full = append(full, timed(b, exec.Command(binary, "version"), 0))
		}
		for _, l := range [][]time.Duration{hooked, bare, full} {
			slices.Sort(l)
		}
		ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
		b.ReportMetric(ms(hooked[n/2]), "ms/hook-p50")
		b.ReportMetric(ms(hooked[n*99/100]), "ms/hook-p99")
		b.ReportMetric(ms(bare[n/2]), "ms/nobody-p50")
		b.ReportMetric(ms(full[n/2]), "ms/version-p50")
		b.ReportMetric(float64(hooked[n/2])/float64(full[n/2]), "x/version-p50")
		b.ReportMetric(ms(full[n*99/100]), "ms/version-p99")
		b.ReportMetric(float64(hooked[n*99/100])/float64(full[n*99/100]), "x/version-p99")
	}
}

// timed runs a command that must end with a code.
func timed(b *testing.B, cmd *exec.Cmd, code int) time.Duration {
	b.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code {
		b.Fatalf("%s: %v %s", cmd, err, said.String())
	}
	return took
}

// serveFront begins a task with an instance, and serves its way to the gateways at a socket, as the launcher does.
func (h *house) serveFront(agent string) (socket string) {
	h.b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h.b.Cleanup(cancel)
	s := h.ana.Session()
	t, err := h.ana.CreateTask(ctx, remit.TaskRequest{Agent: agent, Intent: "look around"})
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
	token, _, err := s.Token(ctx, i.ID, i.Secret, hook.Name)
	if err != nil {
		h.b.Fatal(err)
	}
	f, err := front.New(front.Config{Base: "https://" + h.addr, Org: "acme", CA: h.ca, Tokens: oneToken(token), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.b.Fatal(err)
	}
	h.b.Cleanup(f.Close)
	socket = filepath.Join(h.dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		h.b.Fatal(err)
	}
	srv := &http.Server{Handler: f}
	go func() { _ = srv.Serve(l) }()
	h.b.Cleanup(func() { _ = srv.Close() })
	return socket
}

type oneToken string

func (t oneToken) Token(context.Context, string) (string, error) { return string(t), nil }
func (oneToken) Forget(string)                                   {}
