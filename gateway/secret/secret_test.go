package secret_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/secret"
)

const value = "s3cr/t+of &the=forge"

type places map[string]secret.Place

func (p places) Place(_ context.Context, name string) (secret.Place, error) {
	v, ok := p[name]
	if !ok {
		return v, remit.Errorf(remit.UnknownResource, "secret %s may be sent nowhere", name)
	}
	return v, nil
}

func (places) Payload(body []byte) (remit.Payload, error) { return remit.Payload{Body: body}, nil }

// cred is a lease of a secret.
type cred struct{ err error }

func (cred) Apply(*http.Request) error { return errors.New("not by this way") }
func (cred) End(context.Context) error { return nil }
func (c cred) Value() ([]byte, error)  { return []byte(value), c.err }

type house struct {
	*secret.Gateway
	now  time.Time
	up   *httptest.Server
	seen *http.Request
	sent []byte
}

func newHouse(t *testing.T, answer http.HandlerFunc) *house {
	h := &house{now: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.up = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.seen = r.Clone(context.WithoutCancel(r.Context()))
		h.sent, _ = io.ReadAll(r.Body)
		answer(w, r)
	}))
	t.Cleanup(h.up.Close)
	p := places{"pay/api": {Sender: remit.Sender{Location: h.up.URL + "/v2/"}, Transport: h.up.Client().Transport},
		"key": {Sender: remit.Sender{Location: h.up.URL, Header: "x-api-key"}, Transport: h.up.Client().Transport}}
	h.Gateway = &secret.Gateway{Places: p, Answers: &gateway.Answers{Now: func() time.Time { return h.now }}}
	return h
}

func ask(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, "/v1/orgs/acme/secret/"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer remit-token")
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Set("X-Evil", "1")
	return r
}

var caller = remit.Caller{Instance: "I-9", Agent: "builder", Task: "T-7"}

func (h *house) order(t *testing.T, r *http.Request) (remit.Order, string) {
	t.Helper()
	req, payloads, err := h.Classify(t.Context(), caller, r)
	if err != nil {
		t.Fatal(err)
	}
	var shown remit.Shown
	if err := json.Unmarshal(payloads[0].Body, &shown); err != nil {
		t.Fatal(err)
	}
	return remit.Order{Caller: caller, Steps: req.Steps, Body: req.Order, Attempt: "X-1"}, shown.Diff
}

func TestARequestIsMadeWithTheSecretAndTheAgentNeverSeesIt(t *testing.T) {
	h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; echo="+value)
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusAccepted)
		for _, form := range []string{value, url.QueryEscape(value), url.PathEscape(value), hex.EncodeToString([]byte(value)),
			base64.StdEncoding.EncodeToString([]byte(value)), base64.StdEncoding.EncodeToString([]byte("Bearer " + value)), `{"v":"s3cr/t+of \u0026the=forge"}`} {
			_, _ = io.WriteString(w, "<"+form+">")
		}
	})
	o, card := h.order(t, ask("POST", "use/pay/api/-/charge?amount=1", "order 1"))
	if o.Steps[0].Action != "secret.use" || o.Steps[0].Resource != "secret:pay/api" || o.Steps[0].Args.IsZero() {
		t.Fatalf("%+v", o.Steps)
	}
	if !strings.Contains(card, "POST "+h.up.URL+"/v2/charge?amount=1\n") || !strings.Contains(card, "order 1") || strings.Contains(card, value) {
		t.Fatalf("the card says %q", card)
	}
	w := httptest.NewRecorder()
	res := h.Forward(t.Context(), o, cred{}, w)
	if res.Outcome != remit.Done || h.seen.URL.String() != "/v2/charge?amount=1" || h.seen.Header.Get("Authorization") != "Bearer "+value ||
		string(h.sent) != "order 1" || h.seen.Header.Get("X-Evil") != "" || h.seen.Header.Get("Content-Type") != "text/plain" {
		t.Fatalf("%+v %+v %q", res, h.seen, h.sent)
	}
	all := w.Body.String() + w.Header().Get("Content-Type") + w.Header().Get("X-Echo") + string(res.Receipt)
	for _, form := range []string{value, hex.EncodeToString([]byte(value)), url.QueryEscape(value), base64.StdEncoding.EncodeToString([]byte(value)), "0026the"} {
		if strings.Contains(all, form) {
			t.Fatalf("the agent sees %q in %q", form, all)
		}
	}
	if w.Code != http.StatusAccepted || strings.Count(w.Body.String(), "[secret pay/api]") != 7 {
		t.Fatalf("%d %q", w.Code, w.Body)
	}
}

func TestTheHeaderIsTheDeclaredOne(t *testing.T) {
	h := newHouse(t, func(http.ResponseWriter, *http.Request) {})
	o, _ := h.order(t, ask("GET", "use/key/-/", ""))
	h.Forward(t.Context(), o, cred{}, httptest.NewRecorder())
	if h.seen.Header.Get("X-Api-Key") != value || h.seen.Header.Get("Authorization") != "" {
		t.Fatalf("%v", h.seen.Header)
	}
}

func TestARedirectIsAnsweredAndNotFollowed(t *testing.T) {
	hits := 0
	h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
		hits++
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	o, _ := h.order(t, ask("GET", "use/key/-/a", ""))
	w := httptest.NewRecorder()
	if res := h.Forward(t.Context(), o, cred{}, w); res.Outcome != remit.Done || w.Code != http.StatusFound || hits != 1 {
		t.Fatalf("%+v %d %d", res, w.Code, hits)
	}
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	h := newHouse(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	for _, c := range []struct {
		name string
		r    *http.Request
		code remit.Code
	}{
		{"no verb", ask("POST", "", ""), remit.BadRequest},
		{"another verb", ask("POST", "show/key", ""), remit.BadRequest},
		{"a read by GET", ask("GET", "read/key", ""), remit.BadRequest},
		{"a read with a query", ask("POST", "read/key?x=1", ""), remit.BadRequest},
		{"no secret", ask("POST", "read/", ""), remit.UnknownResource},
		{"no path", ask("POST", "use/key", ""), remit.BadRequest},
		{"a secret that may be sent nowhere", ask("POST", "use/other/-/", ""), remit.UnknownResource},
		{"CONNECT", ask("CONNECT", "use/key/-/", ""), remit.BadRequest},
		{"a path that leaves", ask("GET", "use/key/-/a/../../b", ""), remit.BadRequest},
		{"a path that leaves, escaped", ask("GET", "use/key/-/a/%2e%2e/b", ""), remit.BadRequest},
		{"an escaped slash", ask("GET", "use/key/-/a%2fb", ""), remit.BadRequest},
		{"an escape escaped", ask("GET", "use/key/-/a%252fb", ""), remit.BadRequest},
		{"a large body", ask("POST", "use/key/-/", strings.Repeat("x", secret.MaxBody+1)), remit.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := h.Classify(t.Context(), caller, c.r)
			var e *remit.Error
			if !errors.As(err, &e) || e.Code != c.code {
				t.Fatalf("got %v, want %s", err, c.code)
			}
		})
	}
}

func TestAnUpstreamThatDoesNotAnswerIsAmbiguous(t *testing.T) {
	h := newHouse(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	o, _ := h.order(t, ask("POST", "use/key/-/", "x"))
	w := httptest.NewRecorder()
	res := h.Forward(t.Context(), o, cred{}, w)
	if res.Outcome != remit.Ambiguous || res.Code != remit.UpstreamDown || strings.Contains(w.Body.String()+string(res.Receipt), value) {
		t.Fatalf("%+v %s", res, w.Body)
	}
	if res := h.Forward(t.Context(), o, cred{err: remit.Errorf(remit.NotFound, "no value")}, httptest.NewRecorder()); res.Outcome != remit.NotApplied || res.Code != remit.NotFound {
		t.Fatalf("%+v", res)
	}
	if res := h.Reconcile(t.Context(), o); res.Outcome != remit.Ambiguous {
		t.Fatalf("%+v", res)
	}
}

func TestALongAnswerIsSaidToBeLong(t *testing.T) {
	h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("x"), secret.MaxAnswer+1))
	})
	o, _ := h.order(t, ask("GET", "use/key/-/", ""))
	w := httptest.NewRecorder()
	if res := h.Forward(t.Context(), o, cred{}, w); res.Outcome != remit.Done || w.Code != remit.TooLarge.Info().HTTP {
		t.Fatalf("%+v %d", res, w.Code)
	}
}

// orders knows one approved access request.
type orders struct {
	task remit.ID
	body []byte
}

func (o orders) Order(_ *http.Request, access remit.ID) (remit.ID, []byte, error) {
	if access != "A-1" {
		return "", nil, errors.New("no")
	}
	return o.task, o.body, nil
}

type who struct{}

func (who) Authenticate(r *http.Request) (remit.Caller, error) {
	if r.Header.Get("Authorization") != "Bearer remit-token" {
		return remit.Caller{}, errors.New("nobody")
	}
	return caller, nil
}

func TestAnApprovedAnswerIsCollectedOnceByItsOwnTask(t *testing.T) {
	h := newHouse(t, func(http.ResponseWriter, *http.Request) {})
	o, _ := h.order(t, ask("POST", "read/pay/api", ""))
	if o.Steps[0].Action != "secret.read" || o.Steps[0].Resource != "secret:pay/api" {
		t.Fatalf("%+v", o.Steps)
	}
	collect := func(task remit.ID, r *http.Request) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.Handler(&gateway.Pipeline{Authn: who{}}, orders{task, o.Body}).ServeHTTP(w, r)
		return w
	}
	get := func() *http.Request { return ask("GET", "answer/A-1", "") }
	keep := func() {
		if res := h.Forward(t.Context(), o, cred{}, nil); res.Outcome != remit.Done || strings.Contains(string(res.Receipt), value) {
			t.Fatalf("%+v", res)
		}
	}
	keep()
	nobody := get()
	nobody.Header.Del("Authorization")
	for name, w := range map[string]*httptest.ResponseRecorder{
		"another task": collect("T-8", get()), "another request": collect("T-7", ask("GET", "answer/A-2", "")),
		"nobody": collect("T-7", nobody), "a POST": collect("T-7", ask("POST", "answer/A-1", "")),
	} {
		if w.Code < 400 || strings.Contains(w.Body.String(), value) {
			t.Errorf("%s is answered %d %q", name, w.Code, w.Body)
		}
	}
	if w := collect("T-7", get()); w.Code != 200 || w.Body.String() != value || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %q", w.Code, w.Body)
	}
	if w := collect("T-7", get()); w.Code != 404 {
		t.Fatalf("it is collected twice: %d", w.Code)
	}
	keep()
	h.now = h.now.Add(gateway.AnswerLife)
	if w := collect("T-7", get()); w.Code != 404 {
		t.Fatalf("it is collected after its time: %d", w.Code)
	}
}

func FuzzScrub(f *testing.F) {
	f.Add([]byte("x"+value+"y"), []byte(value))
	f.Fuzz(func(t *testing.T, text, v []byte) {
		if len(v) < 8 || strings.Contains("[secret n]", string(v)) {
			return
		}
		if bytes.Contains(secret.Scrub(text, "n", v), v) && !bytes.Contains([]byte("[secret n]"), v[:1]) {
			t.Fatalf("%q is left in what was %q", v, text)
		}
	})
}
