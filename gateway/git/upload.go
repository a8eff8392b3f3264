package git

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

// A request to fetch has a line for each ref that is wanted or had. This is how large it may be, in bytes, and how much
// of it is read before anything goes upstream: what git usually sends goes with its length known.
const (
	maxFetch   = 64 << 20
	firstFetch = 1 << 20
)

// read passes a read on, once it is allowed: the answer streams through and is never held. Nothing can have changed
// upstream, so whatever goes wrong is not_applied.
func (x *exchange) read(ctx context.Context, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	err := x.pass(ctx, cred, w, x.r)
	if err == nil {
		return gateway.Result{Outcome: remit.Done}
	}
	e := gateway.AsError(remit.UpstreamDown, err)
	if ctx.Err() == nil {
		x.g.Log.Warn("a read was not answered whole", "repo", x.route.repo, "service", x.route.service, "err", err)
	}
	if !x.begun {
		x.Fail(w, x.r, e)
	}
	return gateway.Result{Outcome: remit.NotApplied, Code: e.Code, Receipt: receipt(e.Sentence)}
}

func (x *exchange) pass(ctx context.Context, cred gateway.Credential, w http.ResponseWriter, r *http.Request) error {
	repo, err := x.g.Repos.Repo(ctx, x.route.repo)
	if err != nil {
		return err
	}
	req := upstreamRequest{repo: repo, service: x.route.service, advert: x.route.advert, apply: cred.Apply}
	pushes := x.route.advert && x.route.service == receivePack
	if pushes {
		req.service = uploadPack // what the refs are is read as everything is read
	} else {
		req.protocol = protocolVersion(r)
	}
	var in *wants
	if !x.route.advert {
		if in, err = x.wants(r); err != nil {
			return err
		}
		first, err := io.ReadAll(io.LimitReader(in, firstFetch))
		if err != nil {
			return err
		}
		req.length = int64(len(first))
		if req.body = io.NopCloser(bytes.NewReader(first)); len(first) == firstFetch {
			req.length, req.body = -1, io.NopCloser(io.MultiReader(bytes.NewReader(first), in))
		}
	}
	res, err := req.send(ctx)
	if why := in.why(); err != nil && why != nil {
		return why
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if pushes {
		a, err := pktline.ReadAdvert(res.Body, uploadPack)
		if err != nil {
			return err
		}
		x.head(w, "application/x-"+receivePack+"-advertisement")
		return pktline.WriteAdvert(x.stream.writer(w), a, x.g.Agent)
	}
	x.head(w, res.Header.Get("Content-Type"))
	err = x.stream.copy(ctx, w, res.Body)
	if why := in.why(); why != nil {
		return why
	}
	return err
}

// wants is a request to fetch, inflated: git compresses it, and a server that inflates as much as it is sent keeps every
// line in memory.
type wants struct {
	r    io.Reader
	left int64

	mu  sync.Mutex // an upstream's connection reads it, on its own
	bad *remit.Error
}

func (x *exchange) wants(r *http.Request) (*wants, error) {
	in := &wants{r: x.stream.body(r), left: maxFetch}
	if r.Header.Get("Content-Encoding") == "" {
		return in, nil
	}
	z, err := gzip.NewReader(in.r)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the request says that it is compressed by gzip, and is not: %w", err)
	}
	in.r = z
	return in, nil
}

func (in *wants) Read(p []byte) (int, error) {
	n, err := in.r.Read(p[:min(int64(len(p)), in.left+1)])
	in.left -= int64(n)
	switch {
	case in.left < 0:
		err = remit.Errorf(remit.TooLarge, "a request to fetch has at most %d bytes, without its compression", maxFetch)
	case err != nil && !errors.Is(err, io.EOF):
		err = remit.Errorf(remit.BadRequest, "the request could not be read to its end: %w", err)
	default:
		return n, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	errors.As(err, &in.bad)
	return 0, err
}

// why is what was wrong with the request, as far as it was read.
func (in *wants) why() error {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.bad == nil {
		return nil
	}
	return in.bad
}

// head begins an answer that git understands; no cache may keep it (gitprotocol-http(5)).
func (x *exchange) head(w http.ResponseWriter, contentType string) {
	x.begun = true
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
}

// protocolVersion is what the client asks for, if it is one of the three.
func protocolVersion(r *http.Request) string {
	switch v := r.Header.Get("Git-Protocol"); v {
	case "version=0", "version=1", "version=2":
		return v
	}
	return ""
}
