package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/gateway/mcp"
	"github.com/remit-dev/remit/ledger"
)

// tools are the declared servers of tools as their gateway sees them.
type tools struct {
	engine *engine.Engine
	ups    *upstreams
	blobs  ledger.Blobs
	base   string // of the organisation's addresses
	homes  string // directory of the homes of servers that are started

	mu      sync.Mutex
	at      remit.EntryIndex // of the declarations that servers was made of
	servers map[string]mcp.Server
	watched map[remit.ID]chan struct{}
}

func (t *tools) Payload(body []byte) (remit.Payload, error) { return t.engine.NewPayload(body) }

// Server is a declared server with how it is reached and what is declared of it.
func (t *tools) Server(ctx context.Context, name string) (mcp.Server, error) {
	var declared []remit.ToolDeclared
	var at remit.EntryIndex
	known := false
	t.engine.View(func(s *authority.State) {
		at = s.SetEntry
		if up := s.Upstreams[name]; up != nil && up.Type == remit.KindMCP {
			known = true
		}
	})
	if !known {
		return mcp.Server{}, remit.Errorf(remit.UnknownResource, "no server of tools %.64q is declared", name)
	}
	t.mu.Lock()
	if t.at != at {
		t.at, t.servers = at, map[string]mcp.Server{}
	}
	s, ok := t.servers[name]
	t.mu.Unlock()
	if ok {
		return s, nil
	}
	t.engine.View(func(s *authority.State) {
		for _, x := range s.Tools {
			if x.Server() == name {
				declared = append(declared, x.ToolDeclared)
			}
		}
	})
	s, err := t.make(ctx, name, declared)
	if err != nil {
		return mcp.Server{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == at {
		t.servers[name] = s
	}
	return s, nil
}

func (t *tools) make(ctx context.Context, name string, declared []remit.ToolDeclared) (mcp.Server, error) {
	up, spec, err := t.ups.declared(ctx, name)
	if err != nil {
		return mcp.Server{}, err
	}
	s := mcp.Server{Name: name, Command: up.Command}
	if len(up.Command) > 0 {
		s.Env = func(ctx context.Context) ([]string, error) { return environment(ctx, up, filepath.Join(t.homes, name)) }
	} else {
		if s.Transport, s.URL, err = t.ups.transport(ctx, up, spec); err != nil {
			return mcp.Server{}, err
		}
		s.URL = up.Location // with the slash at its end, if it has one
		s.Observer = observes(up)
	}
	slices.SortFunc(declared, func(a, b remit.ToolDeclared) int { return strings.Compare(a.Name, b.Name) })
	for _, d := range declared {
		x := d.Tool()
		if !d.Spec.IsZero() {
			body, ok := t.engine.Text(ctx, d.Spec)
			if !ok {
				return mcp.Server{}, remit.Errorf(remit.UpstreamDown, "the declaration of tool %s was erased; apply it again", d.Name)
			}
			if err := json.Unmarshal(body, &x.Probe); err != nil {
				return mcp.Server{}, remit.Errorf(remit.Internal, "the declaration of tool %s cannot be read: %w", d.Name, err)
			}
		}
		s.Tools = append(s.Tools, x)
	}
	return s, nil
}

// observes adds the credential with which Remit itself reads what a server says of its tools: the one that only reads, or
// the one that there is.
func observes(up remit.Upstream) func(*http.Request) error {
	source := up.Observer
	if source.From == "" {
		source = up.Write
	}
	if source.From == "" {
		return nil
	}
	return func(r *http.Request) error {
		h, err := broker.Authorization(r.Context(), source)
		if err == nil {
			r.Header.Set("Authorization", h)
		}
		return err
	}
}

// environment is the whole environment of a server that Remit starts: nothing of Remit's own, a home that has nothing of
// anybody's in it, and the secrets that are declared.
func environment(ctx context.Context, up remit.Upstream, home string) ([]string, error) {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the home of server %s: %w", up.Name, err)
	}
	out := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8"}
	for name, source := range up.Env {
		v, err := broker.Value(ctx, source)
		if err != nil {
			return nil, fmt.Errorf("the variable %s of upstream %s: %w", name, up.Name, err)
		}
		out = append(out, name+"="+v)
	}
	slices.Sort(out)
	return out, nil
}

// Reach lists the servers of which a task's grant names anything.
func (t *tools) Reach(_ context.Context, c remit.Caller) (names []string, err error) {
	t.engine.View(func(s *authority.State) { names = s.ReachedServers(c.Task) })
	return names, nil
}

// May says whether a task's grant covers a step at all.
func (t *tools) May(_ context.Context, c remit.Caller, st remit.Step) (err *remit.Error) {
	now := t.engine.Now().UnixNano()
	t.engine.View(func(s *authority.State) { err = s.May(c.Task, now, st) })
	return err
}

// Keep keeps the definition of a tool that was admitted. Its digest is its name.
func (t *tools) Keep(ctx context.Context, plain []byte) error {
	if r, _, err := t.blobs.Open(ctx, remit.Hash(plain)); err == nil {
		return r.Close()
	}
	_, _, err := t.blobs.Put(ctx, bytes.NewReader(plain))
	return err
}

// Definition gives a definition that was admitted.
func (t *tools) Definition(ctx context.Context, pin remit.Digest) ([]byte, bool) {
	r, _, err := t.blobs.Open(ctx, pin)
	if err != nil {
		return nil, false
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, 4<<20))
	return b, err == nil && remit.Hash(b) == pin
}

// Wait returns when an access request has been decided and done, or ctx ends.
func (t *tools) Wait(ctx context.Context, access remit.ID) (status remit.AccessStatus, why string, err error) {
	known := true
	look := func(s *authority.State) bool {
		a := s.Accesses[access]
		if known = a != nil; !known {
			return true
		}
		status, why = a.Status, ""
		if a.Why != "" {
			why = fmt.Sprintf("%s: %s", a.Why, a.Why.Info().Meaning)
		}
		return a.Status != remit.AccessOpen && a.Status != remit.AccessMet
	}
	if err := t.engine.Wait(ctx, look); err != nil {
		if ctx.Err() == nil {
			return "", "", err
		}
		t.engine.View(func(s *authority.State) { look(s) })
	}
	if !known {
		return "", "", remit.Errorf(remit.NotFound, "there is no access request %.32s", access)
	}
	return status, why, nil
}

// URL is the page of an access request.
func (t *tools) URL(access remit.ID) string { return t.base + "/approve/" + string(access) }

// Ended is closed when an instance ends; what Remit itself asks for is of none.
func (t *tools) Ended(instance remit.ID) <-chan struct{} {
	if instance == "" {
		return nil
	}
	t.mu.Lock()
	c := t.watched[instance]
	if c != nil {
		t.mu.Unlock()
		return c
	}
	c = make(chan struct{})
	if t.watched == nil {
		t.watched = map[remit.ID]chan struct{}{}
	}
	t.watched[instance] = c
	t.mu.Unlock() // watch takes the two locks in the other order
	t.engine.View(t.ended)
	return c
}

// ended closes the channels of instances that are gone.
func (t *tools) ended(s *authority.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, c := range t.watched {
		if s.Instances[id] == nil {
			close(c)
			delete(t.watched, id)
		}
	}
}

// watch closes what Ended gave, until ctx ends.
func (t *tools) watch(ctx context.Context) error {
	return t.engine.Wait(ctx, func(s *authority.State) bool {
		t.ended(s)
		return false
	})
}
