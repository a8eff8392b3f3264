package oci

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

var farAway = time.Now().Add(time.Hour)

// TestUnchangedClient pushes an image and an index, and pulls and lists them, with go-containerregistry as it is.
func TestUnchangedClient(t *testing.T) {
	w := newWorld(t)
	img := image(t)
	if err := remote.Write(w.ref("team/app:v1"), img, as("remit_one")); err != nil {
		t.Fatal(err)
	}
	got, err := remote.Image(w.ref("team/app:v1"), as("remit_one"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil || digest(t, got) != digest(t, img) {
		t.Fatalf("pulled %s of %s (%v)", digest(t, got), digest(t, img), err)
	}
	idx := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	if err := remote.WriteIndex(w.ref("team/app:multi"), idx, as("remit_one")); err != nil {
		t.Fatal(err)
	}
	list, err := remote.List(w.ref("team/app:v1").Context(), as("remit_one"))
	if err != nil || !slices.Equal(list, []string{"multi", "v1"}) {
		t.Errorf("tags are %v (%v)", list, err)
	}
	for _, c := range w.creds {
		if c != "Bearer "+upstreamSecret {
			t.Errorf("the upstream was shown %q", c)
		}
	}
	// What was asked of the authority: every step on the one artifact, and publications bound to digests.
	var publications []remit.Request
	for _, r := range w.asked {
		for _, st := range r.Steps {
			if st.Resource != "artifact:images/team/app" || r.Gateway != "oci" || r.Caller.Task != "T-1" {
				t.Errorf("asked for %+v", r)
			}
			if st.Action == "artifact.publish" {
				publications = append(publications, r)
			}
		}
	}
	if len(publications) != 2 {
		t.Fatalf("%d publications, wanted 2", len(publications))
	}
	want := [][]string{{digest(t, img)}, {digest(t, img), digest(t, idx)}}
	for i, p := range publications {
		slices.Sort(want[i])
		var have []string
		for _, a := range p.Artifacts {
			have = append(have, a.Digest)
		}
		if !slices.Equal(have, want[i]) || p.Steps[0].Args != remit.ArtifactsDigest(p.Artifacts) {
			t.Errorf("publication %d is of %v, wanted %v, bound by %s", i, have, want[i], p.Steps[0].Args)
		}
	}
	var made []string
	for _, o := range w.outcomes {
		if o.Outcome != remit.Done && o.Code != remit.NotFound {
			t.Errorf("outcome %+v", o)
		}
		if o.Made != "" {
			made = append(made, o.Made)
		}
	}
	if !slices.Equal(made, []string{digest(t, img), digest(t, idx)}) {
		t.Errorf("made %v", made)
	}
}

// TestManifestComesBeforeItsTag: the digest is put first, so that a crash leaves no tag without what was judged.
func TestManifestComesBeforeItsTag(t *testing.T) {
	w := newWorld(t)
	img := image(t)
	if err := remote.Write(w.ref("app:v1"), img, as("remit_one")); err != nil {
		t.Fatal(err)
	}
	var puts []string
	for _, s := range w.reached() {
		if strings.HasPrefix(s, "PUT /v2/app/manifests/") {
			puts = append(puts, strings.TrimPrefix(s, "PUT /v2/app/manifests/"))
		}
	}
	if !slices.Equal(puts, []string{digest(t, img), "v1"}) {
		t.Errorf("manifests were put as %v", puts)
	}
}

func TestChallengeAndToken(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ method, path, scope string }{
		{"GET", "/v2/", ""},
		{"GET", "/v2/images/app/manifests/v1", "repository:images/app:pull"},
		{"POST", "/v2/images/team/app/blobs/uploads/", "repository:images/team/app:pull,push"},
	} {
		a := w.do(c.method, c.path, nil, "Authorization", "Bearer remit_of_git")
		want := `Bearer realm="` + w.srv.URL + `/token",service="` + strings.TrimPrefix(w.srv.URL, "http://") + `"`
		if c.scope != "" {
			want += `,scope="` + c.scope + `"`
		}
		if a.StatusCode != 401 || a.Header.Get("WWW-Authenticate") != want || a.code() != "UNAUTHORIZED UNAUTHENTICATED" {
			t.Errorf("%s %s: %d %q %s; wanted the challenge %q", c.method, c.path, a.StatusCode, a.Header.Get("WWW-Authenticate"), a.body, want)
		}
		if csp := a.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "sandbox") { // a manifest is no page of this origin
			t.Errorf("%s %s: %q", c.method, c.path, csp)
		}
	}
	if len(w.asked) > 0 || len(w.reached()) > 0 {
		t.Error("a stranger's request was judged, or reached the upstream")
	}
	if a := w.do("GET", "/token?service=x&scope=repository:images/app:pull", nil); a.StatusCode != 200 || !bytes.Contains(a.body, []byte(`"token":"remit_one"`)) || !bytes.Contains(a.body, []byte(`"expires_in":60`)) {
		t.Errorf("token: %d %s", a.StatusCode, a.body)
	}
	if a := w.do("GET", "/token", nil, "Authorization", "Basic eDpyZW1pdF9vZl9naXQ="); a.StatusCode != 401 {
		t.Errorf("a token of another gateway is taken for a password: %d %s", a.StatusCode, a.body)
	}
	if a := w.do("GET", "/token", nil, "Authorization", "Bearer remit_one"); a.StatusCode != 401 || bytes.Contains(a.body, []byte("remit_one")) {
		t.Errorf("a token without a password: %d %s", a.StatusCode, a.body)
	}
	if a := w.do("POST", "/token", nil); a.StatusCode != 405 {
		t.Errorf("POST for a token: %d", a.StatusCode)
	}
}

// TestHeldPublication is completed from the stored order alone, by digest and then the tag.
func TestHeldPublication(t *testing.T) {
	w := newWorld(t)
	img := image(t)
	w.deny("artifact.publish", "", remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-3", Entry: 9, Sentence: "people decide on what is published"})
	err := remote.Write(w.ref("app:v1"), img, as("remit_one"))
	if err == nil || !strings.Contains(err.Error(), "A-3") || !strings.Contains(err.Error(), "DENIED") {
		t.Fatalf("the client was told %v", err)
	}
	if s := strings.Join(w.reached(), "\n"); strings.Contains(s, "PUT /v2/app/manifests/") {
		t.Fatalf("the manifest reached the upstream before the votes:\n%s", s)
	}
	held := w.asked[len(w.asked)-1]
	order := remit.Order{Caller: remit.Caller{Task: "T-1", Executor: "executor/build"}, Steps: held.Steps, Body: held.Order}
	if r := w.gw.Reconcile(t.Context(), order); r.Outcome != remit.NotApplied {
		t.Errorf("before: %+v", r)
	}
	if r := w.gw.Forward(t.Context(), order, w, nil); r.Outcome != remit.Done || r.Made != digest(t, img) {
		t.Fatalf("completed: %+v %s", r, r.Receipt)
	}
	if r := w.gw.Reconcile(t.Context(), order); r.Outcome != remit.Done || r.Made != digest(t, img) {
		t.Errorf("after: %+v", r)
	}
	got, err := remote.Image(w.ref("app:v1"), as("remit_one"))
	if err != nil || digest(t, got) != digest(t, img) {
		t.Errorf("the tag is not of what was approved (%v)", err)
	}
	// An order whose bytes are not those that were judged is not carried out.
	w.reached()
	forged := order
	forged.Body = append(bytes.Clone(order.Body), ' ')
	if r := w.gw.Forward(t.Context(), forged, w, nil); r.Outcome != remit.NotApplied || len(w.reached()) > 0 {
		t.Errorf("a changed order: %+v", r)
	}
	// Done twice, it is the same.
	if r := w.gw.Forward(t.Context(), order, w, nil); r.Outcome != remit.Done {
		t.Errorf("again: %+v", r)
	}
}

// TestOutcomes: what the registry does decides what is recorded, never what it says.
func TestOutcomes(t *testing.T) {
	img := image(t)
	body := rawManifest(t, img)
	for _, c := range []struct {
		what    string
		meddle  func(w *world, rw http.ResponseWriter, r *http.Request) bool
		outcome remit.Outcome
		status  int
	}{
		{"refused", func(_ *world, rw http.ResponseWriter, r *http.Request) bool {
			if r.Method == "PUT" {
				rw.WriteHeader(400)
				_, _ = io.WriteString(rw, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"no\u001b[31m blob"}]}`)
			}
			return r.Method == "PUT"
		}, remit.NotApplied, 400},
		{"said to be done, and not there", func(_ *world, rw http.ResponseWriter, r *http.Request) bool {
			if r.Method == "PUT" {
				rw.WriteHeader(201)
			}
			return r.Method == "PUT"
		}, remit.Ambiguous, 502},
		{"failed, and not there", func(_ *world, rw http.ResponseWriter, r *http.Request) bool {
			if r.Method == "PUT" {
				rw.WriteHeader(500)
			}
			return r.Method == "PUT"
		}, remit.NotApplied, 502},
		{"a credential that is refused", func(_ *world, rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("WWW-Authenticate", `Bearer realm="https://elsewhere.example/token"`)
			rw.WriteHeader(401)
			return true
		}, remit.NotApplied, 502},
		{"cut off", func(*world, http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, remit.Ambiguous, 502},
		{"answered for another digest", func(_ *world, rw http.ResponseWriter, r *http.Request) bool {
			if r.Method == "HEAD" {
				rw.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
			}
			return r.Method == "HEAD"
		}, remit.Ambiguous, 502},
		{"done", func(*world, http.ResponseWriter, *http.Request) bool { return false }, remit.Done, 201},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t)
			for _, l := range layers(t, img) {
				w.blob("app", l)
			}
			w.outcomes = nil
			w.meddle = func(rw http.ResponseWriter, r *http.Request) bool { return c.meddle(w, rw, r) }
			a := w.do("PUT", "/v2/images/app/manifests/v1", body, "Content-Type", mediaType(t, img))
			if len(w.outcomes) != 1 || w.outcomes[0].Outcome != c.outcome || a.StatusCode != c.status {
				t.Errorf("%d %s, outcome %+v", a.StatusCode, a.body, w.outcomes)
			}
			if strings.Contains(string(a.body), "\x1b") || a.Header.Get("WWW-Authenticate") != "" || strings.Contains(string(a.body), upstreamSecret) {
				t.Errorf("the client sees %v %s", a.Header, a.body)
			}
		})
	}
}

// TestTagThatFails: what is published stays published, and the client is told.
func TestTagThatFails(t *testing.T) {
	w := newWorld(t)
	img := image(t)
	w.meddle = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" && strings.HasSuffix(r.URL.Path, "/manifests/v1") {
			rw.WriteHeader(500)
			return true
		}
		return false
	}
	for _, l := range layers(t, img) {
		w.blob("app", l)
	}
	a := w.do("PUT", "/v2/images/app/manifests/v1", rawManifest(t, img), "Content-Type", mediaType(t, img))
	last := w.outcomes[len(w.outcomes)-1]
	if a.StatusCode != 502 || last.Outcome != remit.Done || last.Made != digest(t, img) || !bytes.Contains(last.Receipt, []byte("was not set")) {
		t.Errorf("%d %s %+v", a.StatusCode, a.body, last)
	}
}

// blob uploads content in one request.
func (w *world) blob(repo string, content []byte) string {
	w.t.Helper()
	d := digestOf(content)
	a := w.do("POST", "/v2/images/"+repo+"/blobs/uploads/", nil)
	if a.StatusCode != 202 {
		w.t.Fatalf("beginning an upload: %d %s", a.StatusCode, a.body)
	}
	if a = w.do("PUT", withDigest(a.Header.Get("Location"), d), content); a.StatusCode != 201 || a.Header.Get("Docker-Content-Digest") != d {
		w.t.Fatalf("uploading: %d %s", a.StatusCode, a.body)
	}
	return d
}

// layers is all content of an image, its config included.
func layers(t *testing.T, img v1.Image) (all [][]byte) {
	t.Helper()
	ls, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return append(all, config)
}

func mediaType(t *testing.T, img v1.Image) string {
	t.Helper()
	m, err := img.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	return string(m)
}

var _ gateway.Authorizer = (*world)(nil)
