package sub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// maxAnswer bounds what a launcher, which passes on what its server says, can make a process read at once.
const maxAnswer = 64 << 20

// Soon bounds the time of a question at an instance's socket that is answered at once.
func Soon(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, now := http.NewResponseController(w), time.Now()
		_ = c.SetReadDeadline(now.Add(answerWithin))
		_ = c.SetWriteDeadline(now.Add(2 * answerWithin))
		h(w, r)
	}
}

// Answer answers a question at an instance's socket with v, or err as a problem (RFC 9457).
func Answer(w http.ResponseWriter, v any, err error, log *slog.Logger) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		var e *remit.Error
		if !errors.As(err, &e) {
			e = remit.Errorf(remit.UpstreamDown, "the server cannot be asked: %w", err)
		}
		info := e.Code.Info()
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(info.HTTP)
		v = remit.Problem{Code: e.Code, Title: info.Meaning, Detail: e.Sentence, Status: info.HTTP}
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.Warn("answering a process of the instance", "err", err)
	}
}

// Send sends a request to an instance's socket. An answer that is not 200 is an error.
func Send(socket string, r *http.Request) (*http.Response, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	c := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}} // no proxy
	resp, err := c.Do(r)
	if err != nil {
		if r.Context().Err() != nil {
			return nil, r.Context().Err()
		}
		return nil, remit.Errorf(remit.NotLive, "the instance does not answer at %s; it has ended, or this process is not part of it: %w", socket, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, client.Problem(resp)
	}
	return resp, nil
}

// Ask sends a request to an instance's socket and reads its answer.
func Ask(socket string, r *http.Request, out any) error {
	resp, err := Send(socket, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return remit.Errorf(remit.Internal, "the instance's answer cannot be read: %w", err)
	}
	return nil
}
