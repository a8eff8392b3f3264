package remit

import "strings"

// Risk is what a step costs if it is wrong, and the way back. It is said of the action, not guessed from the change.
type Risk struct{ Action, Wrong, Back string }

func (r Risk) String() string { return r.Wrong + "; the way back: " + r.Back }

// ways say it for each action that can be held. An action that is not here is said to be unknown rather than harmless.
var ways = map[Action][2]string{
	"task.plan":        {"each step inside the plan passes, and nobody is asked about it", "remit plan withdraw takes what is left of it back; what passed by then has its own entries"},
	"task.request":     {"another agent works with authority of its own", "kill the task; what it did by then has its own entries"},
	"task.delegate":    {"another agent works with a part of this task's authority", "kill the task; what it did by then has its own entries"},
	"issue.comment":    {"people and other agents read it and may act on it", "delete the comment; who was notified has read it"},
	"issue.write":      {"people and other agents read it and may act on it", "write the old text again; who was notified has read it"},
	"source.merge":     {"everybody who builds from that branch has it", "revert the merge; what was built from it by then has to be replaced as well"},
	"source.propose":   {"a proposal that people look at; nothing is merged by it", "close it"},
	"review.submit":    {"a merge may count the verdict", "have the agent take the verdict back before the merge"},
	"build.trigger":    {"a pipeline runs with its own credentials", "cancel the run; what it did outside is not undone"},
	"artifact.upload":  {"bytes lie in the registry that nothing points to", "delete them there"},
	"artifact.publish": {"others can deploy it, and may have fetched it", "take the name away; a digest that somebody fetched stays fetched"},
	"artifact.release": {"users can see and fetch it", "withdraw the release; what was fetched stays fetched"},
	"deploy.rollback":  {"the environment runs something older; data may be newer than it expects", "deploy again what was there before"},
	"operate.change":   {"the environment is changed while it runs", "change it back by hand; Remit knows no way back by itself"},
	"secret.read":      {"the agent knows the value, and can tell it to anybody", "change the secret where it is used; a value that was read stays known"},
	"secret.use":       {"something is done in the name of the secret", "undo it where it was done; the agent does not learn the value"},
	"tool.write":       {"the tool changes what it can reach", "undo it there; Remit never repeats the call by itself"},
	"tool.run":         {"the tool runs something", "undo it there; Remit never repeats the call by itself"},
	"tool.call":        {"the tool may do anything that it can", "undo it there; Remit never repeats the call by itself"},
	"control.apply":    {"other people and agents may do other things from then on", "apply the old declarations again; what was done in between stays done"},
	"control.policy":   {"other things are asked about from then on", "install the old policy again; what passed in between stays done"},
	"control.admin":    {"somebody else governs", "take it back; what they did in between stays done"},
	"control.key":      {"whoever has the key can vote", "remove the key; votes that it cast stay cast"},
	"control.erase":    {"texts are gone for good; the log goes on proving that they were there", "there is none"},
	"control.export":   {"whoever gets the file reads the log", "there is none"},
	"control.lease":    {"somebody may go on having the credential, and nobody will look after it any more", "end it at the upstream by hand"},
	"control.restore":  {"the log goes on from an older state", "there is none"},
}

// Risks says for each action of a request, once, what is at stake.
func Risks(v AccessView) []Risk {
	var out []Risk
	seen := map[Action]bool{}
	for _, s := range v.Steps {
		if seen[s.Action] {
			continue
		}
		seen[s.Action] = true
		r := Risk{Action: string(s.Action)}
		switch w, ok := ways[s.Action]; {
		case s.Action == "source.push":
			r.Wrong, r.Back = push(v.Refs)
		case s.Action == "deploy.promote":
			r.Wrong, r.Back = "the environment runs it", "remit rollback "+Visible(s.Resource.Name())+" deploys again, by its digests, what is there now"
		case ok:
			r.Wrong, r.Back = w[0], w[1]
		default:
			r.Wrong, r.Back = "this release cannot say what it may do", "this release knows no way back"
		}
		out = append(out, r)
	}
	return out
}

// push names the very way back: a push is undone by putting the old commits in place.
func push(refs []RefView) (wrong, back string) {
	wrong = "the branches carry commits that nobody wanted"
	var ways []string
	for _, r := range refs {
		if len(r.Effects) > 0 {
			wrong = "the branches carry commits that nobody wanted, and what the push sets off has run"
		}
		switch {
		case r.Old == "" && r.New != "":
			ways = append(ways, "delete "+r.Ref)
		case r.Old != "":
			ways = append(ways, "put "+r.Old[:min(len(r.Old), 12)]+" back in place as "+r.Ref)
		}
	}
	if len(ways) == 0 {
		return wrong, "put the old commits back in place"
	}
	if len(ways) > 3 {
		ways = append(ways[:3], "and so on for the others")
	}
	return wrong, Visible(strings.Join(ways, "; "))
}
