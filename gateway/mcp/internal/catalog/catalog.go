// Package catalog is what servers say of their tools: read by pages (MCP, Pagination), and kept for a while.
package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// Limits of what a server may say of itself.
const (
	MaxTools   = 1000
	MaxBytes   = 4 << 20 // of all pages
	maxPages   = 100
	ReadWithin = 30 * time.Second
)

// Definition is what a server says of a tool now.
type Definition struct {
	Raw    json.RawMessage // the element of its list
	Digest remit.Digest    // SHA-256 of Raw as RFC 8785 writes it
}

// Cache remembers what servers said of their tools a moment ago. It can be lost at any time; the zero remembers nothing.
type Cache struct {
	mu     sync.Mutex
	of     map[string]sight // by server
	flight singleflight.Group
}

type sight struct {
	tools map[string]Definition
	from  string // how the server was reached
	until time.Time
}

// Get is what a server says of its tools, by name: what is remembered of it, if it was reached from the same place, or what
// read gives and for how long that is to be remembered. Whoever asks meanwhile gets the same; one of them may go away
// without the others losing it, so read has a context of its own, which ends after 30 s.
func (c *Cache) Get(ctx context.Context, server, from string, read func(context.Context) (map[string]Definition, time.Duration, error)) (map[string]Definition, error) {
	if tools, ok := c.remembered(server, from); ok {
		return tools, nil
	}
	answer := c.flight.DoChan(server+"\x00"+from, func() (any, error) { return c.fly(ctx, server, from, read) })
	select {
	case r := <-answer:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(map[string]Definition), nil
	case <-ctx.Done():
		return nil, remit.Errorf(remit.UpstreamDown, "the server %s does not say what its tools are: %w", server, ctx.Err())
	}
}

// fly reads, once for all who wait. Who looked before the last flight landed, and boards after it, finds what that one brought.
func (c *Cache) fly(ctx context.Context, server, from string, read func(context.Context) (map[string]Definition, time.Duration, error)) (map[string]Definition, error) {
	if tools, ok := c.remembered(server, from); ok {
		return tools, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ReadWithin)
	defer cancel()
	tools, life, err := read(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]sight{}
	}
	c.of[server] = sight{tools, from, time.Now().Add(life)}
	return tools, nil
}

func (c *Cache) remembered(server, from string) (map[string]Definition, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.of[server]
	return s.tools, ok && s.from == from && time.Now().Before(s.until)
}

// Forget forgets what a server said.
func (c *Cache) Forget(server string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, server)
}

// Read reads all pages of a server's tools/list; ask makes one such request. A list that is too long, has a tool twice, or
// cannot be read in one way only is a remit.UpstreamDown: then nothing of it is believed.
func Read(server string, ask func(params json.RawMessage) (result, fault json.RawMessage, err error)) (map[string]Definition, error) {
	bad := func(format string, args ...any) (map[string]Definition, error) {
		return nil, remit.Errorf(remit.UpstreamDown, "the server %s cannot be judged: %w", server, fmt.Errorf(format, args...))
	}
	out := map[string]Definition{}
	cursors := map[string]bool{}
	params := json.RawMessage("{}")
	size := 0
	for range maxPages {
		result, fault, err := ask(params)
		switch {
		case err != nil:
			return nil, err
		case fault != nil:
			return bad("it answers tools/list with the error %.200s", remit.VisibleText(string(fault)))
		}
		if size += len(result); size > MaxBytes {
			return bad("its list of tools is longer than %d bytes", MaxBytes)
		}
		elements, next, err := envelope.Page(result, "tools")
		if err != nil {
			return bad("its list of tools %w", err)
		}
		for _, e := range elements {
			name, err := envelope.NameOf(e, "name")
			if err != nil {
				return bad("one of its tools %w", err)
			}
			if _, twice := out[name]; twice {
				return bad("it has the tool %s twice", remit.VisibleText(name))
			}
			digest, err := envelope.Digest(e)
			if err != nil {
				return bad("its tool %s %w", remit.VisibleText(name), err)
			}
			out[name] = Definition{Raw: e, Digest: digest}
		}
		if len(out) > MaxTools {
			return bad("it has more than %d tools", MaxTools)
		}
		if next == "" {
			return out, nil
		}
		if cursors[next] {
			return bad("its list of tools goes round in circles")
		}
		cursors[next] = true
		if params, err = json.Marshal(map[string]string{"cursor": next}); err != nil {
			return bad("its list of tools cannot be followed: %w", err)
		}
	}
	return bad("its list of tools has more than %d pages", maxPages)
}
