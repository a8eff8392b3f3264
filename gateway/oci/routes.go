package oci

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

type kind string

const (
	ping      kind = "ping"
	manifest  kind = "manifest"
	blob      kind = "blob"
	uploads   kind = "uploads" // where an upload begins
	session   kind = "session" // one upload under way
	tags      kind = "tags"
	referrers kind = "referrers"
)

// route is one address of the API (distribution-spec, "Endpoints").
type route struct {
	kind     kind
	upstream string
	name     string // at the upstream
	ref      string // digest, tag, or the name of a session
}

func (rt route) resource() remit.Resource {
	return remit.Resource("artifact:" + rt.upstream + "/" + rt.name)
}

// front is the path under which a client knows the repository.
func (rt route) front() string { return "/v2/" + rt.upstream + "/" + rt.name }

var (
	// segmentRE is one part of a name, tagRE a tag (distribution-spec, "Pulling manifests").
	segmentRE = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tagRE     = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	colon     = strings.NewReplacer("%3A", ":", "%3a", ":")
)

// maxName is the longest name that registries take together with a host.
const maxName = 255

// words are parts of addresses. A name that has one could be read as another address by a registry whose router is
// greedier, or lazier, than this one.
var words = []string{"blobs", "manifests", "tags", "referrers", "uploads"}

var methods = map[kind][]string{
	ping: {http.MethodGet, http.MethodHead}, manifest: {http.MethodGet, http.MethodHead, http.MethodPut},
	blob: {http.MethodGet, http.MethodHead}, uploads: {http.MethodPost},
	session: {http.MethodGet, http.MethodPatch, http.MethodPut}, tags: {http.MethodGet}, referrers: {http.MethodGet},
}

// parseRoute is the allow-list. Nothing in an address needs escaping but the colon of a digest, so nothing else may be
// escaped: there is no second way to write a name.
func parseRoute(method string, u *url.URL) (route, error) {
	path, ok := strings.CutPrefix(colon.Replace(u.EscapedPath()), "/v2")
	if !ok || path != "" && path[0] != '/' {
		return route{}, remit.Errorf(remit.NotFound, "the registry's API lies at /v2/")
	}
	if len(path) > 4<<10 || strings.ContainsAny(path, "%\\;") {
		return route{}, remit.Errorf(remit.BadRequest, "the path holds characters that no name of an image has; it is /v2/UPSTREAM/NAME/…")
	}
	rt, err := parsePath(strings.TrimPrefix(path, "/"))
	if err != nil {
		return rt, err
	}
	if !slices.Contains(methods[rt.kind], method) {
		if method == http.MethodDelete {
			return rt, remit.Errorf(remit.Forbidden, "nothing is deleted from a registry through Remit: a release may rest on it. What is not needed any more is removed at the registry, by its keepers")
		}
		return rt, remit.Errorf(remit.Forbidden, "that address takes %s, not %.20q", strings.Join(methods[rt.kind], ", "), method)
	}
	return rt, nil
}

func parsePath(path string) (rt route, err error) {
	if path == "" {
		return route{kind: ping}, nil
	}
	segs := strings.Split(path, "/")
	n := len(segs)
	name, last := []string(nil), segs[n-1]
	switch {
	case n >= 3 && segs[n-3] == "blobs" && segs[n-2] == "uploads":
		rt.kind, rt.ref, name = session, last, segs[:n-3]
		if last == "" {
			rt.kind = uploads
		}
	case n >= 2 && segs[n-2] == "blobs" && last == "uploads":
		rt.kind, name = uploads, segs[:n-2]
	case n >= 2 && segs[n-2] == "tags" && last == "list":
		rt.kind, name = tags, segs[:n-2]
	case n >= 2 && segs[n-2] == "manifests":
		rt.kind, rt.ref, name = manifest, last, segs[:n-2]
	case n >= 2 && segs[n-2] == "blobs":
		rt.kind, rt.ref, name = blob, last, segs[:n-2]
	case n >= 2 && segs[n-2] == "referrers":
		rt.kind, rt.ref, name = referrers, last, segs[:n-2]
	default:
		return rt, remit.Errorf(remit.NotFound, "the registry's API has no such address; names are not listed, and an image is /v2/UPSTREAM/NAME/…")
	}
	if rt.upstream, rt.name, err = splitName(strings.Join(name, "/")); err != nil {
		return rt, err
	}
	switch rt.kind {
	case blob, referrers:
		if !remit.IsContentDigest(rt.ref) {
			return rt, remit.Errorf(remit.BadRequest, "%.100q is no digest that is served here: sha256: and 64 lower-case hex digits", rt.ref)
		}
	case manifest:
		if !remit.IsContentDigest(rt.ref) && !tagRE.MatchString(rt.ref) {
			return rt, remit.Errorf(remit.BadRequest, "%.100q is neither a digest (sha256: and 64 lower-case hex digits) nor a tag", rt.ref)
		}
	}
	return rt, nil
}

// splitName checks UPSTREAM/NAME.
func splitName(s string) (upstream, name string, err error) {
	upstream, name, ok := strings.Cut(s, "/")
	if !ok || len(s) > maxName {
		return "", "", remit.Errorf(remit.UnknownResource, "no image is declared as %.300q; a name is UPSTREAM/NAME, at most %d bytes", s, maxName)
	}
	for seg := range strings.SplitSeq(s, "/") {
		if !segmentRE.MatchString(seg) {
			return "", "", remit.Errorf(remit.BadRequest, "%.300q is no name of an image: its parts are lower-case letters and digits, parted by one of . _ __ -", s)
		}
		if slices.Contains(words, seg) {
			return "", "", remit.Errorf(remit.BadRequest, "%.300q: a part of a name is not called %s, which is a word of the registry's own addresses", s, seg)
		}
	}
	return upstream, name, nil
}

// one reads a parameter that stands at most once. The query is not sent on: what goes upstream is written anew.
func one(q url.Values, name string) (string, error) {
	v := q[name]
	if len(v) > 1 {
		return "", remit.Errorf(remit.BadRequest, "the parameter %s stands %d times; it stands once", name, len(v))
	}
	if len(v) == 0 {
		return "", nil
	}
	return v[0], nil
}
