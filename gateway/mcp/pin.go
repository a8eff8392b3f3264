package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gowebpki/jcs"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/card"
	"github.com/remit-dev/remit/gateway/mcp/internal/catalog"
	"github.com/remit-dev/remit/gateway/mcp/internal/naming"
)

// How long what a server said of its tools is taken for what it says now.
const (
	seenFor    = time.Minute
	doubtedFor = 5 * time.Second // what was seen to differ from what was admitted
)

// Definitions keeps the definitions that were admitted, so that people can be shown what a drift changed.
type Definitions interface {
	// Keep keeps one, as RFC 8785 writes it.
	Keep(ctx context.Context, plain []byte) error
	// Definition is the one that has this digest.
	Definition(ctx context.Context, pin remit.Digest) ([]byte, bool)
}

// reach is the same for two records of a server that is reached in the same way.
func (s Server) reach() string { return s.URL + "\x00" + strings.Join(s.Command, "\x00") }

// observe is what a server says of its tools now, read in Remit's own name (R7).
func (g *Gateway) observe(ctx context.Context, s Server) (map[string]catalog.Definition, error) {
	return g.seen.Get(ctx, s.Name, s.reach(), func(ctx context.Context) (map[string]catalog.Definition, time.Duration, error) {
		tools, err := catalog.Read(s.Name, func(params json.RawMessage) (result, fault json.RawMessage, err error) {
			return g.ask(ctx, s, s.Observer, "", "tools/list", params)
		})
		if err != nil {
			return nil, 0, err
		}
		g.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "observed", slog.String("identity", "remit:observer"), slog.String("upstream", s.Name), slog.Int("tools", len(tools)))
		if g.kept(ctx, s, tools) {
			return tools, doubtedFor, nil
		}
		return tools, seenFor, nil
	})
}

// listChanged forgets what a server said: it says that it has changed.
func (g *Gateway) listChanged(server string) { g.seen.Forget(server) }

// kept keeps the definitions that are the admitted ones, and tells whether another one is there in the place of one.
func (g *Gateway) kept(ctx context.Context, s Server, tools map[string]catalog.Definition) (drift bool) {
	for name, d := range tools {
		t, exact := naming.Exactly(s.Name, s.Tools, name)
		switch {
		case !exact || t.Pin.IsZero():
		case t.Pin != d.Digest:
			drift = true
			g.cfg.Log.WarnContext(ctx, "a tool is not the one that was admitted", "upstream", s.Name, "tool", name, "pin", t.Pin, "seen", d.Digest)
		case g.cfg.Definitions != nil:
			plain, err := jcs.Transform(d.Raw)
			if err == nil {
				err = g.cfg.Definitions.Keep(ctx, plain)
			}
			if err != nil { // then a later drift is shown without what it changed
				g.cfg.Log.ErrorContext(ctx, "keeping the definition of a tool", "upstream", s.Name, "tool", name, "err", err)
			}
		}
	}
	return drift
}

// pinned is what a server says of a tool now, and for people what of it is not what was admitted.
func (g *Gateway) pinned(ctx context.Context, s Server, tool string) (d catalog.Definition, notes string, err error) {
	tools, err := g.observe(ctx, s)
	if err != nil {
		return d, "", err
	}
	d, listed := tools[tool]
	t, exact := naming.Exactly(s.Name, s.Tools, tool)
	switch {
	case !listed:
		return d, "The server does not list this tool now.\n", nil
	case !exact || t.Pin == d.Digest:
		return d, "", nil
	case t.Pin.IsZero():
		return d, "No definition of this tool was admitted. The server defines it so:\n\n" + card.Pretty(d.Raw), nil
	}
	if g.cfg.Definitions != nil {
		if old, ok := g.cfg.Definitions.Definition(ctx, t.Pin); ok {
			return d, "The definition of this tool is not the one that was admitted. The difference:\n\n" + card.Difference(card.Pretty(old), card.Pretty(d.Raw)), nil
		}
	}
	return d, fmt.Sprintf("The definition of this tool is not the one that was admitted (%s), which is not kept here. The server defines it so:\n\n%s", t.Pin, card.Pretty(d.Raw)), nil
}

// Definition is a tool as its server defines it.
type Definition struct {
	Name     string          // of the tool
	Resource remit.Resource  // by which it is declared
	Raw      json.RawMessage // as the server wrote it
	Pin      remit.Digest    // of it
}

// Tools is what a server says of its tools now, by name.
func (g *Gateway) Tools(ctx context.Context, s Server) ([]Definition, error) {
	seen, err := g.observe(ctx, s)
	if err != nil {
		return nil, err
	}
	var out []Definition
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		r, err := naming.Tool(s.Name, name)
		if err != nil {
			return nil, err
		}
		out = append(out, Definition{name, r, seen[name].Raw, seen[name].Digest})
	}
	return out, nil
}

// Difference shows people by lines what a definition says that another one did not; of one alone, all of it.
func Difference(before, after []byte) string {
	if len(before) == 0 {
		return remit.VisibleText(card.Pretty(after))
	}
	return remit.VisibleText(card.Difference(card.Pretty(before), card.Pretty(after)))
}
