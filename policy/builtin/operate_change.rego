# Changes of what runs.
package remit.operate.change

import data.remit.lib

# Whoever changes production holds no person's keys.
deny contains {
	"rule": "exposed-production",
	"text": "Production is not changed from an instance without confinement. Run the task on another host or under another user.",
} if {
	lib.exposed
	some step in input.steps
	step.tier == "production"
}
