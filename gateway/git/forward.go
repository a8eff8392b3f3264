package git

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/object"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

// Forward carries out what was allowed, and answers the client: a read streams through, a push is carried upstream and
// reported.
func (x *exchange) Forward(ctx context.Context, o remit.Order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	if x.route.advert || x.route.service == uploadPack {
		return x.read(ctx, cred, w)
	}
	var ord order
	if err := json.Unmarshal(o.Body, &ord); err != nil {
		return gateway.Result{Outcome: remit.NotApplied, Code: remit.Internal}
	}
	rep, said, res := x.g.carry(ctx, ord, cred)
	x.drop(ctx)
	x.report(w, rep, said)
	return res
}

// Forward completes an order from what it names, without the client that asked for it; respond is not used. The pack
// goes once the push is done; until then the order may be tried again.
func (g *Gateway) Forward(ctx context.Context, o remit.Order, cred gateway.Credential, _ http.ResponseWriter) gateway.Result {
	var ord order
	if err := json.Unmarshal(o.Body, &ord); err != nil || ord.Service != receivePack {
		return gateway.Result{Outcome: remit.NotApplied, Code: remit.BadRequest, Receipt: receipt("only a push is completed without its client")}
	}
	_, _, res := g.carry(ctx, ord, cred)
	if res.Outcome == remit.Done && !ord.Pack.IsZero() {
		if err := g.Blobs.Drop(context.WithoutCancel(ctx), ord.Pack); err != nil {
			g.Log.Error("dropping a pack", "digest", ord.Pack, "err", err)
		}
	}
	return res
}

// carry takes a push upstream: the commands as they were judged, with the old values as compare-and-swap, and the pack
// as it was spooled. It returns what to tell the client per ref, what the upstream said beside it, and the result.
//
// Where it can break, and what is then known:
//
//	before the request is sent whole       nothing happened: not_applied, once the refs were seen to be as before
//	sent whole, no report                  the refs are read: done if all are new, else ambiguous, until Reconcile
//	report read                            as it says
func (g *Gateway) carry(ctx context.Context, o order, cred gateway.Credential) (rep *pktline.Report, said string, result gateway.Result) {
	seen := &shown{next: cred}
	defer func() {
		said, result.Receipt = seen.hide(said), []byte(seen.hide(string(result.Receipt)))
	}()
	repo, err := g.Repos.Repo(ctx, o.Repo)
	if err != nil {
		return o.not(gateway.AsError(remit.Internal, err))
	}

	defer g.unsettled.begin(o)()

	// What the upstream takes, and whether the old values still hold.
	caps, stop := g.negotiate(ctx, repo, o, seen)
	if stop != nil {
		return o.not(stop)
	}

	// The request, written anew.
	head := pktline.AppendPush(nil, o.Commands, caps)
	body := &counted{r: bytes.NewReader(head), size: int64(len(head))}
	if !o.Pack.IsZero() {
		blob, size, err := g.Blobs.Open(ctx, o.Pack)
		if err != nil {
			return o.not(remit.Errorf(remit.Internal, "the pack of the push is no longer there: %w", err))
		}
		defer blob.Close()
		if size != o.Bytes {
			return o.not(remit.Errorf(remit.Internal, "the pack of the push has %d bytes, not the %d that were judged", size, o.Bytes))
		}
		body.r, body.size = io.MultiReader(bytes.NewReader(head), blob), body.size+size
	}

	// Until the last byte is sent, an end of ctx (revoked, or the client left) keeps it from happening. After that it
	// cannot be taken back, and the answer is worth waiting for.
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if !body.sent() {
			cancel()
		}
	})()
	res, err := upstreamRequest{repo: repo, service: receivePack, apply: seen.Apply, body: io.NopCloser(body), length: body.size}.send(sending)
	if err != nil {
		return g.unclear(sending, repo, o, gateway.AsError(remit.UpstreamDown, err), body.sent() && !errors.Is(err, errAnswered))
	}
	defer res.Body.Close()
	rep, said, err = readReport(res.Body, caps)
	if err != nil {
		return g.unclear(sending, repo, o, gateway.AsError(remit.UpstreamDown, err), true)
	}
	seen.clean(rep)
	if rep, said, result = g.judge(sending, repo, o, rep, said); result.Outcome == remit.Done {
		g.unsettled.done(o)
	}
	return rep, said, result
}

// negotiate reads the upstream's advertisement to a push.
func (g *Gateway) negotiate(ctx context.Context, repo Repo, o order, cred *shown) ([]string, *remit.Error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	res, err := upstreamRequest{repo: repo, service: receivePack, advert: true, apply: cred.Apply}.send(ctx)
	if err != nil {
		return nil, gateway.AsError(remit.UpstreamDown, err)
	}
	defer res.Body.Close()
	a, err := pktline.ReadAdvert(res.Body, receivePack)
	if err != nil {
		return nil, gateway.AsError(remit.UpstreamDown, err)
	}
	if !a.Has("report-status") {
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream does not report what became of a push, so nothing is pushed there")
	}
	caps := []string{"report-status"}
	if a.Has("side-band-64k") {
		caps = append(caps, "side-band-64k")
	}
	if len(o.Commands) > 1 { // one verdict, one effect
		if !a.Has("atomic") {
			return nil, remit.Errorf(remit.UpstreamDown, "the upstream does not move several refs at once; push them one by one")
		}
		caps = append(caps, "atomic")
	}
	caps = append(caps, "agent="+g.Agent)
	now := map[string]string{}
	for {
		ref, err := a.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, gateway.AsError(remit.UpstreamDown, err)
		}
		now[ref.Name] = ref.OID
	}
	for _, c := range o.Commands {
		if c.Delete() && !a.Has("delete-refs") {
			return nil, remit.Errorf(remit.UpstreamDown, "the upstream does not let refs be deleted")
		}
		if now[c.Ref] != c.Old {
			return nil, remit.Errorf(remit.Stale, "%s has moved since the push was decided; fetch, and push again", c.Ref)
		}
	}
	return caps, nil
}

// readReport reads the report of a push, and what the upstream says to people on band 2.
func readReport(body io.Reader, caps []string) (*pktline.Report, string, error) {
	var said strings.Builder
	for _, c := range caps {
		if c == "side-band-64k" {
			body = &pktline.Demux{In: pktline.NewReader(body), Progress: func(b []byte) {
				said.Write(b[:min(len(b), max(0, maxSaid-said.Len()))])
			}}
		}
	}
	rep, err := pktline.ReadReport(body)
	return rep, said.String(), err
}

// maxSaid is how much of an upstream's words is kept and relayed, in bytes.
const maxSaid = 16 << 10

// judge makes a result of a report.
func (g *Gateway) judge(ctx context.Context, repo Repo, o order, rep *pktline.Report, said string) (*pktline.Report, string, gateway.Result) {
	status := map[string]pktline.RefStatus{}
	for _, s := range rep.Refs {
		status[s.Ref] = s
	}
	out := &pktline.Report{Unpack: change.Scrub(rep.Unpack)}
	done := 0
	for _, c := range o.Commands {
		s, ok := status[c.Ref]
		switch {
		case !ok:
			out.Refs = append(out.Refs, pktline.RefStatus{Ref: c.Ref, Why: "the upstream does not say what became of it"})
		case s.Why != "":
			out.Refs = append(out.Refs, pktline.RefStatus{Ref: c.Ref, Why: change.Clip(change.Scrub(s.Why), maxReason)})
		default:
			done++
			out.Refs = append(out.Refs, pktline.RefStatus{Ref: c.Ref})
		}
	}
	res := gateway.Result{Outcome: remit.Ambiguous, Code: remit.Conflict, Receipt: receipt(describeReport(out, said))}
	switch {
	case done == len(o.Commands):
		res.Outcome, res.Code = remit.Done, ""
	case done == 0 && len(status) >= len(o.Commands):
		res.Outcome = remit.NotApplied
		if now, err := repo.remote().Refs(ctx); err == nil && !o.at(now.OIDs, before) {
			res.Code = remit.Stale
		}
	}
	return out, said, res
}

// unclear finds out by looking what became of a push that got no report.
func (g *Gateway) unclear(ctx context.Context, repo Repo, o order, why *remit.Error, sent bool) (*pktline.Report, string, gateway.Result) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	now, err := repo.remote().Refs(ctx)
	switch {
	case err == nil && o.at(now.OIDs, after):
		rep := &pktline.Report{Unpack: "ok"}
		for _, c := range o.Commands {
			rep.Refs = append(rep.Refs, pktline.RefStatus{Ref: c.Ref})
		}
		return rep, "", gateway.Result{Outcome: remit.Done, Receipt: receipt("seen upstream after: " + why.Sentence)}
	case !sent && err == nil && o.at(now.OIDs, before):
		return o.not(why)
	}
	// What was sent whole may still be at work upstream although the refs are as before.
	rep, _, res := o.not(remit.Errorf(why.Code, "nobody can tell yet whether it was applied; fetch to see. %s", why.Sentence))
	res.Outcome = remit.Ambiguous
	return rep, "", res
}

// not is a push that did not happen.
func (o order) not(why *remit.Error) (*pktline.Report, string, gateway.Result) {
	return o.refusal(reason(why.Code, why.Sentence)), "", gateway.Result{Outcome: remit.NotApplied, Code: why.Code, Receipt: receipt(why.Sentence)}
}

// refusal is the report that refuses every ref for one reason.
func (o order) refusal(why string) *pktline.Report {
	rep := &pktline.Report{Unpack: "ok"}
	for _, c := range o.Commands {
		rep.Refs = append(rep.Refs, pktline.RefStatus{Ref: c.Ref, Why: why})
	}
	return rep
}

func before(c pktline.Command) string { return c.Old }
func after(c pktline.Command) string  { return c.New }

// at tells whether all refs have the value that which says.
func (o order) at(now map[string]object.OID, which func(pktline.Command) string) bool {
	for _, c := range o.Commands {
		if hexOID(now[c.Ref]) != which(c) {
			return false
		}
	}
	return true
}

// Reconcile asks the upstream's refs what became of an attempt whose outcome was never recorded. Old values mean that it
// was not applied if nothing is at work on it any more, which a local upstream tells; else they mean not yet. What later
// pushes find decides too.
func (g *Gateway) Reconcile(ctx context.Context, o remit.Order) gateway.Result {
	var ord order
	if err := json.Unmarshal(o.Body, &ord); err != nil {
		return gateway.Result{Outcome: remit.Ambiguous, Code: remit.Internal, Receipt: receipt("the order cannot be read")}
	}
	if ord.Service != receivePack || len(ord.Commands) == 0 {
		return gateway.Result{Outcome: remit.NotApplied, Receipt: receipt("a read changes nothing")}
	}
	repo, err := g.Repos.Repo(ctx, ord.Repo)
	if err != nil {
		e := gateway.AsError(remit.Internal, err)
		return gateway.Result{Outcome: remit.Ambiguous, Code: e.Code, Receipt: receipt(e.Sentence)}
	}
	quiet := false // asked before the refs are: what ends in between has moved them by then
	if l, ok := repo.Transport.(*local); ok {
		quiet = l.pushing.quiet()
	}
	now, err := repo.remote().Refs(ctx)
	later := g.unsettled.look(ord)
	switch {
	case later.told != "":
		return gateway.Result{Outcome: later.told, Receipt: receipt("seen by a later push, which found the refs at their old or at their new values")}
	case err != nil:
		e := gateway.AsError(remit.UpstreamDown, err)
		return gateway.Result{Outcome: remit.Ambiguous, Yet: true, Code: e.Code, Receipt: receipt(e.Sentence)}
	case later.flying > 0:
		return gateway.Result{Outcome: remit.Ambiguous, Yet: true, Code: remit.Conflict, Receipt: receipt("another push of the same refs is under way")}
	case ord.at(now.OIDs, after):
		return gateway.Result{Outcome: remit.Done, Receipt: receipt("seen upstream: every ref has its new value")}
	case ord.at(now.OIDs, before):
		return gateway.Result{Outcome: remit.NotApplied, Yet: !quiet, Receipt: receipt("seen upstream: every ref has its old value")}
	}
	return gateway.Result{Outcome: remit.Ambiguous, Code: remit.Conflict, Receipt: receipt("seen upstream: the refs have neither all their old nor all their new values")}
}

// Reconcile is the gateway's.
func (x *exchange) Reconcile(ctx context.Context, o remit.Order) gateway.Result {
	return x.g.Reconcile(ctx, o)
}

// counted is a request body that knows whether it was read to its end.
type counted struct {
	r    io.Reader
	size int64
	n    atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *counted) sent() bool { return c.n.Load() >= c.size }

// receipt is text for the log's payload.
func receipt(s string) []byte { return []byte(change.Clip(s, remit.MaxPayload)) }

func describeReport(rep *pktline.Report, said string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "unpack %s\n", rep.Unpack)
	for _, s := range rep.Refs {
		if s.Why == "" {
			fmt.Fprintf(&b, "ok %s\n", s.Ref)
			continue
		}
		fmt.Fprintf(&b, "ng %s %s\n", s.Ref, s.Why)
	}
	for line := range strings.Lines(said) {
		b.WriteString("said " + change.Scrub(strings.TrimRight(line, "\n")) + "\n")
	}
	return b.String()
}
