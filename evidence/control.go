// Package evidence says what the log has of controls: for each item of a published framework which control of Remit
// answers it, how that stands, its figures over a period, and what is not covered. It is a pure fold over the entries of
// a log, so that whoever has the log can do it again and compare.
//
// To find how something is said, read in this order: control.go (what there is to say), fold.go (what is counted),
// state.go (how a control stands), report.go. The maps are data: frameworks/*.yaml.
package evidence

import "slices"

// control is one thing that Remit does, as it is claimed and as it can be seen.
type control struct {
	name  string
	title string
	claim string
	// state says how it stands, reason by reason; figures are what the log has of it in the period.
	state   func(view) []said
	figures []spec
}

// ControlNames lists all controls, sorted.
func ControlNames() []string {
	var names []string
	for _, c := range controls {
		names = append(names, c.name)
	}
	slices.Sort(names)
	return names
}

func find(name string) (control, bool) {
	i := slices.IndexFunc(controls, func(c control) bool { return c.name == name })
	if i < 0 {
		return control{}, false
	}
	return controls[i], true
}

var (
	decision = []string{"decision"}
	started  = []string{"instance.started"}
	findings = []string{"finding.recorded"}
	moves    = []string{"access.moved"}
	outcomes = []string{"attempt.recorded"}
	leased   = []string{"lease.moved"}
	votes    = []string{"vote.cast"}
	ended    = []string{"task.ended"}
)

// controls are all there are. A name never changes its meaning: maps and packs elsewhere rest on it.
var controls = []control{
	{"agent-registry", "Register of agents", "Every agent is declared, with one function, an owner who is a person, and the day on which it ends.", registry, []spec{
		{"agents.declared", "declarations of agents, new or changed", number, []string{"agent.declared"}},
		{"agents.suspended", "agents suspended", number, []string{"agent.changed"}},
		{"agents.retired", "agents retired for good", number, []string{"agent.changed"}},
		{"findings.unused", "findings of broad grants that nobody uses", number, findings},
	}},
	{"instance-identity", "An identity for each run", "Each run of an agent is an instance of its own, with a secret, tokens and a certificate that live for minutes and end with it.", identities, []spec{
		{"instances.started", "instances started", number, started},
		{"instances.jobs", "of them, CI jobs that proved themselves by their token", number, started},
		{"instances.ended", "instances ended", number, []string{"instance.ended"}},
		{"instances.lost", "of them, lost: their launcher was not heard of", number, []string{"instance.ended"}},
		{"findings.twice", "findings of one task at work on two hosts", number, findings},
	}},
	{"task-intent", "Tasks with an intent", "Work is a task: who asked, in what words, for which agent, until when. What goes beyond what the words were said to mean waits for a person.", intents, []spec{
		{"tasks.created", "tasks", number, []string{"task.created"}},
		{"intent.outside", "decisions that a step lies outside what the task was described to do", number, decision},
	}},
	{"task-grants", "Authority for one task", "Authority is cut to a task, and ends with it.", grants, []spec{
		{"tasks.created", "tasks", number, []string{"task.created"}},
		{"tasks.ended", "tasks ended", number, ended},
		{"tasks.allowed/longest", "the longest time that a task was given", longest, []string{"task.created"}},
		{"tasks.lived/median", "how long a task lived, in the middle", median, ended},
		{"denials.scope", "denials of what a task's grant does not cover", number, decision},
		{"denials.ended", "denials because a task, an agent or a person had ended", number, decision},
	}},
	{"zone-separation", "No identity spans two zones", "Source, build, production and control are zones of their own; no agent, grant, instance or credential spans two, and nobody approves what they caused.", zones, []spec{
		{"denials.boundary", "denials at a zone or a declared boundary", number, decision},
		{"denials.separation", "denials because whoever caused it would also decide it", number, decision},
		{"denials.nobody", "denials because nobody who has no part in it may approve", number, decision},
	}},
	{"decision-point", "A decision before every step", "Nothing leaves for an upstream before a decision on it is durable; what is not known is denied.", decisions, []spec{
		{"decisions.allowed", "steps allowed", number, decision},
		{"decisions.held", "held for people", number, decision},
		{"decisions.denied", "denied", number, decision},
		{"denials.repeated", "records of denials that were repeated", number, []string{"denial.repeated"}},
		{"denials.unknown", "denials of what nothing is known of", number, decision},
		{"outcomes.done", "acts carried out", number, outcomes},
		{"outcomes.ambiguous", "acts of which nobody can tell whether they were carried out", number, outcomes},
	}},
	{"policy-bundle", "Policy as reviewed code", "A bundle of rules narrows what the compiled rules allow; each decision names its digest, and a change that widens waits for a second administrator.", policies, []spec{
		{"policies.installed", "bundles put in force", number, []string{"policy.installed"}},
		{"policy.denied", "denials by a rule of the policy", number, decision},
		{"policy.held", "holds by a rule of the policy", number, decision},
		{"policy.observed", "decisions in which a rule on trial would have said more", number, decision},
		{"policy.failed", "denials because the policy failed", number, decision},
	}},
	{"policy-trials", "Policies tried on the past", "A policy is tried on what was recorded before it is put in force.", trials, []spec{
		{"policy.tried", "trials recorded", number, []string{"policy.tried"}},
		{"trials.differed", "of them, those in which something would have been decided otherwise", number, []string{"policy.tried"}},
		{"trials.allowed", "of them, those in which something would have been allowed that was not", number, []string{"policy.tried"}},
		{"policies.installed", "bundles put in force", number, []string{"policy.installed"}},
		{"policies.tried", "of them, those of which the log had a trial before", number, []string{"policy.installed"}},
		{"policies.untried", "of them, those of which it had none", number, []string{"policy.installed"}},
	}},
	{"dual-control", "Changes of authority need two", "What widens authority waits for a second administrator.", dual, []spec{
		{"declarations.applied", "sets of declarations put in force", number, []string{"control.applied"}},
		{"declarations.approved", "of them, those that a second person approved", number, []string{"control.applied"}},
		{"keys.enrolled", "keys of people enrolled", number, []string{"key.enrolled"}},
		{"keys.removed", "keys of people taken away", number, []string{"key.removed"}},
	}},
	{"production-approval", "People decide on production", "A step that changes an environment of production waits for the people whom the environment names, or for the evidence that it names instead.", production, []spec{
		{"production.held", "steps on production held for people", number, decision},
		{"production.approved", "allowed after people approved", number, decision},
		{"production.unasked", "allowed without that anybody was asked", number, decision},
		{"production.denied", "denied", number, decision},
	}},
	{"approvals", "People approve what will happen", "An approval binds the exact effect and is good once; the card is made of what was observed, not of what an agent says.", approvals, []spec{
		{"approvals.asked", "requests to people", number, []string{"access.opened"}},
		{"approvals.met", "requests that enough people approved", number, moves},
		{"approvals.time/median", "how long people took to approve, in the middle", median, moves},
		{"approvals.vetoed", "requests that somebody refused", number, moves},
		{"approvals.expired", "requests that nobody decided in time", number, moves},
		{"approvals.stale", "approvals that fell because what would happen had changed", number, moves},
		{"approvals.seen", "times that a person had the card before them", number, []string{"access.seen"}},
		{"approvals.stood", "decisions in which declared evidence stood in for people", number, decision},
	}},
	{"vote-assurance", "Votes prove a person", "A vote is signed with a key that only its person has; in production with one that a touch releases.", assurance, []spec{
		{"votes.approve", "votes to approve", number, votes},
		{"votes.refuse", "votes to refuse", number, votes},
		{"votes.touch", "votes by a key that a touch releases", number, votes},
		{"votes.software", "votes by a key in a file", number, votes},
		{"votes.self", "votes of the requester after a delay (profile solo)", number, votes},
		{"votes.none", "votes that a program may have cast (profile demo)", number, votes},
		{"votes.signed-in", "votes with a record of how the person was signed in", number, votes},
	}},
	{"path-protection", "What runs by itself is protected", "A change of workflow files, protected paths or what a pipeline with secrets runs waits for people; what a push sets off is judged as if it had been asked for.", paths, []spec{
		{"holds.paths", "holds because a protected path is changed", number, decision},
		{"holds.effects", "holds because of what a push or merge would set off", number, decision},
		{"source.refused", "denials of malformed or misleading pushes", number, decision},
	}},
	{"gateways", "All ways lead through a gateway", "Code, registries, clusters, secrets and tools are reached through gateways that see each request.", gateways, []spec{
		{"decisions.allowed", "steps allowed", number, decision},
		{"findings.refs", "findings of refs that moved around Remit", number, findings},
	}},
	{"tool-admission", "Tools are admitted and pinned", "A tool is declared with what it does, and pinned to the definition that was reviewed; one that changed is denied.", tools, []spec{
		{"tools.declared", "declarations of tools, new or changed", number, []string{"tool.declared"}},
		{"tools.called", "decisions on calls of tools", number, decision},
		{"tools.drifted", "denials because a tool's definition is not the one that was admitted", number, decision},
		{"tools.misjudged", "denials because a call could not be understood", number, decision},
	}},
	{"credential-brokering", "Credentials stay with Remit", "An agent never holds a credential of an upstream: it is made or taken for one act and used by a gateway.", brokering, []spec{
		{"leases.opened", "credentials made for one task", number, []string{"lease.intended"}},
		{"leases.quarantined", "credentials that gave more than was asked for, and were never used", number, leased},
		{"secrets.used", "decisions on uses of secrets", number, decision},
		{"instances.ungoverned", "instances to which a person handed a credential past Remit", number, started},
	}},
	{"credential-end", "Credentials are seen dead", "A credential ends with its task, and has ended only when a probe saw it refused or its own end has passed.", deaths, []spec{
		{"leases.revoked", "credentials seen dead by a probe", number, leased},
		{"leases.expired", "credentials that ended by their own end", number, leased},
		{"leases.abandoned", "credentials that two people gave up", number, leased},
		{"leases.time/median", "from the beginning of an end to being seen dead, in the middle", median, leased},
		{"leases.time/longest", "the longest time of that", longest, leased},
	}},
	{"short-lived", "Nothing lives long", "Tokens live for minutes, certificates for an hour at most, credentials no longer than their task.", lifetimes, []spec{
		{"leases.asked/longest", "the longest life that was asked of a credential", longest, []string{"lease.intended"}},
		{"leases.asked/median", "the same, in the middle", median, []string{"lease.intended"}},
		{"tasks.allowed/longest", "the longest time that a task was given", longest, []string{"task.created"}},
	}},
	{"confinement", "Agents run confined", "An agent's command runs where it cannot reach its person's keys.", confinement, []spec{
		{"instances.confined", "instances in a sandbox, under another user or on another host", number, started},
		{"instances.home", "instances with credential files hidden, and nothing else", number, started},
		{"instances.unconfined", "instances with nothing between them and their person's keys", number, started},
		{"instances.ungoverned", "instances to which a person handed a credential past Remit", number, started},
	}},
	{"budgets", "Budgets and limits", "Decisions, open holds and bytes of a task are limited, and so is how often people are asked.", budgets, []spec{
		{"denials.budget", "denials because a limit was reached", number, decision},
		{"tasks.budgeted", "tasks with a budget of their own", number, []string{"task.created"}},
	}},
	{"revocation", "Authority ends at once", "A task, an agent or a person is ended in one act, also when the log cannot be written; what is on its way is cut.", revocation, []spec{
		{"tasks.killed", "tasks killed", number, ended},
		{"people.killed", "people whose authority was ended", number, []string{"person.killed"}},
		{"agents.suspended", "agents suspended", number, []string{"agent.changed"}},
		{"upstreams.contained", "upstreams contained", number, []string{"upstream.contained"}},
		{"denials.ended", "denials because a task, an agent or a person had ended", number, decision},
		{"denials.contained", "denials at a contained upstream", number, decision},
		{"outcomes.late", "acts that were on their way when their authority ended", number, outcomes},
		{"leases.time/longest", "the longest time until a credential was seen dead", longest, leased},
	}},
	{"verifiable-log", "A log that anyone can verify", "All decisions stand in one Merkle tree whose head is signed; an outsider verifies it offline and derives every decision again.", verifiable, []spec{
		{"log.entries", "entries of the period", number, nil},
		{"log.erasures", "erasures of payloads", number, []string{"payloads.erased"}},
		{"log.forks", "times that the log went on from a backup of itself", number, []string{"log.forked"}},
		{"log.lost", "places of entries that may have been lost", number, []string{"entry.lost"}},
		{"log.clock", "times that an administrator confirmed the clock", number, []string{"clock.confirmed"}},
	}},
	{"detections", "Detections over the log", "The log is searched for what no single decision shows: bursts of denials, probing, two hosts at once, odd hours, refs that moved outside, broad grants that nobody uses.", detections, []spec{
		{"findings", "findings", number, findings},
		{"findings.suspended", "findings on which the agent was suspended", number, findings},
		{"findings.hours", "findings of work at hours when its people never work", number, findings},
		{"findings.twice", "findings of one task at work on two hosts", number, findings},
	}},
	{"untrusted-input", "Untrusted input is marked", "What comes in with answers of tools, issues and reviews is a label of the task from then on, and a policy can ask for people because of it.", taints, []spec{
		{"inputs.tainted", "acts whose answer brought in untrusted input", number, []string{"permit.redeemed"}},
		{"policy.held", "holds by a rule of the policy", number, decision},
	}},
	{"break-glass", "Break-glass is reviewed", "What is done past people in an emergency is declared, signed for, short, marked, and reviewed by somebody who had no part in it.", breakGlass, []spec{
		{"glass.opened", "times that break-glass was opened", number, []string{"break-glass.opened"}},
		{"glass.passed", "decisions that passed under it", number, decision},
		{"glass.reviewed", "reviews of it", number, []string{"break-glass.reviewed"}},
		{"glass.wrong", "reviews that found it wrong", number, []string{"break-glass.reviewed"}},
	}},
	{"entitlement-review", "Entitlements are reviewed", "Owners certify what agents may do, on a cadence; what nobody certifies is removed.", reviews, []spec{
		{"reviews.campaigns", "campaigns begun", number, []string{"campaign.opened"}},
		{"reviews.closed", "campaigns of which every item has ended", number, []string{"campaign.closed"}},
		{"reviews.items", "items to certify", number, []string{"review.opened"}},
		{"reviews.caused", "of them, those that no campaign opened but an event, such as an owner who left", number, []string{"review.opened"}},
		{"reviews.answered", "answers", number, []string{"review.answered"}},
		{"reviews.certified", "of them, those that kept what the agent has", number, []string{"review.answered"}},
		{"reviews.self", "of them, those of whoever gave it to their own agent (profile solo)", number, []string{"review.answered"}},
		{"reviews.canaries", "answers to what nobody ever had (canaries)", number, []string{"review.answered"}},
		{"reviews.fooled", "answers that kept what nobody ever had (canaries)", number, []string{"review.answered"}},
		{"reviews.removed", "entitlements removed or shrunk", number, []string{"review.removed"}},
		{"reviews.shrunk", "of them, those cut down to what was used", number, []string{"review.removed"}},
		{"reviews.lapsed", "of them, those that nobody certified", number, []string{"review.removed"}},
		{"reviews.regranted", "given back afterwards", number, []string{"review.regranted"}},
		{"findings.unused", "findings of broad grants that nobody uses", number, findings},
	}},
	{"unused-agents", "Unused agents end", "An agent that nobody uses is suspended, and then retired.", unused, []spec{
		{"instances.started", "instances started", number, started},
		{"agents.suspended", "agents suspended", number, []string{"agent.changed"}},
		{"agents.retired", "agents retired for good", number, []string{"agent.changed"}},
		{"agents.idle-suspended", "agents that suspended themselves because nobody used them", number, []string{"agent.changed"}},
		{"agents.idle-retired", "agents that retired for the same reason", number, []string{"agent.changed"}},
		{"agents.resumed", "agents that came back", number, []string{"agent.changed"}},
		{"agents.revived", "of them, those that had suspended or retired themselves", number, []string{"agent.changed"}},
		{"reviews.unused", "items to certify because nobody used an entitlement", number, []string{"review.opened"}},
	}},
	{"authority-scan", "Authority outside Remit is looked for", "Upstreams are scanned for tokens, keys, apps and bypasses that Remit did not make.", scans, []spec{
		{"scans.done", "scans of upstreams", number, []string{"upstream.scanned"}},
		{"scans.found", "of them, those that found something wrong", number, []string{"upstream.scanned"}},
		{"scans.blind", "of them, those that could not see everything", number, []string{"upstream.scanned"}},
		{"findings.refs", "findings of refs that moved around Remit", number, findings},
	}},
	{"source-record", "The origin of every change is known", "Each push and merge is recorded with who asked, which agent, on which commit, and who approved; history is not rewritten without a decision.", source, []spec{
		{"source.pushed", "pushes carried out", number, outcomes},
		{"source.merged", "merges carried out", number, outcomes},
		{"source.unreviewed", "merges denied because a review was missing", number, decision},
		{"source.rewritten", "allowed changes of refs that were no fast-forward", number, decision},
		{"findings.refs", "findings of refs that moved around Remit", number, findings},
	}},
	{"release-evidence", "Evidence before a release", "What is deployed is named by digest, and the log itself shows that it was built, merged and deployed before, as its environment requires.", release, []spec{
		{"releases.done", "releases carried out", number, outcomes},
		{"releases.returned", "of them, those that went back to what was good before", number, outcomes},
		{"releases.lacking", "denials because evidence or a way back was missing", number, decision},
	}},
	{"ci-identity", "CI jobs prove which job they are", "A CI job is an agent only by its token: exact audience, immutable id of the repository, the workflow's file.", jobs, []spec{
		{"instances.jobs", "CI jobs that became instances", number, started},
	}},
	{"delegation", "Work is handed on, narrower", "Work for another agent is a child task: asked for in a decision of its own, on immutable inputs, never wider than its agent's entitlement.", delegation, []spec{
		{"tasks.delegated", "child tasks", number, []string{"task.created"}},
		{"denials.boundary", "denials at a zone or a declared boundary", number, decision},
	}},
	{"notification", "People are told", "Channels tell people of what waits for them and of what was found.", notification, []spec{
		{"approvals.asked", "requests to people", number, []string{"access.opened"}},
		{"approvals.seen", "times that a person had the card before them", number, []string{"access.seen"}},
	}},
	{"dependency-changes", "Changes of dependencies are seen", "Gateways read lock files, workflows and owners in each change, and a policy can deny or hold for what they find.", dependencies, []spec{
		{"policy.denied", "denials by a rule of the policy", number, decision},
		{"policy.held", "holds by a rule of the policy", number, decision},
	}},
}
