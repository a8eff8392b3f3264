package server

import (
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/server/internal/openapi"
)

// table is the API. Each line says who may call and what it takes and gives; the mux, the body limits, the checks of who
// calls and the OpenAPI document are all made from it.
func table() []route {
	return []route{
		get("/v1/health", anyone, "Whether the server decides", health),
		streaming(http.MethodGet, "/v1/openapi.json", anyone, "This document", "application/json", document),
		get(org, anyone, "What a client needs before anybody has signed in", orgInfo),
		post(org+"/sign-in/challenge", anyone, "A text to sign", challenge).inPerson(),
		post(org+"/sign-in/session", anyone, "A session for a signed text", signIn).inPerson(),
		post(org+"/sign-in/passkey", anyone, "A session in a cookie for a text that a passkey signed", passkeySignIn).inPerson(),
		post(org+"/sign-in/hand-over", anyone, "A link by which the browser of who signed a text is signed in, once", handOver).inPerson(),
		post(org+"/sign-in/hand-over/look", anyone, "Whom such a link signs in", lookHandOver).inPerson(),
		post(org+"/sign-in/hand-over/accept", anyone, "A session in a cookie for such a link", takeHandOver).inPerson(),
		get(org+"/sign-in/providers", anyone, "The OpenID providers at which people sign in", listProviders),
		streaming(http.MethodGet, org+"/sign-in/providers/{name}/begin", anyone, "Sends a browser to its provider", "text/html", beginProvider).inPerson().
			asking(openapi.Param{Name: "return", Meaning: "the page of /console/ to see afterwards"}, openapi.Param{Name: "fresh", Meaning: "true: the person proves themselves now"}),
		streaming(http.MethodGet, org+"/sign-in/providers/{name}/callback", anyone, "Where a provider sends a browser back to (OpenID Connect Core §3.1.2.5)", "text/html", finishProvider).inPerson().
			asking(openapi.Param{Name: "code", Meaning: "RFC 6749 §4.1.2"}, openapi.Param{Name: "state", Meaning: "RFC 6749 §4.1.2"}, openapi.Param{Name: "iss", Meaning: "RFC 9207"}),
		get(org+"/session", person, "Whose session this is", whoAmI),
		post(org+"/session/end", person, "Sign out", endSession),
		streaming(http.MethodPost, org+"/oauth/device", anyone, "Device authorization (RFC 8628): a code for a terminal, in a form", "application/json", askDevice).inPerson(),
		get(org+"/device/{code}", person, "The terminal that shows a code", lookDevice),
		post(org+"/device/{code}/confirm", person, "Let the terminal in that shows a code", answerDevice(true)).inPerson().freshly(),
		post(org+"/device/{code}/deny", person, "Do not let it in", answerDevice(false)).inPerson(),

		get(org+"/declarations", person, "The declarations in force", declarations),
		post(org+"/declarations", person, "Put declarations in force, or with dry_run say what would change", apply).inPerson().freshly().once(),
		post(org+"/keys/confirm", person, "Confirm a new key of one's own with an older one", confirmKey).inPerson().freshly().once(),
		get(org+"/keys", person, "One's own keys", listKeys).asking(openapi.Param{Name: "person", Meaning: "another person's, for administrators"}),
		post(org+"/keys/options", person, "What a browser makes a further passkey with", keyOptions).inPerson().freshly(),
		post(org+"/keys/statement", person, "What a new key and an older one sign, to enrol it", enrolStatement).inPerson().freshly(),
		post(org+"/keys", person, "Enrol a further key of one's own, which an older one confirms", enrolKey).inPerson().freshly().once(),
		post(org+"/keys/remove", person, "Take an enrolled key away", removeKey).inPerson().once(),
		post(org+"/invitations", admin, "Invite a person who has no key to enrol one; the secret is shown once", invite).inPerson().freshly().once(),
		post(org+"/invitations/withdraw", admin, "Make an invitation good for nothing", withdrawInvitation).inPerson().once(),
		post(org+"/invitations/open", anyone, "Whom an invitation is for, and what a browser makes a passkey with", openInvitation).inPerson(),
		post(org+"/invitations/statement", anyone, "What a first key signs, to be enrolled", enrolStatement).inPerson(),
		post(org+"/invitations/enrol", anyone, "Enrol the first key of whom an invitation is for", enrolKey).inPerson(),
		post(org+"/drain", admin, "Begin nothing new, so that the server can be stopped; or go on; and how far that is", drain).inPerson(),
		post(org+"/erase", admin, "Erase payloads for good; a second administrator decides, where there is one", erase).inPerson().freshly().once(),
		post(org+"/clock/confirm", admin, "Say that the clock is right after it jumped", confirmClock).inPerson().freshly(),

		get(org+"/tasks", person, "Tasks, newest first, at most 500", listTasks).asking(openapi.Param{Name: "all", Meaning: "true: also those that have ended"}),
		post(org+"/tasks", person, "Request work", createTask).inPerson().once(),
		get(org+"/tasks/{id}", either, "One task", oneTask),
		post(org+"/tasks/{id}/complete", either, "End a task whose work is done", endTask(remit.TaskCompleted)).once(),
		post(org+"/tasks/{id}/cancel", person, "End a task whose work is not wanted any more", endTask(remit.TaskCancelled)).once(),
		get(org+"/tasks/{id}/plan", either, "The plan of a task: its steps, how often each was used, and what was used of earlier ones", onePlan),
		post(org+"/tasks/{id}/plan/withdraw", either, "Take back what is left of the plan of a task, at once", withdrawPlan),
		get(org+"/tasks/{id}/trace", person, "The story of a task from intent to outcome", trace),
		get(org+"/break-glass", person, "Break-glass that was opened, newest first, at most 500: what passed under it, and who reviewed it", listGlass),
		post(org+"/break-glass", person, "Open declared break-glass for a task, by a signed statement", openGlass).inPerson().once(),
		post(org+"/break-glass/{id}/review", person, "Review what was done under break-glass, by a signed statement", reviewGlass).inPerson().once(),
		post(org+"/kill", person, "End a task's, an agent's or a person's authority at once", kill),

		get(org+"/inventory", person, "What there is, who answers for it and its last use; first what nobody answers for", inventory).asking(inventoryParams...),
		get(org+"/rightsize", person, "The smallest declarations that would have covered what agents did, and what they would have refused before", rightsize).asking(rightsizeParams...),
		get(org+"/agents", person, "The registered agents", listAgents),
		get(org+"/agents/{name}", person, "One agent", oneAgent),
		get(org+"/agents/{name}/use", person, "What an agent may do against what it did", agentUse),
		post(org+"/agents/{name}/suspend", person, "Suspend an agent", changeAgent(remit.AgentSuspended)).inPerson().once(),
		post(org+"/agents/{name}/resume", person, "Resume a suspended agent", changeAgent(remit.AgentActive)).inPerson().freshly().once(),
		post(org+"/agents/{name}/retire", person, "Retire an agent for good", changeAgent(remit.AgentRetired)).inPerson().once(),
		post(org+"/agents/{name}/revive", person, "Bring back an agent that suspended or retired itself because nobody used it", revive).inPerson().freshly().once(),

		get(org+"/review-items", person, "What waits to be reviewed, with the evidence, what the caller may answer first, at most 500", listItems).
			asking(openapi.Param{Name: "all", Meaning: "true: also the items of the last 90 days that have ended"}),
		get(org+"/review-items/{id}", person, "One item of a review", oneItem),
		post(org+"/review-items/answers", person, "Keep, shrink or remove what is reviewed, by a signed statement on up to 200 items", certify).inPerson().once(),
		post(org+"/review-items/{id}/regrant", person, "Give back what an item took away", regrant).inPerson().freshly().once(),
		get(org+"/campaigns", person, "The campaigns by which what agents may do is reviewed, with their runs", listCampaigns),
		post(org+"/campaigns/{name}/open", admin, "Open a run of a campaign before its time", openRun).inPerson().once(),
		get(org+"/campaign-runs/{id}", person, "The report on one run of a campaign, item by item", oneRun),

		get(org+"/leases", person, "The upstream credentials that have not ended, and the debt and exposure of those that should have", listLeases).
			asking(openapi.Param{Name: "all", Meaning: "true: also those that have ended"}),
		get(org+"/leases/{id}/receipt", person, "How a lease ended: asked when, how, seen dead when and by which probe", leaseReceipt),
		post(org+"/leases/{id}/abandon", admin, "Give up a lease that cannot be seen dead; a second administrator decides", abandonLease).inPerson().freshly().once(),

		post(org+"/upstreams/{name}/contain", admin, "End all that Remit made at an upstream and keep everything from it, or lift that", containUpstream).inPerson(),

		post(org+"/upstreams/{name}/scan", admin, "Look, read-only, for authority outside Remit at an upstream, and keep what was found; it takes up to 45 seconds", scanUpstream).inPerson(),
		get(org+"/upstreams/{name}/scan", admin, "What the last look at an upstream found, and what could not be seen", lastScan),

		get(org+"/environments", person, "The environments: what is deployed, what waits, and what was there before", listEnvironments).asking(openapi.Param{Name: "name", Meaning: "only this one"}),

		get(org+"/artifacts", person, "The artifacts that were published through Remit, newest first, at most 500", listArtifacts).asking(nameParam),
		get(org+"/artifacts/{digest}", person, "One artifact: from what, by whom, at whose request, and where it was deployed", oneArtifact).asking(nameParam),
		streaming(http.MethodGet, org+"/artifacts/{digest}/provenance", person, "Its SLSA provenance, signed: an in-toto statement in a DSSE envelope",
			envelopeType, provenance).asking(nameParam),
		streaming(http.MethodGet, org+"/releases/{entry}/statement", person, "A change of an environment, signed: a verification summary, an in-toto statement in a DSSE envelope",
			envelopeType, signedRelease),
		get(org+"/reviews", person, "The verdicts of agents on changes that stand, newest first, at most 500", listReviews).
			asking(openapi.Param{Name: "repository", Meaning: "only of this one, UPSTREAM/PATH"}),
		get(org+"/reviews/{entry}", person, "The verdict that an entry of the log records, with what it is on", oneReview),
		streaming(http.MethodGet, org+"/reviews/{entry}/statement", person, "It signed: a simple verification result, an in-toto statement in a DSSE envelope",
			envelopeType, signedReview),

		get(org+"/source/revision", person, "A push or merge that Remit let through, and the level of the SLSA Source track that it justifies", sourceRevision).asking(sourceParams...),
		streaming(http.MethodGet, org+"/source/statement", person, "It signed: a verification summary of the Source track, an in-toto statement in a DSSE envelope",
			envelopeType, signedSource).asking(sourceParams...),

		get(org+"/secrets", person, "The declared secrets, without their values", listSecrets),
		post(org+"/secrets/put", person, "Put a secret's value into the sealed store", putSecret).inPerson().freshly(),
		post(org+"/secrets/remove", person, "Remove a secret's value", removeSecret).inPerson(),

		post(org+"/instances", person, "Start an instance; its secret is shown once", startInstance).inPerson().once(),
		streaming(http.MethodPost, org+"/oauth/token", anyone, "Token exchange (RFC 8693): the token of a CI job, in a form, with a DPoP proof, for an access token of an instance; or the code of a terminal (RFC 8628) for a person's session",
			"application/json", tokenEndpoint),
		get(org+"/.well-known/oauth-authorization-server", anyone, "What the token endpoint takes (RFC 8414)", metadata),
		get("/.well-known/oauth-authorization-server"+org, anyone, "The same, where RFC 8414 §3.1 looks for it", metadata),
		post(org+"/instances/{id}/token", instance, "A bearer token for one gateway", token),
		post(org+"/instances/{id}/svid", instance, "An X.509-SVID for the key of a certificate request", svid),
		streaming(http.MethodPost, org+"/instances/{id}/hold", instance,
			"The connection that an instance lives by: send a line every 5 s; the last line of the answer says why the instance has ended",
			"application/x-ndjson", hold),
		post(org+"/instances/{id}/end", instance, "The command has ended", endInstance).whenDying(),

		get(org+"/approvals", person, "Access requests, newest first, at most 200", listAccesses).asking(openapi.Param{Name: "all", Meaning: "true: also those that are settled"}),
		get(org+"/inbox", person, "A page of the access requests, for a list", inbox).
			asking(openapi.Param{Name: "show", Meaning: "mine: those that the caller may vote on; settled: those that do not wait any more"},
				openapi.Param{Name: "before", Meaning: "only those that were made before this entry: the cursor of the page before"}),
		get(org+"/approvals/{id}", either, "One card", oneAccess),
		get(org+"/approvals/{id}/wait", either, "One card once it is settled, or after half a minute as it is", waitAccess),
		post(org+"/approvals/{id}/seen", person, "Say that one has the card before one: escalation, and the time that people take, are counted from there", seen).inPerson(),
		post(org+"/approvals/{id}/votes", person, "Vote with a signed statement", vote).inPerson().once(),
		streaming(http.MethodGet, org+"/approvals/{id}/card", anyone, "A page that shows one card to whoever has its link", "text/html", cardPage).
			asking(openapi.Param{Name: "view", Meaning: "the token of the link"}),

		get(org+"/decisions/{entry}", either, "Why something was decided so", decision),
		get(org+"/log/checkpoint", anyone, "The signed head of the log", logHead),
		streaming(http.MethodGet, org+"/log/entries", person, "Entries of the log as JSON lines", "application/x-ndjson", logEntries).
			asking(openapi.Param{Name: "from", Meaning: "the first entry, counted from 0"}, openapi.Param{Name: "follow", Meaning: "true: wait for more"},
				openapi.Param{Name: "format", Meaning: "ocsf: as OCSF 1.8 events; cloudevents: as CloudEvents 1.0; intoto: as in-toto statements"}),
		get(org+"/log/search", person, "Entries of the log that have all the words, newest first", searchLog).
			asking(openapi.Param{Name: "q", Meaning: "words: a kind, an id, a declared name"}, openapi.Param{Name: "before", Meaning: "only entries before this one: the cursor of the page before"}),
		get(org+"/evidence/frameworks", person, "The frameworks of which evidence is shown", listFrameworks),
		get(org+"/evidence", person, "What the log has of the items of a framework in a period: controls, their states, figures and what is not covered", evidenceReport).asking(evidenceParams...),
		streaming(http.MethodGet, org+"/evidence/pack", person, "The same as a pack that is verified offline: with the proof of every entry that it lists, signed", "application/json", evidencePack).asking(evidenceParams...),
		get(org+"/gates", person, "How people decide at each gate, and how long they look", listGates),
		get(org+"/gates/people", person, "Who was asked how often in the last day", listAsked),
		get(org+"/notify", person, "How the channels do by which people are told", notifyStatus),
		post(org+"/notify/{name}/retry", admin, "Try the messages that are parked in a channel once more, or forget them", retryChannel).inPerson(),
		get(org+"/findings", person, "What the detections found in the log, newest first, at most 500", listFindings),
		streaming(http.MethodGet, tiles+"/checkpoint", anyone, "The signed head of the log, as C2SP tlog-tiles has it", "text/plain", signedHead),
		streaming(http.MethodGet, tiles+"/tile/{path...}", anyone, "A tile of hashes (C2SP tlog-tiles): LEVEL/NUMBER", "application/octet-stream", tile),
		streaming(http.MethodGet, tiles+"/tile/entries/{path...}", reader, "An entry bundle (C2SP tlog-tiles): NUMBER", "application/octet-stream", entryBundle),
		streaming(http.MethodGet, org+"/log/receipts/{entry}", either, "The proof that the log has an entry (C2SP tlog-proof)", "text/plain", receipt).
			asking(openapi.Param{Name: "bare", Meaning: "true: without the entry itself"}),
		streaming(http.MethodGet, org+"/log/bundle", admin, "The log as a bundle that can be verified offline", "application/octet-stream", bundle).freshly(),
		post(org+"/executors", admin, "Give the executor of a zone its first SVID", enrolExecutor).inPerson().freshly(),
		post(org+"/executor/svid", executor, "The next SVID of the calling executor", renewExecutor),
		post(org+"/executor/next", executor, "An approved order of the caller's zone, once there is one, or nothing after half a minute", nextOrder),
		post(org+"/executor/claim", executor, "Have an approved order judged again, and a permit for it", claimOrder),
		post(org+"/executor/redeem", executor, "Spend a permit: from here on the order is being carried out", redeemPermit),
		post(org+"/executor/lease", executor, "The upstream credential of an attempt, once", leaseSecret),
		post(org+"/executor/secret", executor, "A secret that the target of an attempt declares", useSecret),
		post(org+"/executor/revoked", executor, "Whether the authority of an attempt has ended, once it has, or after half a minute", revokedAttempt),
		post(org+"/executor/record", executor, "What came of an attempt", recordOutcome),
		post(org+"/executor/unfinished", executor, "The attempts of the caller without an outcome", unfinishedOrders),
		post(org+"/executor/environment", executor, "Where an environment is deployed", placeOf),
		get(org+"/admission-webhook", admin, "What a cluster needs to ask this server what it may run", admissionWebhook).asking(openapi.Param{Name: "environment", Meaning: "its name"}),

		get(org+"/policy", person, "The policy in force", policyInForce),
		post(org+"/policy/try", admin, "Judge past requests again under another policy, or other declarations", tryPolicy),
		get(org+"/policy/trials", person, "The newest trial of each change that was tried and written down, newest first", trials),
		get(org+"/policy/trials/{entry}", person, "What a trial showed, as it was written down", trialReport),
		get(org+"/paths", person, "Ways of an attacker from what they hold to what they are after, fewest approvals first", listPaths).asking(fromParam, toParam, limitParam, freeParam),
		get(org+"/paths/reach", person, "What whoever holds a node comes to hold: freely, after one approval, after more", reachOf).asking(nodeParam),
		get(org+"/paths/cut", person, "The fewest places where an approval cuts every free path, beside where approvals are", cutOf).asking(fromParam, toParam),
		get(org+"/paths/graph", person, "All nodes and edges that paths are made of", wholeGraph),
		post(org+"/paths/compare", person, "What declarations would add to the paths", comparePaths),
		post(org+"/workflows/plan", person, "What work that does not exist yet would meet: who plays each step, escalations, approvals, what is missing", planWorkflow),
	}
}

// sourceParams are what is asked of a revision.
var sourceParams = []openapi.Param{{Name: "repository", Meaning: "UPSTREAM/PATH"}, {Name: "commit", Meaning: "in full"}, {Name: "ref", Meaning: "in full; the only one to which it came, or the default branch"}}

// evidenceParams are what is asked of evidence.
var evidenceParams = []openapi.Param{{Name: "framework", Meaning: "its id"}, {Name: "since", Meaning: "RFC 3339; 90 days before until"}, {Name: "until", Meaning: "RFC 3339; now"}}

func (r route) whenDying() route { r.dying = true; return r }

func document(_ *Server, c *call) error {
	c.w.Header().Set("Content-Type", "application/json")
	if _, err := c.w.Write(OpenAPI()); err != nil {
		return errGone
	}
	return nil
}

// OpenAPI is the OpenAPI 3.1 document of the API.
func OpenAPI() []byte {
	var list []openapi.Route
	for _, r := range table() {
		d := openapi.Route{Method: r.method, Path: strings.ReplaceAll(r.path, "...}", "}"), Summary: r.summary, Query: r.query, In: r.in, Out: r.out, Content: r.content, Limit: r.limit, Keyed: r.keyed}
		switch r.auth {
		case person:
			d.Callers = []string{"person", "browser"}
		case reader:
			d.Callers, d.Notes = []string{"person", "browser"}, []string{"For anyone where the server makes its log public."}
		case admin:
			d.Callers, d.Notes = []string{"person", "browser"}, []string{"For administrators."}
		case instance:
			d.Callers = []string{"instance"}
		case either:
			d.Callers = []string{"person", "browser", "instance"}
		case executor:
			d.Callers = []string{"executor"}
		}
		if r.interactive {
			d.Notes = append(d.Notes, "Refuses calls that show an instance's credential.")
		}
		if r.fresh {
			d.Notes = append(d.Notes, "Needs a person who proved themselves within the last 10 minutes.")
		}
		list = append(list, d)
	}
	return openapi.Document(org, list)
}
