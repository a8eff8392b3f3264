package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"

	"github.com/remit-dev/remit"
)

// Findings are what the detections found, newest first.
func (c *Client) Findings(ctx context.Context) (l []remit.FindingView, err error) {
	return l, c.get(ctx, "/findings", &l)
}

// Export gives the entries from one on as lines in a format for others to collect; without one, as LogEntries reads
// them. With follow it goes on with those that
// come, until ctx ends.
func (c *Client) Export(ctx context.Context, format string, from remit.EntryIndex, follow bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		resp, err := c.request(ctx, http.MethodGet, fmt.Sprintf("/log/entries?from=%d&follow=%t&format=%s", from, follow, url.QueryEscape(format)), "", nil)
		if err != nil {
			yield(nil, err)
			return
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue // keeps the connection awake
			}
			if !yield(lines.Bytes(), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil && !errors.Is(err, context.Canceled) {
			yield(nil, err)
		}
	}
}
