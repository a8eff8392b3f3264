package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// toolServer is a server of tools over HTTPS, by the protocol's own Go library: one that answers at once, one that works
// for five milliseconds, and one that says something at once and answers later.
func toolServer(b testing.TB, stateless bool) *httptest.Server {
	b.Helper()
	s := sdk.NewServer(&sdk.Implementation{Name: "tools", Version: "1"}, nil)
	type in struct {
		Text string `json:"text"`
	}
	add := func(name string, f func(ctx context.Context, r *sdk.CallToolRequest) error) {
		sdk.AddTool(s, &sdk.Tool{Name: name}, func(ctx context.Context, r *sdk.CallToolRequest, i in) (*sdk.CallToolResult, any, error) {
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: i.Text}}}, nil, f(ctx, r)
		})
	}
	add("echo", func(context.Context, *sdk.CallToolRequest) error { return nil })
	add("work", func(context.Context, *sdk.CallToolRequest) error { time.Sleep(5 * time.Millisecond); return nil })
	add("speak", func(ctx context.Context, r *sdk.CallToolRequest) error {
		err := r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1})
		time.Sleep(20 * time.Millisecond)
		return err
	})
	h := httptest.NewTLSServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{Stateless: stateless}))
	b.Cleanup(h.Close)
	return h
}

// caller calls tools at one address, over one connection.
type caller struct {
	url, token string
	http       *http.Client
}

func (c caller) post(b testing.TB, body string, header map[string]string) *http.Response {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + c.token}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		b.Fatalf("HTTP %d: %s", resp.StatusCode, text)
	}
	return resp
}

// call calls a tool, and tells when its first event and when its answer had come.
func (c caller) call(b testing.TB, tool string) (first, all time.Duration) {
	b.Helper()
	start := time.Now()
	resp := c.post(b, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{"text":"hello"},"_meta":{"progressToken":1,`+
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`,
		map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool})
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	var text []byte
	for {
		line, err := in.ReadSlice('\n')
		if first == 0 && bytes.HasPrefix(line, []byte("data:")) {
			first = time.Since(start)
		}
		text = append(text, line...)
		if err != nil {
			break
		}
	}
	all = time.Since(start)
	if !bytes.Contains(text, []byte(`"text":"hello"`)) {
		b.Fatalf("the tool answers %s", text)
	}
	return first, all
}

// overTLS is a client of its own that trusts what it is pointed at: what is measured is the way, not the trust.
func overTLS() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 1 << 10}}
}

// toolHouse is a server of Remit before a server of tools, and the tokens of n instances.
func toolHouse(b testing.TB, up *httptest.Server, n int) (through []caller) {
	b.Helper()
	dir := b.TempDir()
	secret := filepath.Join(dir, "token")
	if err := os.WriteFile(secret, []byte("of-the-server"), 0o600); err != nil {
		b.Fatal(err)
	}
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: up.Certificate().Raw}), 0o600); err != nil {
		b.Fatal(err)
	}
	scope := remit.Scope{Actions: []remit.Action{"tool.read"}, Resources: []remit.Pattern{"tool:hub/**"}}
	h := newHouse(b, remit.Declarations{
		Upstreams: []remit.Upstream{{Name: "hub", Kind: remit.KindMCP, Location: up.URL, CA: ca, Write: remit.Source{From: "file", Name: secret}, Observer: remit.Source{From: "file", Name: secret}}},
		Tools:     []remit.Tool{{Name: "hub/**", Zone: "S", Impact: "read"}},
		Agents: []remit.Agent{{Name: "coder", Function: remit.FuncCode, Owner: "ana", Purpose: "codes", Requesters: []string{"reviewers"}, Expires: "2099-01-31",
			Entitlements: []remit.Scope{scope}}},
	}, nil)
	for range n {
		t, err := h.ana.CreateTask(b.Context(), remit.TaskRequest{Agent: "coder", Intent: "work", Scope: []remit.Scope{scope}})
		if err != nil {
			b.Fatal(err)
		}
		s := h.ana.Session()
		i, err := s.StartInstance(b.Context(), client.InstanceStart{Task: t.ID, Confinement: remit.ConfineNone})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Hold(b.Context(), i.ID, i.Secret); err != nil {
			b.Fatal(err)
		}
		token, _, err := s.Token(b.Context(), i.ID, i.Secret, "mcp")
		if err != nil {
			b.Fatal(err)
		}
		through = append(through, caller{"https://" + h.addr + "/v1/orgs/acme/mcp/hub", token, overTLS()})
	}
	return through
}

// BenchmarkToolCall compares a call of a tool through Remit (taken apart, judged, decided and recorded twice durably) with
// one straight at its server, in alternating rounds of one run.
func BenchmarkToolCall(b *testing.B) {
	up := toolServer(b, true)
	direct, through := caller{up.URL, "", overTLS()}, toolHouse(b, up, 1)[0]
	for _, c := range []struct {
		tool  string
		calls int
	}{{"echo", atMost(600, 5)}, {"work", atMost(150, 2)}, {"speak", atMost(40, 1)}} {
		b.Run(c.tool, func(b *testing.B) {
			for b.Loop() {
				var ratios, added, first []float64
				for range atMost(7, 1) {
					var d, t, df, tf []time.Duration
					for range c.calls {
						one, all := direct.call(b, c.tool)
						df, d = append(df, one), append(d, all)
						one, all = through.call(b, c.tool)
						tf, t = append(tf, one), append(t, all)
					}
					ratios = append(ratios, float64(p50(t))/float64(p50(d)))
					added = append(added, float64((p50(t) - p50(d)).Microseconds()))
					first = append(first, float64((p50(tf) - p50(df)).Microseconds()))
				}
				b.ReportMetric(median(ratios), "ratio")
				b.ReportMetric(median(added), "µs-added-p50")
				b.ReportMetric(median(first), "µs-added-first-byte")
			}
		})
	}
}

func p50(v []time.Duration) time.Duration {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkToolSessions opens a thousand sessions, each with its stream, and compares a call with so many open with a
// call with one.
func BenchmarkToolSessions(b *testing.B) {
	sessions, each := atMost(1000, 8), 50
	up := toolServer(b, false)
	through := toolHouse(b, up, (sessions+each-1)/each)
	for b.Loop() {
		var ids []string
		ctx, cancel := context.WithCancel(b.Context())
		open := func(c caller) string {
			resp := c.post(b, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`, nil)
			_, _ = io.Copy(io.Discard, resp.Body) // what it says is not what is measured
			_ = resp.Body.Close()
			id := resp.Header.Get("Mcp-Session-Id")
			note := c.post(b, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, map[string]string{"Mcp-Session-Id": id})
			_ = note.Body.Close()
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header = http.Header{"Authorization": {"Bearer " + c.token}, "Accept": {"text/event-stream"}, "Mcp-Session-Id": {id}}
			stream, err := c.http.Do(r)
			if err != nil || stream.StatusCode != http.StatusOK {
				b.Fatalf("the stream of a session: %v %v", stream, err)
			}
			b.Cleanup(func() { _ = stream.Body.Close() })
			return id
		}
		measure := func(n int) time.Duration {
			var waits []time.Duration
			for i := range atMost(400, 4) {
				start := time.Now()
				resp := through[0].post(b, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`, n+i+2),
					map[string]string{"Mcp-Session-Id": ids[0], "Mcp-Protocol-Version": "2025-11-25"})
				text, err := io.ReadAll(resp.Body)
				if err != nil || !bytes.Contains(text, []byte(`"text":"hello"`)) {
					b.Fatalf("%s %v", text, err)
				}
				_ = resp.Body.Close()
				waits = append(waits, time.Since(start))
			}
			return p50(waits)
		}
		ids = append(ids, open(through[0]))
		one := measure(0)
		start := time.Now()
		for i := 1; i < sessions; i++ {
			ids = append(ids, open(through[i/each]))
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/float64(sessions), "µs/session")
		b.ReportMetric(float64(measure(10_000))/float64(one), "ratio")
		b.ReportMetric(float64(len(ids)), "sessions")
		cancel()
	}
}
