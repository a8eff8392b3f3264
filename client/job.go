package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

// JobSession is the server as a CI job sees it: no person launches its instance, the token of the job's issuer does. All
// its calls prove a key that never leaves this process, or the directory of a job's login.
type JobSession struct {
	LaunchSession
	subject  func(context.Context) (string, error)
	NotAfter time.Time // of the last instance, when nobody holds it
}

// Job is the server for a CI job with this key. subject gets a token of the job's issuer, a new one each time; good for
// one instance.
func (c *Client) Job(key identity.ProofKey, subject func(context.Context) (string, error)) *JobSession {
	return &JobSession{LaunchSession: LaunchSession{client: c, clock: identity.SystemClock{}, prover: &prover{key: key}}, subject: subject}
}

// StartInstance exchanges a token of the job's issuer (RFC 8693). Secret is the access token that comes for it. The task
// is the one that asked for a build of the job's commit, whatever i says.
func (s *JobSession) StartInstance(ctx context.Context, i InstanceStart) (Instance, error) {
	if len(i.Ungoverned) > 0 {
		return Instance{}, remit.Errorf(remit.BadRequest, "a CI job cannot be handed the credentials %s past Remit; leave them out", strings.Join(i.Ungoverned, ", "))
	}
	token, err := s.subject(ctx)
	if err != nil {
		return Instance{}, err
	}
	form := url.Values{"grant_type": {identity.GrantExchange}, "subject_token": {token}, "subject_token_type": {identity.TypeJWT}}.Encode()
	resp, err := s.prover.send(ctx, s.client, "", func() (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.client.base+"/oauth/token", strings.NewReader(form))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return r, err
	})
	if err != nil {
		return Instance{}, err
	}
	defer resp.Body.Close()
	var out struct {
		Token    string             `json:"access_token"`
		Type     string             `json:"token_type"`
		Expires  int64              `json:"expires_in"`
		Instance remit.InstanceView `json:"remit_instance"`
		Code     remit.Code         `json:"code"`
		Text     string             `json:"error_description"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&out); err != nil {
		return Instance{}, remit.Errorf(remit.Internal, "the server answered the exchange with %s, and not as Remit does: %w", resp.Status, err)
	}
	switch {
	case resp.StatusCode != http.StatusOK && out.Code != "":
		return Instance{}, &remit.Error{Code: out.Code, Sentence: out.Text}
	case resp.StatusCode != http.StatusOK || out.Token == "" || !strings.EqualFold(out.Type, identity.DPoPHeader):
		return Instance{}, remit.Errorf(remit.Internal, "the server answered the exchange with %s and a token of type %.32q, not %s", resp.Status, out.Type, identity.DPoPHeader)
	}
	s.NotAfter = s.clock.Now().Add(time.Duration(out.Expires) * time.Second)
	inst := s.client.instance(out.Instance)
	inst.Secret = Secret(out.Token)
	return inst, nil
}

// Complete ends the task of an instance whose work is done.
func (s *JobSession) Complete(ctx context.Context, task, instance remit.ID, secret Secret) error {
	return s.call(ctx, http.MethodPost, "/tasks/"+string(task)+"/complete", instance, secret, remit.EndRequest{}, nil)
}

// prover adds to each request the proof that RFC 9449 asks for.
type prover struct {
	key   identity.ProofKey
	mu    sync.Mutex
	nonce string // that the server gave last
}

// send sends what build makes, and once more when the server wants a newer nonce in the proof.
func (p *prover) send(ctx context.Context, c *Client, token Secret, build func() (*http.Request, error)) (*http.Response, error) {
	for again := true; ; again = false {
		r, err := build()
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		nonce := p.nonce
		p.mu.Unlock()
		proof, err := p.key.Proof(r.Method, strings.SplitN(r.URL.String(), "?", 2)[0], string(token), nonce, time.Now())
		if err != nil {
			return nil, err
		}
		r.Header.Set(identity.DPoPHeader, proof)
		if token != "" {
			r.Header.Set("Authorization", identity.DPoPHeader+" "+string(token))
		}
		resp, err := c.http.Do(r)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, remit.Errorf(remit.UpstreamDown, "the server at %s does not answer: %w", strings.SplitN(c.base, "/v1/", 2)[0], err)
		}
		fresh := resp.Header.Get(identity.NonceHeader)
		if fresh != "" {
			p.mu.Lock()
			p.nonce = fresh
			p.mu.Unlock()
		}
		if !again || fresh == "" || !wantsNonce(resp) {
			return resp, nil
		}
		resp.Body.Close()
	}
}

// wantsNonce tells whether an answer asks for a newer nonce: a gateway does so in a header, the token endpoint in its
// body (RFC 9449 §8, §9). What it reads of the body it puts back.
func wantsNonce(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return strings.Contains(strings.Join(resp.Header.Values("WWW-Authenticate"), ","), identity.UseNonce)
	case http.StatusBadRequest:
		head, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
		var e struct {
			Error string `json:"error"`
		}
		return json.Unmarshal(head, &e) == nil && e.Error == identity.UseNonce
	}
	return false
}
