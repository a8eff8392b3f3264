package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/remit-dev/remit"
)

// pushed is a world in which task T-1 has published one image as images/app:v1.
func pushed(t *testing.T) (*world, v1.Image) {
	t.Helper()
	w, img := newWorld(t), image(t)
	if err := remote.Write(w.ref("app:v1"), img, as("remit_one")); err != nil {
		t.Fatal(err)
	}
	w.reached()
	w.asked, w.outcomes = nil, nil
	return w, img
}

// TestDigestSwappedBehindATag: whoever moves a tag, or the registry itself, cannot make a client take one image for
// another whose digest it asked for, and a push cannot call its bytes by another digest.
func TestDigestSwappedBehindATag(t *testing.T) {
	w, img := pushed(t)
	other := image(t)
	a := w.do("PUT", "/v2/images/app/manifests/"+digest(t, img), rawManifest(t, other), "Content-Type", mediaType(t, other))
	if a.StatusCode != 400 || a.code() != "MANIFEST_INVALID BAD_OBJECT" || len(w.reached()) > 0 {
		t.Errorf("other bytes were pushed as the digest: %d %s", a.StatusCode, a.body)
	}
	w.meddle = func(rw http.ResponseWriter, r *http.Request) bool { // the registry gives other bytes
		if r.Method != "GET" {
			return false
		}
		rw.Header().Set("Content-Type", mediaType(t, other))
		_, _ = rw.Write(rawManifest(t, other))
		return true
	}
	if a := w.do("GET", "/v2/images/app/manifests/"+digest(t, img), nil); a.StatusCode != 502 || bytes.Contains(a.body, []byte("layers")) {
		t.Errorf("other bytes were given for the digest: %d %s", a.StatusCode, a.body)
	}
	w.meddle = func(rw http.ResponseWriter, r *http.Request) bool { // it says one digest and gives another's bytes
		rw.Header().Set("Docker-Content-Digest", digest(t, img))
		_, _ = rw.Write(rawManifest(t, other))
		return true
	}
	if a := w.do("GET", "/v2/images/app/manifests/v1", nil); a.StatusCode != 502 {
		t.Errorf("the tag's digest is not that of its bytes: %d %s", a.StatusCode, a.body)
	}
	content := []byte(strings.Repeat("layer", 100<<10))
	w.meddle = func(rw http.ResponseWriter, r *http.Request) bool {
		rw.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = rw.Write(content)
		return true
	}
	if a := w.do("GET", "/v2/images/app/blobs/"+digestOf([]byte("another layer")), nil); len(a.body) >= len(content) {
		t.Error("a client got all of a blob that is not the one it asked for")
	}
	if a := w.do("GET", "/v2/images/app/blobs/"+digestOf(content), nil); !bytes.Equal(a.body, content) {
		t.Error("a client did not get the blob that it asked for")
	}
}

// TestIndexWithAForeignPlatform: an index brings in nothing that the task did not build and nobody answers for.
func TestIndexWithAForeignPlatform(t *testing.T) {
	w, img := pushed(t)
	foreign := image(t)
	idx := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img}, mutate.IndexAddendum{Add: foreign,
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	push := func() answer {
		return w.do("PUT", "/v2/images/app/manifests/multi", rawManifest(t, idx), "Content-Type", ociIndex)
	}
	refused := func(why string) {
		t.Helper()
		if a := push(); a.StatusCode != 403 || a.code() != "DENIED UNSEEN_OBJECT" || !bytes.Contains(a.body, []byte("linux/arm64")) {
			t.Errorf("%s: %d %s", why, a.StatusCode, a.body)
		}
	}
	// It lies at the registry, put there past Remit.
	if err := remote.Write(mustRef(t, strings.TrimPrefix(w.up.URL, "http://")+"/app:foreign"), foreign); err != nil {
		t.Fatal(err)
	}
	refused("never published through Remit")
	key := "artifact:images/app@" + digest(t, foreign)
	w.published[strings.Replace(key, "images/app", "images/other", 1)] = Publication{Task: "T-1"}
	refused("published under another name")
	w.published[key] = Publication{Task: "T-2"}
	refused("published by another task that rests on nothing declared")
	w.published[key] = Publication{Task: "T-2", Built: true}
	a := push()
	if a.StatusCode != 201 {
		t.Fatalf("built from a declared repository: %d %s", a.StatusCode, a.body)
	}
	last := w.outcomes[len(w.outcomes)-1]
	if !bytes.Contains(last.Receipt, []byte(digest(t, foreign)+" was published by task T-2")) {
		t.Errorf("the receipt does not say whose it is: %s", last.Receipt)
	}
	if r := w.asked[len(w.asked)-1]; len(r.Artifacts) != 3 {
		t.Errorf("judged were %v", r.Artifacts)
	}
}

// TestAmbiguousManifests: none that says different things to different readers.
func TestAmbiguousManifests(t *testing.T) {
	w := newWorld(t)
	d := digestOf(nil)
	desc := fmt.Sprintf(`{"mediaType":"application/octet-stream","digest":%q,"size":2}`, d)
	for what, c := range map[string][2]string{
		"an index called an image":  {ociImage, `{"schemaVersion":2,"manifests":[` + desc + `]}`},
		"both at once":              {ociImage, `{"schemaVersion":2,"config":` + desc + `,"layers":[],"manifests":[` + desc + `]}`},
		"an image called an index":  {ociIndex, `{"schemaVersion":2,"config":` + desc + `,"layers":[]}`},
		"another type inside":       {ociImage, `{"schemaVersion":2,"mediaType":"` + ociIndex + `","config":` + desc + `,"layers":[]}`},
		"a member twice":            {ociIndex, `{"schemaVersion":2,"manifests":[],"manifests":[` + desc + `]}`},
		"a member in capitals":      {ociIndex, `{"schemaVersion":2,"manifests":[],"Manifests":[` + desc + `]}`},
		"a digest in capitals":      {ociIndex, `{"schemaVersion":2,"manifests":[{"digest":"` + d + `","Digest":"` + digestOf([]byte("x")) + `","size":2}]}`},
		"schema 1":                  {"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"fsLayers":[]}`},
		"a type nobody knows":       {"application/json", `{"schemaVersion":2,"config":` + desc + `,"layers":[]}`},
		"another kind of digest":    {ociIndex, `{"schemaVersion":2,"manifests":[{"digest":"sha512:00","size":2}]}`},
		"a digest in the subject":   {ociImage, `{"schemaVersion":2,"config":` + desc + `,"layers":[],"subject":{"digest":"latest","size":1}}`},
		"more after the value":      {ociIndex, `{"schemaVersion":2,"manifests":[]} {}`},
		"no JSON":                   {ociIndex, `PK`},
		"nested as deep as it goes": {ociIndex, strings.Repeat("[", 4<<20)},
	} {
		a := w.do("PUT", "/v2/images/app/manifests/v1", []byte(c[1]), "Content-Type", c[0])
		if a.StatusCode != 400 || a.code() != "MANIFEST_INVALID BAD_OBJECT" {
			t.Errorf("%s: %d %.300s", what, a.StatusCode, a.body)
		}
	}
	if len(w.asked) > 0 || len(w.reached()) > 0 {
		t.Error("one of them was judged, or reached the upstream")
	}
}

func TestLargeManifests(t *testing.T) {
	w := newWorld(t)
	manifest := func(n int) []byte {
		b, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{}, "annotations": map[string]string{"a": strings.Repeat("a", n)}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for n, want := range map[int]int{20 << 10: 201, 40 << 10: 413, 5 << 20: 413} {
		a := w.do("PUT", "/v2/images/app/manifests/v1", manifest(n), "Content-Type", ociIndex)
		if a.StatusCode != want || want == 413 && a.code() != "SIZE_INVALID TOO_LARGE" {
			t.Errorf("a manifest of %d bytes: %d %.300s", n, a.StatusCode, a.body)
		}
	}
	var many []any
	for i := range 16 {
		many = append(many, map[string]any{"digest": digestOf([]byte{byte(i)}), "size": 1, "mediaType": ociImage})
		w.published["artifact:images/app@"+digestOf([]byte{byte(i)})] = Publication{Task: "T-1"}
	}
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": many})
	if err != nil {
		t.Fatal(err)
	}
	if a := w.do("PUT", "/v2/images/app/manifests/v1", b, "Content-Type", ociIndex); a.code() != "SIZE_INVALID TOO_LARGE_TO_JUDGE" {
		t.Errorf("an index of 16: %d %s", a.StatusCode, a.body)
	}
	// What the registry gives is bounded, too.
	w.meddle = func(rw http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.Copy(rw, io.LimitReader(zeros{}, maxManifest+2))
		return true
	}
	for _, path := range []string{"manifests/v1", "tags/list", "referrers/" + digestOf(nil)} {
		if a := w.do("GET", "/v2/images/app/"+path, nil); a.StatusCode != 502 {
			t.Errorf("GET %s: %d", path, a.StatusCode)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestUploadSessions: an upload is continued by the task that began it, where it began it, in its order.
func TestUploadSessions(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxBlob = 1 << 20 })
	begin := func() string {
		t.Helper()
		a := w.do("POST", "/v2/images/app/blobs/uploads/", nil)
		if a.StatusCode != 202 || strings.Contains(a.Header.Get("Location"), strings.TrimPrefix(w.up.URL, "http://")) {
			t.Fatalf("%d %v", a.StatusCode, a.Header)
		}
		return a.Header.Get("Location")
	}
	content := []byte("0123456789")
	d := digestOf(content)
	loc := begin()
	a := w.do("PATCH", loc, content[:5], "Content-Range", "0-4")
	if a.StatusCode != 202 || a.Header.Get("Range") == "" {
		t.Fatalf("first chunk: %d %v %s", a.StatusCode, a.Header, a.body)
	}
	loc = a.Header.Get("Location")
	if a := w.do("PATCH", loc, content[7:], "Content-Range", "7-9"); a.StatusCode != 416 {
		t.Errorf("a chunk out of order: %d %s", a.StatusCode, a.body)
	}
	if a := w.do("PATCH", loc, content[5:], "Content-Range", "bytes 5-9/*"); a.StatusCode != 400 {
		t.Errorf("a Content-Range of another form: %d", a.StatusCode)
	}
	w.reached()
	for what, c := range map[string]struct{ path, token string }{
		"another task":          {loc, "remit_two"},
		"another repository":    {strings.Replace(loc, "/images/app/", "/images/other/", 1), "remit_one"},
		"an address made up":    {"/v2/images/app/blobs/uploads/c2Vzc2lvbg", "remit_one"},
		"one bit of it changed": {loc[:len(loc)-2] + "AA", "remit_one"},
		"a registry's own name": {"/v2/images/app/blobs/uploads/3f2c?_state=x", "remit_one"},
	} {
		a := w.do("PATCH", c.path, []byte("evil"), "Authorization", "Bearer "+c.token)
		if a.StatusCode != 404 || a.code() != "BLOB_UPLOAD_UNKNOWN NOT_FOUND" {
			t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
		}
	}
	if s := w.reached(); len(s) > 0 {
		t.Errorf("the upstream was asked %v", s)
	}
	for _, q := range []string{"", "?digest=latest", "?digest=" + d + "&digest=" + digestOf(nil), "?digest=sha512:" + strings.Repeat("0", 128), "?digest=%zz"} {
		if a := w.do("PUT", loc+q, content[5:]); a.StatusCode != 400 {
			t.Errorf("PUT %s: %d %s", q, a.StatusCode, a.body)
		}
	}
	// Parameters of the client's own do not reach the registry: what is sent is written anew.
	if a := w.do("PUT", loc+"?mount="+d+"&from=secret/app&digest="+url.QueryEscape(digestOf([]byte("other"))), content[5:]); a.StatusCode/100 != 4 {
		t.Errorf("another digest: %d", a.StatusCode)
	}
	for _, s := range w.reached() {
		if strings.Contains(s, "mount") {
			t.Errorf("the upstream was asked %s", s)
		}
	}
	loc = begin()
	if a := w.do("PUT", withDigest(loc, d), content); a.StatusCode != 201 || a.Header.Get("Location") != "/v2/images/app/blobs/"+d {
		t.Errorf("the whole: %d %v", a.StatusCode, a.Header)
	}
	// A body that does not say how long it is ends at the limit, for the registry too.
	came := make(chan int64, 1)
	w.meddle = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PATCH" {
			return false
		}
		n, _ := io.Copy(io.Discard, r.Body)
		came <- n
		return true
	}
	r, err := http.NewRequestWithContext(t.Context(), "PATCH", w.srv.URL+begin(), io.LimitReader(zeros{}, 2<<20))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer remit_one")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("a body without an end: %d", resp.StatusCode)
	}
	if n := <-came; n > 1<<20 {
		t.Errorf("%d bytes of a body without an end came to the registry", n)
	}
	if a := w.do("PATCH", begin(), make([]byte, 2<<20)); a.StatusCode != 413 {
		t.Errorf("a body that is too large: %d", a.StatusCode)
	}
}

// TestMountFromAnotherRepository: to mount is to read there, and without a place to mount from nothing is mounted.
func TestMountFromAnotherRepository(t *testing.T) {
	w := newWorld(t)
	d := w.blob("secret/app", []byte("a secret layer"))
	w.reached()
	w.deny("artifact.read", "artifact:images/secret/app", remit.Decision{Verdict: remit.Deny, Code: remit.OutOfScope, Sentence: "not in the grant"})
	mount := "/v2/images/app/blobs/uploads/?mount=" + d
	if a := w.do("POST", mount+"&from=images/secret/app", nil); a.StatusCode != 403 || a.code() != "DENIED OUT_OF_SCOPE" || len(w.reached()) > 0 {
		t.Errorf("mounted what it may not read: %d %s", a.StatusCode, a.body)
	}
	for _, from := range []string{"", "&from=", "&from=secret/app", "&from=elsewhere/secret/app", "&from=../secret/app", "&from=images/x/../secret/app"} {
		a := w.do("POST", mount+from, nil)
		if s := strings.Join(w.reached(), " "); a.StatusCode != 202 || strings.Contains(s, "mount") {
			t.Errorf("from %q: %d, and the upstream was asked %s", from, a.StatusCode, s)
		}
	}
	w.decide = func(remit.Request) remit.Decision { return remit.Decision{Verdict: remit.Allow} }
	w.meddle = func(rw http.ResponseWriter, r *http.Request) bool { // the registry of the test mounts nothing
		if r.Method+" "+r.URL.RequestURI() != "POST /v2/app/blobs/uploads/?from=secret%2Fapp&mount="+url.QueryEscape(d) {
			return false
		}
		rw.WriteHeader(201)
		return true
	}
	a := w.do("POST", mount+"&from=images/secret/app", nil)
	if a.StatusCode != 201 || a.Header.Get("Location") != "/v2/images/app/blobs/"+d {
		t.Errorf("what it may read: %d %s", a.StatusCode, a.body)
	}
	if r := w.asked[len(w.asked)-1]; len(r.Steps) != 2 || r.Steps[1] != (remit.Step{Action: "artifact.read", Resource: "artifact:images/secret/app"}) {
		t.Errorf("asked for %v", r.Steps)
	}
	// A credential that is good for the one repository only: the blob is uploaded instead, whether it is known before or seen.
	w.narrow = true
	if a, r := w.do("POST", mount+"&from=images/secret/app", nil), w.asked; a.StatusCode != 202 || len(r[len(r)-1].Steps) != 1 {
		t.Errorf("with a credential known to be narrow: %d %s", a.StatusCode, a.body)
	}
	w.narrow = false
	w.meddle = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("mount") {
			rw.WriteHeader(401)
		}
		return r.URL.Query().Has("mount")
	}
	if a := w.do("POST", mount+"&from=images/secret/app", nil); a.StatusCode != 202 || a.Header.Get("Location") == "" {
		t.Errorf("with a narrow credential: %d %s", a.StatusCode, a.body)
	}
}

// TestLocationToAnotherHost: an upload goes nowhere but to the declared registry and repository.
func TestLocationToAnotherHost(t *testing.T) {
	w := newWorld(t)
	for _, loc := range []string{"https://evil.example/v2/app/blobs/uploads/1", "//evil.example/v2/app/blobs/uploads/1", "/v2/other/blobs/uploads/1",
		"/v2/app/manifests/latest", "/v2/app/blobs/../manifests/latest", "/v2/app/blobs/..%2f..%2fother", "/upload/1", "", "http://user@" + w.up.URL[7:] + "/v2/app/blobs/uploads/1",
		"/v2/app/blobs/uploads/" + strings.Repeat("x", 5<<10), "\x7f"} {
		w.meddle = func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("Location", loc)
			rw.WriteHeader(202)
			return true
		}
		if a := w.do("POST", "/v2/images/app/blobs/uploads/", nil); a.StatusCode != 502 || a.Header.Get("Location") != "" {
			t.Errorf("%q: %d %v", loc, a.StatusCode, a.Header)
		}
	}
	w.meddle = func(rw http.ResponseWriter, _ *http.Request) bool { // a download is not followed either
		rw.Header().Set("Location", "http://169.254.169.254/latest/meta-data")
		rw.WriteHeader(307)
		return true
	}
	if a := w.do("GET", "/v2/images/app/blobs/"+digestOf(nil), nil); a.StatusCode != 502 || a.Header.Get("Location") != "" || !bytes.Contains(a.body, []byte("redirect")) {
		t.Errorf("a download that is sent on: %d %v %s", a.StatusCode, a.Header, a.body)
	}
	// Behind a proxy the registry may take itself for https or http.
	w.meddle = func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.Header().Set("Location", "https://"+w.up.URL[7:]+"/v2/app/blobs/uploads/1?_state=a%2Bb")
		rw.WriteHeader(202)
		return true
	}
	a := w.do("POST", "/v2/images/app/blobs/uploads/", nil)
	w.reached()
	w.do("PATCH", a.Header.Get("Location"), []byte("x"))
	if s := w.reached(); len(s) != 1 || s[0] != "PATCH /v2/app/blobs/uploads/1?_state=a%2Bb" {
		t.Errorf("the upload went to %v", s)
	}
}

// TestPathTricks: one way to write each name, and no word of the API in a name.
func TestPathTricks(t *testing.T) {
	w, img := pushed(t)
	d := digest(t, img)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/v2/images%2Fapp/manifests/v1", 400},
		{"GET", "/v2/images/app%2f..%2fsecret/manifests/v1", 400},
		{"GET", "/v2/images/%61pp/manifests/v1", 400},
		{"GET", "/v2/images/App/manifests/v1", 400},
		{"GET", "/v2/images/.app/manifests/v1", 400},
		{"GET", "/v2/images/blobs/manifests/v1", 400},
		{"GET", "/v2/images/app/manifests/x/tags/list", 400},
		{"GET", "/v2/images/app/manifests/sha256:" + strings.ToUpper(d[7:]), 400},
		{"GET", "/v2/images/app/manifests/sha256:0", 400},
		{"PUT", "/v2/images/app/manifests/" + strings.Replace(d, ":", "-", 1), 400}, // a tag that looks like a digest: the body is empty
		{"GET", "/v2/images/app/blobs/latest", 400},
		{"GET", "/v2/app/manifests/v1", 404},
		{"GET", "/v2/elsewhere/app/manifests/v1", 404},
		{"GET", "/v2/_catalog", 404},
		{"GET", "/v2/images/app/manifests/" + strings.Repeat("x", 129), 400},
		{"GET", "/v2/images/" + strings.Repeat("x", 256) + "/manifests/v1", 404},
		{"DELETE", "/v2/images/app/manifests/v1", 405},
		{"DELETE", "/v2/images/app/manifests/" + d, 405},
		{"DELETE", "/v2/images/app/blobs/" + d, 405},
		{"POST", "/v2/images/app/manifests/v1", 405},
		{"GET", "/v2/images/app/tags/list?n=x", 400},
		{"GET", "/v2/images/app/tags/list?n=1&n=2", 400},
		{"GET", "/v2/images/app/tags/list?n=1;last=2", 400},
	} {
		if a := w.do(c.method, c.path, nil); a.StatusCode != c.status {
			t.Errorf("%s %s: %d %s, wanted %d", c.method, c.path, a.StatusCode, a.body, c.status)
		}
	}
	if s := w.reached(); len(s) > 0 || len(w.asked) > 0 {
		t.Errorf("the upstream was asked %v", s)
	}
	if a := w.do("GET", "/v2/images/app/manifests/"+strings.Replace(d, ":", "%3A", 1), nil); a.StatusCode != 200 {
		t.Errorf("an escaped colon, which some clients send: %d", a.StatusCode)
	}
}

// TestTagAsDigest: a tag that looks like one is a label like any other.
func TestTagAsDigest(t *testing.T) {
	w, img := pushed(t)
	tag := "sha256-" + strings.Repeat("0", 64)
	a := w.do("PUT", "/v2/images/app/manifests/"+tag, rawManifest(t, img), "Content-Type", mediaType(t, img))
	if r := w.asked[0]; a.StatusCode != 201 || len(r.Artifacts) != 1 || r.Artifacts[0].Digest != digest(t, img) {
		t.Errorf("%d, judged %v", a.StatusCode, w.asked)
	}
}
