package oci

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// call is one request to a registry.
type call struct {
	method, path string // path below the repository, with its query
	header       http.Header
	body         io.Reader // nil: none
	length       int64     // -1: unknown
	apply        func(*http.Request) error
}

// send makes a request of c. What it returns has a body that is to be closed.
func (reg Registry) send(ctx context.Context, name string, c call) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, c.method, reg.URL+"/v2/"+name+"/"+c.path, nil)
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "the address of registry %s cannot be made: %w", reg.Name, err)
	}
	if c.body != nil && c.length != 0 {
		r.Body, r.ContentLength = io.NopCloser(c.body), c.length
	}
	if c.header != nil {
		r.Header = c.header
	}
	r.Header.Set("User-Agent", "remit")
	if c.apply != nil {
		if err := c.apply(r); err != nil {
			return nil, err
		}
	}
	resp, err := reg.Transport.RoundTrip(r)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "registry %s does not answer: %w", reg.Name, err)
	}
	return resp, nil
}

// session is the registry's address of an upload, relative to the repository. A registry that sends an upload elsewhere
// would get the agent's bytes and Remit's credential there.
func (reg Registry) session(name string, resp *http.Response) (string, error) {
	refused := func() (string, error) {
		return "", remit.Errorf(remit.UpstreamDown, "registry %s names an address for the upload that does not lie below %s/v2/%s/blobs/; set its external address to that one", reg.Name, reg.URL, name)
	}
	base, err := url.Parse(reg.URL + "/v2/" + name + "/")
	if err != nil {
		return refused()
	}
	to, err := base.Parse(resp.Header.Get("Location"))
	// Behind a proxy a registry may take itself for http; the request goes to the declared address in any case.
	if err != nil || !strings.EqualFold(to.Host, base.Host) || to.User != nil || to.Fragment != "" {
		return refused()
	}
	// Parse has resolved what is relative in it.
	rest, ok := strings.CutPrefix(to.EscapedPath(), base.EscapedPath())
	if !ok || !strings.HasPrefix(rest, "blobs/") || strings.ContainsAny(rest, "%\\;") || len(rest)+len(to.RawQuery) > 4<<10 {
		return refused()
	}
	if to.RawQuery != "" {
		rest += "?" + to.RawQuery
	}
	return rest, nil
}

// withDigest adds a digest to the address of an upload.
func withDigest(address, digest string) string {
	if strings.Contains(address, "?") {
		return address + "&digest=" + url.QueryEscape(digest)
	}
	return address + "?digest=" + url.QueryEscape(digest)
}

// ociErrors are the codes of the specification's errors, and those that its reference implementation adds.
var ociErrors = []string{"BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID",
	"MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNSUPPORTED", "TOOMANYREQUESTS", "RANGE_INVALID", "TAG_INVALID", "MANIFEST_UNVERIFIED"}

// refusal is what a registry said instead of doing it.
type refusal struct {
	status  int
	code    string // of the specification
	message string
	err     *remit.Error
}

// refusal reads why a registry did not do it. What it says of credentials is about Remit's own, so the client is not told
// to prove itself again.
func (reg Registry) refusal(resp *http.Response) refusal {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var said struct {
		Errors []struct{ Code, Message string }
	}
	if err == nil {
		_ = json.Unmarshal(body, &said) // a registry that says nothing readable has said nothing
	}
	f := refusal{status: http.StatusBadGateway, code: "UNKNOWN"}
	if len(said.Errors) > 0 {
		f.message = clip(scrub(said.Errors[0].Message), 300)
		if slices.Contains(ociErrors, said.Errors[0].Code) {
			f.code = said.Errors[0].Code
		}
	}
	code := remit.Conflict
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		f.code, f.message = "UNKNOWN", ""
		f.err = remit.Errorf(remit.UpstreamDown, "registry %s refuses Remit's credential (%d); what is declared of the upstream is to be looked at", reg.Name, resp.StatusCode)
		return f
	case http.StatusNotFound:
		code = remit.NotFound
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestedRangeNotSatisfiable, http.StatusConflict, http.StatusPreconditionFailed:
	case http.StatusRequestEntityTooLarge:
		code = remit.TooLarge
	case http.StatusTooManyRequests:
		code, f.code = remit.Overload, "TOOMANYREQUESTS"
	default:
		f.err = remit.Errorf(remit.UpstreamDown, "registry %s answers with status %d", reg.Name, resp.StatusCode)
		if resp.StatusCode/100 == 3 {
			f.err = remit.Errorf(remit.UpstreamDown, "registry %s sends the request on to another address, where its content could not be seen; let it serve blobs itself (distribution: storage.redirect.disable)", reg.Name)
		}
		return f
	}
	f.status = resp.StatusCode
	if f.message == "" {
		f.message = http.StatusText(resp.StatusCode)
	}
	f.err = remit.Errorf(code, "registry %s: %s", reg.Name, f.message)
	return f
}

// has asks in Remit's own name whether there is a manifest or a blob of a digest.
func (g *Gateway) has(ctx context.Context, reg Registry, name string, k kind, digest string, apply func(*http.Request) error) (bool, error) {
	path := "manifests/" + digest
	if k == blob {
		path = "blobs/" + digest
	}
	ctx, cancel := context.WithTimeout(ctx, g.Patience)
	defer cancel()
	resp, err := reg.send(ctx, name, call{method: http.MethodHead, path: path, header: accepting(nil), apply: apply})
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch said := resp.Header.Get("Docker-Content-Digest"); {
	case resp.StatusCode == http.StatusNotFound:
		return false, nil
	case resp.StatusCode != http.StatusOK:
		return false, reg.refusal(resp).err
	case said != "" && said != digest:
		return false, remit.Errorf(remit.UpstreamDown, "registry %s answers for %s with another digest", reg.Name, digest)
	}
	return true, nil
}

func (reg Registry) observer(name string) func(*http.Request) error {
	if reg.Observer == nil {
		return nil
	}
	return func(r *http.Request) error { return reg.Observer(r, name) }
}

// accepting is what manifests are asked for as: what the client understands, or all that is published here.
func accepting(client []string) http.Header {
	if len(client) == 0 {
		client = []string{ociImage, ociIndex, dockerImage, dockerIndex}
	}
	return http.Header{"Accept": slices.Clone(client)}
}

var _ gateway.Protocol = (*exchange)(nil)
