package remit.tool.run_test

import data.remit.tool.run

facts(profile, confinement, resource) := {
	"profile": profile,
	"instance": {"confinement": confinement},
	"steps": [{"action": "tool.run", "resource": resource}],
}

test_unconfined_run_holds if {
	every confinement in ["none", "home"] {
		h := run.hold with input as facts("team", confinement, "tool:local/run/make")
		{m.rule | some m in h} == {"unconfined-run"}
	}
}

test_confined_run_passes if {
	every confinement in ["uid", "sandbox", "host"] {
		run.hold == set() with input as facts("team", confinement, "tool:local/run/make")
	}
}

test_demo_and_other_tools_pass if {
	run.hold == set() with input as facts("demo", "none", "tool:local/run/make")
	run.hold == set() with input as facts("team", "none", "tool:local/shell")
}
