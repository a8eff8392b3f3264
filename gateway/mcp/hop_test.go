package mcp

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// BenchmarkHop compares a call of a tool through the gateway alone, with an authority that only says yes, with one straight at
// its server: what is added by taking the call apart, judging it and carrying it.
func BenchmarkHop(b *testing.B) {
	w := newWorld(b, nil)
	s := sdkServer(false)
	up := w.upstream("things", sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{Stateless: true}))
	p := modern("things", "tools/call", "echo", `"name":"echo","arguments":{"text":"hello"}`)
	var direct, through []time.Duration
	for b.Loop() {
		for range 200 {
			for _, url := range []string{up.URL + "/", w.url} {
				r := w.request(p)
				u := *r.URL
				if url != w.url {
					u.Host, u.Path = strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/"), "/"
				}
				r.URL, r.Host = &u, u.Host
				start := time.Now()
				resp, err := http.DefaultTransport.RoundTrip(r)
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Fatal(resp, err)
				}
				buf := make([]byte, 4096)
				for err == nil {
					_, err = resp.Body.Read(buf)
				}
				_ = resp.Body.Close()
				if url == w.url {
					through = append(through, time.Since(start))
				} else {
					direct = append(direct, time.Since(start))
				}
			}
		}
	}
	slices.Sort(direct)
	slices.Sort(through)
	d, t := direct[len(direct)/2], through[len(through)/2]
	b.ReportMetric(float64(t)/float64(d), "ratio")
	b.ReportMetric(float64((t - d).Microseconds()), "µs-added-p50")
}
