package oci

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/remit-dev/remit"
)

func mustRef(t *testing.T, s string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRoutes(t *testing.T) {
	d := digestOf(nil)
	for path, want := range map[string]route{
		"/v2":                                 {kind: ping},
		"/v2/":                                {kind: ping},
		"/v2/images/app/manifests/v1":         {manifest, "images", "app", "v1"},
		"/v2/images/a/b-c/d.e/manifests/" + d: {manifest, "images", "a/b-c/d.e", d},
		"/v2/images/app/blobs/" + d:           {blob, "images", "app", d},
		"/v2/images/app/tags/list":            {tags, "images", "app", ""},
		"/v2/images/app/referrers/" + d:       {referrers, "images", "app", d},
	} {
		rt, err := parseRoute("GET", &url.URL{Path: path})
		if err != nil || rt != want {
			t.Errorf("%s is %+v (%v)", path, rt, err)
		}
	}
	for path, want := range map[string]route{
		"/v2/images/app/blobs/uploads/":  {uploads, "images", "app", ""},
		"/v2/images/app/blobs/uploads":   {uploads, "images", "app", ""},
		"/v2/images/app/blobs/uploads/x": {session, "images", "app", "x"},
	} {
		method := "POST"
		if want.kind == session {
			method = "PATCH"
		}
		rt, err := parseRoute(method, &url.URL{Path: path})
		if err != nil || rt != want {
			t.Errorf("%s is %+v (%v)", path, rt, err)
		}
	}
}

// FuzzRoute: what is served names one artifact, and a registry reads the same out of the address that is written anew.
func FuzzRoute(f *testing.F) {
	for _, s := range []string{"/v2/images/app/manifests/v1", "/v2/images/a/b/blobs/uploads/x?digest=y", "/v2/%2e%2e/a/tags/list", "/v2/images/blobs/uploads/manifests/x", "/v2/i/a/manifests/sha256%3a00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.ParseRequestURI(s)
		if err != nil {
			t.Skip()
		}
		for _, method := range []string{"GET", "PUT", "POST"} {
			rt, err := parseRoute(method, u)
			if err != nil || rt.kind == ping {
				continue
			}
			if _, err := remit.ParseResource(string(rt.resource())); err != nil {
				t.Fatalf("%q serves %q: %v", s, rt.resource(), err)
			}
			if strings.Contains(rt.name, "..") || strings.ContainsAny(rt.name+rt.ref, "/?#%\\") && rt.kind != session && strings.ContainsAny(rt.ref, "/?#%\\") {
				t.Fatalf("%q is %+v", s, rt)
			}
			again, err := parseRoute(method, &url.URL{Path: colon.Replace(u.EscapedPath())})
			if err != nil || again != rt {
				t.Fatalf("%q is %+v and %+v (%v)", s, rt, again, err)
			}
		}
	})
}

// FuzzManifest: what is accepted as an image names no manifests, and the other way round.
func FuzzManifest(f *testing.F) {
	d := digestOf(nil)
	f.Add(ociImage, []byte(`{"schemaVersion":2,"config":{"digest":"`+d+`","size":2},"layers":[]}`))
	f.Add(ociIndex, []byte(`{"schemaVersion":2,"manifests":[{"digest":"`+d+`","size":2,"platform":{"os":"linux"}}]}`))
	f.Add(ociIndex, []byte(`{"schemaVersion":2,"manifests":[],"MANIFESTS":[]}`))
	f.Fuzz(func(t *testing.T, mediaType string, body []byte) {
		doc, err := parseManifest(mediaType, body)
		if err != nil {
			return
		}
		index := mediaType == ociIndex || mediaType == dockerIndex
		if index == (doc.Config != nil) || !index && len(doc.Manifests) > 0 {
			t.Fatalf("%s: %s", mediaType, body)
		}
		for _, m := range doc.Manifests {
			if !bytes.Contains(body, []byte(m.Digest)) && !bytes.Contains(body, []byte(`\u`)) {
				t.Fatalf("%s is not in %s", m.Digest, body)
			}
		}
	})
}

// FuzzOrder: an order that is read back is the one that was written; foreign bytes are refused, never believed.
func FuzzOrder(f *testing.F) {
	f.Add([]byte("{}\nmanifest"))
	f.Add([]byte(`{"method":"PUT","kind":"manifest"}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeOrder(b)
		if err != nil {
			return
		}
		enc, err := o.encode()
		if err != nil {
			return
		}
		again, err := decodeOrder(enc)
		if err != nil || !bytes.Equal(again.manifest, o.manifest) || again.Digest != o.Digest {
			t.Fatalf("%q became %q (%v)", b, enc, err)
		}
	})
}
