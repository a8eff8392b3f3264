package oci

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// exchange is one request on its way through the pipeline. It is the Protocol of that request alone: a body that streams
// is in no order.
type exchange struct {
	g      *Gateway
	r      *http.Request // nil when Remit completes a work order
	route  route
	err    *remit.Error // that the route is none
	stream *stream
	begun  bool // the answer has begun
}

func (g *Gateway) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{g: g, r: r, stream: newStream(w, g.Stall)}
	var err error
	if x.route, err = parseRoute(r.Method, r.URL); err != nil {
		x.err = gateway.AsError(remit.BadRequest, err)
	}
	return x
}

// order is what Forward needs: JSON, a line feed, and of a publication the bytes of the manifest.
type order struct {
	Method   string   `json:"method"`
	Kind     kind     `json:"kind"`
	Upstream string   `json:"upstream"`
	Name     string   `json:"name"`
	Ref      string   `json:"ref,omitempty"`     // digest or tag
	Digest   string   `json:"digest,omitempty"`  // of the manifest, or of the blob that an upload ends with
	Session  string   `json:"session,omitempty"` // of the upstream: path below the repository, and query
	Mount    string   `json:"mount,omitempty"`   // digest of a blob that From, at the same upstream, has
	From     string   `json:"from,omitempty"`
	Query    string   `json:"query,omitempty"` // of a list
	Type     string   `json:"type,omitempty"`  // media type of the manifest
	Subject  string   `json:"subject,omitempty"`
	Children []child  `json:"children,omitempty"` // of an index, that other tasks published
	Accept   []string `json:"accept,omitempty"`
	Range    string   `json:"range,omitempty"`
	manifest []byte
}

// maxOrder is what the authority stores of an order.
const maxOrder = 32 << 10

func (o order) encode() ([]byte, error) {
	head, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if n := len(head) + 1 + len(o.manifest); n > maxOrder {
		return nil, remit.Errorf(remit.TooLarge, "the manifest of %d bytes is too large to be kept for an approval: what is published is at most about %d bytes; move annotations and embedded data into a layer", len(o.manifest), maxOrder-len(head)-1)
	}
	return append(append(head, '\n'), o.manifest...), nil
}

func decodeOrder(b []byte) (o order, err error) {
	head, body, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return o, errors.New("the order has no end of its head")
	}
	err = json.Unmarshal(head, &o)
	o.manifest = body
	return o, err
}

func (o order) route() route {
	return route{kind: o.Kind, upstream: o.Upstream, name: o.Name, ref: o.Ref}
}

var (
	rangeRE   = regexp.MustCompile(`^bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})$`)
	contentRE = regexp.MustCompile(`^[0-9]{1,18}-[0-9]{1,18}$`)
)

// Classify says what the request would do.
func (x *exchange) Classify(ctx context.Context, caller remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	if x.err != nil {
		return remit.Request{}, nil, x.err
	}
	rt := x.route
	reg, err := x.g.Registries.Registry(ctx, rt.upstream)
	if err != nil {
		return remit.Request{}, nil, err
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "the query of the address cannot be read: %w", err)
	}
	o := order{Method: r.Method, Kind: rt.kind, Upstream: rt.upstream, Name: rt.name, Ref: rt.ref}
	req := remit.Request{Gateway: Name, Caller: caller}
	step := func(a remit.Action) { req.Steps = []remit.Step{{Action: a, Resource: rt.resource()}} }
	switch {
	case rt.kind == manifest && r.Method == http.MethodPut:
		err = x.classifyPublish(ctx, r, &o, &req)
	case rt.kind == uploads || rt.kind == session:
		step("artifact.upload")
		err = x.classifyUpload(reg, caller, q, r, &o, &req)
	default:
		step("artifact.read")
		err = x.classifyRead(q, r, &o)
	}
	if err != nil {
		return remit.Request{}, nil, err
	}
	req.Order, err = o.encode()
	return req, nil, err
}

// Classify is part of gateway.Protocol; the gateway's own Handler keeps more about a request than this can.
func (g *Gateway) Classify(ctx context.Context, c remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	return g.begin(nil, r).Classify(ctx, c, r)
}

func (x *exchange) classifyRead(q url.Values, r *http.Request, o *order) error {
	send := url.Values{}
	for _, name := range map[kind][]string{tags: {"n", "last"}, referrers: {"artifactType"}}[o.Kind] {
		v, err := one(q, name)
		switch {
		case err != nil:
			return err
		case v == "":
			continue
		case name == "n" && (len(v) > 9 || strings.Trim(v, "0123456789") != ""), name == "last" && !tagRE.MatchString(v), len(v) > 255:
			return remit.Errorf(remit.BadRequest, "%.100q is no value of the parameter %s", v, name)
		}
		send.Set(name, v)
	}
	o.Query = send.Encode()
	if o.Kind == manifest {
		for _, line := range r.Header.Values("Accept") {
			if len(line) <= 1<<10 && len(o.Accept) < 16 {
				o.Accept = append(o.Accept, line)
			}
		}
	}
	if ask := r.Header.Get("Range"); o.Kind == blob && ask != "" {
		if !rangeRE.MatchString(ask) {
			return remit.Errorf(remit.BadRequest, "%.100q is no range that is served; ask for one range of bytes", ask)
		}
		o.Range = ask
	}
	return nil
}

// classifyUpload is what brings content. It makes nothing known: a manifest does that.
func (x *exchange) classifyUpload(reg Registry, caller remit.Caller, q url.Values, r *http.Request, o *order, req *remit.Request) (err error) {
	if r.ContentLength > x.g.MaxBlob {
		return remit.Errorf(remit.TooLarge, "a blob of %d bytes; at most %d are taken in one request", r.ContentLength, x.g.MaxBlob)
	}
	req.Bytes = max(r.ContentLength, 0)
	if o.Digest, err = one(q, "digest"); err != nil {
		return err
	}
	if o.Digest != "" && !remit.IsContentDigest(o.Digest) || o.Digest == "" && o.Kind == session && r.Method == http.MethodPut {
		return remit.Errorf(remit.BadRequest, "%.100q is no digest that is served here: sha256: and 64 lower-case hex digits", o.Digest)
	}
	if v := r.Header.Get("Content-Range"); v != "" && !contentRE.MatchString(v) {
		return remit.Errorf(remit.BadRequest, "%.60q is no range of a chunk; write FIRST-LAST", v)
	}
	if o.Kind == session {
		o.Ref = ""
		o.Session, err = x.g.openSession(x.route, caller.Task)
		return err
	}
	return x.classifyMount(reg, q, o, req)
}

// classifyMount: to mount a blob is to read it where it is. Without a repository to mount from, a registry could take it
// from any; then the client is to upload it.
func (x *exchange) classifyMount(reg Registry, q url.Values, o *order, req *remit.Request) error {
	mount, err := one(q, "mount")
	if err != nil {
		return err
	}
	from, err := one(q, "from")
	if err != nil || mount == "" {
		return err
	}
	if !remit.IsContentDigest(mount) {
		return remit.Errorf(remit.BadRequest, "%.100q is no digest that is served here: sha256: and 64 lower-case hex digits", mount)
	}
	upstream, name, err := splitName(from)
	if err != nil || upstream != o.Upstream || !reg.Mounts {
		return nil // it cannot be mounted, but uploaded
	}
	o.Mount, o.From = mount, name
	if name != o.Name {
		req.Steps = append(req.Steps, remit.Step{Action: "artifact.read", Resource: route{upstream: upstream, name: name}.resource()})
	}
	return nil
}

// classifyPublish reads the manifest: its bytes decide, not the name that the client gives it.
func (x *exchange) classifyPublish(ctx context.Context, r *http.Request, o *order, req *remit.Request) error {
	if r.ContentLength > maxManifest {
		return remit.Errorf(remit.TooLarge, "a manifest of %d bytes; at most %d are read", r.ContentLength, maxManifest)
	}
	body, err := io.ReadAll(io.LimitReader(x.stream.body(r), maxManifest+1))
	switch {
	case err != nil:
		return remit.Errorf(remit.BadRequest, "the manifest did not arrive whole: %w", err)
	case len(body) > maxManifest:
		return remit.Errorf(remit.TooLarge, "the manifest is larger than %d bytes", maxManifest)
	case r.Header.Get("Content-Encoding") != "":
		return remit.Errorf(remit.BadRequest, "a manifest is sent as it is, without Content-Encoding")
	}
	types := r.Header.Values("Content-Type")
	if len(types) != 1 {
		return remit.Errorf(remit.BadRequest, "a manifest has one Content-Type, not %d", len(types))
	}
	if o.Type, _, err = mime.ParseMediaType(types[0]); err != nil {
		return remit.Errorf(remit.BadRequest, "%.100q is no media type", types[0])
	}
	doc, err := parseManifest(o.Type, body)
	if err != nil {
		return err
	}
	o.manifest, o.Digest = body, digestOf(body)
	if remit.IsContentDigest(o.Ref) && o.Ref != o.Digest {
		return remit.Errorf(remit.BadObject, "the manifest is pushed as %s, and its bytes are %s", o.Ref, o.Digest)
	}
	if doc.Subject != nil {
		o.Subject = doc.Subject.Digest
	}
	if o.Children, err = x.g.children(ctx, req.Caller.Task, x.route, doc); err != nil {
		return err
	}
	names := []string{o.Digest}
	for _, d := range doc.Manifests {
		names = append(names, d.Digest)
	}
	slices.Sort(names)
	for _, d := range slices.Compact(names) {
		req.Artifacts = append(req.Artifacts, remit.Artifact{Resource: x.route.resource(), Digest: d})
	}
	if len(req.Artifacts) > maxArtifacts {
		return remit.Errorf(remit.TooLargeToJudge, "the index names %d images; at most %d are judged together", len(req.Artifacts)-1, maxArtifacts-1)
	}
	req.Bytes = int64(len(body))
	req.Steps = []remit.Step{{Action: "artifact.publish", Resource: x.route.resource(), Args: remit.ArtifactsDigest(req.Artifacts)}}
	return nil
}

// maxArtifacts is remit.Request's own limit.
const maxArtifacts = 16

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// sealSession makes the name by which a client knows an upload. It holds the upstream's own address of it, which may
// carry state, and is good for the task that began it, in that repository.
func (g *Gateway) sealSession(rt route, task remit.ID, address string) string {
	mac := g.sessionMAC(rt, task, address)
	return base64.RawURLEncoding.EncodeToString(append(mac, address...))
}

func (g *Gateway) openSession(rt route, task remit.ID) (string, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(rt.ref)
	if err == nil && len(b) > sha256.Size {
		if address := string(b[sha256.Size:]); hmac.Equal(b[:sha256.Size], g.sessionMAC(rt, task, address)) {
			return address, nil
		}
	}
	return "", remit.Errorf(remit.NotFound, "no upload of this task is under way at that address; begin it anew with POST %s/blobs/uploads/", rt.front())
}

func (g *Gateway) sessionMAC(rt route, task remit.ID, address string) []byte {
	m := hmac.New(sha256.New, g.key[:])
	for _, s := range []string{rt.upstream, rt.name, string(task), address} {
		m.Write([]byte(strconv.Itoa(len(s)) + ":" + s))
	}
	return m.Sum(nil)
}
