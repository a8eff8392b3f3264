package deploy

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

const (
	applyTries = 4
	between    = 500 * time.Millisecond // of tries, doubled each time
	poll       = time.Second            // of a rollout
	settle     = 2 * time.Second        // within which a controller notes that it has seen an object, where one runs
)

// States of an object in a receipt.
const (
	refused    = "refused"
	notApplied = "not applied"
	applied    = "applied"
	there      = "there"
	differs    = "differs"
	unknown    = "unknown"
)

// applyManifest deploys to a cluster: look, ask for everything without doing it, do it, look again. Done is that the API
// server holds exactly what was asked for; how the rollout goes stands in the receipt.
func (g *Gateway) applyManifest(ctx context.Context, o *order, cred gateway.Credential) gateway.Result {
	objs, err := render(o)
	if err != nil {
		e := gateway.AsError(remit.Conflict, err)
		return o.result(remit.NotApplied, e.Code, e.Sentence, "correct the declaration of the environment, then request the release again")
	}
	c, err := g.cluster(o.place.Upstream, cred.Apply)
	if err != nil {
		e := gateway.AsError(remit.UpstreamDown, err)
		return o.result(remit.NotApplied, e.Code, e.Sentence, "nothing was changed")
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	o.receipt.Objects = make([]ObjectReport, len(objs))
	for i, obj := range objs {
		o.receipt.Objects[i] = ObjectReport{Object: obj.String(), State: notApplied}
	}
	// A crash may lie between an earlier apply of this attempt and now: what is there already is not done twice.
	if ours, err := o.look(ctx, c, objs); err == nil && ours == len(objs) {
		return o.result(remit.Done, "", "all of it was there already, from this attempt", "")
	}
	for i := range o.receipt.Objects {
		o.receipt.Objects[i] = ObjectReport{Object: objs[i].String(), State: notApplied}
	}
	// Admission and validation of all of it, before any of it is changed.
	for i, obj := range objs {
		r := &o.receipt.Objects[i]
		if _, err := o.try(ctx, func() (map[string]any, error) { return c.apply(ctx, obj, true) }); err != nil {
			r.State, r.Why = refused, err.Error()
			code := remit.UpstreamDown
			if final(err) {
				code = remit.Conflict
			}
			return o.result(remit.NotApplied, code, fmt.Sprintf("%s would be refused, so nothing was changed", obj), "make the cluster accept it, then request the release again")
		}
	}
	for i, obj := range objs {
		r := &o.receipt.Objects[i]
		if _, err := o.try(ctx, func() (map[string]any, error) { return c.apply(ctx, obj, false) }); err != nil {
			return o.halfway(i, err)
		}
		r.State = applied
	}
	seen, err := o.look(ctx, c, objs)
	switch {
	case err != nil:
		return o.result(remit.Ambiguous, remit.UpstreamDown, "everything was applied, and the cluster does not tell what it holds now: "+err.Error(), lookThere)
	case seen != len(objs):
		return o.result(remit.Ambiguous, remit.Conflict, "everything was applied, and the cluster holds something else now: somebody or something changed it at once", lookThere)
	}
	o.rollout(ctx, c, objs)
	return o.result(remit.Done, "", "", "")
}

// halfway is the result when the object at i could not be applied.
func (o *order) halfway(i int, err error) gateway.Result {
	r := &o.receipt.Objects[i]
	r.State, r.Why = unknown, err.Error()
	if final(err) {
		r.State = refused
	}
	if i == 0 && final(err) {
		return o.result(remit.NotApplied, remit.Conflict, "the cluster refused the first object, so nothing was changed", "make the cluster accept it, then request the release again")
	}
	return o.result(remit.Ambiguous, remit.UpstreamDown, fmt.Sprintf("%d of %d objects were applied; %s was not", i, len(o.receipt.Objects), o.receipt.Objects[i].Object),
		"the environment is between two releases: make the cluster accept what is listed here as not applied and request the release again, or roll back")
}

// try repeats a request that may be repeated (server-side apply is idempotent) until the API server has an opinion.
func (o *order) try(ctx context.Context, f func() (map[string]any, error)) (body map[string]any, err error) {
	wait := between
	for n := 0; ; n++ {
		if body, err = f(); err == nil || final(err) || n+1 == applyTries {
			return body, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// look counts the objects that are exactly as this attempt wants them, and notes what each is.
func (o *order) look(ctx context.Context, c *cluster, objs []*object) (ours int, first error) {
	for i, obj := range objs {
		r := &o.receipt.Objects[i]
		*r = ObjectReport{Object: obj.String()}
		body, err := c.get(ctx, obj)
		switch {
		case notFound(err):
			r.State, r.Why = notApplied, "there is no such object"
		case err != nil:
			r.State, r.Why = unknown, err.Error()
			if first == nil {
				first = err
			}
		default:
			if why := o.differs(obj, body); why != "" {
				r.State, r.Why = differs, why
			} else {
				r.State = there
				ours++
			}
		}
	}
	return ours, first
}

// differs tells in what an object of the cluster is not what this attempt put there.
func (o *order) differs(obj *object, body map[string]any) string {
	meta, _ := body["metadata"].(map[string]any)
	notes, _ := meta["annotations"].(map[string]any)
	if by := notes[placed]; by != string(o.attempt) {
		return fmt.Sprintf("it is of %v", by)
	}
	path := kinds[obj.kind].pod
	if path == nil {
		return ""
	}
	pod, err := dig(body, path)
	if err != nil {
		return err.Error()
	}
	found := 0
	if err := eachImage(pod, func(at string, image any, _ func(string)) error {
		want, ok := obj.images[at]
		if !ok {
			return fmt.Errorf("%s was added", at)
		}
		if image != want {
			return fmt.Errorf("%s is %v", at, image)
		}
		found++
		return nil
	}); err != nil {
		return err.Error()
	}
	if found != len(obj.images) {
		return "a container is gone"
	}
	return ""
}

// rollout follows what the cluster's controllers do, as long as the target's time lasts. Where no controller takes note
// of an object, there is nothing to wait for.
func (o *order) rollout(ctx context.Context, c *cluster, objs []*object) {
	began := time.Now()
	for {
		waiting := false
		for i, obj := range objs {
			r := &o.receipt.Objects[i]
			if _, known := progress[obj.kind]; !known || r.Rollout == complete {
				continue
			}
			body, err := c.get(ctx, obj)
			if err != nil {
				r.Rollout = "not observed: " + clip(err.Error(), 256)
				continue
			}
			r.Rollout = rolled(obj.kind, body)
			waiting = waiting || r.Rollout == progressing || r.Rollout == unseen && time.Since(began) < settle
		}
		if !waiting {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(poll):
		}
	}
}

const (
	complete    = "complete"
	progressing = "progressing"
	unseen      = "not observed: no controller has taken note of it"
)

// counts are the members of status that say how far a rollout is.
type counts struct{ wanted, updated, available string }

var progress = map[string]counts{
	"Deployment":  {"", "updatedReplicas", "availableReplicas"},
	"StatefulSet": {"", "updatedReplicas", "availableReplicas"},
	"DaemonSet":   {"desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"},
}

// rolled reads the status of an object.
func rolled(kind string, body map[string]any) string {
	meta, _ := body["metadata"].(map[string]any)
	spec, _ := body["spec"].(map[string]any)
	status, _ := body["status"].(map[string]any)
	number := func(m map[string]any, name string) float64 { n, _ := m[name].(float64); return n }
	if number(status, "observedGeneration") == 0 {
		return unseen
	}
	if number(status, "observedGeneration") < number(meta, "generation") {
		return progressing
	}
	conditions, _ := objects(status, "conditions")
	for _, c := range conditions {
		if c["type"] == "Progressing" && c["status"] == "False" {
			return "failed: " + clip(fmt.Sprint(c["reason"], ": ", c["message"]), 512)
		}
	}
	k := progress[kind]
	want := 1.0
	if k.wanted != "" {
		want = number(status, k.wanted)
	} else if n, ok := spec["replicas"].(float64); ok {
		want = n
	}
	if number(status, k.updated) < want || number(status, k.available) < want || k.wanted == "" && number(status, "replicas") > want {
		return progressing
	}
	return complete
}

// reconcileManifest looks, in Remit's own name, at what an attempt left behind.
func (g *Gateway) reconcileManifest(ctx context.Context, o *order) gateway.Result {
	ctx, cancel := context.WithTimeout(ctx, looking)
	defer cancel()
	blind := func(why string) gateway.Result { return o.result(remit.Ambiguous, remit.UpstreamDown, why, lookThere) }
	objs, err := render(o)
	if err != nil {
		return blind(gateway.AsError(remit.Conflict, err).Sentence)
	}
	if g.cfg.Observer == nil {
		return blind("nobody may look at the cluster: declare an observer for upstream " + o.place.Upstream.Name)
	}
	auth, err := g.cfg.Observer(ctx, o.place.Upstream)
	if err != nil || auth == nil {
		return blind("nobody may look at the cluster: declare an observer for upstream " + o.place.Upstream.Name)
	}
	c, err := g.cluster(o.place.Upstream, func(r *http.Request) error { return auth(r) })
	if err != nil {
		return blind(gateway.AsError(remit.UpstreamDown, err).Sentence)
	}
	o.receipt.Objects = make([]ObjectReport, len(objs))
	ours, err := o.look(ctx, c, objs)
	switch {
	case err != nil:
		return blind("the cluster does not tell: " + err.Error())
	case ours == len(objs):
		return o.result(remit.Done, "", "", "")
	}
	// What carries the name of this attempt and is otherwise different was applied, and changed since.
	for i, obj := range objs {
		body, err := c.get(ctx, obj)
		if err != nil && !notFound(err) {
			return blind("the cluster does not tell: " + err.Error())
		}
		meta, _ := body["metadata"].(map[string]any)
		notes, _ := meta["annotations"].(map[string]any)
		if notes[placed] == string(o.attempt) {
			return o.result(remit.Ambiguous, remit.UpstreamDown, fmt.Sprintf("%d of %d objects are as asked; %s at least was applied", ours, len(objs), o.receipt.Objects[i].Object),
				"the environment is between two releases: request the release again, or roll back")
		}
	}
	return o.result(remit.NotApplied, remit.UpstreamDown, "nothing in the cluster is of this attempt", "")
}
