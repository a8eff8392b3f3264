package remit.source.push_test

import data.remit.source.push

step := {
	"action": "source.push", "resource": "repo:forge/acme/shop", "op": "update", "commits": 2,
	"ref": "refs/heads/remit/T-1/fix", "default_branch": "refs/heads/main",
	"paths": [{"path": "src/a.go", "old_mode": 33188, "new_mode": 33188}],
	"pinned": null,
}

facts(changes) := {
	"profile": "team",
	"instance": {"confinement": "home"},
	"steps": [object.union(step, changes)],
}

unconfined(profile, changes) := object.union(facts(changes), {"profile": profile, "instance": {"confinement": "none"}})

rules(set) := {m.rule | some m in set}

test_ordinary_work_meets_nothing if {
	push.deny == set() with input as facts({})
	push.hold == set() with input as facts({})
	push.hold == set() with input as unconfined("team", {})
}

test_default_branch_moves_forward if {
	every op in ["create", "update"] {
		push.deny == set() with input as facts({"ref": "refs/heads/main", "op": op})
	}
}

test_default_branch_is_not_rewritten if {
	every op in ["force", "delete"] {
		d := push.deny with input as facts({"ref": "refs/heads/main", "op": op})
		rules(d) == {"default-branch-rewrite"}
	}
}

test_other_branches_are_rewritten if {
	push.deny == set() with input as facts({"op": "force"})
	push.deny == set() with input as facts({"op": "delete", "ref": "refs/heads/maintenance"})
}

test_tag_is_created if push.deny == set() with input as facts({"ref": "refs/tags/v1", "op": "create"})

test_tag_is_not_moved if {
	every op in ["force", "delete"] {
		d := push.deny with input as facts({"ref": "refs/tags/v1", "op": op})
		rules(d) == {"tag-moved"}
	}
}

test_submodule_holds if {
	every change in [{"path": "lib", "new_mode": 57344}, {"path": "lib", "old_mode": 57344, "new_mode": 33188}, {"path": "lib", "old_mode": 57344}] {
		h := push.hold with input as facts({"paths": [{"path": "a", "new_mode": 33188}, change]})
		rules(h) == {"submodule-moved"}
	}
}

test_files_and_links_do_not_hold if {
	push.hold == set() with input as facts({"paths": [{"path": "a", "new_mode": 33261}, {"path": "b", "new_mode": 40960}, {"path": "c"}]})
}

test_many_commits_hold if {
	h := push.hold with input as facts({"commits": 201})
	rules(h) == {"many-commits"}
}

test_200_commits_do_not_hold if push.hold == set() with input as facts({"commits": 200})

test_build_change_holds_without_confinement if {
	h := push.hold with input as unconfined("team", {"pinned": [{"path": "Makefile"}]})
	rules(h) == {"exposed-build-change"}
}

test_build_change_passes_with_confinement_or_in_demo if {
	push.hold == set() with input as facts({"pinned": [{"path": "Makefile"}]})
	push.hold == set() with input as unconfined("demo", {"pinned": [{"path": "Makefile"}]})
	push.hold == set() with input as unconfined("team", {"pinned": []})
}
