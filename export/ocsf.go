package export

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/remit-dev/remit"
)

// OCSFVersion is the version of the Open Cybersecurity Schema Framework that events are written in.
const OCSFVersion = "1.8.0"

// Classes of OCSF 1.8 that are used. A class_uid is category_uid*1000 + the class's own number.
const (
	detectionFinding = 2004
	accountChange    = 3001
	authentication   = 3002
	authorizeSession = 3003
	entityManagement = 3004
	apiActivity      = 6003
)

var classNames = map[int]string{detectionFinding: "Detection Finding", accountChange: "Account Change", authentication: "Authentication",
	authorizeSession: "Authorize Session", entityManagement: "Entity Management", apiActivity: "API Activity"}

// Severities. What no person has to look at is informational; OCSF's own words for the rest.
const (
	informational = 1
	low           = 2
	medium        = 3
	high          = 4
)

// Activities that several classes share, and activity 99, which says in activity_name what it is.
const (
	create = 1
	read   = 2
	update = 3
	remove = 4
	other  = 99
)

type object = map[string]any

// event is an OCSF event in the making.
type event struct {
	class, activity, severity int
	name                      string // of the activity, where OCSF has none for it
	members                   object
}

// OCSF is e as an OCSF event. A kind of event that has no mapping is an error: nothing is left out silently.
func (s Source) OCSF(e Entry) ([]byte, error) {
	v, ok := mapped(e.Event)
	if !ok {
		return nil, fmt.Errorf("entry %d is of kind %q, which has no mapping to OCSF", e.Index, e.Event.Kind())
	}
	if v.severity == 0 {
		v.severity = informational
	}
	millis := e.At.UnixMilli()
	metadata := object{"version": OCSFVersion, "product": object{"name": "Remit", "vendor_name": "Remit", "version": s.Version},
		"uid": fmt.Sprintf("%s#%d", s.Origin, e.Index), "log_name": s.Origin, "sequence": uint64(e.Index), "event_code": e.Event.Kind(),
		"logged_time": millis, "tenant_uid": string(s.Org)}
	if v.class == apiActivity {
		metadata["profiles"] = []string{"security_control"}
	}
	out := object{"class_uid": v.class, "class_name": classNames[v.class], "category_uid": v.class / 1000, "activity_id": v.activity,
		"type_uid": v.class*100 + v.activity, "severity_id": v.severity, "time": millis, "metadata": metadata,
		"unmapped": json.RawMessage(e.View)}
	if v.name != "" {
		out["activity_name"] = v.name
	}
	for name, member := range v.members {
		out[name] = member
	}
	if v.class == detectionFinding {
		info := out["finding_info"].(object)
		info["uid"], info["created_time"] = metadata["uid"], millis
	}
	return json.Marshal(out)
}

// Who did it: a person by their id, an agent by its name, or Remit itself.
func by(person remit.ID) object {
	if person == "" {
		return object{"app_name": "remit"}
	}
	return object{"user": human(person)}
}

func human(id remit.ID) object { return object{"uid": string(id), "type_id": 1} }

// service is an account that no human is behind: an agent, an instance of one, an executor.
func service(uid, name string) object {
	o := object{"type_id": 4}
	put(o, "uid", uid)
	put(o, "name", name)
	return o
}

func put(o object, key, value string) {
	if value != "" {
		o[key] = value
	}
}

// entity is an Entity Management event.
func entity(activity int, kind, uid, name string, who object) event {
	what := object{"type": kind}
	put(what, "uid", uid)
	put(what, "name", name)
	return event{class: entityManagement, activity: activity, members: object{"entity": what, "actor": who}}
}

// declared is a declaration: the log does not say whether the thing is new.
func declared(kind, name string, who remit.ID) event {
	return entity(other, kind, "", name, by(who)).as("Declare")
}

func (v event) as(activity string) event   { v.activity, v.name = other, activity; return v }
func (v event) grave(severity int) event   { v.severity = severity; return v }
func (v event) with(k string, m any) event { v.members[k] = m; return v }
func (v event) version(version string) event {
	v.members["entity"].(object)["version"] = version
	return v
}

// status is what came of it: ok or not, and the code that says why.
func (v event) status(ok bool, code remit.Code, word string) event {
	v.members["status_id"] = map[bool]int{true: 1, false: 2}[ok]
	put(v.members, "status_code", string(code))
	put(v.members, "status_detail", word)
	return v
}

// account is an Account Change event.
func account(activity int, user, who object) event {
	return event{class: accountChange, activity: activity, members: object{"user": user, "actor": who}}
}

// mapped is the mapping: one case for each kind of event.
func mapped(e remit.Event) (event, bool) {
	switch e := e.(type) {
	case *remit.Genesis:
		return entity(create, "organisation", string(e.Org), string(e.Org), object{"app_name": "remit"}), true
	case *remit.RulesActivated:
		return entity(update, "rules", "rules", "", object{"app_name": "remit"}).version(fmt.Sprint(e.Version)), true
	case *remit.PersonDeclared:
		return account(other, human(e.ID), by(e.By)).as("Declare"), true
	case *remit.KeyConfirmed:
		return account(other, human(e.Person), by(e.Person)).as("Confirm Key"), true
	case *remit.PersonInvited:
		return account(other, human(e.Person), by(e.By)).as("Invite"), true
	case *remit.InvitationWithdrawn:
		return account(other, human(e.Person), by(e.By)).as("Withdraw Invitation"), true
	case *remit.KeyEnrolled:
		return account(other, human(e.Person), by(e.Person)).as("Enrol Key").grave(medium), true
	case *remit.KeyAdmitted:
		return account(other, human(e.Person), by("")).as("Admit Key").grave(medium), true
	case *remit.KeyRemoved:
		return account(other, human(e.Person), by(e.By)).as("Remove Key"), true
	case *remit.GroupsShown:
		return account(other, human(e.Person), by(e.Person)).as("Show Groups"), true
	case *remit.PersonKilled:
		return account(9, human(e.Person), by(e.By)).grave(medium), true // Lock
	case *remit.AgentDeclared:
		return account(other, service("", e.Name), by(e.By)).as("Declare"), true
	case *remit.AgentChanged:
		return agentChanged(e), true
	case *remit.GroupDeclared:
		return declared("group", e.Name, e.By), true
	case *remit.UpstreamDeclared:
		return declared("upstream", e.Name, e.By), true
	case *remit.RepositoryDeclared:
		return declared("repository", e.Name, e.By), true
	case *remit.EnvironmentDeclared:
		return declared("environment", e.Name, e.By), true
	case *remit.SecretDeclared:
		return declared("secret", e.Name, e.By), true
	case *remit.ToolDeclared:
		return declared("tool", e.Name, e.By), true
	case *remit.BoundaryDeclared:
		return declared("boundary", e.Name, e.By), true
	case *remit.NotifyDeclared:
		return declared("notify", "channels", e.By), true
	case *remit.DetectionDeclared:
		return declared("detection", e.Name, e.By), true
	case *remit.ActivationDeclared:
		return declared("activation", e.Of, e.By), true
	case *remit.PolicyTried:
		return entity(other, "policy", e.Bundle.String(), "", by(e.By)).as("Try"), true
	case *remit.BreakGlassDeclared:
		return declared("break-glass", e.Name, e.By), true
	case *remit.BreakGlassOpened:
		return entity(create, "break-glass", string(e.ID), e.Name, by(e.By)).grave(high), true
	case *remit.BreakGlassReviewed:
		v := entity(update, "break-glass", string(e.ID), "", by(e.By)).as("Review")
		if v.severity = medium; !e.Right {
			v.severity = high
		}
		return v, true
	case *remit.CampaignDeclared:
		return declared("campaign", e.Name, e.By), true
	case *remit.ReviewsDeclared:
		return declared("reviews", "reviews", e.By), true
	case *remit.CampaignOpened:
		return entity(create, "campaign run", string(e.ID), e.Campaign, by(e.By)), true
	case *remit.CampaignClosed:
		return entity(update, "campaign run", string(e.ID), "", by("")).as("Close"), true
	case *remit.ReviewOpened:
		return entity(create, "review item", string(e.ID), e.Agent, by("")), true
	case *remit.ReviewReminded:
		return entity(update, "review items", "", "reminded", by("")).as("Remind"), true
	case *remit.ReviewAnswered:
		v := entity(update, "review item", string(e.Item), "", by(e.By)).as("Answer").with("status_detail", string(e.Answer))
		if e.Canary && e.Answer == remit.Keep {
			v.severity = medium // nobody looked
		}
		return v, true
	case *remit.ReviewRemoved:
		return entity(remove, "entitlement", string(e.Item), e.Agent, by(e.By)), true
	case *remit.ReviewVoid:
		return entity(update, "review item", string(e.Item), "", by("")).as("Void"), true
	case *remit.ReviewRegranted:
		return entity(create, "entitlement", string(e.Item), e.Agent, by(e.By)).grave(medium), true
	case *remit.Removed:
		return entity(remove, e.What, "", e.Name, by(e.By)), true
	case *remit.Applied:
		return entity(update, "declarations", e.Set.String(), "", by(e.By)), true
	case *remit.PolicyInstalled:
		return entity(create, "policy", e.Bundle.String(), "", by(e.By)), true
	case *remit.SecretStored:
		activity := update
		if e.Removed {
			activity = remove
		}
		return entity(activity, "secret value", "", e.Name, by(e.By)).version(fmt.Sprint(e.Version)), true
	case *remit.TaskCreated:
		return entity(create, "task", string(e.ID), "", by(e.Requester)), true
	case *remit.TaskEnded:
		return entity(11, "task", string(e.Task), "", by(e.By)).with("status_detail", string(e.Status)), true // Deactivate
	case *remit.InstanceStarted:
		return session(1, e.ID, e.Agent, by(e.Launcher)), true // Logon
	case *remit.InstanceEnded:
		v := session(2, e.Instance, "", object{"app_name": "remit"}) // Logoff
		if e.Lost {
			v.members["status_detail"] = "lost"
		}
		return v, true
	case *remit.Decided:
		return decided(e), true
	case *remit.DenialRepeated:
		return event{class: apiActivity, severity: low, members: object{"actor": object{"app_name": "remit"}, "api": object{"operation": "denial.repeated"},
			"src_endpoint": object{"svc_name": "remit"}, "count": max(e.Count, 1), "action_id": 2, "disposition_id": 2, "status_id": 2}}.as("Repeat"), true
	case *remit.AccessOpened:
		return entity(create, "access request", string(e.ID), "", by(e.By)), true
	case *remit.VoteCast:
		vote := map[bool]string{true: "approve", false: "deny"}[e.Approve]
		v := entity(other, "access request", string(e.Access), "", by(e.Person)).as("Vote").with("status_detail", vote)
		put(v.members, "message", signedIn(e.Signed))
		return v, true
	case *remit.PlanWithdrawn:
		return entity(update, "plan", string(e.Access), "", by(e.By)).as("Withdraw"), true
	case *remit.AccessSeen:
		return entity(read, "access request", string(e.Access), "", by(e.Person)), true
	case *remit.AnswerKept:
		return entity(create, "answer", e.Key.String(), "", object{"app_name": "remit"}), true
	case *remit.AccessMoved:
		v := entity(update, "access request", string(e.Access), "", by(e.By)).with("status_detail", string(e.To))
		put(v.members, "status_code", string(e.Why))
		return v, true
	case *remit.Redeemed:
		return entity(create, "attempt", string(e.ID), "", object{"app_name": "remit"}), true
	case *remit.Recorded:
		v := entity(update, "attempt", string(e.Attempt), "", object{"app_name": "remit"}).status(e.Outcome == remit.Done, e.Code, string(e.Outcome))
		if e.Outcome == remit.Ambiguous || e.Outcome == remit.AfterRevocation {
			v.severity = high // a person looks
		}
		return v, true
	case *remit.LeaseOpened:
		privilege := "read " + string(e.Target)
		if e.Write {
			privilege = "write " + string(e.Target)
		}
		return event{class: authorizeSession, activity: 1, members: object{"user": service(string(e.Task), ""), // Assign Privileges
			"session": object{"uid": string(e.ID), "issuer": e.Upstream, "expiration_time": e.NotAfter / 1e6}, "privileges": []string{privilege}}}, true
	case *remit.LeaseMoved:
		v := entity(update, "lease", string(e.Lease), "", object{"app_name": "remit"}).with("status_detail", string(e.To))
		put(v.members, "status_code", string(e.Code))
		if e.To == remit.LeaseQuarantined || e.To == remit.LeaseAbandoned {
			v.severity = high
		}
		return v, true
	case *remit.ClockConfirmed:
		return entity(update, "clock", "clock", "", by(e.By)).grave(medium), true
	case *remit.PayloadsErased:
		return entity(remove, "payloads", fmt.Sprintf("%d payloads", len(e.Payloads)), "", by(e.By)), true
	case *remit.LogForked:
		v := entity(update, "log", "log", "", object{"app_name": "remit"}).as("Restore").grave(high)
		if len(e.By) > 0 {
			v.members["actor"] = by(e.By[0]) // all of them stand in the leaf
		}
		return v, true
	case *remit.EntryLost:
		return entity(remove, "log entry", "entry", "", object{"app_name": "remit"}).grave(high), true
	case *remit.UpstreamContained:
		if e.Lifted {
			return entity(8, "upstream", "", e.Upstream, by(e.By)).grave(medium), true // Enable
		}
		return entity(9, "upstream", "", e.Upstream, by(e.By)).grave(high), true // Disable
	case *remit.UpstreamScanned:
		v := entity(read, "upstream", "", e.Upstream, by(e.By)).as("Scan")
		v.members["status_detail"] = fmt.Sprintf("%d errors, %d warnings, %d notes, %d unseen", e.Errors, e.Warnings, e.Notes, e.Unseen)
		if e.Errors > 0 {
			v = v.grave(medium)
		}
		return v, true
	case *remit.Found:
		return finding(e), true
	}
	return event{}, false
}

func agentChanged(e *remit.AgentChanged) event {
	activity, severity := 5, medium // Disable
	switch e.Status {
	case remit.AgentActive:
		activity, severity = 2, informational // Enable
	case remit.AgentRetired:
		activity, severity = 6, informational // Delete
	}
	return account(activity, service("", e.Agent), by(e.By)).grave(severity)
}

// session is an Authentication event: an instance is a session of its agent at Remit.
func session(activity int, instance remit.ID, agent string, who object) event {
	return event{class: authentication, activity: activity, members: object{"user": service(string(instance), agent), "actor": who,
		"session": object{"uid": string(instance)}, "service": object{"name": "remit"}}}
}

// decided is an API Activity event with the profile security_control.
func decided(e *remit.Decided) event {
	activity, actions, resources := read, []string{}, []object{}
	for _, s := range e.Steps {
		info, known := remit.Lookup(s.Step.Action)
		if !known || info.Impact != remit.Read {
			activity = update
		}
		actions = append(actions, string(s.Step.Action))
		r := object{"name": string(s.Step.Resource), "type": s.Step.Resource.Type()}
		if s.Ref != "" {
			r["labels"] = []string{s.Ref}
		}
		resources = append(resources, r)
	}
	if len(actions) == 0 {
		actions = []string{"none"}
	}
	user := service("", e.Agent)
	if e.Agent == "" {
		user = service(e.Executor, "")
	}
	actor := object{"user": user, "app_name": "remit"}
	if e.Instance != "" {
		actor["session"] = object{"uid": string(e.Instance)}
	}
	if e.Task != "" {
		actor["app_uid"] = string(e.Task)
	}
	v := event{class: apiActivity, activity: activity, members: object{"actor": actor, "src_endpoint": object{"svc_name": e.Gateway},
		"api": object{"operation": strings.Join(actions, " "), "service": object{"name": e.Gateway}}}}
	if len(resources) > 0 {
		v.members["resources"] = resources
	}
	if !e.Policy.IsZero() {
		v.members["policy"] = object{"uid": e.Policy.String()}
	}
	// Actions of the profile: Allowed, Denied. Dispositions: Allowed, Blocked, Delayed.
	switch e.Verdict {
	case remit.Allow:
		v.members["action_id"], v.members["disposition_id"] = 1, 1
	case remit.Hold:
		v.members["action_id"], v.members["disposition_id"] = 2, 14
	default:
		v.members["action_id"], v.members["disposition_id"], v.severity = 2, 2, low
		if e.Code == remit.CrossesBoundary || e.Code == remit.Separation {
			v.severity = medium
		}
	}
	return v.status(e.Verdict == remit.Allow, e.Code, e.Verdict.String())
}

func finding(e *remit.Found) event {
	severity := medium
	if e.Suspended {
		severity = high
	}
	v := event{class: detectionFinding, activity: create, severity: severity, members: object{
		"finding_info": object{"title": e.Detection, "types": []string{e.Detection}, "related_events_count": e.Count,
			"analytic": object{"name": e.Detection, "uid": e.Detection, "type_id": 1}}, // Rule
		"is_alert": true, "status_id": 1, "count": max(e.Count, 1)}} // New
	var resources []object
	for _, r := range []struct{ kind, name string }{{"agent", e.Agent}, {"task", string(e.Task)}, {"instance", string(e.Instance)}} {
		if r.name != "" {
			resources = append(resources, object{"type": r.kind, "name": r.name})
		}
	}
	if resources != nil {
		v.members["resources"] = resources
	}
	return v
}

// signedIn is how a voter was signed in, in words; empty where nothing is known.
func signedIn(s remit.SignedIn) string {
	if s.IsZero() {
		return ""
	}
	return "signed in " + s.String()
}
