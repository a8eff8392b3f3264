package naming

import "github.com/remit-dev/remit"

// Record is the record that says what holds of a name, SERVER/…: of those that cover it, the one within all others.
func Record(tools []remit.Tool, name string) (best remit.Tool, ok bool) {
	for _, t := range tools {
		if remit.Pattern(t.Name).Match(remit.Resource(name)) && (!ok || remit.Pattern(best.Name).Contains(remit.Pattern(t.Name))) {
			best, ok = t, true
		}
	}
	return best, ok
}

// Action is the step that a tool's impact makes of a call.
func Action(t remit.Tool) remit.Action {
	switch t.Impact {
	case "read":
		return "tool.read"
	case "write":
		return "tool.write"
	}
	return "tool.call"
}
