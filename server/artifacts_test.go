package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/server"
)

// said is an attestor that says what it was asked to say.
type said struct{}

func (said) Key() ([]byte, error) { return []byte("a key\n"), nil }
func (said) Provenance(_ context.Context, origin string, v remit.ArtifactView) ([]byte, error) {
	return json.Marshal(map[string]string{"origin": origin, "artifact": v.String()})
}
func (said) Source(_ context.Context, origin, repository string, v remit.SourceView, _ []remit.Digest) ([]byte, error) {
	return fmt.Appendf(nil, "%s says of %s: %+v", origin, repository, v), nil
}
func (said) Review(_ context.Context, origin string, v remit.ReviewView) ([]byte, error) {
	return json.Marshal(map[string]any{"origin": origin, "review": v})
}
func (said) Release(_ context.Context, origin string, r server.Released) ([]byte, error) {
	return json.Marshal(map[string]any{"origin": origin, "release": r})
}

type noLog struct{}

func (noLog) Head(context.Context) (remit.LogHead, error)       { return remit.LogHead{}, nil }
func (noLog) Export(context.Context, io.Writer) error           { return nil }
func (noLog) Tile(context.Context, ledger.Tile) ([]byte, error) { return nil, nil }
func (noLog) Receipt(context.Context, remit.EntryIndex) ([]byte, error) {
	return nil, nil
}

// publish has the builder publish digests as artifact:oci/payments.
func publish(t *testing.T, w *world.World, task remit.ID, digests ...string) {
	t.Helper()
	ctx := t.Context()
	claims, err := w.Engine.NewPayload([]byte(`{"iss":"https://ci.example","sub":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := w.Engine.Do(ctx, &authority.StartJob{Issuer: "ci", Repository: "4711", Workflow: ".github/workflows/build.yml", Commit: world.Commit,
		Claims: claims.Commitment(), Token: remit.Hash([]byte("token")), Secret: remit.Hash([]byte("secret")), Host: remit.Hash([]byte("host"))}, claims)
	if err != nil {
		t.Fatal(err)
	}
	r := remit.Request{Gateway: "oci", Caller: remit.Caller{Instance: res.ID, Agent: "builder", Task: task}}
	for _, d := range digests {
		r.Artifacts = append(r.Artifacts, remit.Artifact{Resource: "artifact:oci/payments", Digest: d})
	}
	r.Steps = []remit.Step{{Action: "artifact.publish", Resource: "artifact:oci/payments", Args: remit.ArtifactsDigest(r.Artifacts)}}
	d, err := w.Engine.Authorize(ctx, r)
	if err != nil || d.Verdict != remit.Allow {
		t.Fatalf("%v, %+v", err, d)
	}
	w.Finish(d.Permit, remit.Done, "published")
}

func TestArtifacts(t *testing.T) {
	w := world.New(t, world.Options{})
	d := w.BuildTeam(world.NewIssuer(t, w.Clock.Now, jose.ES256))
	for i := range d.Repositories {
		if "repo:"+d.Repositories[i].Name == string(world.Repo) {
			d.Repositories[i].Artifacts = []remit.Pattern{"artifact:oci/payments"}
		}
	}
	w.Declare(d)
	task := w.Build()
	one, two := "sha256:"+strings.Repeat("1a", 32), "sha256:"+strings.Repeat("2b", 32)
	publish(t, w, task, one, two)

	key := w.Key("ben")
	ben, session, err := w.Client().SignIn(t.Context(), key.PublicKey().Marshal(), func(text []byte) ([]byte, error) { return sign(t, key, text), nil })
	if err != nil {
		t.Fatal(err)
	}
	list, err := ben.Artifacts(t.Context(), "")
	if err != nil || len(list.Artifacts) != 2 || list.Key != "" {
		t.Fatalf("%+v, %v", list, err)
	}
	if none, err := ben.Artifacts(t.Context(), "oci/other"); err != nil || len(none.Artifacts) != 0 {
		t.Errorf("%+v, %v", none, err)
	}
	a := remit.Artifact{Resource: "artifact:oci/payments", Digest: one}
	v, err := ben.Artifact(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if v.Artifact != a || v.Task != task || v.Agent != "builder" || v.Requester != "cleo" || v.RequestedBy == "" || v.Entry == 0 ||
		len(v.Inputs) != 1 || v.Inputs[0] != (remit.Input{Resource: world.Repo, ID: world.Commit}) || len(v.Sources) != 1 || v.Sources[0] != world.Repo ||
		v.Job == nil || *v.Job != (remit.JobView{Issuer: "https://ci.example", Upstream: "ci", Repository: "4711", Workflow: ".github/workflows/build.yml"}) {
		t.Errorf("%+v", v)
	}
	for _, x := range []struct {
		a    remit.Artifact
		code remit.Code
	}{
		{remit.Artifact{Resource: a.Resource, Digest: "sha256:" + strings.Repeat("3c", 32)}, remit.NotFound},
		{remit.Artifact{Resource: "artifact:oci/other", Digest: one}, remit.NotFound},
		{remit.Artifact{Resource: a.Resource, Digest: "latest"}, remit.BadRequest},
	} {
		if _, err := ben.Artifact(t.Context(), x.a); code(err) != x.code {
			t.Errorf("%s: %v", x.a, err)
		}
	}
	if _, err := ben.Provenance(t.Context(), a); code(err) != remit.NotFound {
		t.Errorf("a server without a key signs: %v", err)
	}
	if _, err := w.Client().Artifacts(t.Context(), ""); code(err) != remit.Unauthenticated {
		t.Errorf("a stranger sees %v", err)
	}

	// A server with a key.
	s := server.New(server.Config{Engine: w.Engine, Follow: w.Follow, CA: w.CA, Sessions: w.Sessions, Tokens: w.Tokens, Bundles: w.Bundles,
		Log: noLog{}, Base: w.URL, Key: [32]byte{1}, Clock: w.Clock, Attestor: said{}})
	t.Cleanup(s.Close)
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, ben.Base()[len(w.URL):]+path, nil)
		r.Header.Set("Authorization", "Bearer "+session.Token)
		rw := httptest.NewRecorder()
		s.ServeHTTP(rw, r)
		return rw
	}
	if rw := get("/artifacts"); rw.Code != 200 || !strings.Contains(rw.Body.String(), `"key":"a key\n"`) {
		t.Errorf("%d %s", rw.Code, rw.Body)
	}
	rw := get("/artifacts/" + one + "/provenance")
	if want := `{"artifact":"artifact:oci/payments@` + one + `","origin":"acme.example/log"}`; rw.Code != 200 || strings.TrimSpace(rw.Body.String()) != want || rw.Header().Get("Content-Type") != "application/vnd.in-toto.envelope+json" {
		t.Errorf("%d %v %s", rw.Code, rw.Header(), rw.Body)
	}
	if rw := get("/artifacts/latest/provenance"); rw.Code != 400 {
		t.Errorf("%d %s", rw.Code, rw.Body)
	}
}
