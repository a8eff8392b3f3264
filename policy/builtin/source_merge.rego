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
