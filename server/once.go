package server

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"slices"
	"sync"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
)

// once is a route that makes something, or that refuses what is done already: with an Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header) it can be asked again when its answer was lost. What decides that is the
// log (engine.DoOnce); here is only who asks, under which key, for what.
func (r route) once() route { r.keyed = true; return r }

const (
	keyHeader = "Idempotency-Key"
	maxKey    = 255
)

// running are the keys under which something is being done right now.
type running struct {
	mu   sync.Mutex
	keys map[remit.Digest]bool
}

// take takes a key; leave gives it back. The same key waits for nobody: who asks again too early is told so.
func (r *running) take(key remit.Digest) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[key] {
		return nil, remit.Errorf(remit.KeyInUse, "a request with this %s is still being done; ask again in a moment", keyHeader)
	}
	if r.keys == nil {
		r.keys = map[remit.Digest]bool{}
	}
	r.keys[key] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.keys, key)
	}, nil
}

// keyed reads the key of a request, if it has one. It is the caller's own: nobody has an answer to what another asked.
func (s *Server) keyed(rt route, c *call) (leave func(), err error) {
	lines := c.r.Header.Values(keyHeader)
	if !rt.keyed || len(lines) == 0 {
		return func() {}, nil
	}
	if len(lines) > 1 || lines[0] == "" || len(lines[0]) > maxKey || slices.ContainsFunc([]byte(lines[0]), func(b byte) bool { return b < ' ' || b > '~' }) {
		return nil, remit.Errorf(remit.BadRequest, "%s: one header of 1 to %d visible characters", keyHeader, maxKey)
	}
	c.once.Key = s.mac("idempotency key", c.who(), lines[0])
	if leave, err = s.running.take(c.once.Key); err != nil {
		return nil, err
	}
	// The same key for something else is a mistake, wherever the difference is.
	h := hmac.New(sha256.New, s.cfg.Key[:])
	for _, part := range []string{"idempotent body", c.r.Method, c.r.URL.EscapedPath(), c.r.URL.RawQuery} {
		_, _ = io.WriteString(h, part+"\x00") // never fails
	}
	c.body = h
	c.r.Body = teed{io.TeeReader(c.r.Body, h), c.r.Body}
	return leave, nil
}

// teed is a body that is digested while it is read.
type teed struct {
	io.Reader
	io.Closer
}

// read is called when the whole body was read.
func (c *call) read() {
	if c.body != nil {
		c.once.Body = remit.Digest(c.body.Sum(nil))
	}
}

// do does what a request asks for, once where it has a key.
func (s *Server) do(c *call, cmd authority.Command, payloads ...remit.Payload) (authority.Result, error) {
	return s.cfg.Engine.DoOnce(c.r.Context(), c.once, cmd, payloads...)
}

// secretOnce is the secret that an answer shows once. Under a key it follows from the key, so that who asks again because
// the answer was lost has it, and nothing has to keep it: the log has its hash, and only this server can make it.
func (s *Server) secretOnce(c *call) (secret [32]byte) {
	if c.once == (engine.Once{}) {
		_, _ = rand.Read(secret[:]) // never fails
		return secret
	}
	return s.mac("secret", string(c.once.Key[:]), string(c.once.Body[:]))
}
