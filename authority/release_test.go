package authority_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

const image = remit.Resource("artifact:oci/acme/payments")

// supply declares the way of payments to production: a registry, a cluster, builders, and two reviewing agents of
// different owners.
func supply(s *authority.Set) {
	s.Upstreams = append(slicesOf(s.Upstreams), remit.UpstreamDeclared{Name: "oci", Type: remit.KindRegistry, Spec: remit.Hash([]byte("oci"))},
		remit.UpstreamDeclared{Name: "cluster", Type: remit.KindKubernetes, Spec: remit.Hash([]byte("cluster"))})
	s.Environments = slicesOf(s.Environments)
	for i := range s.Environments {
		e := &s.Environments[i]
		e.Upstream, e.Spec, e.Artifacts = "cluster", remit.Hash([]byte("target of "+e.Name)), []remit.Pattern{"artifact:oci/acme/**"}
	}
	s.Repositories = slicesOf(s.Repositories)
	s.Repositories[0].Artifacts = []remit.Pattern{"artifact:oci/acme/*"}
	s.Agents = slicesOf(s.Agents)
	s.Agents[3].Entitlements = append(slicesOf(s.Agents[3].Entitlements), remit.Scope{Actions: []remit.Action{"deploy.rollback"}, Resources: []remit.Pattern{"environment:payments/**"}})
	s.Agents = append(s.Agents,
		remit.AgentDeclared{Name: "builder", Function: remit.FuncBuild, Owner: "p-tom", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
			{Actions: []remit.Action{"artifact.publish", "artifact.read"}, Resources: []remit.Pattern{"artifact:oci/**"}}}},
		remit.AgentDeclared{Name: "critic2", Function: remit.FuncReview, Owner: "p-sam", Requesters: []string{"devs"}, Entitlements: []remit.Scope{
			{Actions: []remit.Action{"review.submit"}, Resources: []remit.Pattern{"repo:forge/acme/**"}}}})
}

func supplied(t tb, changes ...func(*authority.Set)) *world {
	t.Helper()
	return newWorld(t, remit.Team, append([]func(*authority.Set){supply}, changes...)...)
}

// happen appends an event that no command of the test made.
func (w *world) happen(e remit.Event) {
	w.t.Helper()
	b, err := ledger.Encode(ledger.Leaf{At: w.now, Event: e})
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	if err := authority.Apply(w.s, w.now.UnixNano(), e); err != nil {
		w.t.Fatalf("%s: %v", e.Kind(), err)
	}
	w.log = append(w.log, entry{w.now.UnixNano(), e, b})
}

// build is a task of the builder that rests on commits.
func (w *world) build(commits ...string) caller {
	w.t.Helper()
	e := &remit.TaskCreated{ID: remit.ID(fmt.Sprintf("T-%d", w.s.Next)), Requester: "p-mia", Agent: "builder", Grant: w.s.Agents["builder"].Entitlements,
		Deadline: w.now.Add(authority.TaskDefault).UnixNano()}
	for _, c := range commits {
		e.Inputs = append(e.Inputs, remit.Input{Resource: payments, ID: oid(c)})
	}
	w.happen(e)
	return w.launch(e.ID, "builder", "p-mia")
}

func built(name string) remit.Artifact {
	return remit.Artifact{Resource: image, Digest: "sha256:" + strings.TrimPrefix(remit.Hash([]byte(name)).String(), "sha256:")}
}

func publish(c caller, as ...remit.Artifact) remit.Request {
	r := remit.Request{Gateway: "oci", Caller: c, Artifacts: as}
	for _, a := range as {
		if st := (remit.Step{Action: "artifact.publish", Resource: a.Resource, Args: authority.ArtifactsDigest(as)}); !slices.Contains(r.Steps, st) {
			r.Steps = append(r.Steps, st)
		}
	}
	return r
}

// deployment is a request to put artifacts into an environment, in the place of what is there now.
func (w *world) deployment(c caller, env remit.Resource, as ...remit.Artifact) remit.Request {
	current, _ := w.s.CurrentRelease(env.Name())
	return deploy(c, remit.Deploy{Environment: env.Name(), Artifacts: as, From: current.Entry})
}

func deploy(c caller, d remit.Deploy) remit.Request {
	st := d.Step()
	st.Args = authority.DeployDigest(d)
	return remit.Request{Gateway: "deploy", Caller: c, Steps: []remit.Step{st}, Deploy: &d}
}

func back(r remit.Request) remit.Request {
	d := *r.Deploy
	d.Rollback = true
	return deploy(r.Caller, d)
}

// carryOut redeems a permit and records an outcome.
func (w *world) carryOut(permit remit.ID, o remit.Outcome, made string) {
	w.t.Helper()
	x := w.redeem(permit).Attempt.ID
	w.must(&authority.Record{Attempt: x, Outcome: o, Made: made})
}

// published makes an artifact known, built from a commit of payments.
func (w *world) published(name, commit string) remit.Artifact {
	w.t.Helper()
	w.carryOut(w.allow(publish(w.build(commit), built(name))).Permit.ID, remit.Done, "")
	return built(name)
}

// agreed has a hold voted on by the release group.
func (w *world) agreed(r remit.Request, voters ...string) remit.ID {
	w.t.Helper()
	id := w.hold(r, remit.ImpactHeld)
	for _, v := range voters {
		w.vote(id, v, touch(v), true)
	}
	w.status(id, remit.AccessMet, "")
	return id
}

// order is the claim of an approved work order by the executor of its zone.
func (w *world) order(access remit.ID, r remit.Request) remit.Request {
	info, _ := remit.Lookup(r.Steps[0].Action)
	r.Caller = remit.Caller{Executor: authority.ExecutorOf(info.Stage.Zone()), Task: r.Caller.Task}
	r.Access = access
	return r
}

// released takes a deployment all the way.
func (w *world) released(r remit.Request, o remit.Outcome, voters ...string) remit.EntryIndex {
	w.t.Helper()
	id := w.agreed(r, voters...)
	w.carryOut(w.allow(w.order(id, r)).Permit.ID, o, "")
	rs := w.s.Releases[r.Deploy.Environment]
	if len(rs) == 0 || rs[len(rs)-1].Access != id || rs[len(rs)-1].Outcome != o {
		w.t.Fatalf("%+v", rs)
	}
	return rs[len(rs)-1].Entry
}

func TestArtifactShape(t *testing.T) {
	many := make([]remit.Artifact, authority.MaxArtifacts+1)
	for i := range many {
		many[i] = built(fmt.Sprint(i))
	}
	slices.SortFunc(many, func(a, b remit.Artifact) int { return strings.Compare(a.Digest, b.Digest) })
	two := slices.Clone(many[:2])
	other := remit.Artifact{Resource: "artifact:oci/acme/tools", Digest: built("x").Digest}
	for name, c := range map[string]struct {
		change func(*remit.Request)
		words  string
	}{
		"none":                         {func(r *remit.Request) { r.Artifacts = nil }, "names 1 to 16"},
		"too many":                     {func(r *remit.Request) { *r = publish(r.Caller, many...) }, "not 17"},
		"a tag":                        {func(r *remit.Request) { *r = publish(r.Caller, remit.Artifact{Resource: image, Digest: "v1"}) }, "a tag moves"},
		"a commit":                     {func(r *remit.Request) { *r = publish(r.Caller, remit.Artifact{Resource: payments, Digest: oid("1")}) }, "a tag moves"},
		"unsorted":                     {func(r *remit.Request) { *r = publish(r.Caller, two[1], two[0]) }, "sorted"},
		"twice":                        {func(r *remit.Request) { *r = publish(r.Caller, two[0], two[0]) }, "named once"},
		"another resource":             {func(r *remit.Request) { r.Steps[0].Resource = other.Resource }, "each artifact has its step"},
		"another digest":               {func(r *remit.Request) { r.Steps[0].Args = remit.Hash([]byte("x")) }, "each artifact has its step"},
		"one without a step":           {func(r *remit.Request) { *r = publish(r.Caller, two[0], other); r.Steps = r.Steps[:1] }, "each artifact has its step"},
		"a step without one":           {func(r *remit.Request) { r.Steps = append(r.Steps, publish(r.Caller, other).Steps...) }, "each artifact has its step"},
		"a step of another artifact":   {func(r *remit.Request) { r.Steps = append(r.Steps, r.Steps[0]); r.Steps[1].Resource = other.Resource }, "each artifact has its step"},
		"artifacts of another step":    {func(r *remit.Request) { r.Steps[0].Action = "artifact.read" }, "belong to a step"},
		"a deployment of another step": {func(r *remit.Request) { r.Deploy = &remit.Deploy{} }, "one step deploy.promote"},
		"a verdict of another step":    {func(r *remit.Request) { r.Review = "approve" }, "nothing else does"},
		"a review among other steps": {func(r *remit.Request) {
			r.Steps = append(r.Steps, remit.Step{Action: "review.submit", Resource: payments})
		}, "one step on one ref"},
		"an artifact that is not a name": {func(r *remit.Request) {
			*r = publish(r.Caller, remit.Artifact{Resource: "artifact:a b", Digest: two[0].Digest})
		}, "a tag moves"},
	} {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			r := publish(w.build("1"), two...)
			w.allow(r)
			r.Steps = slices.Clone(r.Steps)
			c.change(&r)
			d := w.deny(r, remit.BadRequest, c.words)
			if e := w.log[d.Entry].event.(*remit.Decided); len(e.Artifacts) > 0 || len(e.Steps) > 0 {
				t.Fatalf("an ill-formed request stands in the leaf: %+v", e)
			}
		})
	}
	w := supplied(t)
	w.allow(publish(w.build("1"), many[:authority.MaxArtifacts]...))
}

func TestPublish(t *testing.T) {
	run := func(name string, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			f(t, w)
			w.replay()
		})
	}
	run("what the input's repository declares passes, and is known by its digest", func(t *testing.T, w *world) {
		c := w.build("1")
		d := w.allow(publish(c, built("a")))
		if e := w.log[d.Entry].event.(*remit.Decided); !slices.Equal(e.Artifacts, []remit.Artifact{built("a")}) {
			t.Fatalf("%+v", e)
		}
		res := w.redeem(d.Permit.ID)
		if red := res.Redemption; red.Zone() != remit.ZoneBuild || !slices.Equal(red.Artifacts(), []remit.Artifact{built("a")}) || red.Executor() != "" || red.Deploy().Environment != "" {
			t.Fatalf("%+v", red)
		}
		if len(w.s.Artifacts) > 0 {
			t.Fatal("known before its outcome")
		}
		w.must(&authority.Record{Attempt: res.Attempt.ID, Outcome: remit.Done})
		p := w.s.Artifacts[built("a").String()]
		if p == nil || p.Task != c.Task || p.Agent != "builder" || len(p.Inputs) != 1 || p.Inputs[0].ID != oid("1") || p.Entry != w.s.Next-1 || p.At != w.now.UnixNano() {
			t.Fatalf("%+v", p)
		}
	})
	run("without such an input people decide", func(t *testing.T, w *world) {
		w.hold(publish(w.build(), built("a")), remit.ImpactHeld)
		c := w.build("1")
		w.hold(publish(c, remit.Artifact{Resource: "artifact:oci/other/x", Digest: built("a").Digest}), remit.ImpactHeld)
		w.apply(func(s *authority.Set) { s.Repositories[0].Artifacts = nil })
		w.hold(publish(c, built("a")), remit.ImpactHeld)
	})
	run("an artifact among the inputs vouches for nothing", func(t *testing.T, w *world) {
		e := &remit.TaskCreated{ID: "T-x", Requester: "p-mia", Agent: "builder", Grant: w.s.Agents["builder"].Entitlements, Deadline: w.now.Add(time.Hour).UnixNano(),
			Inputs: []remit.Input{{Resource: "artifact:forge/acme/payments", ID: built("a").Digest}}}
		w.happen(e)
		w.hold(publish(w.launch(e.ID, "builder", "p-mia"), built("a")), remit.ImpactHeld)
	})
	run("whoever published it first is its provenance", func(t *testing.T, w *world) {
		w.published("a", "1")
		first := *w.s.Artifacts[built("a").String()]
		w.published("a", "2")
		if got := *w.s.Artifacts[built("a").String()]; got.Task != first.Task || got.Entry != first.Entry {
			t.Fatalf("%+v", got)
		}
	})
	for _, o := range []remit.Outcome{remit.NotApplied, remit.Ambiguous, remit.AfterRevocation} {
		run("nothing is known to be there after "+string(o), func(t *testing.T, w *world) {
			w.carryOut(w.allow(publish(w.build("1"), built("a"))).Permit.ID, o, "")
			if len(w.s.Artifacts) > 0 {
				t.Fatal("known")
			}
		})
	}
	run("an approval is of these artifacts", func(t *testing.T, w *world) {
		c := w.build()
		r := publish(c, built("a"))
		id := w.hold(r, remit.ImpactHeld)
		w.vote(id, "ada", touch("ada"), true)
		w.deny(w.order(id, publish(c, built("b"))), remit.Stale, "not what was approved")
		w.status(id, remit.AccessVoid, remit.Stale)
	})
	run("the name of what an upstream made is short and plain", func(t *testing.T, w *world) {
		x := w.redeem(w.allow(publish(w.build("1"), built("a"))).Permit.ID).Attempt.ID
		w.refuse(&authority.Record{Attempt: x, Outcome: remit.Done, Made: strings.Repeat("x", 129)}, remit.BadRequest, "at most 128 bytes")
		w.refuse(&authority.Record{Attempt: x, Outcome: remit.Done, Made: "a\nb"}, remit.BadRequest, "at most 128 bytes")
		w.must(&authority.Record{Attempt: x, Outcome: remit.Done, Made: strings.Repeat("x", 128)})
		if e := w.log[len(w.log)-1].event.(*remit.Recorded); len(e.Made) != 128 {
			t.Fatalf("%+v", e)
		}
	})
}

func TestDeployShape(t *testing.T) {
	w := supplied(t)
	a := w.published("a", "1")
	c := w.task("pilot", "p-mia")
	good := w.deployment(c, staging, a)
	step := good.Steps[0]
	rebound := func(change func(*remit.Deploy)) func(*remit.Request) {
		return func(r *remit.Request) {
			d := *r.Deploy
			change(&d)
			*r = deploy(c, d)
		}
	}
	for name, b := range map[string]struct {
		change func(*remit.Request)
		words  string
	}{
		"what is deployed is said": {func(r *remit.Request) { r.Deploy = nil }, "says what it deploys"},
		"one deployment at a time": {func(r *remit.Request) { r.Steps = append(r.Steps, step) }, "is one step"},
		"the step's environment":   {func(r *remit.Request) { r.Steps[0].Resource = production }, "the step is deploy.promote on environment:payments/staging"},
		"the step's action":        {func(r *remit.Request) { r.Steps[0].Action = "deploy.rollback" }, "the step is deploy.promote"},
		"the step's digest":        {func(r *remit.Request) { r.Steps[0].Args = remit.Digest{} }, "has the digest"},
		"other artifacts":          {func(r *remit.Request) { r.Deploy.Artifacts = []remit.Artifact{built("b")} }, "has the digest"},
		"no artifacts":             {rebound(func(d *remit.Deploy) { d.Artifacts = nil }), "names 1 to 16"},
		"a tag":                    {rebound(func(d *remit.Deploy) { d.Artifacts = []remit.Artifact{{Resource: image, Digest: "latest"}} }), "a tag moves"},
		"one digest of an artifact": {rebound(func(d *remit.Deploy) {
			d.Artifacts = []remit.Artifact{{Resource: image, Digest: "sha256:" + strings.Repeat("0", 64)}, a}
		}), "stands twice"},
	} {
		t.Run(name, func(t *testing.T) {
			r, d := good, *good.Deploy
			r.Steps, r.Deploy = slices.Clone(r.Steps), &d
			b.change(&r)
			at := w.deny(r, remit.BadRequest, b.words)
			if e := w.log[at.Entry].event.(*remit.Decided); e.Deploy.Environment != "" || len(e.Deploy.Artifacts) > 0 {
				t.Fatalf("%+v", e)
			}
		})
	}
	w.hold(good, remit.ImpactHeld, remit.Need{Group: "release", N: 1})
	e := w.log[len(w.log)-2].event.(*remit.Decided)
	if e.Deploy.Environment != "payments/staging" || !slices.Equal(e.Deploy.Artifacts, []remit.Artifact{a}) {
		t.Fatalf("%+v", e)
	}
	d := w.deny(deploy(c, remit.Deploy{Environment: "payments/staging", Artifacts: long()}), remit.TooLargeToJudge, "an entry of the log")
	if e := w.log[d.Entry].event.(*remit.Decided); e.Deploy.Environment != "" {
		t.Fatalf("%+v", e)
	}
}

// long are artifacts that no entry holds.
func long() []remit.Artifact {
	var out []remit.Artifact
	for i := range 16 {
		out = append(out, remit.Artifact{Resource: remit.Resource(fmt.Sprintf("artifact:oci/acme/%02d%s", i, strings.Repeat("x", 490))), Digest: built("x").Digest})
	}
	return out
}

func TestDeploy(t *testing.T) {
	run := func(name string, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			f(t, w)
			w.replay()
		})
	}
	run("it takes its environment's votes, once, and is recorded", func(t *testing.T, w *world) {
		a := w.published("a", "1")
		c := w.task("pilot", "p-mia")
		r := w.deployment(c, production, a)
		w.hold(r, remit.ImpactHeld, remit.Need{Group: "release", N: 2})
		id := w.agreed(r, "rio", "sam")
		d := w.allow(w.order(id, r))
		res := w.redeem(d.Permit.ID)
		red := res.Redemption
		if red.Zone() != remit.ZoneProduction || red.Executor() != "executor/production" || len(red.Artifacts()) > 0 ||
			red.Deploy().Environment != "payments/production" || !slices.Equal(red.Deploy().Artifacts, []remit.Artifact{a}) {
			t.Fatalf("%+v", red)
		}
		red.Deploy().Artifacts[0].Digest = "x"
		if red.Deploy().Artifacts[0] != a {
			t.Fatal("a redemption can be changed from outside")
		}
		w.must(&authority.Record{Attempt: res.Attempt.ID, Outcome: remit.Done})
		cur, ok := w.s.CurrentRelease("payments/production")
		if !ok || cur.Entry != w.s.Next-2 || cur.Access != id || cur.Attempt != res.Attempt.ID || cur.Task != c.Task || cur.Outcome != remit.Done || cur.At != w.now.UnixNano() || !slices.Equal(cur.Artifacts, []remit.Artifact{a}) {
			t.Fatalf("%+v %v", cur, w.s.Next)
		}
		w.deny(w.order(id, r), remit.AlreadyUsed, "good once")
	})
	run("the environment has a target and names what it accepts", func(t *testing.T, w *world) {
		a := w.published("a", "1")
		c := w.task("pilot", "p-mia")
		foreign := remit.Artifact{Resource: "artifact:oci/other/x", Digest: a.Digest}
		w.deny(w.deployment(c, staging, foreign), remit.CrossesBoundary, "accepts [artifact:oci/acme/**], not artifact:oci/other/x")
		w.apply(func(s *authority.Set) { s.Environments[1].Artifacts = nil })
		w.deny(w.deployment(c, staging, a), remit.CrossesBoundary, "accepts []")
		w.apply(func(s *authority.Set) {
			e := &s.Environments[1]
			e.Artifacts, e.Spec, e.Upstream = s.Environments[0].Artifacts, remit.Digest{}, ""
		})
		w.deny(w.deployment(c, staging, a), remit.UnknownResource, "no target")
	})
	run("what it takes the place of is what is there", func(t *testing.T, w *world) {
		c := w.task("pilot", "p-mia")
		d := remit.Deploy{Environment: "payments/staging", Artifacts: []remit.Artifact{built("a")}, From: 3}
		w.deny(deploy(c, d), remit.Stale, "the release in entry 3, and what is in payments/staging now is nothing")
		n := w.released(w.deployment(c, staging, built("a")), remit.Done, "rio")
		d.From = 0
		w.deny(deploy(c, d), remit.Stale, fmt.Sprintf("the place of nothing, and what is in payments/staging now is the release in entry %d", n))
		d.From, d.Artifacts = n, []remit.Artifact{built("b")}
		w.released(deploy(c, d), remit.Done, "rio")
		w.released(w.deployment(c, production, w.published("a", "1")), remit.Done, "rio", "sam") // another environment is another line of releases
	})
	run("of two that race, one is stale", func(t *testing.T, w *world) {
		one, two := w.task("pilot", "p-mia"), w.task("pilot", "p-noa")
		r1, r2 := w.deployment(one, staging, built("a")), w.deployment(two, staging, built("b"))
		id1, id2 := w.agreed(r1, "rio"), w.agreed(r2, "sam")
		r3 := w.deployment(w.task("pilot", "p-mia"), staging, built("c"))
		id3 := w.agreed(r3, "sam")
		w.allow(w.order(id1, r1))
		p := w.allow(w.order(id1, r1)).Permit.ID // its own permit is in nobody's way
		w.deny(w.order(id2, r2), remit.Stale, "at this moment")
		w.status(id2, remit.AccessVoid, remit.Stale)
		x := w.redeem(p).Attempt.ID
		w.later(authority.PermitLife)
		w.deny(w.deployment(w.task("pilot", "p-noa"), staging, built("d")), remit.Stale, string(x)+" changes payments/staging")
		w.must(&authority.Record{Attempt: x, Outcome: remit.Done})
		w.deny(w.order(id3, r3), remit.Stale, "take the place of nothing")
		w.status(id3, remit.AccessVoid, remit.Stale)
	})
	run("a permit that nobody spends is in nobody's way, once its time is over", func(t *testing.T, w *world) {
		r1, r2 := w.deployment(w.task("pilot", "p-mia"), staging, built("a")), w.deployment(w.task("pilot", "p-noa"), staging, built("b"))
		id1, id2 := w.agreed(r1, "rio"), w.agreed(r2, "sam")
		w.allow(w.order(id1, r1))
		w.later(authority.PermitLife)
		w.allow(w.order(id2, r2))
	})
	run("a task that is for one deployment makes no other", func(t *testing.T, w *world) {
		only := remit.Deploy{Environment: "payments/staging", Artifacts: []remit.Artifact{built("a")}}
		e := &remit.TaskCreated{ID: "T-only", Requester: "p-mia", Agent: "pilot", Grant: w.s.Agents["pilot"].Entitlements, Deadline: w.now.Add(time.Hour).UnixNano(), Deploy: only}
		w.happen(e)
		c := w.launch(e.ID, "pilot", "p-mia")
		w.deny(w.deployment(c, staging, built("b")), remit.OutOfScope, "another deployment")
		w.hold(deploy(c, only), remit.ImpactHeld)
	})
	run("who changed what its evidence is read in does not approve", func(t *testing.T, w *world) {
		a := w.published("a", "1")
		c := w.task("pilot", "p-mia")
		r := w.deployment(c, production, a)
		id := w.hold(r, remit.ImpactHeld)
		w.apply(func(s *authority.Set) { s.Groups[0].Members = []remit.ID{"p-ada", "p-bob", "p-sam"} })
		w.set = clone(w.set)
		w.set.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 2}}
		w.must(&authority.ApplySet{By: "p-sam", Set: w.set})
		w.refuse(w.ballot(id, "sam", touch("sam"), true), remit.NotEligible, "caused or steered")
	})
}

func TestEvidence(t *testing.T) {
	b := built("a")
	for _, c := range []struct {
		name     string
		evidence []string
		prepare  func(w *world)
		lacks    string
	}{
		{"production asks for built, where nothing is declared", nil, func(*world) {}, remit.EvidenceBuilt},
		{"built: published from a commit of a repository that declares it", nil, func(w *world) { w.published("a", "1") }, ""},
		{"built: another digest says nothing", nil, func(w *world) { w.published("b", "1") }, remit.EvidenceBuilt},
		{"built: a person's vote to publish is no provenance", nil, func(w *world) {
			r := publish(w.build(), built("a"))
			id := w.hold(r, remit.ImpactHeld)
			w.vote(id, "ada", touch("ada"), true)
			w.carryOut(w.allow(w.order(id, r)).Permit.ID, remit.Done, "")
		}, remit.EvidenceBuilt},
		{"built: a declaration that is gone vouches for nothing", nil, func(w *world) {
			w.published("a", "1")
			w.apply(func(s *authority.Set) { s.Repositories[0].Artifacts = nil })
		}, remit.EvidenceBuilt},
		{"merged: not yet", []string{"built", "merged"}, func(w *world) { w.published("a", "1") }, remit.EvidenceMerged},
		{"merged: another commit", []string{"merged"}, func(w *world) { w.published("a", "1"); w.merged("2") }, remit.EvidenceMerged},
		{"merged: that commit", []string{"built", "merged"}, func(w *world) { w.published("a", "1"); w.merged("1") }, ""},
		{"deployed: not yet", []string{"deployed:payments/staging"}, func(w *world) { w.published("a", "1") }, "deployed:payments/staging"},
		{"deployed: done there", []string{"deployed:payments/staging"}, func(w *world) { w.ship(staging, remit.Done, built("a")) }, ""},
		{"deployed: nobody knows whether", []string{"deployed:payments/staging"}, func(w *world) { w.ship(staging, remit.Ambiguous, built("a")) }, "deployed:payments/staging"},
		{"deployed: not applied", []string{"deployed:payments/staging"}, func(w *world) { w.ship(staging, remit.Done, built("b")) }, "deployed:payments/staging"},
		{"deployed: taken away again", []string{"deployed:payments/staging"}, func(w *world) {
			w.ship(staging, remit.Done, built("b"))
			w.ship(staging, remit.Done, built("a"))
			w.released(back(w.deployment(w.task("pilot", "p-mia"), staging, built("b"))), remit.Done, "rio")
		}, "deployed:payments/staging"},
		{"what is not known is not there", []string{"blessed"}, func(w *world) { w.published("a", "1") }, "blessed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := supplied(t)
			if env := w.s.Environments["payments/production"].EnvironmentDeclared; c.evidence != nil {
				env.Evidence = c.evidence
				w.happen(&env)
			}
			c.prepare(w)
			r := w.deployment(w.task("pilot", "p-mia"), production, b)
			if c.lacks == "" {
				w.hold(r, remit.ImpactHeld)
				return
			}
			w.deny(r, remit.EvidenceMissing, fmt.Sprintf("%s has no evidence %q", b, c.lacks))
		})
	}
	t.Run("it is asked for again when the order is claimed", func(t *testing.T) {
		w := supplied(t)
		w.published("a", "1")
		r := w.deployment(w.task("pilot", "p-mia"), production, b)
		id := w.agreed(r, "rio", "sam")
		w.apply(func(s *authority.Set) { s.Repositories[0].Artifacts = nil })
		w.deny(w.order(id, r), remit.EvidenceMissing, "built")
		w.status(id, remit.AccessVoid, remit.EvidenceMissing)
	})
	t.Run("of several artifacts each has it, and they were there together", func(t *testing.T) {
		w := supplied(t)
		tools := remit.Artifact{Resource: "artifact:oci/acme/tools", Digest: built("t").Digest}
		w.published("a", "1")
		c := w.task("pilot", "p-mia")
		w.deny(w.deployment(c, production, b, tools), remit.EvidenceMissing, tools.String()+" has no evidence")
		w.apply(func(s *authority.Set) { s.Environments[0].Evidence = []string{"deployed:payments/staging"} })
		w.ship(staging, remit.Done, b)
		w.ship(staging, remit.Done, tools)
		w.deny(w.deployment(c, production, b, tools), remit.EvidenceMissing, "deployed:payments/staging")
		w.ship(staging, remit.Done, b, tools)
		w.hold(w.deployment(c, production, b, tools), remit.ImpactHeld)
		w.hold(w.deployment(w.task("pilot", "p-noa"), production, tools), remit.ImpactHeld)
	})
}

// ship deploys to staging or production with everybody's votes.
func (w *world) ship(env remit.Resource, o remit.Outcome, as ...remit.Artifact) remit.EntryIndex {
	w.t.Helper()
	voters := []string{"rio", "sam"}
	if env == staging {
		voters = voters[:1]
	}
	return w.released(w.deployment(w.task("pilot", "p-mia"), env, as...), o, voters...)
}

func TestRollback(t *testing.T) {
	run := func(name string, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			w.apply(func(s *authority.Set) { s.Environments[0].Evidence = []string{"deployed:payments/staging"} })
			f(t, w)
			w.replay()
		})
	}
	to := func(w *world, as ...remit.Artifact) remit.Request {
		return back(w.deployment(w.task("pilot", "p-mia"), staging, as...))
	}
	run("to what was good here, with one vote and without new evidence", func(t *testing.T, w *world) {
		for _, n := range []string{"a", "b"} {
			w.ship(staging, remit.Done, built(n))
			w.ship(production, remit.Done, built(n))
		}
		w.released(to(w, built("a")), remit.Done, "rio")
		w.apply(func(s *authority.Set) { s.Environments[0].Evidence = []string{"merged"} })
		r := back(w.deployment(w.task("pilot", "p-mia"), production, built("a")))
		w.hold(r, remit.ImpactHeld, remit.Need{Group: "release", N: 1})
		w.released(r, remit.Done, "sam")
		if cur, _ := w.s.CurrentRelease("payments/production"); !cur.Rollback || cur.Artifacts[0] != built("a") {
			t.Fatalf("%+v", cur)
		}
	})
	run("not to what is here, was never here, or was not done", func(t *testing.T, w *world) {
		w.deny(to(w, built("a")), remit.RollbackUnknown, "no earlier release of payments/staging")
		w.ship(staging, remit.Done, built("a"))
		w.deny(to(w, built("a")), remit.RollbackUnknown, "")
		w.deny(to(w, built("b")), remit.RollbackUnknown, "")
		w.ship(staging, remit.Ambiguous, built("b"))
		w.ship(staging, remit.Done, built("b"))
		w.ship(staging, remit.Done, built("c"))
		w.hold(to(w, built("a")), remit.ImpactHeld)
		w.hold(to(w, built("b")), remit.ImpactHeld)
		w.deny(to(w, built("c")), remit.RollbackUnknown, "")
		w.deny(to(w, built("a"), remit.Artifact{Resource: "artifact:oci/acme/tools", Digest: built("a").Digest}), remit.RollbackUnknown, "exactly these")
	})
	run("not to what was rolled back, until it is promoted again", func(t *testing.T, w *world) {
		w.ship(staging, remit.Done, built("a"))
		w.ship(staging, remit.Done, built("b"))
		w.released(to(w, built("a")), remit.Ambiguous, "rio")
		w.deny(w.deployment(w.task("pilot", "p-mia"), staging, built("c")), remit.Conflict, "a person looks")
		w.released(to(w, built("a")), remit.Done, "rio")
		w.deny(to(w, built("b")), remit.RollbackUnknown, "")
		w.ship(staging, remit.Done, built("b"))
		w.ship(staging, remit.Done, built("c"))
		w.hold(to(w, built("b")), remit.ImpactHeld)
	})
	run("where nobody knows what is there, promotions wait for a person, and what was there last is a way back", func(t *testing.T, w *world) {
		w.ship(staging, remit.Done, built("a"))
		n := w.ship(staging, remit.Ambiguous, built("b"))
		w.deny(w.deployment(w.task("pilot", "p-mia"), staging, built("c")), remit.Conflict, fmt.Sprintf("the release in entry %d is ambiguous: a person looks", n))
		w.released(to(w, built("a")), remit.Done, "rio")
		w.hold(w.deployment(w.task("pilot", "p-mia"), staging, built("c")), remit.ImpactHeld)
		w.ship(staging, remit.Done, built("d"))
		w.hold(to(w, built("a")), remit.ImpactHeld) // what it was rolled back to is good
	})
	run("the same artifacts again make it clear", func(t *testing.T, w *world) {
		w.ship(staging, remit.AfterRevocation, built("a"))
		w.deny(w.deployment(w.task("pilot", "p-mia"), staging, built("b")), remit.Conflict, "is after_revocation")
		w.ship(staging, remit.Done, built("a"))
		w.ship(staging, remit.Done, built("b"))
	})
	run("what was not applied changes nothing", func(t *testing.T, w *world) {
		r := w.deployment(w.task("pilot", "p-mia"), staging, built("a"))
		w.carryOut(w.allow(w.order(w.agreed(r, "rio"), r)).Permit.ID, remit.NotApplied, "")
		if len(w.s.Releases) > 0 {
			t.Fatalf("%+v", w.s.Releases)
		}
		w.ship(staging, remit.Done, built("b"))
	})
	run("who decides on the way back can be declared, or is an administrator", func(t *testing.T, w *world) {
		w.ship(staging, remit.Done, built("a"))
		w.ship(staging, remit.Done, built("b"))
		w.apply(func(s *authority.Set) { s.Environments[1].Rollback = []remit.Need{{Group: "reviewers", N: 2}} })
		w.hold(to(w, built("a")), remit.ImpactHeld, remit.Need{Group: "reviewers", N: 2})
		w.apply(func(s *authority.Set) {
			s.Environments[1].Rollback, s.Environments[1].Approvers = nil, nil
			s.Agents[3].Owner = "p-sam"
		})
		w.hold(to(w, built("a")), remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 1})
	})
}
