# Programs of the project itself. What a hook sees of them is their name; what they do was written by whoever wrote the
# project, the agent among them.
package remit.tool.run

# Where nothing keeps such a program in, it can do all that its person can.
hold contains {
	"rule": "unconfined-run",
	"text": "A program of the project runs where nothing keeps it in, and no hook sees what it does. Run the agent under --isolate, or let a person decide.",
} if {
	input.instance.confinement in {"none", "home"}
	input.profile != "demo"
	some step in input.steps
	startswith(step.resource, "tool:local/run/")
}
