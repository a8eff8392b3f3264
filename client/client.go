// Package client is the Go client of the HTTP API: of a person, of a launcher and its instances, of a CI job and of an
// executor.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// Client speaks the HTTP API of one organisation. It is safe for concurrent use.
type Client struct {
	base  string // https://host:port/v1/orgs/ORG
	http  *http.Client
	token string // of a person's session; empty before sign-in
	renew *renewal
	org   remit.Org
	ca    []byte // PEM
	key   string // under which what is asked is done once; of one request
}

// maxAnswer bounds what a server can make a client read at once.
const maxAnswer = 64 << 20

// New is a client of the server at base (https://host:port) for org, which trusts the certificates in ca (PEM) and no
// others.
func New(base string, org remit.Org, ca []byte) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, remit.Errorf(remit.BadRequest, "the server's address is https://HOST:PORT, not %q", base)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, remit.Errorf(remit.BadRequest, "the server's CA file holds no certificate in PEM")
	}
	t := &http.Transport{
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13},
		ResponseHeaderTimeout: time.Minute, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4,
	}
	return &Client{base: "https://" + u.Host + "/v1/orgs/" + url.PathEscape(string(org)), org: org, ca: bytes.Clone(ca), http: &http.Client{Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// Base is the address under which everything of the organisation lies.
func (c *Client) Base() string { return c.base }

// WithToken is c for a signed-in person.
func (c *Client) WithToken(token string) *Client {
	d := *c
	d.token, d.renew = token, nil
	return &d
}

// request is send, with every answer that is not one of success as an error.
func (c *Client) request(ctx context.Context, method, path, auth string, in any) (*http.Response, error) {
	resp, err := c.send(ctx, method, path, auth, in)
	if err == nil && resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, Problem(resp)
	}
	return resp, err
}

func (c *Client) send(ctx context.Context, method, path, auth string, in any) (*http.Response, error) {
	token := c.bearer()
	if auth != "" || token == "" {
		return c.once(ctx, method, path, auth, in)
	}
	resp, err := c.once(ctx, method, path, "Bearer "+token, in)
	if err != nil || !c.renews(resp) {
		return resp, err
	}
	resp.Body.Close()
	if token, err = c.renew.newer(ctx, token); err != nil {
		return nil, err
	}
	return c.once(ctx, method, path, "Bearer "+token, in)
}

// once sends a request; auth is its Authorization, empty for none.
func (c *Client) once(ctx context.Context, method, path, auth string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	if c.key != "" {
		req.Header.Set("Idempotency-Key", c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, remit.Errorf(remit.UpstreamDown, "the server at %s does not answer: %w", strings.SplitN(c.base, "/v1/", 2)[0], err)
	}
	return resp, nil
}

// Problem is the error that an answer stands for.
func Problem(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var p remit.Problem
	if err := json.Unmarshal(b, &p); err != nil || p.Code == "" {
		return remit.Errorf(remit.Internal, "the server answered %s, and not as Remit does; is the address right?", resp.Status)
	}
	if p.Path != "" {
		return &remit.DeclarationError{Path: p.Path, Sentence: p.Detail}
	}
	return &remit.Error{Code: p.Code, Sentence: p.Detail}
}

func (c *Client) call(ctx context.Context, method, path, auth string, in, out any) error {
	resp, err := c.request(ctx, method, path, auth, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	// Unknown members are ignored: a newer server may say more.
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return remit.Errorf(remit.Internal, "the server's answer to %s %s cannot be read: %w", method, path, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, "", nil, out)
}

func (c *Client) post(ctx context.Context, path string, in, out any) error {
	if in == nil {
		in = struct{}{}
	}
	return c.call(ctx, http.MethodPost, path, "", in, out)
}

// instanceAuth is how an instance's launcher proves itself.
func instanceAuth(id remit.ID, secret []byte) string {
	return "Remit-Instance " + string(id) + ":" + base64.RawURLEncoding.EncodeToString(secret)
}

// Org tells what is known before anybody signs in.
func (c *Client) Org(ctx context.Context) (o remit.OrgInfo, err error) {
	return o, c.get(ctx, "", &o)
}

// SignIn proves a person: sign makes the armored SSHSIG over the challenge's text, in namespace signin@remit.
func (c *Client) SignIn(ctx context.Context, key []byte, sign func(text []byte) ([]byte, error)) (*Client, remit.Session, error) {
	var s remit.Session
	if err := c.prove(ctx, "/sign-in/session", key, sign, &s); err != nil {
		return nil, remit.Session{}, err
	}
	return c.WithToken(s.Token), s, nil
}

// HandOver proves a person as SignIn does, and gives a link that signs their browser in instead.
func (c *Client) HandOver(ctx context.Context, key []byte, sign func(text []byte) ([]byte, error)) (h remit.HandOver, err error) {
	return h, c.prove(ctx, "/sign-in/hand-over", key, sign, &h)
}

// prove has a challenge signed, and sends it to path.
func (c *Client) prove(ctx context.Context, path string, key []byte, sign func(text []byte) ([]byte, error), out any) error {
	var ch remit.Challenge
	if err := c.post(ctx, "/sign-in/challenge", remit.ChallengeRequest{Key: key}, &ch); err != nil {
		return err
	}
	sig, err := sign(ch.Text)
	if err != nil {
		return err
	}
	return c.post(ctx, path, remit.SignIn{Text: ch.Text, Signature: sig}, out)
}

// WhoAmI tells whose session c has.
func (c *Client) WhoAmI(ctx context.Context) (s remit.Session, err error) {
	return s, c.get(ctx, "/session", &s)
}

// Apply puts declarations in force, or with DryRun says what would change.
func (c *Client) Apply(ctx context.Context, r remit.ApplyRequest) (a remit.ApplyAnswer, err error) {
	return a, c.keyed(ctx, "/declarations", r, &a)
}

// Declarations are those in force.
func (c *Client) Declarations(ctx context.Context) (d remit.Declarations, err error) {
	return d, c.get(ctx, "/declarations", &d)
}

// CreateTask requests work.
func (c *Client) CreateTask(ctx context.Context, r remit.TaskRequest) (t remit.TaskView, err error) {
	return t, c.keyed(ctx, "/tasks", r, &t)
}

// Tasks lists tasks, newest first; all includes those that have ended.
func (c *Client) Tasks(ctx context.Context, all bool) (ts []remit.TaskView, err error) {
	return ts, c.get(ctx, "/tasks?all="+strconv.FormatBool(all), &ts)
}

// Task is one task.
func (c *Client) Task(ctx context.Context, id remit.ID) (t remit.TaskView, err error) {
	return t, c.get(ctx, "/tasks/"+url.PathEscape(string(id)), &t)
}

// Plan is the plan of a task.
func (c *Client) Plan(ctx context.Context, task remit.ID) (p remit.PlanView, err error) {
	return p, c.get(ctx, "/tasks/"+url.PathEscape(string(task))+"/plan", &p)
}

// WithdrawPlan takes back what is left of the plan of a task.
func (c *Client) WithdrawPlan(ctx context.Context, task remit.ID, r remit.WithdrawRequest) (p remit.PlanView, err error) {
	err = c.post(ctx, "/tasks/"+url.PathEscape(string(task))+"/plan/withdraw", r, &p)
	return p, err
}

// BreakGlass lists break-glass that was opened.
func (c *Client) BreakGlass(ctx context.Context) (list []remit.GlassView, err error) {
	return list, c.get(ctx, "/break-glass", &list)
}

// OpenBreakGlass opens it.
func (c *Client) OpenBreakGlass(ctx context.Context, r remit.OpenGlassRequest) (v remit.GlassView, err error) {
	err = c.keyed(ctx, "/break-glass", r, &v)
	return v, err
}

// ReviewBreakGlass reviews it.
func (c *Client) ReviewBreakGlass(ctx context.Context, id remit.ID, r remit.ReviewGlassRequest) (v remit.GlassView, err error) {
	err = c.keyed(ctx, "/break-glass/"+url.PathEscape(string(id))+"/review", r, &v)
	return v, err
}

// EndTask ends a task: how is complete or cancel.
func (c *Client) EndTask(ctx context.Context, id remit.ID, how string, r remit.EndRequest) error {
	return c.keyed(ctx, "/tasks/"+url.PathEscape(string(id))+"/"+how, r, nil)
}

// Trace is a task's story.
func (c *Client) Trace(ctx context.Context, id remit.ID) (t remit.Trace, err error) {
	return t, c.get(ctx, "/tasks/"+url.PathEscape(string(id))+"/trace", &t)
}

// Kill ends authority at once.
func (c *Client) Kill(ctx context.Context, r remit.KillRequest) error {
	return c.post(ctx, "/kill", r, nil)
}

// Environments are the environments with their releases; name may be empty for all.
func (c *Client) Environments(ctx context.Context, name string) (out []remit.EnvironmentView, err error) {
	return out, c.get(ctx, "/environments?name="+url.QueryEscape(name), &out)
}

// Secrets are the declared secrets.
func (c *Client) Secrets(ctx context.Context) (out []remit.SecretView, err error) {
	return out, c.get(ctx, "/secrets", &out)
}

// PutSecret puts a value into the sealed store.
func (c *Client) PutSecret(ctx context.Context, in remit.SecretValue) (out remit.SecretView, err error) {
	return out, c.post(ctx, "/secrets/put", in, &out)
}

// RemoveSecret removes a value.
func (c *Client) RemoveSecret(ctx context.Context, name string) (out remit.SecretView, err error) {
	return out, c.post(ctx, "/secrets/remove", remit.SecretName{Name: name}, &out)
}

// Artifacts are what was published; name, UPSTREAM/NAME, may be empty for all.
func (c *Client) Artifacts(ctx context.Context, name string) (out remit.ArtifactList, err error) {
	return out, c.get(ctx, "/artifacts?name="+url.QueryEscape(name), &out)
}

// Artifact is one of them.
func (c *Client) Artifact(ctx context.Context, a remit.Artifact) (out remit.ArtifactView, err error) {
	return out, c.get(ctx, "/artifacts/"+url.PathEscape(a.Digest)+"?name="+url.QueryEscape(a.Resource.Name()), &out)
}

// Provenance is the signed provenance of an artifact, a DSSE envelope, as the server wrote it.
func (c *Client) Provenance(ctx context.Context, a remit.Artifact) (out json.RawMessage, err error) {
	return out, c.get(ctx, "/artifacts/"+url.PathEscape(a.Digest)+"/provenance?name="+url.QueryEscape(a.Resource.Name()), &out)
}

// Reviews are the verdicts that stand; repository, UPSTREAM/PATH, may be empty for all.
func (c *Client) Reviews(ctx context.Context, repository string) (out []remit.ReviewView, err error) {
	return out, c.get(ctx, "/reviews?repository="+url.QueryEscape(repository), &out)
}

// Review is the verdict that an entry of the log records.
func (c *Client) Review(ctx context.Context, entry remit.EntryIndex) (out remit.ReviewView, err error) {
	return out, c.get(ctx, "/reviews/"+strconv.FormatUint(uint64(entry), 10), &out)
}

// Statement is the signed statement on a verdict or a release that an entry records, a DSSE envelope, as the server
// wrote it. What is reviews or releases.
func (c *Client) Statement(ctx context.Context, what string, entry remit.EntryIndex) (out json.RawMessage, err error) {
	return out, c.get(ctx, "/"+what+"/"+strconv.FormatUint(uint64(entry), 10)+"/statement", &out)
}

// Agents lists the registered agents.
func (c *Client) Agents(ctx context.Context) (as []remit.AgentView, err error) {
	return as, c.get(ctx, "/agents", &as)
}

// Agent is one agent.
func (c *Client) Agent(ctx context.Context, name string) (a remit.AgentView, err error) {
	return a, c.get(ctx, "/agents/"+url.PathEscape(name), &a)
}

// ChangeAgent changes an agent's state: how is suspend, resume or retire.
func (c *Client) ChangeAgent(ctx context.Context, name, how string) error {
	return c.keyed(ctx, "/agents/"+url.PathEscape(name)+"/"+how, nil, nil)
}

// Accesses lists access requests, newest first; all includes those that have ended.
func (c *Client) Accesses(ctx context.Context, all bool) (as []remit.AccessView, err error) {
	return as, c.get(ctx, "/approvals?all="+strconv.FormatBool(all), &as)
}

// Inbox is the newest page of the requests on which the caller may vote, and what else they are asked.
func (c *Client) Inbox(ctx context.Context) (in remit.Inbox, err error) {
	return in, c.get(ctx, "/inbox?show=mine", &in)
}

// Access is one card.
func (c *Client) Access(ctx context.Context, id remit.ID) (a remit.AccessView, err error) {
	return a, c.get(ctx, "/approvals/"+url.PathEscape(string(id)), &a)
}

// Vote hands in a signed statement and gives the card after it.
func (c *Client) Vote(ctx context.Context, id remit.ID, r remit.VoteRequest) (a remit.AccessView, err error) {
	return a, c.keyed(ctx, "/approvals/"+url.PathEscape(string(id))+"/votes", r, &a)
}

// WaitAccess returns when an access request is no longer open, met or reserved, or after the server's patience of
// about half a minute with it as it is. It works with a person's session and, given an instance, with its secret.
func (c *Client) WaitAccess(ctx context.Context, id, instance remit.ID, secret []byte) (a remit.AccessView, err error) {
	auth := ""
	if instance != "" {
		auth = instanceAuth(instance, secret)
	}
	return a, c.call(ctx, http.MethodGet, "/approvals/"+url.PathEscape(string(id))+"/wait", auth, nil, &a)
}

// ConfirmKey confirms a new key of the signed-in person with an older one.
func (c *Client) ConfirmKey(ctx context.Context, r remit.ConfirmKeyRequest) error {
	return c.keyed(ctx, "/keys/confirm", r, nil)
}

// Decision explains a decision.
func (c *Client) Decision(ctx context.Context, i remit.EntryIndex) (d remit.DecisionView, err error) {
	return d, c.get(ctx, "/decisions/"+strconv.FormatUint(uint64(i), 10), &d)
}

// LogHead is the signed head.
func (c *Client) LogHead(ctx context.Context) (h remit.LogHead, err error) {
	return h, c.get(ctx, "/log/checkpoint", &h)
}

// LogEntries gives entries from an index on. With follow it waits for more until ctx ends.
func (c *Client) LogEntries(ctx context.Context, from remit.EntryIndex, follow bool) iter.Seq2[remit.LogEntry, error] {
	return func(yield func(remit.LogEntry, error) bool) {
		for line, err := range c.Export(ctx, "", from, follow) {
			var e remit.LogEntry
			if err == nil {
				if err = json.Unmarshal(line, &e); err != nil {
					err = remit.Errorf(remit.Internal, "the server's log line cannot be read: %w", err)
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// ExportLog writes the log as a bundle that can be verified offline.
func (c *Client) ExportLog(ctx context.Context, w io.Writer) error {
	resp, err := c.request(ctx, http.MethodGet, "/log/bundle", "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return remit.Errorf(remit.UpstreamDown, "the export broke off: %w", err)
	}
	return nil
}

// maxTile is more than the largest tile has: 256 leaves, each after its length in two bytes.
const maxTile = 256 * (8<<10 + 2)

// LogTile is a resource of the log as C2SP tlog-tiles: checkpoint, or the path of a tile.
func (c *Client) LogTile(ctx context.Context, path string) ([]byte, error) {
	return c.bytes(ctx, "/log/tiles/"+path)
}

// LogReceipt is the proof that the log has an entry (C2SP tlog-proof); bare leaves out the entry itself.
func (c *Client) LogReceipt(ctx context.Context, i remit.EntryIndex, bare bool) ([]byte, error) {
	return c.bytes(ctx, fmt.Sprintf("/log/receipts/%d?bare=%t", i, bare))
}

// bytes is an answer that is not JSON, whole.
func (c *Client) bytes(ctx context.Context, path string) ([]byte, error) {
	resp, err := c.request(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxTile+1))
	if err == nil && len(b) > maxTile {
		err = fmt.Errorf("it has more than %d bytes", maxTile)
	}
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the server's answer to GET %s cannot be read: %w", path, err)
	}
	return b, nil
}

// Policy is the bundle in force.
func (c *Client) Policy(ctx context.Context) (p remit.PolicyView, err error) {
	return p, c.get(ctx, "/policy", &p)
}

// TryPolicy judges past requests again under another bundle.
func (c *Client) TryPolicy(ctx context.Context, r remit.TryRequest) (a remit.TryAnswer, err error) {
	return a, c.post(ctx, "/policy/try", r, &a)
}

// Trials are the newest trials that were written down.
func (c *Client) Trials(ctx context.Context) (out []remit.TrialView, err error) {
	return out, c.get(ctx, "/policy/trials", &out)
}

// Trial is what a trial showed, as the entry of the log has it.
func (c *Client) Trial(ctx context.Context, entry remit.EntryIndex) (a remit.TryAnswer, err error) {
	return a, c.get(ctx, fmt.Sprintf("/policy/trials/%d", entry), &a)
}

// ConfirmClock says that the server's clock is right after it jumped.
func (c *Client) ConfirmClock(ctx context.Context) error {
	return c.post(ctx, "/clock/confirm", nil, nil)
}

// Probe sends the canary: a step of the probe's own, decided like any other. kind is read, write or privileged. A
// refusal is a decision, not an error.
func (c *Client) Probe(ctx context.Context, token, kind, name string) (d remit.Decision, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/probe/"+url.PathEscape(kind)+"?name="+url.QueryEscape(name), nil)
	if err != nil {
		return d, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.http.Do(req)
	if err != nil {
		return d, remit.Errorf(remit.UpstreamDown, "the server does not answer: %w", err)
	}
	defer resp.Body.Close()
	var answer struct {
		remit.Decision
		Detail string `json:"detail"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return d, remit.Errorf(remit.Internal, "the server's answer to the probe cannot be read: %w", err)
	}
	if answer.Detail != "" {
		return d, &remit.Error{Code: answer.Code, Sentence: answer.Detail}
	}
	return answer.Decision, nil
}
