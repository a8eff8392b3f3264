package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

const (
	// beatEvery is how often a launcher is heard of; the server gives up after 15 s without.
	beatEvery = 5 * time.Second
	// maxHeld is the longest line of a held connection, in bytes.
	maxHeld = 4 << 10
)

// Secret proves that a call comes from an instance. It does not print.
type Secret string

// String never shows the secret.
func (Secret) String() string { return "[secret]" }

// GoString never shows the secret.
func (Secret) GoString() string { return "[secret]" }

// LogValue never shows the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// InstanceStart is what the launcher tells the server of the command that it is about to run.
type InstanceStart struct {
	Task remit.ID
	// Confinement is what the process that waits to become the command already is under, not what was wished for.
	Confinement remit.Confinement
	// Ungoverned names the known credentials that the person handed to the command (--env), sorted. Any at all marks
	// the task.
	Ungoverned []string
}

// Instance is one running copy of an agent, as the server made it.
type Instance struct {
	ID, Task remit.ID
	Org      remit.Org
	Agent    string
	SPIFFEID string
	Secret   Secret
	Gateway  string // https://HOST[:PORT]/v1/orgs/ORG/git: what tokens are bound to and git talks to
	CA       []byte // PEM: what the gateway's certificate is verified by
	Branch   string // refs/heads/remit/TASK/…: where the command may push
	Rewrites []Rewrite
	MCP      []string // names of the MCP servers that the task reaches
	// Confinement is what the server was told of a sub-agent's instance: that of the instance which started it. Empty: what
	// its launcher said in InstanceStart.
	Confinement remit.Confinement
}

// Rewrite sends git's traffic for an upstream through the gateway.
type Rewrite struct {
	From []string // how URLs of the upstream begin: https://forge/acme/payments, git@forge:acme/payments
	To   string   // what that becomes; it begins with Instance.Gateway
}

// LaunchSession is a launcher's Session over the API, on behalf of a signed-in person.
type LaunchSession struct {
	client *Client
	clock  identity.Clock
	prover *prover // of a CI job; nil: the instance's secret proves enough
}

// Session is the server as a launcher of c's person sees it.
func (c *Client) Session() *LaunchSession {
	return &LaunchSession{client: c, clock: identity.SystemClock{}}
}

// StartInstance asks for an instance on a task.
func (s *LaunchSession) StartInstance(ctx context.Context, i InstanceStart) (Instance, error) {
	var v remit.InstanceView
	in := remit.InstanceRequest{Task: i.Task, Confinement: i.Confinement, Ungoverned: i.Ungoverned}
	if err := s.client.keyed(ctx, "/instances", in, &v); err != nil {
		return Instance{}, err
	}
	return s.client.instance(v), nil
}

// StartDelegated asks for an instance on a task that was delegated from the first of from, maybe through others, as each of
// from was from the next: never on one that was requested of another function, or by a person.
func (s *LaunchSession) StartDelegated(ctx context.Context, from []remit.ID, i InstanceStart) (Instance, error) {
	id := i.Task
	for _, above := range from {
		for {
			t, err := s.client.Task(ctx, id)
			var refused *remit.Error
			if errors.As(err, &refused) && refused.Code == remit.NotFound || err == nil && !t.Delegated {
				return Instance{}, remit.Errorf(remit.Forbidden, "task %s was not delegated from task %s; an instance starts instances of what was delegated from its own task only, with remit delegate", i.Task, from[0])
			}
			if err != nil {
				return Instance{}, err
			}
			if id = t.Parent; id == above {
				break
			}
		}
	}
	return s.StartInstance(ctx, i)
}

// instance is v as a launcher needs it.
func (c *Client) instance(v remit.InstanceView) Instance {
	out := Instance{ID: v.ID, Task: v.Task, Org: c.org, Agent: v.Agent, SPIFFEID: v.SPIFFEID, Secret: Secret(v.Secret), Gateway: v.Gateway,
		CA: c.ca, Branch: v.Branch, MCP: v.MCP}
	for _, r := range v.Rewrites {
		j := slices.IndexFunc(out.Rewrites, func(o Rewrite) bool { return o.To == r.To })
		if j < 0 {
			out.Rewrites = append(out.Rewrites, Rewrite{To: r.To})
			j = len(out.Rewrites) - 1
		}
		out.Rewrites[j].From = append(out.Rewrites[j].From, r.From)
	}
	return out
}

func (s *LaunchSession) ask(ctx context.Context, id remit.ID, secret Secret, what string, in, out any) error {
	return s.call(ctx, http.MethodPost, "/instances/"+url.PathEscape(string(id))+"/"+what, id, secret, in, out)
}

// call is a call in the instance's own name.
func (s *LaunchSession) call(ctx context.Context, method, path string, id remit.ID, secret Secret, in, out any) error {
	if s.prover == nil {
		return s.client.call(ctx, method, path, instanceAuth(id, []byte(secret)), in, out)
	}
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
	}
	resp, err := s.prover.send(ctx, s.client, secret, func() (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, method, s.client.base+path, bytes.NewReader(body))
		if err == nil {
			r.Header.Set("Content-Type", "application/json")
		}
		return r, err
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return Problem(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return remit.Errorf(remit.Internal, "the server's answer to %s %s cannot be read: %w", method, path, err)
	}
	return nil
}

// Token asks for a token for a gateway: by its name, or by the address that StartInstance gave.
func (s *LaunchSession) Token(ctx context.Context, id remit.ID, secret Secret, gateway string) (string, time.Time, error) {
	_, address, _ := strings.Cut(gateway, "/v1/orgs/")
	if _, own, _ := strings.Cut(s.client.base, "/v1/orgs/"); address != "" {
		name, ours := strings.CutPrefix(address, own+"/")
		if !ours {
			return "", time.Time{}, remit.Errorf(remit.BadRequest, "the gateway %q is not one of %s", gateway, s.client.base)
		}
		gateway = name
	}
	var t remit.Token
	err := s.ask(ctx, id, secret, "token", remit.TokenRequest{Gateway: gateway}, &t)
	return t.Token, t.NotAfter, err
}

// SVID has the key of a certificate request certified.
func (s *LaunchSession) SVID(ctx context.Context, id remit.ID, secret Secret, csr []byte) (chain, bundle []byte, err error) {
	var v remit.SVID
	if err := s.ask(ctx, id, secret, "svid", remit.SVIDRequest{CSR: csr}, &v); err != nil {
		return nil, nil, err
	}
	return slices.Concat(v.Chain...), slices.Concat(v.Bundle...), nil
}

// comeBack is how long a launcher tries to reach a server that went away, before it gives its instance up.
const comeBack = time.Minute

// errParted: the connection ended without a word. The server may be starting again.
var errParted = errors.New("the connection to the server ended")

// Hold opens the connection that the instance lives by. It sends a line every few seconds for as long as it is open,
// and opens it again when the server was started again in between.
func (s *LaunchSession) Hold(ctx context.Context, id remit.ID, secret Secret) (<-chan error, error) {
	parted, err := s.hold(ctx, id, secret)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() {
		for {
			err := <-parted
			if !errors.Is(err, errParted) {
				ended <- err
				return
			}
			if parted, err = s.again(ctx, id, secret); err != nil {
				ended <- err
				return
			}
		}
	}()
	return ended, nil
}

// again opens the connection anew, once the server answers.
func (s *LaunchSession) again(ctx context.Context, id remit.ID, secret Secret) (<-chan error, error) {
	until := s.clock.Now().Add(comeBack)
	for {
		select {
		case <-s.clock.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		parted, err := s.hold(ctx, id, secret)
		var refused *remit.Error
		down := errors.As(err, &refused) && refused.Code.Info().HTTP >= 500
		if !down || !s.clock.Now().Before(until) {
			return parted, err
		}
	}
}

// hold opens the connection once.
func (s *LaunchSession) hold(ctx context.Context, id remit.ID, secret Secret) (<-chan error, error) {
	ctx, cancel := context.WithCancel(ctx)
	build := func() (*http.Request, error) {
		lines, heart := io.Pipe()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.client.base+"/instances/"+url.PathEscape(string(id))+"/hold", lines)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		req.Header.Set("Remit-Launcher", strconv.Itoa(os.Getpid())) // for a server on this machine: what runs below it is no person
		go s.beat(ctx, heart)
		return req, nil
	}
	var resp *http.Response
	var err error
	if s.prover != nil {
		resp, err = s.prover.send(ctx, s.client, secret, build)
	} else {
		var req *http.Request
		if req, err = build(); err == nil {
			req.Header.Set("Authorization", instanceAuth(id, []byte(secret)))
			resp, err = s.client.http.Do(req)
		}
	}
	if err != nil {
		cancel()
		return nil, remit.Errorf(remit.UpstreamDown, "the server does not take the heartbeat: %w", err)
	}
	if resp.StatusCode >= 300 {
		defer cancel()
		defer resp.Body.Close()
		return nil, Problem(resp)
	}
	parted := make(chan error, 1)
	go func() {
		defer cancel()
		defer resp.Body.Close()
		parted <- reason(resp.Body)
	}()
	return parted, nil
}

// beat writes a line now and every few seconds, until ctx ends.
func (s *LaunchSession) beat(ctx context.Context, heart *io.PipeWriter) {
	// Whoever reads the pipe may be gone: writing must not outlive the connection.
	defer context.AfterFunc(ctx, func() { heart.CloseWithError(ctx.Err()) })()
	for {
		if _, err := io.WriteString(heart, "\n"); err != nil {
			return
		}
		select {
		case <-s.clock.After(beatEvery):
		case <-ctx.Done():
			heart.CloseWithError(ctx.Err())
			return
		}
	}
}

// reason reads the server's lines; the last one, if it is one of JSON, says why the instance has ended.
func reason(body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxHeld)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var last struct {
			Reason string `json:"reason"`
		}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil || last.Reason == "" {
			return remit.Errorf(remit.Internal, "the server's heartbeat cannot be read")
		}
		return errors.New(last.Reason)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", errParted, err)
	}
	return errParted
}

// Complete ends an instance's own task, whose work is done; not while something of it waits for people.
func (s *LaunchSession) Complete(ctx context.Context, task, id remit.ID, secret Secret) error {
	return s.call(ctx, http.MethodPost, "/tasks/"+url.PathEscape(string(task))+"/complete", id, secret, remit.EndRequest{}, nil)
}

// End tells the server that the command has ended.
func (s *LaunchSession) End(ctx context.Context, id remit.ID, secret Secret) error {
	return s.ask(ctx, id, secret, "end", struct{}{}, nil)
}

// WaitAccess lets an instance wait for its own access requests, with its own secret.
func (s *LaunchSession) WaitAccess(ctx context.Context, access, instance remit.ID, secret []byte) (remit.AccessView, error) {
	var v remit.AccessView
	return v, s.call(ctx, http.MethodGet, "/approvals/"+url.PathEscape(string(access))+"/wait", instance, Secret(secret), nil, &v)
}
