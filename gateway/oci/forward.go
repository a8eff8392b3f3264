package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Forward carries out an approved work order. Only a publication can be one: a body that streamed is not kept.
func (g *Gateway) Forward(ctx context.Context, o remit.Order, c gateway.Credential, w http.ResponseWriter) gateway.Result {
	return (&exchange{g: g, stream: newStream(w, g.Stall)}).Forward(ctx, o, c, w)
}

// Forward does what was allowed.
func (x *exchange) Forward(ctx context.Context, o remit.Order, c gateway.Credential, w http.ResponseWriter) gateway.Result {
	ord, err := decodeOrder(o.Body)
	if err != nil {
		return x.not(w, remit.Errorf(remit.Internal, "the order cannot be read: %w", err))
	}
	x.route = ord.route()
	reg, err := x.g.Registries.Registry(ctx, ord.Upstream)
	if err != nil {
		return x.not(w, gateway.AsError(remit.Internal, err))
	}
	switch {
	case ord.Kind == manifest && ord.Method == http.MethodPut:
		return x.publish(ctx, reg, ord, c, w)
	case w == nil || x.r == nil:
		return x.not(w, remit.Errorf(remit.Stale, "only a publication is completed later; say the same again"))
	case ord.Kind == uploads || ord.Kind == session:
		return x.upload(ctx, reg, o.Caller.Task, ord, c, w)
	}
	return x.read(ctx, reg, ord, c, w)
}

// not is what did not happen.
func (x *exchange) not(w http.ResponseWriter, e *remit.Error) gateway.Result {
	if w != nil {
		x.Fail(w, x.r, e)
	}
	return gateway.Result{Outcome: remit.NotApplied, Code: e.Code, Receipt: []byte(clip(e.Sentence, remit.MaxPayload))}
}

// relay tells the client what the registry said instead.
func (x *exchange) relay(w http.ResponseWriter, f refusal) gateway.Result {
	if w == nil || f.status == http.StatusBadGateway {
		return x.not(w, f.err)
	}
	x.stream.drain(x.r)
	writeErrors(w, f.status, f.code, f.message, detail{Code: f.err.Code})
	return gateway.Result{Outcome: remit.NotApplied, Code: f.err.Code, Receipt: []byte(f.err.Sentence)}
}

func done(format string, args ...any) gateway.Result {
	return gateway.Result{Outcome: remit.Done, Receipt: []byte(clip(fmt.Sprintf(format, args...), remit.MaxPayload))}
}

// publish puts the manifest under its digest, sees that it is there, and only then lets the tag point to it.
func (x *exchange) publish(ctx context.Context, reg Registry, o order, c gateway.Credential, w http.ResponseWriter) gateway.Result {
	if digestOf(o.manifest) != o.Digest { // what was judged is what is sent
		return x.not(w, remit.Errorf(remit.Internal, "the order holds other bytes than those that were judged"))
	}
	if ctx.Err() != nil {
		return x.not(w, remit.Errorf(remit.NotLive, "the authority of the publication ended before it was sent"))
	}
	// It is one small request: once begun, its answer is worth waiting for.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.g.Patience)
	defer cancel()
	resp, err := x.put(ctx, reg, o, o.Digest, c)
	if err == nil {
		defer resp.Body.Close()
		if s := resp.StatusCode; s/100 == 4 {
			return x.relay(w, reg.refusal(resp))
		}
	}
	// Whatever it answered, what is there now decides.
	there, looked := x.g.has(ctx, reg, o.Name, manifest, o.Digest, c.Apply)
	switch {
	case looked != nil:
		return x.unclear(w, gateway.AsError(remit.UpstreamDown, looked))
	case !there && err == nil && resp.StatusCode/100 != 2:
		return x.not(w, reg.refusal(resp).err)
	case !there:
		return x.unclear(w, remit.Errorf(remit.UpstreamDown, "registry %s did not say what became of %s, and does not have it now", reg.Name, o.Digest))
	}
	res := done("published %s/%s@%s", o.Upstream, o.Name, o.Digest)
	res.Made = o.Digest
	for _, c := range o.Children {
		res.Receipt = fmt.Appendf(res.Receipt, "\nof which %s was published by task %s", c.Digest, c.Task)
	}
	if o.Ref != o.Digest {
		if why := x.tag(ctx, reg, o, c); why != nil {
			res.Receipt = fmt.Appendf(res.Receipt, "\nthe tag %s was not set: %s", o.Ref, why.Sentence)
			if w != nil {
				x.Fail(w, x.r, remit.Errorf(why.Code, "%s is published, but the tag %s was not set: %s", o.Digest, o.Ref, why.Sentence))
			}
			return res
		}
	}
	if w == nil {
		return res
	}
	h := w.Header()
	h.Set("Location", x.route.front()+"/manifests/"+o.Digest)
	h.Set("Docker-Content-Digest", o.Digest)
	if resp != nil && o.Subject != "" && resp.Header.Get("OCI-Subject") == o.Subject {
		h.Set("OCI-Subject", o.Subject) // the registry keeps the list of referrers
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return res
}

func (x *exchange) put(ctx context.Context, reg Registry, o order, ref string, c gateway.Credential) (*http.Response, error) {
	return reg.send(ctx, o.Name, call{method: http.MethodPut, path: "manifests/" + ref, header: http.Header{"Content-Type": {o.Type}},
		body: bytes.NewReader(o.manifest), length: int64(len(o.manifest)), apply: c.Apply})
}

// tag makes the tag a label of what is published already.
func (x *exchange) tag(ctx context.Context, reg Registry, o order, c gateway.Credential) *remit.Error {
	resp, err := x.put(ctx, reg, o, o.Ref, c)
	if err != nil {
		return gateway.AsError(remit.UpstreamDown, err)
	}
	defer resp.Body.Close()
	switch said := resp.Header.Get("Docker-Content-Digest"); {
	case resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK:
		return reg.refusal(resp).err
	case said != "" && said != o.Digest:
		return remit.Errorf(remit.UpstreamDown, "registry %s says that the tag is of another digest", reg.Name)
	}
	return nil
}

// unclear is a publication of which nobody can tell yet.
func (x *exchange) unclear(w http.ResponseWriter, e *remit.Error) gateway.Result {
	res := x.not(w, e)
	res.Outcome = remit.Ambiguous
	return res
}

var (
	progressRE = regexp.MustCompile(`^(?:bytes=)?[0-9]{1,18}-[0-9]{1,18}$`)
	plainRE    = regexp.MustCompile(`^[A-Za-z0-9_=.-]{1,128}$`)
	typeRE     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*(?:; ?[a-z]+=[A-Za-z0-9-]+)?$`)
)

// upload passes content on as it comes.
func (x *exchange) upload(ctx context.Context, reg Registry, task remit.ID, o order, c gateway.Credential, w http.ResponseWriter) gateway.Result {
	send := call{method: o.Method, path: "blobs/uploads/", header: http.Header{"Content-Type": {"application/octet-stream"}}, apply: c.Apply}
	body := &counted{r: x.stream.body(x.r), limit: x.g.MaxBlob}
	switch {
	case o.Kind == session:
		send.path = o.Session
		if o.Digest != "" && o.Method == http.MethodPut {
			send.path = withDigest(o.Session, o.Digest)
		}
		send.body, send.length = body, x.r.ContentLength
		if v := x.r.Header.Get("Content-Range"); v != "" {
			send.header.Set("Content-Range", v)
		}
	case o.Mount != "":
		send.path += "?" + url.Values{"mount": {o.Mount}, "from": {o.From}}.Encode()
	case o.Digest != "":
		send.path, send.body, send.length = withDigest(send.path, o.Digest), body, x.r.ContentLength
	}
	resp, err := reg.send(ctx, o.Name, send)
	if err == nil && o.Mount != "" && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden) {
		// The credential is good for one repository: the blob cannot be mounted with it, but uploaded.
		resp.Body.Close()
		send.path, o.Mount = "blobs/uploads/", ""
		resp, err = reg.send(ctx, o.Name, send)
	}
	switch {
	case body.over():
		if err == nil {
			resp.Body.Close()
		}
		return x.not(w, remit.Errorf(remit.TooLarge, "the blob is larger than %d bytes, which is what one request may bring", x.g.MaxBlob))
	case err != nil:
		// Part of an upload is nothing: it can be known by no name, and the registry throws it away.
		return x.not(w, gateway.AsError(remit.UpstreamDown, err))
	}
	defer resp.Body.Close()
	return x.uploaded(reg, task, o, resp, w)
}

// uploaded answers what came of an upload, or of a part of it.
func (x *exchange) uploaded(reg Registry, task remit.ID, o order, resp *http.Response, w http.ResponseWriter) gateway.Result {
	h, status := w.Header(), resp.StatusCode
	digest := o.Digest
	if o.Mount != "" {
		digest = o.Mount
	}
	switch {
	case status == http.StatusCreated && digest != "" && o.Method != http.MethodPatch:
		if said := resp.Header.Get("Docker-Content-Digest"); said != "" && said != digest {
			return x.not(w, remit.Errorf(remit.UpstreamDown, "registry %s says that the blob is of another digest", reg.Name))
		}
		h.Set("Location", x.route.front()+"/blobs/"+digest)
		h.Set("Docker-Content-Digest", digest)
	case status == http.StatusAccepted && o.Method != http.MethodPut, status == http.StatusNoContent && o.Method == http.MethodGet,
		status == http.StatusRequestedRangeNotSatisfiable && resp.Header.Get("Location") != "":
		address, err := reg.session(o.Name, resp)
		if err != nil {
			return x.not(w, gateway.AsError(remit.UpstreamDown, err))
		}
		h.Set("Location", x.route.front()+"/blobs/uploads/"+x.g.sealSession(x.route, task, address))
		pass(h, resp.Header, "Range", progressRE)
		pass(h, resp.Header, "Docker-Upload-UUID", plainRE)
		pass(h, resp.Header, "OCI-Chunk-Min-Length", plainRE)
		if status == http.StatusRequestedRangeNotSatisfiable {
			return x.relay(w, reg.refusal(resp))
		}
	case status/100 == 2:
		return x.not(w, remit.Errorf(remit.UpstreamDown, "registry %s answers %s with %d, which means nothing here", reg.Name, o.Method, status))
	default:
		return x.relay(w, reg.refusal(resp))
	}
	if status != http.StatusNoContent {
		h.Set("Content-Length", "0")
	}
	w.WriteHeader(status)
	return done("%s of %s answered %d", o.Method, x.route.resource(), status)
}

func pass(to, from http.Header, name string, re *regexp.Regexp) {
	if v := from.Get(name); re.MatchString(v) {
		to.Set(name, v)
	}
}

// read passes an answer on after it was seen to be what was asked for, as far as its name says.
func (x *exchange) read(ctx context.Context, reg Registry, o order, c gateway.Credential, w http.ResponseWriter) gateway.Result {
	send := call{method: o.Method, apply: c.Apply, header: http.Header{}}
	switch o.Kind {
	case manifest:
		send.path, send.header = "manifests/"+o.Ref, accepting(o.Accept)
	case blob:
		send.path = "blobs/" + o.Ref
		if o.Range != "" {
			send.header.Set("Range", o.Range)
		}
	case tags:
		send.path = "tags/list"
	case referrers:
		send.path, send.header = "referrers/"+o.Ref, http.Header{"Accept": {ociIndex}}
	}
	send.header.Set("Accept-Encoding", "identity")
	if o.Query != "" {
		send.path += "?" + o.Query
	}
	resp, err := reg.send(ctx, o.Name, send)
	if err != nil {
		return x.not(w, gateway.AsError(remit.UpstreamDown, err))
	}
	defer resp.Body.Close()
	if ok := resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent && o.Range != ""; !ok {
		return x.relay(w, reg.refusal(resp))
	}
	switch {
	case o.Kind == blob || o.Method == http.MethodHead:
		err = x.readBlob(ctx, reg, o, resp, w)
	case o.Kind == tags:
		err = x.readTags(reg, o, resp, w)
	default:
		err = x.readDocument(reg, o, resp, w)
	}
	if err != nil {
		return x.not(w, gateway.AsError(remit.UpstreamDown, err))
	}
	return done("")
}

// readBlob streams a blob, or answers HEAD of a blob or a manifest.
func (x *exchange) readBlob(ctx context.Context, reg Registry, o order, resp *http.Response, w http.ResponseWriter) error {
	digest := o.Ref
	if said := resp.Header.Get("Docker-Content-Digest"); !remit.IsContentDigest(digest) {
		if digest = said; !remit.IsContentDigest(said) {
			return remit.Errorf(remit.UpstreamDown, "registry %s does not say of which digest the tag is", reg.Name)
		}
	} else if said != "" && said != digest {
		return remit.Errorf(remit.UpstreamDown, "registry %s answers for %s with another digest", reg.Name, digest)
	}
	if resp.ContentLength < 0 {
		return remit.Errorf(remit.UpstreamDown, "registry %s does not say how long the content is", reg.Name)
	}
	h := w.Header()
	h.Set("Docker-Content-Digest", digest)
	h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	h.Set("Content-Type", "application/octet-stream")
	if o.Kind == manifest {
		pass(h, resp.Header, "Content-Type", typeRE)
	}
	pass(h, resp.Header, "Accept-Ranges", plainRE)
	want := digest
	if resp.StatusCode == http.StatusPartialContent {
		want = ""
		pass(h, resp.Header, "Content-Range", regexp.MustCompile(`^bytes [0-9]{1,18}-[0-9]{1,18}/(?:[0-9]{1,18}|\*)$`))
	}
	x.begun = true
	w.WriteHeader(resp.StatusCode)
	if o.Method == http.MethodHead {
		return nil
	}
	// An answer that ends before its Content-Length is no answer: net/http closes the connection.
	return x.stream.copy(ctx, w, resp.Body, resp.ContentLength, want)
}

// whole reads an answer that is small.
func whole(reg Registry, resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	switch {
	case err != nil:
		return nil, remit.Errorf(remit.UpstreamDown, "the answer of registry %s did not arrive whole: %w", reg.Name, err)
	case len(body) > maxManifest:
		return nil, remit.Errorf(remit.UpstreamDown, "the answer of registry %s is larger than %d bytes", reg.Name, maxManifest)
	}
	return body, nil
}

// readDocument passes on a manifest, whose digest is computed here, or a list of referrers.
func (x *exchange) readDocument(reg Registry, o order, resp *http.Response, w http.ResponseWriter) error {
	body, err := whole(reg, resp)
	if err != nil {
		return err
	}
	h := w.Header()
	if o.Kind == manifest {
		digest, said := digestOf(body), resp.Header.Get("Docker-Content-Digest")
		if remit.IsContentDigest(o.Ref) && o.Ref != digest || said != "" && said != digest {
			return remit.Errorf(remit.UpstreamDown, "registry %s gave a manifest whose bytes are %s for %s", reg.Name, digest, o.Ref)
		}
		h.Set("Docker-Content-Digest", digest)
		pass(h, resp.Header, "Content-Type", typeRE)
	} else {
		if !json.Valid(body) {
			return remit.Errorf(remit.UpstreamDown, "the list of referrers from registry %s is not JSON", reg.Name)
		}
		h.Set("Content-Type", ociIndex)
		pass(h, resp.Header, "OCI-Filters-Applied", plainRE)
		x.next(h, resp, "referrers/"+o.Ref, "artifactType")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.begun = true
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(body)
	return err
}

// readTags passes on the tags, under the name by which the client knows the repository.
func (x *exchange) readTags(reg Registry, o order, resp *http.Response, w http.ResponseWriter) error {
	body, err := whole(reg, resp)
	if err != nil {
		return err
	}
	var list struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return remit.Errorf(remit.UpstreamDown, "the list of tags from registry %s cannot be read: %w", reg.Name, err)
	}
	list.Name = strings.TrimPrefix(x.route.front(), "/v2/")
	if list.Tags == nil {
		list.Tags = []string{}
	}
	for _, t := range list.Tags {
		if !tagRE.MatchString(t) {
			return remit.Errorf(remit.UpstreamDown, "registry %s lists %.60q, which is no tag", reg.Name, t)
		}
	}
	x.next(w.Header(), resp, "tags/list", "n", "last")
	x.begun = true
	writeJSON(w, http.StatusOK, list)
	return nil
}

var linkRE = regexp.MustCompile(`^<([^>]+)>\s*;\s*rel="?next"?$`)

// next passes on where a list goes on (RFC 8288), as an address of this front.
func (x *exchange) next(h http.Header, resp *http.Response, path string, names ...string) {
	m := linkRE.FindStringSubmatch(resp.Header.Get("Link"))
	if m == nil {
		return
	}
	u, err := url.Parse(m[1])
	if err != nil {
		return
	}
	q, from := url.Values{}, u.Query()
	for _, n := range names {
		if v := from.Get(n); v != "" {
			q.Set(n, v)
		}
	}
	h.Set("Link", "<"+x.route.front()+"/"+path+"?"+q.Encode()+`>; rel="next"`)
}

// Reconcile asks the registry what became of an attempt whose outcome was never recorded. A digest names its content, so
// what is there is what was sent.
func (g *Gateway) Reconcile(ctx context.Context, o remit.Order) gateway.Result {
	ord, err := decodeOrder(o.Body)
	if err != nil {
		return gateway.Result{Outcome: remit.Ambiguous, Code: remit.Internal, Receipt: []byte("the order cannot be read")}
	}
	k := manifest
	switch {
	case ord.Kind == manifest && ord.Method == http.MethodPut:
	case (ord.Kind == uploads || ord.Kind == session) && ord.Digest != "":
		k = blob
	default:
		return gateway.Result{Outcome: remit.NotApplied, Receipt: []byte("a read changes nothing, and a part of an upload is nothing")}
	}
	reg, err := g.Registries.Registry(ctx, ord.Upstream)
	there := false
	if err == nil {
		there, err = g.has(ctx, reg, ord.Name, k, ord.Digest, reg.observer(ord.Name))
	}
	var e *remit.Error
	switch {
	case err != nil:
		if !errors.As(err, &e) {
			e = gateway.AsError(remit.UpstreamDown, err)
		}
		return gateway.Result{Outcome: remit.Ambiguous, Code: e.Code, Receipt: []byte(e.Sentence)}
	case !there:
		return gateway.Result{Outcome: remit.NotApplied, Yet: true, Receipt: []byte("seen at the registry: " + ord.Digest + " is not there")}
	}
	res := done("seen at the registry: %s", ord.Digest)
	if k == manifest {
		res.Made = ord.Digest
	}
	return res
}

// Reconcile is the gateway's.
func (x *exchange) Reconcile(ctx context.Context, o remit.Order) gateway.Result {
	return x.g.Reconcile(ctx, o)
}
