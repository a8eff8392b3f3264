// Package deploy carries out deployments and says what a governed cluster may run. It is a gateway that nobody calls: a
// deployment comes as an approved work order, bound to digests, and what came of it is observed at the target and never
// assumed. Admission is its other half: the target itself lets in only what an approved release names.
package deploy

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Name is what requests and orders of this gateway carry.
const Name = "deploy"

// Environments finds what is declared of an environment and of where it runs.
type Environments interface {
	Environment(ctx context.Context, name string) (remit.Place, error)
}

// Secrets gives the value of a declared secret to the attempt that needs it.
type Secrets interface {
	Use(ctx context.Context, attempt remit.ID, secret remit.Resource) ([]byte, error)
}

// Config is what a gateway needs.
type Config struct {
	Environments Environments
	Secrets      Secrets // none: a target that declares secrets is not deployed
	// Observer gives what puts Remit's own read-only credential on a request to a cluster; nil where none is declared. After
	// a crash there is no lease to look with (R7).
	Observer func(context.Context, remit.Upstream) (func(*http.Request) error, error)
	// Dir is where the gateway notes, before it begins, what it is about to do. 0700; the same after a restart.
	Dir string
	// Transport reaches a cluster; one that trusts the declared certificates by default.
	Transport func(remit.Upstream) (http.RoundTripper, error)
	Now       func() time.Time // time.Now
}

// Gateway is the protocol of deployments.
type Gateway struct {
	cfg     Config
	journal *journal
}

var _ gateway.Protocol = (*Gateway)(nil)

// New is a gateway over c.Dir, which it makes if it does not exist.
func New(c Config) (*Gateway, error) {
	if c.Environments == nil || c.Dir == "" {
		return nil, remit.Errorf(remit.Internal, "a deploy gateway needs environments and a directory")
	}
	if c.Transport == nil {
		c.Transport = transport
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	j, err := openJournal(c.Dir)
	if err != nil {
		return nil, err
	}
	return &Gateway{cfg: c, journal: j}, nil
}

const (
	usual   = 10 * time.Minute // for a deployment, where its target says nothing else
	longest = time.Hour
	looking = time.Minute // for observing what is there afterwards
)

// Receipt is what is kept of a deployment, for people.
type Receipt struct {
	Environment string         `json:"environment"`
	Attempt     remit.ID       `json:"attempt"`
	Kind        string         `json:"kind,omitempty"` // kubernetes | command
	Wanted      []string       `json:"wanted"`         // digests
	Before      []string       `json:"before,omitempty"`
	Now         []string       `json:"now,omitempty"`
	Objects     []ObjectReport `json:"objects,omitempty"`
	Exit        string         `json:"exit,omitempty"`   // of the command that deploys
	Output      string         `json:"output,omitempty"` // the end of what it printed, without secrets
	Why         string         `json:"why,omitempty"`
	Next        string         `json:"next,omitempty"` // what a person does
}

// ObjectReport is what became of one object of a manifest.
type ObjectReport struct {
	Object  string `json:"object"` // Deployment/app
	State   string `json:"state"`  // refused | not applied | applied | there | differs | unknown
	Why     string `json:"why,omitempty"`
	Rollout string `json:"rollout,omitempty"`
}

// Classify refuses: a deployment is asked for as work, never sent.
func (g *Gateway) Classify(context.Context, remit.Caller, *http.Request) (remit.Request, []remit.Payload, error) {
	return remit.Request{}, nil, remit.Errorf(remit.NotFound, "deployments are requested as releases, with `remit release request`; nobody sends them here")
}

// Refuse and Fail are never reached; they answer as an API would.
func (g *Gateway) Refuse(w http.ResponseWriter, _ *http.Request, d remit.Decision) {
	http.Error(w, d.Sentence, d.Code.Info().HTTP)
}

func (g *Gateway) Fail(w http.ResponseWriter, _ *http.Request, e *remit.Error) {
	http.Error(w, e.Sentence, e.Code.Info().HTTP)
}

// order is a work order that was understood, with where it goes.
type order struct {
	remit.Deploy
	attempt remit.ID
	place   remit.Place
	target  *remit.Target
	refs    map[remit.Resource]string // HOST/NAME@DIGEST by artifact
	timeout time.Duration
	receipt Receipt
}

// read checks that an order says one thing: its one step is the deployment that it carries.
func (g *Gateway) read(ctx context.Context, o remit.Order) (*order, error) {
	if o.Deploy == nil || o.Attempt == "" {
		return nil, remit.Errorf(remit.BadRequest, "the order says nothing that could be deployed")
	}
	d := *o.Deploy
	want := d.Step()
	if len(o.Steps) != 1 || o.Steps[0].Action != want.Action || o.Steps[0].Resource != want.Resource {
		return nil, remit.Errorf(remit.BadRequest, "the order's step is not the deployment to %s that it carries", d.Environment)
	}
	if len(d.Artifacts) == 0 || len(d.Artifacts) > 16 {
		return nil, remit.Errorf(remit.BadRequest, "a deployment has 1 to 16 artifacts, not %d", len(d.Artifacts))
	}
	place, err := g.cfg.Environments.Environment(ctx, d.Environment)
	if err != nil {
		return nil, err
	}
	t := place.Environment.Target
	if place.Environment.Name != d.Environment || t == nil || t.Upstream != place.Upstream.Name {
		return nil, remit.Errorf(remit.Conflict, "environment %s declares no target to deploy to", d.Environment)
	}
	out := &order{Deploy: d, attempt: o.Attempt, place: place, target: t, refs: map[remit.Resource]string{}, timeout: usual,
		receipt: Receipt{Environment: d.Environment, Attempt: o.Attempt, Kind: place.Upstream.Kind}}
	if t.Timeout != "" {
		if out.timeout, err = time.ParseDuration(t.Timeout); err != nil || out.timeout <= 0 || out.timeout > longest {
			return nil, remit.Errorf(remit.Conflict, "environment %s: timeout %q is not a time up to %s", d.Environment, t.Timeout, longest)
		}
	}
	for _, a := range d.Artifacts {
		if out.refs[a.Resource], err = reference(place, a); err != nil {
			return nil, err
		}
	}
	if len(out.refs) != len(d.Artifacts) {
		return nil, remit.Errorf(remit.BadRequest, "the order names an artifact twice")
	}
	out.receipt.Wanted = out.digests()
	return out, nil
}

// digests are the digests that are wanted, as a set.
func (o *order) digests() []string {
	var out []string
	for _, a := range o.Artifacts {
		out = append(out, a.Digest)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Forward deploys, and looks at what is there then.
func (g *Gateway) Forward(ctx context.Context, ro remit.Order, cred gateway.Credential, _ http.ResponseWriter) gateway.Result {
	o, err := g.read(ctx, ro)
	if err != nil {
		return unread(ro, err)
	}
	switch o.place.Upstream.Kind {
	case remit.KindKubernetes:
		return g.applyManifest(ctx, o, cred)
	case remit.KindCommand:
		return g.runCommand(ctx, o)
	}
	return o.result(remit.NotApplied, remit.Conflict, "upstream "+o.place.Upstream.Name+" is of kind "+o.place.Upstream.Kind+"; deployments go to kubernetes and command", "")
}

// Reconcile looks at the target and changes nothing.
func (g *Gateway) Reconcile(ctx context.Context, ro remit.Order) gateway.Result {
	o, err := g.read(ctx, ro)
	if err != nil {
		r := unread(ro, err)
		r.Outcome = remit.Ambiguous // what cannot be read now could be read when it was begun
		return r
	}
	switch o.place.Upstream.Kind {
	case remit.KindKubernetes:
		return g.reconcileManifest(ctx, o)
	case remit.KindCommand:
		return g.reconcileCommand(ctx, o)
	}
	return o.result(remit.Ambiguous, remit.Conflict, "the environment is deployed in another way now", lookThere)
}

// lookThere is what a person does where nobody can tell.
const lookThere = "look at the target; then request the release again, or roll back"

// result closes the receipt.
func (o *order) result(out remit.Outcome, code remit.Code, why, next string) gateway.Result {
	o.receipt.Why, o.receipt.Next = clip(why, 2<<10), next
	return gateway.Result{Outcome: out, Code: code, Receipt: o.receipt.encode()}
}

// encode makes the receipt fit into a payload: the output goes first, then the reasons of single objects.
func (r Receipt) encode() []byte {
	for {
		b, err := json.Marshal(r)
		if err != nil {
			return nil
		}
		switch {
		case len(b) <= remit.MaxPayload:
			return b
		case len(r.Output) > 0:
			r.Output = r.Output[(len(r.Output)+1)/2:]
		case len(r.Objects) > 0:
			r.Objects = r.Objects[:len(r.Objects)/2]
		default:
			return nil
		}
	}
}

// unread is the outcome of an order that was never begun.
func unread(o remit.Order, err error) gateway.Result {
	e := gateway.AsError(remit.UpstreamDown, err)
	r := Receipt{Attempt: o.Attempt, Why: clip(e.Sentence, 2<<10), Next: "nothing was changed; correct the declaration, or request the release again"}
	if o.Deploy != nil {
		r.Environment = clip(o.Deploy.Environment, 256)
	}
	return gateway.Result{Outcome: remit.NotApplied, Code: e.Code, Receipt: r.encode()}
}

// clip cuts a text that came from elsewhere.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
