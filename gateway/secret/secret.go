// Package secret is the gateway at which an agent has a secret used, or reads one. Using is a request that Remit makes
// itself, to where the declaration says and nowhere else, with the value in a header: the agent never sees it, and what
// comes back is searched for it. Reading hands the value over, once.
//
// Both are privileged, so both wait for people; what they approved is carried out from the stored request, and the agent
// collects the answer.
//
//	POST …/secret/read/NAME              secret.read
//	POST …/secret/use/NAME/-/PATH        secret.use: the request below, made with the secret
//	GET  …/secret/answer/A-12            the answer to what was approved as A-12, once
package secret

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Name is what the gateway calls itself, and what its tokens are for.
const Name = "secret"

// Limits, in bytes.
const (
	MaxBody   = 16 << 10 // of a request that is made with a secret: it is stored until people have decided
	MaxAnswer = 4 << 20
)

const sendWithin = time.Minute

// Place is where a secret may be sent.
type Place struct {
	remit.Sender
	Transport http.RoundTripper
}

// Places finds where a declared secret may be sent; an error says that it may be sent nowhere.
type Places interface {
	Place(ctx context.Context, name string) (Place, error)
	Payload(body []byte) (remit.Payload, error)
}

// Valued is a credential that knows the secret's value; the leases of secrets do.
type Valued interface{ Value() ([]byte, error) }

// Gateway is the protocol. Its answers to approved orders are kept in memory, for gateway.AnswerLife.
type Gateway struct {
	Places  Places
	Answers *gateway.Answers
}

// order is a request that is to be made with a secret, as it is stored.
type order struct {
	Name   string      `json:"name"`
	Method string      `json:"method,omitempty"` // empty: the value itself is read
	Path   string      `json:"path,omitempty"`   // below the declared location, escaped, with its query
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
}

// passed are the headers of an agent's request that are sent on.
var passed = []string{"Accept", "Content-Type", "User-Agent", "If-Match", "If-None-Match", "Idempotency-Key"}

// Classify reads what is to be done.
func (g *Gateway) Classify(ctx context.Context, c remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	o, action, err := parse(r)
	if err != nil {
		return remit.Request{}, nil, err
	}
	res, err := remit.ParseResource("secret:" + o.Name)
	if err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.UnknownResource, "no secret is named so: %w", err)
	}
	shown := "the value is handed to the agent, once\n"
	if o.Method != "" {
		place, err := g.Places.Place(ctx, o.Name)
		if err != nil {
			return remit.Request{}, nil, err
		}
		shown = fmt.Sprintf("%s %s%s\nwith the secret in the header %s\n", o.Method, strings.TrimSuffix(place.Location, "/"), o.Path, header(place))
		if len(o.Body) > 0 {
			shown += fmt.Sprintf("\n%s\n", bytes.ToValidUTF8(o.Body, []byte("?")))
		}
	}
	body, err := json.Marshal(o)
	if err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "the request cannot be stored: %w", err)
	}
	text, err := json.Marshal(remit.Shown{Diff: shown})
	if err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "the request cannot be shown: %w", err)
	}
	card, err := g.Places.Payload(text)
	if err != nil {
		return remit.Request{}, nil, err
	}
	return remit.Request{Gateway: Name, Caller: c, Order: body, Card: card.Commitment(),
		Steps: []remit.Step{{Action: action, Resource: res, Args: remit.Hash([]byte("remit secret order v1\n"), body)}}}, []remit.Payload{card}, nil
}

// parse reads the address and the request behind it.
func parse(r *http.Request) (o order, action remit.Action, err error) {
	bad := func(format string, args ...any) (order, remit.Action, error) {
		return order{}, "", remit.Errorf(remit.BadRequest, format, args...)
	}
	_, rest, _ := strings.Cut(r.URL.EscapedPath(), "/secret/")
	verb, rest, _ := strings.Cut(rest, "/")
	switch verb {
	case "read":
		if r.Method != http.MethodPost || r.URL.RawQuery != "" {
			return bad("say POST …/secret/read/NAME")
		}
		return order{Name: rest}, "secret.read", nil
	case "use":
		name, path, ok := strings.Cut(rest, "/-/")
		if !ok {
			return bad("say POST …/secret/use/NAME/-/PATH, where PATH is below the location that is declared for the secret")
		}
		o = order{Name: name, Method: r.Method, Path: "/" + path, Header: http.Header{}}
	default:
		return bad("there are …/secret/read/NAME and …/secret/use/NAME/-/PATH")
	}
	switch o.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return bad("a request with a secret is GET, HEAD, POST, PUT, PATCH or DELETE, not %.20q", o.Method)
	}
	decoded, err := url.PathUnescape(o.Path)
	lower := strings.ToLower(o.Path)
	if err != nil || strings.Contains(lower, "%2f") || strings.Contains(lower, "%5c") || strings.Contains(lower, "%25") || strings.ContainsAny(decoded, "\\\x00\r\n") {
		return bad("the path has characters that could be read in two ways")
	}
	for seg := range strings.SplitSeq(strings.TrimPrefix(decoded, "/"), "/") {
		if seg == "." || seg == ".." {
			return bad("the path has a relative part")
		}
	}
	if r.URL.RawQuery != "" {
		o.Path += "?" + r.URL.RawQuery
	}
	for _, h := range passed {
		if v := r.Header.Values(h); len(v) > 0 {
			o.Header[h] = v
		}
	}
	if o.Body, err = io.ReadAll(io.LimitReader(r.Body, MaxBody+1)); err != nil || len(o.Body) > MaxBody {
		return order{}, "", remit.Errorf(remit.TooLarge, "a request with a secret has at most %d bytes, because it is stored until people have decided", MaxBody)
	}
	return o, "secret.use", nil
}

func header(p Place) string {
	if p.Header == "" {
		return "Authorization"
	}
	return http.CanonicalHeaderKey(p.Header)
}

// Forward makes the request, or hands the value over.
func (g *Gateway) Forward(ctx context.Context, ord remit.Order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	var o order
	if err := remit.DecodeStrict(bytes.NewReader(ord.Body), 2*MaxBody+(8<<10), &o); err != nil {
		return gateway.Result{Outcome: remit.NotApplied, Code: remit.Internal, Receipt: []byte("the stored request cannot be read")}
	}
	v, ok := cred.(Valued)
	if !ok {
		return gateway.Result{Outcome: remit.NotApplied, Code: remit.Internal, Receipt: []byte("the credential is no secret's")}
	}
	value, err := v.Value()
	if err != nil {
		e := gateway.AsError(remit.Internal, err)
		return gateway.Result{Outcome: remit.NotApplied, Code: e.Code, Receipt: []byte(e.Sentence)}
	}
	a := gateway.Answer{Status: http.StatusOK, ContentType: "application/octet-stream", Body: value}
	res := gateway.Result{Outcome: remit.Done, Receipt: []byte("the value was handed over")}
	if o.Method != "" {
		a, res = g.send(ctx, o, value)
	}
	if w != nil {
		write(w, a)
		return res
	}
	g.Answers.Keep(ord.Caller.Task, remit.Hash(ord.Body), a)
	return res
}

// send makes the request. What comes back is searched for the value in the forms that servers echo.
func (g *Gateway) send(ctx context.Context, o order, value []byte) (gateway.Answer, gateway.Result) {
	unsent := func(code remit.Code, why string) (gateway.Answer, gateway.Result) {
		return problem(code, why), gateway.Result{Outcome: remit.NotApplied, Code: code, Receipt: []byte(why)}
	}
	place, err := g.Places.Place(ctx, o.Name)
	if err != nil {
		e := gateway.AsError(remit.UnknownResource, err)
		return unsent(e.Code, e.Sentence)
	}
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, o.Method, strings.TrimSuffix(place.Location, "/")+o.Path, bytes.NewReader(o.Body))
	if err != nil {
		return unsent(remit.BadRequest, "the address cannot be requested")
	}
	r.Header = o.Header.Clone()
	prefix := place.Prefix
	if prefix == "" && header(place) == "Authorization" {
		prefix = "Bearer "
	}
	r.Header.Set(header(place), prefix+string(value))
	resp, err := place.Transport.RoundTrip(r) // one request: a redirect is answered, never followed
	if err != nil {
		// Nobody can tell whether it arrived; an error may repeat the address, never the header.
		return problem(remit.UpstreamDown, "the upstream does not answer"), gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	a := gateway.Answer{Status: resp.StatusCode, ContentType: string(Scrub([]byte(resp.Header.Get("Content-Type")), o.Name, value)), Body: Scrub(body, o.Name, value)}
	if err != nil || len(body) > MaxAnswer {
		a = problem(remit.TooLarge, fmt.Sprintf("the answer is longer than %d bytes, or was cut off; the request was made", MaxAnswer))
	}
	return a, gateway.Result{Outcome: remit.Done, Receipt: fmt.Appendf(nil, "HTTP %d, %d bytes, SHA-256 %s", resp.StatusCode, len(a.Body), remit.Hash(a.Body))}
}

// shortest is the shortest value that is searched for: shorter ones stand in anything.
const shortest = 4

// Scrub puts a mark in the place of a secret's value, in the forms that echoes have.
func Scrub(text []byte, name string, value []byte) []byte {
	if len(value) < shortest {
		return text
	}
	mark := []byte("[secret " + name + "]")
	for _, form := range append([][]byte{[]byte(base64.StdEncoding.EncodeToString([]byte("Bearer " + string(value))))}, gateway.Forms(value)...) {
		if len(form) >= shortest {
			text = bytes.ReplaceAll(text, form, mark)
		}
	}
	return text
}

// Refuse answers with the decision, and says how to collect what was held.
func (*Gateway) Refuse(w http.ResponseWriter, _ *http.Request, d remit.Decision) {
	b, err := json.Marshal(d)
	if err != nil {
		return
	}
	write(w, gateway.Answer{Status: d.Code.Info().HTTP, ContentType: "application/json", Body: b})
}

// Fail answers with the problem.
func (*Gateway) Fail(w http.ResponseWriter, _ *http.Request, e *remit.Error) {
	write(w, problem(e.Code, e.Sentence))
}

// Reconcile: what was sent cannot be asked for again.
func (*Gateway) Reconcile(context.Context, remit.Order) gateway.Result {
	return gateway.Result{Outcome: remit.Ambiguous}
}
