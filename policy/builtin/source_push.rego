# Pushes. That an agent pushes to its task's branches only, and that changes of what runs by itself hold, is compiled
# in; these rules stand even where an entitlement is wider.
package remit.source.push

import data.remit.lib

# The default branch only ever moves forward.
deny contains {
	"rule": "default-branch-rewrite",
	"text": "The default branch is neither rewritten nor deleted. Push a commit that reverts the change instead.",
} if {
	some step in input.steps
	step.op in {"force", "delete"}
	step.ref == step.default_branch
}

# What was released under a name stays under it.
deny contains {
	"rule": "tag-moved",
	"text": "A tag is never moved or deleted. Create a tag with a new name instead.",
} if {
	some step in input.steps
	step.op in {"force", "delete"}
	startswith(step.ref, "refs/tags/")
}

# Another repository's content comes in that no diff shows. Changes of .gitmodules hold by a compiled rule; this is the
# other half, the commit that a submodule stands at.
hold contains {
	"rule": "submodule-moved",
	"text": "The push adds, moves or removes a submodule, whose content this diff does not show. A reviewer looks at the commit that it names.",
} if {
	some step in input.steps
	some change in step.paths
	lib.gitlink in {object.get(change, "new_mode", 0), object.get(change, "old_mode", 0)}
}

# A person reads what is merged; nobody reads this many commits, and a task seldom makes them. Most often the branch was
# started from another history.
hold contains {
	"rule": "many-commits",
	"text": "The push brings more than 200 new commits. Push the task's own commits only, or ask a reviewer to look at what is in it.",
} if {
	some step in input.steps
	step.commits > 200
}

# What a build runs, written by an agent that its person's own keys lie open to.
hold contains {
	"rule": "exposed-build-change",
	"text": "The push changes files that builds run, from an instance without confinement. Run the task with confinement home or stricter, or ask a reviewer.",
} if {
	lib.exposed
	some step in input.steps
	some _ in step.pinned
}
