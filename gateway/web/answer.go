package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// problem is an error in the forge's own terms: clients print message. What Remit adds lies beside it.
type problem struct {
	Message string `json:"message"`
	URL     string `json:"url"`
	Remit   detail `json:"remit"`
}

type detail struct {
	Code   remit.Code       `json:"code"`
	Entry  remit.EntryIndex `json:"entry,omitempty"`
	Rules  []string         `json:"rules,omitempty"`
	State  string           `json:"state,omitempty"`
	Access remit.ID         `json:"access,omitempty"`
	Do     string           `json:"do,omitempty"`
}

// Refuse answers what was denied or held. What is held is not done, so it is an error to a client that asked for it.
func (g *Gateway) Refuse(w http.ResponseWriter, _ *http.Request, d remit.Decision) {
	e := &remit.Error{Code: d.Code, Sentence: d.Sentence}
	if e.Sentence == "" {
		e.Sentence = d.Code.Info().Meaning
	}
	more := &detail{Entry: d.Entry, Rules: d.Rules}
	if d.Verdict == remit.Hold {
		more.State, more.Access, more.Do = "waiting", d.Access, "remit wait "+string(d.Access)
		e.Sentence = "held, waiting for people as access request " + string(d.Access) + " (do: " + more.Do + "; Remit then completes it): " + e.Sentence
	}
	g.fail(w, e, more)
}

// Fail answers an error.
func (g *Gateway) Fail(w http.ResponseWriter, _ *http.Request, err *remit.Error) { g.fail(w, err, nil) }

func (g *Gateway) fail(w http.ResponseWriter, e *remit.Error, more *detail) {
	if more == nil {
		more = &detail{}
	}
	more.Code = e.Code
	status := e.Code.Info().HTTP
	if status < 400 {
		status = http.StatusForbidden
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="Remit"`)
	}
	body, err := json.Marshal(problem{Message: "remit: " + remit.Visible(e.Sentence) + " [" + string(e.Code) + "]", Remit: *more})
	if err != nil {
		body = []byte(`{"message":"remit: a fault of Remit's own"}`)
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	g.safe(w)
	w.WriteHeader(status)
	w.Write(body)
}

// safe keeps what a forge's user wrote from running in a browser under Remit's own name.
func (g *Gateway) safe(w http.ResponseWriter) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	w.Header().Set("Cache-Control", "no-store")
}

// passed are the headers of the forge's answers that clients get; all others, cookies and credentials among them, stay.
var passed = []string{"Content-Type", "Content-Disposition", "Link", "X-Total-Count", "X-Total", "X-Page", "X-PerPage", "X-PageCount", "X-HasMore", "X-Gitea-Object-Type", "Last-Modified"}

func (g *Gateway) copyHeader(w http.ResponseWriter, from http.Header) {
	for _, name := range passed {
		if v := from.Values(name); len(v) > 0 {
			w.Header()[http.CanonicalHeaderKey(name)] = v
		}
	}
	g.safe(w)
}

func (g *Gateway) head(w http.ResponseWriter, res *http.Response) {
	g.copyHeader(w, res.Header)
	if res.ContentLength >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
	}
	w.WriteHeader(res.StatusCode)
}

// relay passes a whole answer on.
func (g *Gateway) relay(w http.ResponseWriter, status int, header http.Header, body []byte) {
	g.copyHeader(w, header)
	w.WriteHeader(status)
	if status != http.StatusNoContent {
		w.Write(body)
	}
}

// guard ends an answer that is too long, or that holds a secret which was sent with the request.
type guard struct {
	r       io.Reader
	left    int64
	secrets []string
	tail    []byte // end of what was read, in which a secret may begin
	held    []byte // read, not yet given
	err     error
}

func (g *guard) Read(p []byte) (int, error) {
	for len(g.held) == 0 && g.err == nil {
		buf := make([]byte, 32<<10)
		n, err := g.r.Read(buf)
		if g.left -= int64(n); g.left < 0 {
			g.err = remit.Errorf(remit.TooLarge, "the forge's answer is longer than what is passed through")
			return 0, g.err
		}
		all := append(g.tail, buf[:n]...)
		keep := 0
		for _, s := range g.secrets {
			if bytes.Contains(all, []byte(s)) {
				g.err = remit.Errorf(remit.UpstreamDown, "the forge's answer holds the credential that was sent to it, and is not passed on")
				return 0, g.err
			}
			keep = max(keep, len(s)-1)
		}
		if err != nil {
			keep, g.err = 0, err
		}
		keep = min(keep, len(all))
		g.held, g.tail = all[:len(all)-keep], append([]byte{}, all[len(all)-keep:]...)
	}
	if len(g.held) == 0 {
		return 0, g.err
	}
	n := copy(p, g.held)
	g.held = g.held[n:]
	return n, nil
}

// stream passes src on as it comes. If it breaks off, or ctx ends, the connection is cut: the client sees that the end
// is missing.
func (g *Gateway) stream(ctx context.Context, w http.ResponseWriter, src io.Reader) error {
	rc := http.NewResponseController(w)
	cut := func() { rc.SetWriteDeadline(time.Unix(1, 0)) }
	defer context.AfterFunc(ctx, cut)()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if ctx.Err() != nil {
			cut()
			return ctx.Err()
		}
		if n > 0 {
			rc.SetWriteDeadline(time.Now().Add(g.Stall))
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			rc.Flush()
		}
		if err == io.EOF {
			rc.SetWriteDeadline(time.Time{})
			return nil
		}
		if err != nil {
			cut()
			return err
		}
	}
}

// pushed answers what Remit pushed itself.
func (g *Gateway) pushed(ctx context.Context, w http.ResponseWriter, f Forge, o order, cred gateway.Credential) {
	a := o.Answer
	if a == nil || a.Status == http.StatusNoContent || a.Path == "" && len(a.Files) == 0 {
		status := http.StatusOK
		if a != nil {
			status = a.Status
		}
		g.safe(w)
		w.WriteHeader(status)
		return
	}
	var body []byte
	var err error
	if a.Path != "" {
		var is json.RawMessage
		if err = g.observe(ctx, Forge{Name: f.Name, URL: f.URL, Transport: f.Transport, Observer: cred.Apply}, a.Path, &is); err != nil {
			// It is done; only the forge's own words about it cannot be had.
			is = json.RawMessage(`{"commit":{"id":"` + a.Commit + `","sha":"` + a.Commit + `"}}`)
		}
		body = is
	} else if body, err = json.Marshal(a.contents(f.URL + api + repoOf(o.Path))); err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	g.safe(w)
	w.WriteHeader(a.Status)
	w.Write(body)
}

// contents is the answer of the forge's contents API (FileResponse, FilesResponse).
func (a *pushed) contents(repo string) map[string]any {
	files := make([]any, len(a.Files))
	for i, f := range a.Files {
		if f.Blob == "" {
			continue // null: the file is deleted
		}
		name := f.Path[max(0, lastSlash(f.Path)):]
		at := repo + "/contents/" + escape(f.Path, true)
		if a.Branch != "" {
			at += "?ref=" + a.Branch
		}
		files[i] = map[string]any{"name": name, "path": f.Path, "sha": f.Blob, "size": f.Size, "type": "file",
			"last_commit_sha": a.Commit, "url": at, "git_url": repo + "/git/blobs/" + f.Blob}
	}
	out := map[string]any{"commit": map[string]any{"sha": a.Commit, "message": a.Text, "url": repo + "/git/commits/" + a.Commit}, "verification": nil}
	if a.Many {
		out["files"] = files
	} else {
		out["content"] = files[0]
	}
	return out
}

func lastSlash(path string) int {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return i + 1
		}
	}
	return 0
}

// version answers with the forge's own version, to whoever proves a task's token.
func (g *Gateway) version(p *gateway.Pipeline, w http.ResponseWriter, r *http.Request, at place) {
	if _, err := p.Authn.Authenticate(r); err != nil {
		g.fail(w, gateway.AsError(remit.Unauthenticated, err), nil)
		return
	}
	f, err := g.Forges.Forge(r.Context(), at.forge)
	var is struct {
		Version string `json:"version"`
	}
	if err == nil {
		err = g.observe(r.Context(), f, version, &is)
	}
	if err != nil {
		g.fail(w, gateway.AsError(remit.Internal, err), nil)
		return
	}
	body, err := json.Marshal(is)
	if err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	g.safe(w)
	w.Write(body)
}
