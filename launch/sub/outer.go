package sub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// Outer is the launcher of the instance that this process is part of, as the Session of one that runs a sub-agent's
// command. It takes no person's session; no secret of an instance goes over it, and those that its methods take are
// not looked at.
type Outer struct {
	socket string

	mu   sync.Mutex
	held map[remit.ID]heldChild
}

// heldChild is the exchange that a sub-agent's instance lives by.
type heldChild struct {
	task  remit.ID
	body  io.Closer
	ended chan error
}

var (
	_ Session    = (*Outer)(nil)
	_ Delegating = (*Outer)(nil)
)

// NewOuter is the launcher at a socket (REMIT_SOCKET).
func NewOuter(socket string) *Outer { return &Outer{socket: socket, held: map[remit.ID]heldChild{}} }

// StartInstance starts an instance of a task that was delegated from that of this process.
func (o *Outer) StartInstance(ctx context.Context, i client.InstanceStart) (client.Instance, error) {
	return o.StartDelegated(ctx, nil, i)
}

// StartDelegated starts one of a task that was delegated on. How it is confined the outer launcher says, not i.
func (o *Outer) StartDelegated(ctx context.Context, from []remit.ID, i client.InstanceStart) (client.Instance, error) {
	r, err := request(ctx, "/instance", childAsk{Task: i.Task, From: from, Ungoverned: i.Ungoverned})
	if err != nil {
		return client.Instance{}, err
	}
	resp, err := Send(o.socket, r)
	if err != nil {
		return client.Instance{}, err
	}
	var a childAnswer
	lines := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if err := lines.Decode(&a); err != nil {
		resp.Body.Close()
		return client.Instance{}, remit.Errorf(remit.Internal, "the instance's answer cannot be read: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		var end childEnd
		if err := lines.Decode(&end); err != nil {
			end.Reason = "the instance that it was started in has ended"
		}
		ended <- remit.Errorf(remit.NotLive, "%s", end.Reason)
	}()
	o.mu.Lock()
	o.held[a.Instance.ID] = heldChild{a.Instance.Task, resp.Body, ended}
	o.mu.Unlock()
	return a.Instance, nil
}

// Hold gives what StartInstance has opened: the outer launcher sends the heartbeat.
func (o *Outer) Hold(_ context.Context, id remit.ID, _ client.Secret) (<-chan error, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h, ok := o.held[id]; ok {
		return h.ended, nil
	}
	return nil, remit.Errorf(remit.NotLive, "instance %s was not started here, or has ended", id)
}

// Token asks for a token of a sub-agent's instance.
func (o *Outer) Token(ctx context.Context, id remit.ID, _ client.Secret, gateway string) (string, time.Time, error) {
	var t remit.Token
	err := o.ask(ctx, id, "token", remit.TokenRequest{Gateway: gateway}, &t)
	return t.Token, t.NotAfter, err
}

// SVID has the key of a certificate request certified for a sub-agent's instance.
func (o *Outer) SVID(ctx context.Context, id remit.ID, _ client.Secret, csr []byte) (chain, bundle []byte, err error) {
	var a childSVID
	err = o.ask(ctx, id, "svid", remit.SVIDRequest{CSR: csr}, &a)
	return a.Chain, a.Bundle, err
}

// Complete ends the task of a sub-agent's instance.
func (o *Outer) Complete(ctx context.Context, _, instance remit.ID, _ client.Secret) error {
	return o.ask(ctx, instance, "complete", struct{}{}, &struct{}{})
}

// CompleteTask ends a task in the name of the instance that runs on it. A task whose instance has ended is left as it is.
func (o *Outer) CompleteTask(ctx context.Context, task remit.ID) error {
	o.mu.Lock()
	instance := remit.ID("")
	for id, h := range o.held {
		if h.task == task {
			instance = id
		}
	}
	o.mu.Unlock()
	if instance == "" {
		return nil
	}
	err := o.Complete(ctx, task, instance, "")
	var e *remit.Error
	if errors.As(err, &e) && e.Code == remit.NotLive {
		return nil
	}
	return err
}

// End says that the command of a sub-agent has ended. If the outer launcher cannot be told, it sees that the exchange
// has ended.
func (o *Outer) End(ctx context.Context, id remit.ID, _ client.Secret) error {
	err := o.ask(ctx, id, "end", struct{}{}, &struct{}{})
	o.mu.Lock()
	defer o.mu.Unlock()
	if h, ok := o.held[id]; ok {
		delete(o.held, id)
		h.body.Close()
	}
	return err
}

// WaitAccess lets a sub-agent's instance wait for its own access requests.
func (o *Outer) WaitAccess(ctx context.Context, access, instance remit.ID, _ []byte) (v remit.AccessView, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://instance/instance/"+url.PathEscape(string(instance))+"/wait?access="+url.QueryEscape(string(access)), nil)
	if err != nil {
		return v, err
	}
	return v, Ask(o.socket, r, &v)
}

func (o *Outer) ask(ctx context.Context, id remit.ID, what string, in, out any) error {
	r, err := request(ctx, "/instance/"+url.PathEscape(string(id))+"/"+what, in)
	if err != nil {
		return err
	}
	return Ask(o.socket, r, out)
}

func request(ctx context.Context, path string, in any) (*http.Request, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return http.NewRequestWithContext(ctx, http.MethodPost, "http://instance"+path, bytes.NewReader(body))
}
