# The rules about production and secrets, which share one condition.
package remit.lib_test

import data.remit.deploy.promote
import data.remit.operate.change
import data.remit.secret.read

facts(profile, confinement, tier, effect) := {
	"profile": profile,
	"instance": {"confinement": confinement},
	"steps": [{"tier": tier, "effect": effect}],
}

rules(set) := {m.rule | some m in set}

test_exposed_production_is_denied if {
	every profile in ["team", "solo"] {
		p := promote.deny with input as facts(profile, "none", "production", false)
		rules(p) == {"exposed-production"}
		c := change.deny with input as facts(profile, "none", "production", false)
		rules(c) == {"exposed-production"}
	}
}

test_confined_or_staging_is_not_denied if {
	every confinement in ["home", "uid", "sandbox", "host"] {
		promote.deny == set() with input as facts("team", confinement, "production", false)
		change.deny == set() with input as facts("team", confinement, "production", false)
		read.deny == set() with input as facts("team", confinement, "production", false)
	}
	promote.deny == set() with input as facts("team", "none", "staging", false)
	change.deny == set() with input as facts("team", "none", "staging", false)
}

test_demo_is_not_denied if {
	promote.deny == set() with input as facts("demo", "none", "production", false)
	change.deny == set() with input as facts("demo", "none", "production", false)
	read.deny == set() with input as facts("demo", "none", "", false)
}

test_what_a_push_sets_off_is_not_denied if {
	promote.deny == set() with input as facts("team", "none", "production", true)
}

test_exposed_secret_is_denied if {
	d := read.deny with input as facts("team", "none", "", false)
	rules(d) == {"exposed-secret"}
}
