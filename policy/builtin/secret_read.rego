# Secrets.
package remit.secret.read

import data.remit.lib

# Everything of that user could read it.
deny contains {
	"rule": "exposed-secret",
	"text": "A secret is not given to an instance without confinement. Run the task with confinement home or stricter.",
} if lib.exposed
