package authzen

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/remit-dev/remit"
)

// How long a denial can be requested, how far clocks may differ (profile, Time and Clock Skew), and when to look again.
const (
	denialLife = 10 * time.Minute
	skew       = 30 * time.Second
	pollAfter  = "5" // seconds
)

// maxSubmission bounds a submission, in bytes: what people are shown of it has to be kept until they decide.
const maxSubmission = 32 << 10

// The profile's problem types.
const (
	faultType        = "urn:openid:authzen:access-request:error:"
	notRequestable   = "not_requestable"
	expiredDenial    = "expired_denial"
	invalidBinding   = "invalid_denial_binding"
	duplicateRequest = "duplicate_request"
	unknownTask      = "unknown_task"
	taskExpired      = "task_expired"
	invalidState     = "invalid_task_state"
)

// info is what a problem type is answered with.
func (f *fault) info() (title string, status int) {
	switch f.kind {
	case notRequestable:
		return "Access is not requestable", http.StatusBadRequest
	case expiredDenial:
		return "The denial has expired", http.StatusGone
	case duplicateRequest:
		return "The Idempotency-Key was used for another request", http.StatusConflict
	case unknownTask:
		return "There is no such task", http.StatusNotFound
	case taskExpired:
		return "The task has expired", http.StatusGone
	case invalidState:
		return "The task is not in a state for that", http.StatusConflict
	}
	return "The request is not bound to the denial", http.StatusBadRequest
}

// Held is a request for access that was made through this point.
type Held struct {
	Access   remit.ID
	Status   remit.AccessStatus
	Why      remit.Code // of void
	Approved time.Time  // when the last vote came; zero: not yet, or not known
	NotAfter time.Time
	Order    []byte // as it was opened with
	URL      string // where people look at it
}

// Desk is where people are asked. A request that is not the caller's task's does not exist for it: NOT_FOUND.
type Desk interface {
	// Open asks for real for what was denied: a hold opens an access request, whose id the decision names. The same question
	// of the same task has the same answer while it is open. Order is kept with it; card is what people are shown.
	Open(ctx context.Context, c remit.Caller, q Question, order, card []byte) (remit.Decision, error)
	// Look tells how a request stands.
	Look(ctx context.Context, c remit.Caller, access remit.ID) (Held, error)
	// Of lists the requests of the caller's task, newest first; the oldest may be missing.
	Of(ctx context.Context, c remit.Caller) ([]Held, error)
	// Use spends an approval, once: it is judged again by the policy in force, and only an allow is the enforcement point's
	// to carry out, until the time that it returns.
	Use(ctx context.Context, c remit.Caller, q Question, access remit.ID) (remit.Decision, time.Time, error)
	// Cancel takes a request back that is not decided yet.
	Cancel(ctx context.Context, c remit.Caller, access remit.ID) error
}

// accessRequest is what a denial that people can be asked about comes with.
type accessRequest struct {
	Endpoint string    `json:"endpoint"`
	Template string    `json:"template,omitempty"`
	Expires  time.Time `json:"expires_at"`
	Token    string    `json:"binding_token"`
}

// offer makes a denial requestable: it stays a denial.
func (p *Point) offer(why *Reason, c remit.Caller, q Question, a Answer) error {
	now := p.Now().UTC().Truncate(time.Second)
	until := now.Add(denialLife)
	hash, err := q.bind(a.Relevant)
	if err != nil {
		return err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	token, err := p.signs.sign(bindingType, claims{Issuer: p.Base, Audience: p.Base, Issued: now.Unix(), Expires: until.Unix(), Denial: &until,
		ID: base64.RawURLEncoding.EncodeToString(id[:]), Task: c.Task, Hash: hash, Members: orNone(a.Relevant), Eval: why.Evaluation})
	if err != nil {
		return err
	}
	why.At = &now
	why.Request = &accessRequest{Endpoint: p.Base + requestsPath, Template: a.Template, Expires: until, Token: token}
	return nil
}

// orNone is a list that is written even where it is empty.
func orNone(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// submission is a request for access (profile, Access Request Submission).
type submission struct {
	denial struct {
		Evaluation string     `json:"evaluation_id"`
		Expires    *time.Time `json:"expires_at"`
		Reason     string     `json:"reason"`
		Token      string     `json:"binding_token"`
		Template   string     `json:"template"`
	}
	wanted struct {
		Until     *time.Time `json:"requested_until"`
		Emergency bool       `json:"emergency"`
	}
	client struct {
		ID    string `json:"id"`
		Name  string `json:"name"`
		Actor *struct {
			ID  string          `json:"id"`
			Act json.RawMessage `json:"act"`
		} `json:"actor"`
		Source struct {
			Session     string `json:"session_id"`
			External    string `json:"external_url"`
			Integration string `json:"integration_id"`
		} `json:"source"`
	}
	callback *callback
	question Question
	bound    claims

	of               int // items that are asked for together; 0: it is alone
	resource, action json.RawMessage
}

// callback is where an enforcement point wants to be told (profile, Callback Completion).
type callback struct {
	Endpoint string   `json:"endpoint"`
	State    string   `json:"state,omitempty"`
	Events   []string `json:"events,omitempty"`
}

// order is what is kept with a request for access: by what it is found again, and what its approval is good for.
type order struct {
	Hash       string       `json:"binding_hash"`
	Members    []string     `json:"binding_context_members"`
	Evaluation string       `json:"evaluation_id,omitempty"`
	Token      string       `json:"jti"`
	Key        remit.Digest `json:"idempotency_key,omitzero"`
	Body       remit.Digest `json:"body"`
	Until      *time.Time   `json:"requested_until,omitempty"`
	Callback   *callback    `json:"callback,omitempty"`
	Item       *item        `json:"item,omitempty"` // of several that are asked for together
}

// submit takes a request for access.
func (p *Point) submit(w http.ResponseWriter, r *http.Request, c remit.Caller) error {
	m, err := read(r, maxSubmission)
	if err != nil {
		return err
	}
	plain, err := canonical(m)
	if err != nil {
		return err
	}
	o := order{Body: remit.Hash(plain)}
	if keys := r.Header.Values("Idempotency-Key"); len(keys) > 0 {
		if len(keys) > 1 || keys[0] == "" || len(keys[0]) > 255 {
			return remit.Errorf(remit.BadRequest, "Idempotency-Key: one header of 1 to 255 bytes")
		}
		o.Key = remit.Hash([]byte("authzen idempotency\n"), []byte(keys[0]))
	}
	if _, ok := m["items"]; ok {
		return p.submitAll(w, r, c, m, o)
	}
	s, err := m.submission()
	if err != nil {
		return err
	}
	before, err := p.Desk.Of(r.Context(), c)
	if err != nil {
		return err
	}
	if was, err := asked(before, o); err != nil || len(was) > 0 {
		if err != nil {
			return err
		}
		return p.accepted(w, c, was[0])
	}
	if err := p.checkBinding(c, &s); err != nil {
		return err
	}
	if err := p.checkCallback(r.Context(), s.callback); err != nil {
		return err
	}
	o.Callback = s.callback
	h, _, err := p.ask(r.Context(), c, &s, o, before)
	if err != nil {
		return err
	}
	return p.accepted(w, c, h)
}

// ask has people asked for what a submission is bound to. fresh is false where they are being asked already: one denial is
// requested once.
func (p *Point) ask(ctx context.Context, c remit.Caller, s *submission, o order, before []Held) (_ Held, fresh bool, err error) {
	for _, h := range before {
		if was, err := orderOf(h); err == nil && was.Token == s.bound.ID {
			return h, false, nil
		}
	}
	o.Hash, o.Members, o.Evaluation, o.Token, o.Until = s.bound.Hash, s.bound.Members, s.bound.Eval, s.bound.ID, s.wanted.Until
	stored, err := json.Marshal(o)
	if err != nil {
		return Held{}, false, err
	}
	shown, err := s.shown()
	if err != nil {
		return Held{}, false, err
	}
	card, err := json.Marshal(shown)
	if err != nil {
		return Held{}, false, err
	}
	d, err := p.Desk.Open(ctx, c, s.question, stored, card)
	switch {
	case err != nil:
		return Held{}, false, err
	case d.Verdict == remit.Allow:
		return Held{}, false, &fault{notRequestable, "nobody has to be asked any more: evaluate it again"}
	case d.Verdict != remit.Hold || d.Access == "":
		return Held{}, false, &fault{notRequestable, d.Sentence}
	}
	h, err := p.Desk.Look(ctx, c, d.Access)
	if err != nil {
		return Held{}, false, err
	}
	was, err := orderOf(h)
	if err != nil || was.Hash != o.Hash {
		return Held{}, false, &fault{notRequestable, "people are being asked about the same step with another context; wait for that one, or cancel it"}
	}
	return h, was.Token == o.Token, nil
}

// submission reads a submission.
func (m members) submission() (s submission, err error) {
	if _, err = m.part("callback", &s.callback); err != nil {
		return s, err
	}
	if s.question, err = m.question(); err != nil {
		return s, err
	}
	if err = s.question.check(Nothing); err != nil {
		return s, err
	}
	there, err := m.part("denial", &s.denial)
	switch {
	case err != nil:
		return s, err
	case !there:
		return s, &fault{invalidBinding, "denial: missing; it binds the request to the decision that it is about"}
	case s.denial.Token == "":
		return s, &fault{invalidBinding, "denial.binding_token: missing; hand back the one of context.access_request"}
	case s.denial.Expires == nil:
		return s, &fault{invalidBinding, "denial.expires_at: missing; hand back the one of context.access_request"}
	}
	if _, err = m.part("requested_access", &s.wanted); err != nil {
		return s, err
	}
	_, err = m.part("client", &s.client)
	return s, err
}

// checkBinding holds a submission to the denial that it names (profile, Verifying the Denial Binding).
func (p *Point) checkBinding(c remit.Caller, s *submission) error {
	var err error
	if s.bound, err = p.signs.verify(bindingType, s.denial.Token, p.Base); err != nil {
		return &fault{invalidBinding, "denial.binding_token: " + err.Error()}
	}
	switch {
	case s.bound.Task != c.Task:
		return &fault{invalidBinding, "denial.binding_token: it is of another task's question"}
	case s.bound.Denial == nil || !s.bound.Denial.Equal(*s.denial.Expires):
		return &fault{invalidBinding, "denial.expires_at: not that of the denial"}
	case !p.Now().Before(time.Unix(s.bound.Expires, 0).Add(skew)):
		return &fault{expiredDenial, "the denial could be requested until " + s.bound.Denial.UTC().Format(time.RFC3339) + "; evaluate it again"}
	}
	// What is claimed of the actor has to be proven (profile, Actor and Source Verification): here by the token.
	if a := s.client.Actor; a != nil && (a.ID != c.Agent && a.ID != string(c.Instance) || len(a.Act) > 0 && string(a.Act) != "null") {
		return remit.Errorf(remit.Forbidden, "client.actor: the token is of instance %s of agent %s, and proves no other actor", c.Instance, c.Agent)
	}
	same, err := s.question.isBound(s.bound.Hash, s.bound.Members)
	if err != nil {
		return err
	}
	if !same {
		return &fault{invalidBinding, "subject, resource, action or context is not that of the denied evaluation"}
	}
	return nil
}

// maxCard is the most that people are shown, in bytes. What does not fit is not asked for: nobody approves what they do
// not see.
const maxCard = 30 << 10

// shown is a submission as people read it.
func (s *submission) shown() (remit.Shown, error) {
	text, err := s.text("  ")
	if err == nil && len(text) > maxCard {
		text, err = s.text("")
	}
	if err == nil && len(text) > maxCard {
		err = remit.Errorf(remit.TooLarge, "people have to see all of a request, and this one takes %d bytes; at most %d", len(text), maxCard)
	}
	return remit.Shown{Diff: text}, err
}

func (s *submission) text(indent string) (string, error) {
	var b strings.Builder
	b.WriteString("An enforcement point that is not Remit's asks whether it may let this through, and carries it out itself.\n\n")
	var failed error
	show := func(what string, v members) {
		if len(v) == 0 {
			return
		}
		text, err := json.MarshalIndent(v, "", indent)
		if err != nil {
			failed = remit.Errorf(remit.BadRequest, "%s cannot be shown: %w", what, err)
		}
		b.WriteString(what + " " + string(text) + "\n")
	}
	show("subject", s.question.Subject.all)
	show("action", s.question.Action.all)
	show("resource", s.question.Resource.all)
	bound, said := members{}, members{}
	for name, v := range s.question.Context {
		switch {
		case slices.Contains(s.bound.Members, name):
			bound[name] = v
		case !slices.Contains(machinery, name):
			said[name] = v
		}
	}
	show("context", bound)
	for _, claim := range []struct{ what, text string }{
		{"client", strings.TrimSpace(s.client.ID + " " + s.client.Name)}, {"session", s.client.Source.Session},
		{"about", s.client.Source.External}, {"through", s.client.Source.Integration},
	} {
		if claim.text != "" {
			v, err := json.Marshal(claim.text)
			if err != nil {
				return "", err
			}
			said[claim.what] = v
		}
	}
	if len(said) > 0 {
		b.WriteString("\nin the asker's own words, which bind nothing:\n")
		show("says", said)
	}
	if s.of > 1 {
		fmt.Fprintf(&b, "\nasked for together with %d others, which are approved by themselves\n", s.of-1)
	}
	if s.wanted.Until != nil {
		b.WriteString("\nwanted until " + s.wanted.Until.UTC().Format(time.RFC3339) + "\n")
	}
	if s.wanted.Emergency {
		b.WriteString("\nThe asker says that it is an emergency. That changes nothing about who has to agree.\n")
	}
	return visible(b.String()), failed
}

// visible writes characters that are not seen, or turn the writing around, as JSON escapes: all of them stand in strings
// of JSON here.
func visible(text string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(text, "?") {
		if r == '\n' || !remit.Hidden(r) {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, "\\u%04x", u)
		}
	}
	return b.String()
}

func orderOf(h Held) (o order, err error) {
	err = json.Unmarshal(h.Order, &o)
	return o, err
}
