package git

import (
	"context"
	"io"
	"net/http"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

// maxFetch is the largest request to fetch, in bytes: a line for each ref that is wanted or had.
const maxFetch = 64 << 20

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
	if !x.route.advert {
		req.body = http.MaxBytesReader(nil, io.NopCloser(x.stream.body(r)), maxFetch)
		req.length, req.encoding = r.ContentLength, r.Header.Get("Content-Encoding")
	}
	res, err := req.send(ctx)
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
	return x.stream.copy(ctx, w, res.Body)
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
