package remit.source.merge_test

import data.remit.source.merge

facts(op) := {"steps": [{"action": "source.merge", "op": op}]}

test_merge_moves_forward if {
	merge.deny == set() with input as facts("update")
	merge.deny == set() with input as facts("create")
}

test_merge_is_nothing_else if {
	every op in ["force", "delete"] {
		d := merge.deny with input as facts(op)
		{m.rule | some m in d} == {"merge-only-forward"}
	}
}

locked(findings) := {"steps": [{"action": "source.merge", "op": "update", "dependencies": [{"name": "left-pad", "findings": findings}]}]}

test_swapped_dependency_holds if {
	h := merge.hold with input as locked(["unasked", "content-changed"])
	{m.rule | some m in h} == {"dependency-swapped"}
}

test_other_dependencies_do_not_hold if {
	merge.hold == set() with input as locked(["unpinned", "unasked"])
	merge.hold == set() with input as locked(null)
	merge.hold == set() with input as facts("update")
}
