# Merges. Who may approve one is compiled in and declared with the repository.
package remit.source.merge

# A merge adds to its branch; anything else that moves or ends the branch is not a merge.
deny contains {
	"rule": "merge-only-forward",
	"text": "A merge moves its branch forward only. Rebase or merge the target into the change, and ask again.",
} if {
	some step in input.steps
	step.op in {"force", "delete"}
}

# A merge waits for the repository's approvers in any case, with what it changes of dependencies on the card. Whoever swaps
# what a version stands for counts on one more line of a lock file that nobody reads, so somebody else looks as well.
hold contains {
	"rule": "dependency-swapped",
	"text": "The merge changes what a version of a dependency stands for, and not the version. An administrator looks why.",
} if {
	some step in input.steps
	some dependency in step.dependencies
	"content-changed" in dependency.findings
}
