# What Remit decides of one step, as far as Rego can say it without a state machine of its own: who asks, whether their
# task lives, whether the grant covers the step, zones, budgets. OPA evaluates it with the same facts as data.
package remit

import rego.v1

default decision := {"allow": false, "reasons": ["UNKNOWN"]}

decision := {"allow": count(deny) == 0, "reasons": sort([d.code | some d in deny])}

instance := data.instances[input.subject.id]

task := data.tasks[instance.task]

agent := data.agents[instance.agent]

info := data.catalogue[input.action.name]

resource := sprintf("%s:%s", [input.resource.type, input.resource.id])

zone := data.zones[info.stage]

deny contains {"code": "UNKNOWN_PRINCIPAL"} if not instance

deny contains {"code": "UNKNOWN_ACTION"} if not info

deny contains {"code": "NOT_LIVE"} if instance.ended

deny contains {"code": "NOT_LIVE"} if task.state != "active"

deny contains {"code": "NOT_LIVE"} if task.deadline <= data.now

deny contains {"code": "NOT_LIVE"} if agent.state != "active"

deny contains {"code": "NOT_LIVE"} if agent.expires <= data.now

deny contains {"code": "NOT_LIVE"} if data.people[task.requester].killed

deny contains {"code": "NOT_LIVE"} if data.people[agent.owner].killed

deny contains {"code": "NOT_LIVE"} if data.people[instance.launcher].killed

deny contains {"code": "OUT_OF_SCOPE"} if not granted(task.grant)

deny contains {"code": "NOT_ENTITLED"} if not granted(agent.entitlements)

deny contains {"code": "CROSSES_BOUNDARY"} if {
	info.impact != "read"
	zone != ""
	not zone in data.function_zones[agent.function]
}

deny contains {"code": "CROSSES_BOUNDARY"} if {
	info.impact != "read"
	not info.stage in data.function_stages[agent.function]
}

deny contains {"code": "SEALED"} if {
	some boundary in data.boundaries
	some pattern in boundary.seal
	covers(pattern, resource)
	not agent.function in boundary.functions
}

deny contains {"code": "OVER_BUDGET"} if task.used >= task.budget.decisions

deny contains {"code": "TOO_MANY_HOLDS"} if task.open_holds > task.budget.holds

deny contains {"code": "NEEDS_APPROVAL"} if info.impact == "privileged"

deny contains {"code": "WRONG_TYPE"} if info.resource != input.resource.type

granted(scopes) if {
	some scope in scopes
	input.action.name in scope.actions
	some pattern in scope.resources
	covers(pattern, resource)
}

covers(pattern, name) if pattern == name

covers(pattern, name) if {
	endswith(pattern, "/**")
	startswith(name, trim_suffix(pattern, "**"))
}

covers(pattern, name) if {
	endswith(pattern, "/*")
	prefix := trim_suffix(pattern, "*")
	startswith(name, prefix)
	not contains(trim_prefix(name, prefix), "/")
}
