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
		get(org+"/session", person, "Whose session this is", whoAmI),

		get(org+"/declarations", person, "The declarations in force", declarations),
		post(org+"/declarations", person, "Put declarations in force, or with dry_run say what would change", apply).inPerson(),
		post(org+"/keys/confirm", person, "Confirm a new key of one's own with an older one", confirmKey).inPerson(),
		post(org+"/drain", admin, "Begin nothing new, so that the server can be stopped; or go on; and how far that is", drain).inPerson(),
		post(org+"/erase", admin, "Erase payloads for good; a second administrator decides, where there is one", erase).inPerson(),
		post(org+"/clock/confirm", admin, "Say that the clock is right after it jumped", confirmClock).inPerson(),

		get(org+"/tasks", person, "Tasks, newest first, at most 500", listTasks).asking(openapi.Param{Name: "all", Meaning: "true: also those that have ended"}),
		post(org+"/tasks", person, "Request work", createTask).inPerson(),
		get(org+"/tasks/{id}", either, "One task", oneTask),
		post(org+"/tasks/{id}/complete", either, "End a task whose work is done", endTask(remit.TaskCompleted)),
		post(org+"/tasks/{id}/cancel", person, "End a task whose work is not wanted any more", endTask(remit.TaskCancelled)),
		get(org+"/tasks/{id}/trace", person, "The story of a task from intent to outcome", trace),
		post(org+"/kill", person, "End a task's, an agent's or a person's authority at once", kill),

		get(org+"/agents", person, "The registered agents", listAgents),
		get(org+"/agents/{name}", person, "One agent", oneAgent),
		post(org+"/agents/{name}/suspend", person, "Suspend an agent", changeAgent(remit.AgentSuspended)).inPerson(),
		post(org+"/agents/{name}/resume", person, "Resume a suspended agent", changeAgent(remit.AgentActive)).inPerson(),
		post(org+"/agents/{name}/retire", person, "Retire an agent for good", changeAgent(remit.AgentRetired)).inPerson(),

		get(org+"/leases", person, "The upstream credentials that have not ended, and the debt and exposure of those that should have", listLeases).
			asking(openapi.Param{Name: "all", Meaning: "true: also those that have ended"}),
		get(org+"/leases/{id}/receipt", person, "How a lease ended: asked when, how, seen dead when and by which probe", leaseReceipt),
		post(org+"/leases/{id}/abandon", admin, "Give up a lease that cannot be seen dead; a second administrator decides", abandonLease).inPerson(),

		post(org+"/upstreams/{name}/contain", admin, "End all that Remit made at an upstream and keep everything from it, or lift that", containUpstream).inPerson(),

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

		get(org+"/secrets", person, "The declared secrets, without their values", listSecrets),
		post(org+"/secrets/put", person, "Put a secret's value into the sealed store", putSecret).inPerson(),
		post(org+"/secrets/remove", person, "Remove a secret's value", removeSecret).inPerson(),

		post(org+"/instances", person, "Start an instance; its secret is shown once", startInstance).inPerson(),
		streaming(http.MethodPost, org+"/oauth/token", anyone, "Token exchange (RFC 8693): the token of a CI job, in a form, with a DPoP proof, for an access token of an instance",
			"application/json", exchange),
		get(org+"/.well-known/oauth-authorization-server", anyone, "What the token endpoint takes (RFC 8414)", metadata),
		get("/.well-known/oauth-authorization-server"+org, anyone, "The same, where RFC 8414 §3.1 looks for it", metadata),
		post(org+"/instances/{id}/token", instance, "A bearer token for one gateway", token),
		post(org+"/instances/{id}/svid", instance, "An X.509-SVID for the key of a certificate request", svid),
		streaming(http.MethodPost, org+"/instances/{id}/hold", instance,
			"The connection that an instance lives by: send a line every 5 s; the last line of the answer says why the instance has ended",
			"application/x-ndjson", hold),
		post(org+"/instances/{id}/end", instance, "The command has ended", endInstance).whenDying(),

		get(org+"/approvals", person, "Access requests, newest first, at most 200", listAccesses).asking(openapi.Param{Name: "all", Meaning: "true: also those that are settled"}),
		get(org+"/approvals/{id}", either, "One card", oneAccess),
		get(org+"/approvals/{id}/wait", either, "One card once it is settled, or after half a minute as it is", waitAccess),
		post(org+"/approvals/{id}/votes", person, "Vote with a signed statement", vote).inPerson(),
		streaming(http.MethodGet, org+"/approvals/{id}/card", anyone, "A page that shows one card to whoever has its link", "text/html", cardPage).
			asking(openapi.Param{Name: "view", Meaning: "the token of the link"}),

		get(org+"/decisions/{entry}", either, "Why something was decided so", decision),
		get(org+"/log/checkpoint", anyone, "The signed head of the log", logHead),
		streaming(http.MethodGet, org+"/log/entries", person, "Entries of the log as JSON lines", "application/x-ndjson", logEntries).
			asking(openapi.Param{Name: "from", Meaning: "the first entry, counted from 0"}, openapi.Param{Name: "follow", Meaning: "true: wait for more"},
				openapi.Param{Name: "format", Meaning: "ocsf: as OCSF 1.8 events; cloudevents: as CloudEvents 1.0"}),
		get(org+"/findings", person, "What the detections found in the log, newest first, at most 500", listFindings),
		streaming(http.MethodGet, tiles+"/checkpoint", anyone, "The signed head of the log, as C2SP tlog-tiles has it", "text/plain", signedHead),
		streaming(http.MethodGet, tiles+"/tile/{path...}", anyone, "A tile of hashes (C2SP tlog-tiles): LEVEL/NUMBER", "application/octet-stream", tile),
		streaming(http.MethodGet, tiles+"/tile/entries/{path...}", reader, "An entry bundle (C2SP tlog-tiles): NUMBER", "application/octet-stream", entryBundle),
		streaming(http.MethodGet, org+"/log/receipts/{entry}", either, "The proof that the log has an entry (C2SP tlog-proof)", "text/plain", receipt).
			asking(openapi.Param{Name: "bare", Meaning: "true: without the entry itself"}),
		streaming(http.MethodGet, org+"/log/bundle", admin, "The log as a bundle that can be verified offline", "application/octet-stream", bundle),
		post(org+"/executors", admin, "Give the executor of a zone its first SVID", enrolExecutor).inPerson(),
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
		post(org+"/policy/try", admin, "Judge past requests again under another policy", tryPolicy),
	}
}

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
		d := openapi.Route{Method: r.method, Path: strings.ReplaceAll(r.path, "...}", "}"), Summary: r.summary, Query: r.query, In: r.in, Out: r.out, Content: r.content, Limit: r.limit}
		switch r.auth {
		case person:
			d.Callers = []string{"person"}
		case reader:
			d.Callers, d.Notes = []string{"person"}, []string{"For anyone where the server makes its log public."}
		case admin:
			d.Callers, d.Notes = []string{"person"}, []string{"For administrators."}
		case instance:
			d.Callers = []string{"instance"}
		case either:
			d.Callers = []string{"person", "instance"}
		case executor:
			d.Callers = []string{"executor"}
		}
		if r.interactive {
			d.Notes = append(d.Notes, "Refuses calls that show an instance's credential.")
		}
		list = append(list, d)
	}
	return openapi.Document(org, list)
}
