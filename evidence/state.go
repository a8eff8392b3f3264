package evidence

import (
	"slices"

	"github.com/remit-dev/remit"
)

// compiled says of a rule that no declaration switches off since which entry it decides.
func (v view) compiled(what string) said {
	if !v.world.rules.there {
		return unseen("the log does not say which rules decide")
	}
	return good([]remit.EntryIndex{v.world.rules.entry}, "%s: a compiled rule (version %d), which nothing that is declared switches off", what, v.world.rules.said.Version)
}

// demo says of a control that needs people that in the profile demo they may be programs.
func (v view) demo() []said {
	if v.world.genesis.Profile != remit.Demo {
		return nil
	}
	return []said{weak([]remit.EntryIndex{0}, "the profile is demo: votes may have been cast by a program on the same machine, and count in every zone")}
}

func registry(v view) (out []said) {
	var all, open, orphans []remit.EntryIndex
	var forever, ownerless []string
	for _, a := range v.world.active() {
		all = append(all, a.entry)
		if a.said.Expires == 0 {
			forever, open = append(forever, a.said.Name), append(open, a.entry)
		}
		if p, ok := v.world.people[string(a.said.Owner)]; !ok || !p.there || v.world.kills[a.said.Owner] {
			ownerless, orphans = append(ownerless, a.said.Name), append(orphans, a.entry)
		}
	}
	if len(all) == 0 {
		return []said{unseen("no agent is declared")}
	}
	out = append(out, good(all, "%s declared, each with a function and an owner", some(len(all), "agent is", "agents are")))
	if len(forever) > 0 {
		out = append(out, weak(open, "%s: no day is declared on which it ends", names(forever)))
	}
	if len(ownerless) > 0 {
		out = append(out, absent(orphans, "%s: the owner is no longer there", names(ownerless)))
	}
	return out
}

func identities(v view) []said {
	out := []said{v.compiled("an instance belongs to one grant, and no exchange changes that")}
	if v.settings.TokenLife > 0 {
		out = append(out, good(nil, "as the server says: tokens live %s, certificates %s", seconds(v.settings.TokenLife), seconds(v.settings.SVIDLife)))
	}
	if lost := v.entriesOf("findings.twice"); len(lost) > 0 {
		out = append(out, weak(lost, "one task was at work on two hosts"))
	}
	return out
}

func intents(v view) []said {
	return []said{v.compiled("no step without a task, and no task without an intent"), v.compiled("what lies outside the envelope of a task waits for a person")}
}

func grants(v view) []said {
	return []said{v.compiled("a grant is live no longer than its task, its agent and the people behind it")}
}

func zones(v view) []said {
	out := []said{v.compiled("an agent has one function, a function lies in one zone, and a credential serves one")}
	var sealed []remit.EntryIndex
	each(v.world.bounds, func(_ string, b at[remit.BoundaryDeclared]) { sealed = append(sealed, b.entry) })
	if len(sealed) > 0 {
		out = append(out, good(sealed, "%s declared besides", some(len(sealed), "boundary is", "boundaries are")))
	}
	return out
}

func decisions(v view) []said {
	out := []said{v.compiled("what is unknown, or not decided durably, is denied")}
	if doubt := v.entriesOf("outcomes.ambiguous"); len(doubt) > 0 {
		out = append(out, weak(doubt, "of %s nobody can tell whether they were carried out", some(len(doubt), "act", "acts")))
	}
	return out
}

func policies(v view) []said {
	if !v.world.policy.there {
		return []said{absent(nil, "no policy is in force")}
	}
	out := []said{good([]remit.EntryIndex{v.world.policy.entry}, "the bundle %.12s is in force", v.world.policy.said.Bundle)}
	if v.world.policy.said.By == "" {
		out[0] = weak([]remit.EntryIndex{v.world.policy.entry}, "the bundle in force is the one that Remit came with; nobody here has written one")
	}
	if failed := v.entriesOf("policy.failed"); len(failed) > 0 {
		out = append(out, weak(failed, "the policy failed, and what it should have judged was denied"))
	}
	return out
}

func dual(v view) []said {
	n, entry := v.world.admins()
	switch {
	case n == 0:
		return []said{absent([]remit.EntryIndex{entry}, "there is no administrator")}
	case n == 1:
		return []said{absent([]remit.EntryIndex{entry}, "there is one administrator, so nobody else has to agree")}
	}
	return append([]said{good([]remit.EntryIndex{entry}, "there are %d administrators; what widens authority waits for a second", n)}, v.demo()...)
}

// production looks at who decides on each environment of that tier. What the compiled default asks for is less than a
// decision: nobody here has said who answers for it.
func production(v view) (out []said) {
	for _, e := range v.world.production() {
		name, at := e.said.Name, []remit.EntryIndex{e.entry}
		n, instead := 0, false
		for _, need := range e.said.Approvers {
			if need.Evidence != "" && need.InProduction {
				instead = true
				continue
			}
			n += need.N
		}
		switch {
		case len(e.said.Approvers) == 0:
			out = append(out, absent(at, "%s: no approvers are declared; the compiled default asks two administrators, and nobody is named who answers for it", name))
		case n == 0 && instead:
			out = append(out, weak(at, "%s: declared evidence stands in for people", name))
		case n == 0:
			out = append(out, absent(at, "%s: nobody has to approve", name))
		default:
			out = append(out, good(at, "%s: %s to approve", name, some(n, "person has", "people have")))
			if instead {
				out = append(out, weak(at, "%s: for some of them, declared evidence stands in", name))
			}
		}
	}
	if len(out) == 0 {
		return []said{unseen("no environment of tier production is declared")}
	}
	if unasked := v.entriesOf("production.unasked"); len(unasked) > 0 {
		out = append(out, weak(unasked, "%s allowed on production without that anybody was asked", some(len(unasked), "step was", "steps were")))
	}
	return append(out, v.demo()...)
}

func approvals(v view) []said {
	out := []said{v.compiled("an approval binds the effect, is judged again when it is used, and is good once"), v.compiled("who caused a step does not approve it")}
	if expired, asked := v.entriesOf("approvals.expired"), v.entriesOf("approvals.asked"); len(expired)*2 > len(asked) {
		out = append(out, weak(expired, "more than half of the requests ended because nobody decided in time"))
	}
	return append(out, v.demo()...)
}

func assurance(v view) []said {
	touch, all := len(v.entriesOf("votes.touch")), len(v.entriesOf("votes.approve"))+len(v.entriesOf("votes.refuse"))
	var out []said
	switch {
	case all == 0:
		out = append(out, unseen("nobody voted in this period"))
	case touch == all:
		out = append(out, good(v.entriesOf("votes.touch"), "every vote was by a key that a touch releases"))
	case touch > 0:
		out = append(out, weak(v.entriesOf("votes.touch"), "%d of %d votes were by a key that a touch releases", touch, all))
	default:
		out = append(out, absent(nil, "no vote was by a key that a touch releases"))
	}
	return append(out, v.demo()...)
}

func paths(v view) (out []said) {
	var plain, watched []remit.EntryIndex
	each(v.world.repos, func(_ string, r at[remit.RepositoryDeclared]) {
		if plain = append(plain, r.entry); len(r.said.Protected) > 0 {
			watched = append(watched, r.entry)
		}
	})
	if len(plain) == 0 {
		return []said{unseen("no repository is declared")}
	}
	out = append(out, v.compiled("files that run by themselves are protected, and effects of a push are judged"))
	if len(watched) > 0 {
		out = append(out, good(watched, "%s further paths", some(len(watched), "repository protects", "repositories protect")))
	}
	return out
}

func gateways(v view) []said {
	var ups []remit.EntryIndex
	each(v.world.ups, func(_ string, u at[remit.UpstreamDeclared]) { ups = append(ups, u.entry) })
	if len(ups) == 0 {
		return []said{unseen("no upstream is declared")}
	}
	out := []said{good(ups, "%s behind gateways", some(len(ups), "upstream is", "upstreams are"))}
	if moved := v.entriesOf("findings.refs"); len(moved) > 0 {
		out = append(out, weak(moved, "refs moved around Remit"))
	}
	return out
}

func tools(v view) (out []said) {
	var pinned, open []remit.EntryIndex
	var loose []string
	each(v.world.tools, func(name string, t at[remit.ToolDeclared]) {
		switch {
		case t.said.Server() == "local":
		case t.said.Pin.IsZero():
			loose, open = append(loose, name), append(open, t.entry)
		default:
			pinned = append(pinned, t.entry)
		}
	})
	if len(pinned) > 0 {
		out = append(out, good(pinned, "%s pinned to the definition that was admitted", some(len(pinned), "tool is", "tools are")))
	}
	if len(open) > 0 {
		out = append(out, weak(open, "%s: admitted by a pattern, without a pin", names(loose)))
	}
	if len(out) == 0 {
		return []said{unseen("no tool of a server is declared")}
	}
	if drifted := v.entriesOf("tools.drifted"); len(drifted) > 0 {
		out = append(out, good(drifted, "calls of tools that had changed were denied"))
	}
	return out
}

func brokering(v view) []said {
	out := []said{v.compiled("a credential comes of a redeemed permit alone, and serves one zone")}
	if given := v.entriesOf("instances.ungoverned"); len(given) > 0 {
		out = append(out, weak(given, "to %s a person handed a credential past Remit", some(len(given), "instance", "instances")))
	}
	return out
}

func deaths(v view) []said {
	now := v.until.UnixNano()
	var overdue, exposed []remit.EntryIndex
	for _, l := range v.world.leases {
		switch {
		case now >= l.due():
			overdue = append(overdue, l.entry)
		case !l.ending.IsZero() && l.event.Revocation == remit.RevokeExpiry:
			exposed = append(exposed, l.entry)
		}
	}
	seen := append(append([]remit.EntryIndex{}, v.entriesOf("leases.revoked")...), v.entriesOf("leases.expired")...)
	var out []said
	if len(seen) > 0 {
		out = append(out, good(seen, "%s seen dead in this period", some(len(seen), "credential was", "credentials were")))
	}
	if len(overdue) > 0 {
		out = append(out, absent(overdue, "%s in debt: the end was due and nobody has seen it", some(len(overdue), "credential is", "credentials are")))
	}
	if len(exposed) > 0 {
		out = append(out, weak(exposed, "%s only by their own end, and could be used until then", some(len(exposed), "credential ends", "credentials end")))
	}
	if given := v.entriesOf("leases.abandoned"); len(given) > 0 {
		out = append(out, weak(given, "%s given up without having been seen dead", some(len(given), "credential was", "credentials were")))
	}
	if len(out) == 0 {
		return []said{unseen("no credential was made by Remit in this period: those of its upstreams are static, or there were none")}
	}
	return out
}

func lifetimes(v view) []said {
	out := []said{v.compiled("no credential is asked for longer than its task")}
	switch {
	case v.settings.TokenLife <= 0:
		out = append(out, unseen("the server does not say how long its tokens live"))
	case v.settings.TokenLife > 3600:
		out = append(out, weak(nil, "as the server says: tokens live %s", seconds(v.settings.TokenLife)))
	default:
		out = append(out, good(nil, "as the server says: tokens live %s, certificates %s", seconds(v.settings.TokenLife), seconds(v.settings.SVIDLife)))
	}
	return out
}

func confinement(v view) []said {
	confined, home, none := v.entriesOf("instances.confined"), v.entriesOf("instances.home"), v.entriesOf("instances.unconfined")
	var out []said
	if len(confined) > 0 {
		out = append(out, good(confined, "%s in a sandbox, under another user or on another host", some(len(confined), "instance ran", "instances ran")))
	}
	if len(home) > 0 {
		out = append(out, weak(home, "%s with credential files hidden, and nothing else", some(len(home), "instance ran", "instances ran")))
	}
	if len(none) > 0 {
		out = append(out, absent(none, "%s unconfined: their command could reach its person's keys", some(len(none), "instance ran", "instances ran")))
	}
	if len(out) == 0 {
		return []said{unseen("no instance of a person's was started in this period")}
	}
	return out
}

func budgets(v view) []said {
	out := []said{v.compiled("a task has at most so many decisions and open holds")}
	var asks []remit.EntryIndex
	each(v.world.groups, func(_ string, g at[remit.GroupDeclared]) {
		if g.said.Asks.Most > 0 {
			asks = append(asks, g.entry)
		}
	})
	if len(asks) == 0 {
		return append(out, weak(nil, "no group has a bound on how often it is asked"))
	}
	return append(out, good(asks, "%s a bound on how often it is asked", some(len(asks), "group has", "groups have")))
}

func revocation(v view) []said {
	out := []said{v.compiled("what was revoked before it is redeemed is never sent")}
	if late := v.entriesOf("outcomes.late"); len(late) > 0 {
		out = append(out, weak(late, "%s on its way when its authority ended", some(len(late), "act was", "acts were")))
	}
	return out
}

func verifiable(v view) []said {
	out := []said{good([]remit.EntryIndex{0}, "the log %s is a Merkle tree with a signed head", v.world.genesis.Origin)}
	if v.settings.SecondHead {
		out = append(out, good(nil, "as the server says: its head is kept a second time, outside the server's own directory"))
	} else {
		out = append(out, weak(nil, "its head is kept a second time only in the server's own directory, and no witness signs it: who keeps checkpoints elsewhere notices a fork, and nobody else"))
	}
	if len(v.world.forks) > 0 {
		out = append(out, weak(v.world.forks, "the log went on from a backup of itself, and what came after that backup is lost"))
	}
	return out
}

func detections(v view) []said {
	var acts []remit.EntryIndex
	each(v.world.detects, func(_ string, d at[remit.DetectionDeclared]) {
		if d.said.Suspend {
			acts = append(acts, d.entry)
		}
	})
	if len(acts) == 0 {
		return []said{weak(nil, "findings are recorded, and none suspends an agent by itself")}
	}
	return []said{good(acts, "%s the agent that it finds", some(len(acts), "detection suspends", "detections suspend"))}
}

func taints(v view) []said {
	var marked []remit.EntryIndex
	each(v.world.tools, func(_ string, t at[remit.ToolDeclared]) {
		if len(t.said.Taints) > 0 {
			marked = append(marked, t.entry)
		}
	})
	out := []said{v.compiled("answers with texts of issues and reviews mark the task that read them")}
	if len(v.world.tools) > 0 && len(marked) == 0 {
		return append(out, weak(nil, "tools are declared, and none says that its answers are untrusted"))
	}
	if len(marked) > 0 {
		out = append(out, good(marked, "%s that its answers are untrusted", some(len(marked), "tool says", "tools say")))
	}
	return out
}

func breakGlass(v view) []said {
	var declared, waiting, overdue, wrong []remit.EntryIndex
	each(v.world.glass, func(_ string, g at[remit.BreakGlassDeclared]) { declared = append(declared, g.entry) })
	for _, o := range v.world.opened {
		switch {
		case o.wrong:
			wrong = append(wrong, o.entry)
		case o.reviewed:
		case o.due <= v.until.UnixNano():
			overdue = append(overdue, o.entry)
		default:
			waiting = append(waiting, o.entry)
		}
	}
	if len(declared)+len(v.world.opened) == 0 {
		return []said{unseen("no break-glass is declared: nothing passes people")}
	}
	var out []said
	if len(declared) > 0 {
		out = append(out, good(declared, "%s declared, with who opens it, for how long, and who reviews it", some(len(declared), "way is", "ways are")))
	}
	if len(overdue) > 0 {
		out = append(out, absent(overdue, "%s overdue, and none can be opened until then", some(len(overdue), "review is", "reviews are")))
	}
	if len(waiting) > 0 {
		out = append(out, weak(waiting, "%s not reviewed yet, and not overdue", some(len(waiting), "opening is", "openings are")))
	}
	if len(wrong) > 0 {
		out = append(out, weak(wrong, "%s found wrong by who reviewed it", some(len(wrong), "opening was", "openings were")))
	}
	return out
}

// scans looks at the last scan of each declared upstream that was done in the period.
func scans(v view) (out []said) {
	done := v.entriesOf("scans.done")
	if len(done) == 0 {
		return []said{absent(nil, "no upstream was scanned in this period: what authority there is around Remit is not known")}
	}
	var clean, found, blind []remit.EntryIndex
	var never []string
	each(v.world.ups, func(name string, _ at[remit.UpstreamDeclared]) {
		last := v.world.scanned[name]
		if !last.there || !slices.Contains(done, last.entry) {
			never = append(never, name)
			return
		}
		if last.said.Errors+last.said.Warnings > 0 {
			found = append(found, last.entry)
		}
		if last.said.Unseen > 0 {
			blind = append(blind, last.entry)
		}
		if last.said.Errors+last.said.Warnings+last.said.Unseen == 0 {
			clean = append(clean, last.entry)
		}
	})
	if len(clean) > 0 {
		out = append(out, good(clean, "the last scan of %s saw everything and found nothing wrong", some(len(clean), "upstream", "upstreams")))
	}
	if len(found) > 0 {
		out = append(out, weak(found, "the last scan of %s found authority outside Remit that is wrong", some(len(found), "upstream", "upstreams")))
	}
	if len(blind) > 0 {
		out = append(out, weak(blind, "the last scan of %s could not see everything", some(len(blind), "upstream", "upstreams")))
	}
	if len(never) > 0 {
		out = append(out, absent(nil, "%s: not scanned in this period", names(never)))
	}
	return out
}

func source(v view) (out []said) {
	var repos, guarded []remit.EntryIndex
	var loose []string
	each(v.world.repos, func(name string, r at[remit.RepositoryDeclared]) {
		if repos = append(repos, r.entry); r.said.Reviews > 0 {
			guarded = append(guarded, r.entry)
		} else {
			loose = append(loose, name)
		}
	})
	if len(repos) == 0 {
		return []said{unseen("no repository is declared")}
	}
	out = append(out, good(repos, "%s recorded push by push", some(len(repos), "repository is", "repositories are")))
	if len(loose) > 0 {
		out = append(out, weak(repos, "%s: a merge needs no verdict of a reviewing agent", names(loose)))
	} else {
		out = append(out, good(guarded, "every repository asks for verdicts before a merge"))
	}
	if moved := v.entriesOf("findings.refs"); len(moved) > 0 {
		out = append(out, weak(moved, "refs moved around Remit, and nothing is known of who moved them"))
	}
	if rewritten := v.entriesOf("source.rewritten"); len(rewritten) > 0 {
		out = append(out, weak(rewritten, "%s allowed that is no fast-forward", some(len(rewritten), "change of refs was", "changes of refs were")))
	}
	return out
}

func release(v view) (out []said) {
	var asks, none []remit.EntryIndex
	var who []string
	each(v.world.envs, func(name string, e at[remit.EnvironmentDeclared]) {
		if len(e.said.Evidence) > 0 {
			asks = append(asks, e.entry)
		} else {
			none, who = append(none, e.entry), append(who, name)
		}
	})
	if len(asks)+len(none) == 0 {
		return []said{unseen("no environment is declared")}
	}
	if len(asks) > 0 {
		out = append(out, good(asks, "%s evidence of what is deployed", some(len(asks), "environment requires", "environments require")))
	}
	if len(none) > 0 {
		out = append(out, absent(none, "%s: no evidence is required", names(who)))
	}
	return out
}

func jobs(v view) []said {
	var bound []remit.EntryIndex
	for _, a := range v.world.active() {
		if len(a.said.Jobs) > 0 {
			bound = append(bound, a.entry)
		}
	}
	if len(bound) == 0 {
		return []said{unseen("no CI job is declared as an agent")}
	}
	return []said{good(bound, "%s bound to CI jobs by the repository's immutable id and the workflow's file", some(len(bound), "agent is", "agents are"))}
}

func delegation(v view) []said {
	return []said{v.compiled("a child task rests on immutable names, and its grant comes of its own agent's entitlement")}
}

func notification(v view) []said {
	if !v.world.notify.there {
		return []said{absent(nil, "no channel is declared by which people are told")}
	}
	return []said{good([]remit.EntryIndex{v.world.notify.entry}, "channels are declared")}
}

func dependencies(v view) []said {
	out := []said{v.compiled("what a change means for dependencies, workflows and owners is a fact that a policy sees")}
	if v.world.policy.said.By == "" {
		return append(out, weak(nil, "nobody here has written a policy that says what follows"))
	}
	return out
}
