package envelope

import "encoding/json"

// Capabilities is what the client said that it can do.
type Capabilities struct {
	ElicitURL bool // elicitation in URL mode
	Tasks     bool // the tasks extension
}

// ParseCapabilities reads what a client says that it can do.
func ParseCapabilities(capabilities json.RawMessage) Capabilities {
	var c struct {
		Elicitation struct {
			URL *struct{} `json:"url"`
		} `json:"elicitation"`
		Tasks      *struct{}                  `json:"tasks"`
		Extensions map[string]json.RawMessage `json:"extensions"`
	}
	if len(capabilities) == 0 || json.Unmarshal(capabilities, &c) != nil {
		return Capabilities{}
	}
	_, tasks := c.Extensions["io.modelcontextprotocol/tasks"]
	return Capabilities{ElicitURL: c.Elicitation.URL != nil, Tasks: tasks || c.Tasks != nil}
}

// TasksExtension is the extension by which a call may be answered with a task (SEP-2663).
const TasksExtension = "io.modelcontextprotocol/tasks"
