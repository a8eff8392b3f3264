package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// sdkServer is a server of everything that a client can notice, by the protocol's own Go library.
func sdkServer(requests bool) *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "things", Version: "1"}, &sdk.ServerOptions{
		CompletionHandler: func(_ context.Context, r *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
			return &sdk.CompleteResult{Completion: sdk.CompletionResultDetails{Values: []string{r.Params.Argument.Value + "!"}, Total: 1}}, nil
		},
		SubscribeHandler:   func(context.Context, *sdk.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *sdk.UnsubscribeRequest) error { return nil },
	})
	type in struct {
		Text string `json:"text"`
	}
	text := func(s string) *sdk.CallToolResult {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: s}}}
	}
	sdk.AddTool(s, &sdk.Tool{Name: "echo", Description: "says it again"}, func(_ context.Context, _ *sdk.CallToolRequest, i in) (*sdk.CallToolResult, any, error) {
		return text("<" + i.Text + "> \x1b[31m"), map[string]string{"said": i.Text}, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "fail"}, func(context.Context, *sdk.CallToolRequest, in) (*sdk.CallToolResult, any, error) {
		return nil, nil, errors.New("it failed")
	})
	sdk.AddTool(s, &sdk.Tool{Name: "progress"}, func(ctx context.Context, r *sdk.CallToolRequest, _ in) (*sdk.CallToolResult, any, error) {
		for i := range 3 {
			if err := r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i), Total: 3}); err != nil {
				return nil, nil, err
			}
		}
		return text("done"), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "wait"}, func(ctx context.Context, _ *sdk.CallToolRequest, _ in) (*sdk.CallToolResult, any, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	if requests {
		sdk.AddTool(s, &sdk.Tool{Name: "sample"}, func(ctx context.Context, r *sdk.CallToolRequest, _ in) (*sdk.CallToolResult, any, error) {
			//lint:ignore SA1019 servers of the versions before 2026-07-28 ask their clients so
			got, err := r.Session.CreateMessage(ctx, &sdk.CreateMessageParams{MaxTokens: 10, Messages: []*sdk.SamplingMessage{{Role: "user", Content: &sdk.TextContent{Text: "what is it?"}}}})
			if err != nil {
				return text("refused: " + err.Error()), nil, nil
			}
			return text(got.Content.(*sdk.TextContent).Text), nil, nil
		})
		sdk.AddTool(s, &sdk.Tool{Name: "elicit"}, func(ctx context.Context, r *sdk.CallToolRequest, _ in) (*sdk.CallToolResult, any, error) {
			got, err := r.Session.Elicit(ctx, &sdk.ElicitParams{Message: "your name?"})
			if err != nil {
				return text("refused: " + err.Error()), nil, nil
			}
			return text(fmt.Sprint(got.Action, got.Content)), nil, nil
		})
		sdk.AddTool(s, &sdk.Tool{Name: "roots"}, func(ctx context.Context, r *sdk.CallToolRequest, _ in) (*sdk.CallToolResult, any, error) {
			//lint:ignore SA1019 servers of the versions before 2026-07-28 ask their clients so
			got, err := r.Session.ListRoots(ctx, nil)
			if err != nil {
				return text("refused: " + err.Error()), nil, nil
			}
			return text(got.Roots[0].URI), nil, nil
		})
	}
	s.AddResource(&sdk.Resource{Name: "a", URI: "file:///docs/a"}, func(_ context.Context, r *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: r.Params.URI, Text: "A"}}}, nil
	})
	s.AddResourceTemplate(&sdk.ResourceTemplate{Name: "t", URITemplate: "thing://{id}"}, func(_ context.Context, r *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: r.Params.URI, Blob: []byte{0, 1, 255}}}}, nil
	})
	s.AddPrompt(&sdk.Prompt{Name: "greet", Arguments: []*sdk.PromptArgument{{Name: "who"}}}, func(_ context.Context, r *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return &sdk.GetPromptResult{Messages: []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: "hello " + r.Params.Arguments["who"]}}}}, nil
	})
	return s
}

// bearer puts a token on requests.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// overHTTP is the way to an address, as an instance.
func overHTTP(url string) sdk.Transport {
	return &sdk.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: bearer("I-1")}}
}

// newClient is a client of the protocol's own Go library.
func newClient(t *testing.T, transport sdk.Transport, notify func(string)) *sdk.ClientSession {
	t.Helper()
	c := sdk.NewClient(&sdk.Implementation{Name: "someone", Version: "1"}, &sdk.ClientOptions{
		//lint:ignore SA1019 servers of the versions before 2026-07-28 ask their clients so
		CreateMessageHandler: func(_ context.Context, r *sdk.CreateMessageRequest) (*sdk.CreateMessageResult, error) {
			//lint:ignore SA1019 servers of the versions before 2026-07-28 ask their clients so
			return &sdk.CreateMessageResult{Role: "assistant", Model: "m", Content: &sdk.TextContent{Text: "sampled " + r.Params.Messages[0].Content.(*sdk.TextContent).Text}}, nil
		},
		ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ana"}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
			notify(fmt.Sprint("progress ", r.Params.Progress))
		},
	})
	//lint:ignore SA1019 servers of the versions before 2026-07-28 ask their clients so
	c.AddRoots(&sdk.Root{URI: "file:///work"})
	s, err := c.Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// everything is what a client sees at an address, and what it is notified of.
func everything(t *testing.T, url string, requests bool) []string {
	var mu sync.Mutex
	var notes []string
	seen := seenBy(t, newClient(t, overHTTP(url), func(n string) { mu.Lock(); notes = append(notes, n); mu.Unlock() }), requests)
	mu.Lock()
	defer mu.Unlock()
	return append(seen, notes...)
}

// seenBy is what a client sees of a server.
func seenBy(t *testing.T, s *sdk.ClientSession, requests bool) []string {
	var seen []string
	see := func(what string, v any, err error) {
		b, jerr := json.Marshal(v)
		if jerr != nil {
			t.Fatal(jerr)
		}
		seen = append(seen, fmt.Sprintf("%s: %s %v", what, b, err))
	}
	ctx := t.Context()
	see("begin", s.InitializeResult(), nil)
	tools, err := s.ListTools(ctx, nil)
	see("tools", tools, err)
	names := []string{"echo", "fail", "progress", "none"}
	if requests {
		names = append(names, "sample", "elicit", "roots")
	}
	for _, name := range names {
		p := &sdk.CallToolParams{Name: name, Arguments: map[string]any{"text": "Ω \u2028 <&> 12"}}
		p.SetProgressToken("p-" + name)
		r, err := s.CallTool(ctx, p)
		see(name, r, err)
	}
	bad, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "echo", Arguments: map[string]any{"text": 1}})
	see("bad arguments", bad, err)
	short, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.CallTool(short, &sdk.CallToolParams{Name: "wait", Arguments: map[string]any{"text": ""}})
	}()
	cancel()
	<-done
	resources, err := s.ListResources(ctx, nil)
	see("resources", resources, err)
	templates, err := s.ListResourceTemplates(ctx, nil)
	see("templates", templates, err)
	for _, uri := range []string{"file:///docs/a", "thing://7", "file:///none"} {
		r, err := s.ReadResource(ctx, &sdk.ReadResourceParams{URI: uri})
		see(uri, r, err)
	}
	prompts, err := s.ListPrompts(ctx, nil)
	see("prompts", prompts, err)
	prompt, err := s.GetPrompt(ctx, &sdk.GetPromptParams{Name: "greet", Arguments: map[string]string{"who": "Bo"}})
	see("prompt", prompt, err)
	complete, err := s.Complete(ctx, &sdk.CompleteParams{Ref: &sdk.CompleteReference{Type: "ref/prompt", Name: "greet"}, Argument: sdk.CompleteParamsArgument{Name: "who", Value: "B"}})
	see("complete", complete, err)
	if requests { // 2026-07-28 has no ping
		see("ping", nil, s.Ping(ctx, nil))
	}
	return seen
}

func TestThroughTheGatewayAClientSeesWhatItSeesWithoutIt(t *testing.T) {
	for _, kind := range []struct {
		name      string
		stateless bool
	}{{"2025-11-25, sessions", false}, {"2026-07-28, stateless", true}} {
		t.Run(kind.name, func(t *testing.T) {
			w := newWorld(t, nil)
			s := sdkServer(!kind.stateless)
			up := w.upstream("things", sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{Stateless: kind.stateless}))
			direct, through := everything(t, up.URL, !kind.stateless), everything(t, w.url+"things", !kind.stateless)
			asked := 0
			for _, r := range w.asked {
				if strings.Contains(string(r.Steps[0].Resource), "/-/requests/") {
					asked++
				}
			}
			if want := map[bool]int{true: 0, false: 3}[kind.stateless]; asked != want {
				t.Errorf("%d requests of the server's were decided, not %d", asked, want)
			}
			if len(direct) < 15 || len(direct) != len(through) {
				t.Errorf("direct %d things are seen, and %d through the gateway", len(direct), len(through))
			}
			for i := range min(len(direct), len(through)) {
				if direct[i] != through[i] {
					t.Errorf("direct:  %s\nthrough: %s", direct[i], through[i])
				}
			}
		})
	}
}
