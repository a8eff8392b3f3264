# Deployments. How many people approve one is declared with the environment. Rolling back is left as it is: it must work
# on a bad day.
package remit.deploy.promote

import data.remit.lib

# Whoever deploys to production holds no person's keys. What a push sets off by itself runs elsewhere and is judged by
# what the repository declares.
deny contains {
	"rule": "exposed-production",
	"text": "Production is not deployed to from an instance without confinement. Run the task on another host or under another user.",
} if {
	lib.exposed
	some step in input.steps
	step.tier == "production"
	not step.effect
}
