# A team's own rules, as long as such rules are: remit installs them as they are.
package remit.issue.comment

import rego.v1

quiet := {"repo:forge/secrets", "repo:forge/audit", "repo:forge/legal"}

night := {0, 1, 2, 3, 4, 5}

trusted := {"commenter", "helper", "triager"}

confined := {"sandbox", "uid", "host", "home", "none"}

tiers := {"production": 2, "staging": 1}

step contains s if {
	some s in input.steps
	s.action == "issue.comment"
}

deny contains {"rule": "quiet", "text": "nobody comments there"} if {
	some s in step
	s.resource in quiet
}

deny contains {"rule": "agent", "text": "this agent does not comment"} if not input.agent.name in trusted

deny contains {"rule": "function", "text": "releases are not commented on by what deploys"} if input.agent.function in {"deploy", "operate"}

deny contains {"rule": "confinement", "text": "say where it runs"} if not input.instance.confinement in confined

deny contains {"rule": "ungoverned", "text": "a task with credentials of its own does not speak in our name"} if {
	input.instance.ungoverned
	some s in step
	startswith(s.resource, "repo:forge/public")
}

deny contains {"rule": "steps", "text": "one comment at a time"} if count(step) > 1

deny contains {"rule": "size", "text": "too long"} if input.bytes > 65536

deny contains {"rule": "debt", "text": "an old credential is still out"} if {
	some s in step
	s.debt
}

deny contains {"rule": "depth", "text": "too far from a person"} if input.task.depth > 4

deny contains {"rule": "delegated", "text": "who was delegated to does not comment on payments of production"} if {
	input.task.delegated
	some s in step
	s.tier == "production"
}

deny contains {"rule": "tier", "text": "unknown tier"} if {
	some s in step
	s.tier != ""
	not tiers[s.tier]
}

hold contains {"rule": "owner", "text": "somebody else's agent", "votes": [{"group": "reviewers", "n": 1}]} if {
	input.agent.owner == input.task.requester
	input.task.open_holds > 2
}

hold contains {"rule": "inputs", "text": "rests on too much", "votes": [{"group": "reviewers", "n": 1}]} if count([i | some i in input.task.inputs]) > 16

hold contains {"rule": "zone", "text": "not in production", "votes": [{"group": "reviewers", "n": 2}]} if {
	some s in step
	s.zone == "P"
}

hold contains {"rule": "privileged", "text": "privileged steps are seen", "votes": [{"group": "reviewers", "n": 1}]} if {
	some s in step
	s.impact == "privileged"
}

hold contains {"rule": "protected", "text": "protected", "votes": [{"group": "reviewers", "n": 1}]} if {
	some s in step
	count([x | some x in s.protected]) > 0
}

hold contains {"rule": "outside", "text": "outside", "votes": [{"group": "reviewers", "n": 1}]} if {
	some s in step
	s.outside_envelope
}

hold contains {"rule": "profile", "text": "the demo speaks to nobody", "votes": [{"group": "reviewers", "n": 1}]} if {
	input.profile == "demo"
	hour := (floor(input.minute / 60)) % 24
	hour in night
}
