package git

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// route is one of the four requests of smart HTTP that are served.
type route struct {
	repo    string // UPSTREAM/PATH, without .git
	service string
	advert  bool // GET info/refs
	lfs     bool // not served, but answered in the terms of git-lfs
}

// parseRoute is the allow-list. The path is decoded once, here; whatever could be decoded twice is refused.
func parseRoute(prefix string, r *http.Request) (route, error) {
	escaped := r.URL.EscapedPath()
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return route{}, remit.Errorf(remit.BadRequest, "the path is not a URL path")
	}
	lower := strings.ToLower(escaped)
	if strings.Contains(lower, "%2f") || strings.Contains(lower, "%25") || strings.ContainsFunc(path, func(c rune) bool {
		return c < ' ' || c == 0x7f || c == '\\' || c == ';' || c == '\ufffd'
	}) {
		return route{}, remit.Errorf(remit.BadRequest, "the path holds characters that no repository's name has; it is UPSTREAM/PATH.git/SERVICE")
	}
	path, ok := strings.CutPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
	if !ok {
		return route{}, remit.Errorf(remit.NotFound, "no repository lies there")
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return route{}, remit.Errorf(remit.BadRequest, "the path has an empty or relative part")
		}
	}
	if repo, _, lfs := strings.Cut(path, "/info/lfs"); lfs {
		return route{repo: trimGit(repo), lfs: true}, remit.Errorf(remit.LFSUnsupported,
			"Git LFS is not passed through by Remit: its uploads go to other hosts, unseen. Keep the file in git, or have it uploaded outside")
	}
	rt := route{}
	var rest string
	if rt.repo, ok = strings.CutSuffix(path, "/info/refs"); ok {
		rest, rt.advert = http.MethodGet, true
		// The query is compared as text: one key, once, with one of two values.
		if rt.service, ok = strings.CutPrefix(r.URL.RawQuery, "service="); !ok || rt.service != uploadPack && rt.service != receivePack {
			return rt, remit.Errorf(remit.Forbidden, "only git's smart HTTP protocol is served: info/refs?service=git-upload-pack or git-receive-pack, and no other parameter")
		}
	} else {
		i := strings.LastIndexByte(path, '/')
		rt.repo, rt.service, rest = path[:max(i, 0)], path[i+1:], http.MethodPost
		if rt.service != uploadPack && rt.service != receivePack {
			return route{}, remit.Errorf(remit.Forbidden, "only git's smart HTTP protocol is served: info/refs, git-upload-pack and git-receive-pack")
		}
		if r.URL.RawQuery != "" {
			return rt, remit.Errorf(remit.BadRequest, "%s takes no parameters", rt.service)
		}
	}
	if r.Method != rest {
		return rt, remit.Errorf(remit.Forbidden, "that address takes %s, not %.20q", rest, r.Method)
	}
	rt.repo = trimGit(rt.repo)
	if _, err := remit.ParseResource("repo:" + rt.repo); err != nil || !strings.Contains(rt.repo, "/") {
		return rt, remit.Errorf(remit.UnknownResource, "no repository is declared as %.200q; a name is UPSTREAM/PATH", rt.repo)
	}
	return rt, nil
}

func trimGit(repo string) string { return strings.TrimSuffix(repo, ".git") }

// exchange is one request on its way through the pipeline. It is the Protocol of that request alone, since an answer
// depends on what the client asked for.
type exchange struct {
	g      *Gateway
	r      *http.Request
	route  route
	err    *remit.Error // that the route is none
	status int          // HTTP status of a failure, if not the one of its code
	stream *stream
	push   *pktline.Push
	denied *remit.Decision // what Preview said
	kept   remit.Digest    // the pack in Blobs, as long as this request answers for it
	free   func()
	begun  bool // the answer has begun
}

func (g *Gateway) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{g: g, r: r, free: func() {}, stream: newStream(w, r, g.Stall)}
	var err error
	if x.route, err = parseRoute(g.Prefix, r); err != nil {
		x.err = gateway.AsError(remit.BadRequest, err)
	}
	if x.route.advert {
		if r.ContentLength != 0 && x.err == nil { // by HTTP/2 a request has a Body even without one
			// The server would read it while it answers, and take a client that does not send it for one that left.
			x.err = remit.Errorf(remit.BadRequest, "a request for the list of refs has no body; leave it out")
		}
		x.stream.end()
	}
	return x
}

// Handler serves the gateway's routes through p. Mount it at Config.Prefix.
func (g *Gateway) Handler(p *gateway.Pipeline) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := g.begin(w, r)
		defer x.end(r.Context())
		if x.err != nil {
			x.Fail(w, r, x.err)
			return
		}
		if x.probe(w, r, p) {
			return
		}
		p.Handle(x, w, r)
	})
}

// probe answers the empty request that git sends before it streams a large push, to learn whether it is let in.
func (x *exchange) probe(w http.ResponseWriter, r *http.Request, p *gateway.Pipeline) bool {
	if x.route.advert || r.ContentLength != 4 {
		return false
	}
	if _, err := p.Authn.Authenticate(r); err != nil {
		x.Fail(w, r, gateway.AsError(remit.Unauthenticated, err))
		return true
	}
	body, err := io.ReadAll(io.LimitReader(x.stream.body(r), 5))
	if err != nil || string(body) != "0000" || r.Header.Get("Content-Type") != "application/x-"+x.route.service+"-request" {
		x.Fail(w, r, remit.Errorf(remit.BadRequest, "a request of four bytes is \"0000\", of git's own type"))
		return true
	}
	x.head(w, "application/x-"+x.route.service+"-result")
	return true
}

// end gives back what the request still holds.
func (x *exchange) end(ctx context.Context) {
	x.drop(ctx)
	x.free()
	x.stream.end()
}

// drop lets the kept pack go.
func (x *exchange) drop(ctx context.Context) {
	if x.kept.IsZero() {
		return
	}
	if err := x.g.Blobs.Drop(context.WithoutCancel(ctx), x.kept); err != nil {
		x.g.Log.Error("dropping a pack", "digest", x.kept, "err", err)
	}
	x.kept = remit.Digest{}
}

// Classify says what the request would do.
func (x *exchange) Classify(ctx context.Context, caller remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	if x.err != nil {
		return remit.Request{}, nil, x.err
	}
	repo, err := x.g.Repos.Repo(ctx, x.route.repo)
	if err != nil {
		return remit.Request{}, nil, err
	}
	if !x.route.advert {
		if err := x.headers(r); err != nil {
			return remit.Request{}, nil, err
		}
		if x.route.service == receivePack {
			return x.classifyPush(ctx, caller, repo, r)
		}
	}
	// The advertisement to a push is a read, too: it lists the refs.
	return x.g.request(caller, repo, "source.read", order{Service: x.route.service, Repo: repo.Name}), nil, nil
}

// Classify is part of gateway.Protocol; the gateway's own Handler keeps more about a request than this can.
func (g *Gateway) Classify(ctx context.Context, caller remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	x := g.begin(nil, r)
	req, payloads, err := x.Classify(ctx, caller, r)
	x.free()
	return req, payloads, err
}

// Refuse is part of gateway.Protocol.
func (g *Gateway) Refuse(w http.ResponseWriter, r *http.Request, d remit.Decision) {
	g.begin(w, r).Refuse(w, r, d)
}

// Fail is part of gateway.Protocol.
func (g *Gateway) Fail(w http.ResponseWriter, r *http.Request, err *remit.Error) {
	g.begin(w, r).Fail(w, r, err)
}

// headers checks the body's type and encoding: git sends one spelling, and others exist to be read differently by
// someone behind us.
func (x *exchange) headers(r *http.Request) error {
	want := "application/x-" + x.route.service + "-request"
	if got := r.Header["Content-Type"]; len(got) != 1 || got[0] != want {
		x.status = http.StatusUnsupportedMediaType
		return remit.Errorf(remit.BadRequest, "the Content-Type is to be exactly %q", want)
	}
	encoding := r.Header["Content-Encoding"]
	if len(encoding) == 0 || len(encoding) == 1 && encoding[0] == "gzip" && x.route.service == uploadPack {
		return nil // git compresses what it sends to fetch, never what it pushes
	}
	x.status = http.StatusUnsupportedMediaType
	return remit.Errorf(remit.BadRequest, "the request is encoded as %.40q; git sends a push as it is", strings.Join(encoding, ", "))
}
