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
