package envelope

import (
	"encoding/json"
	"iter"

	"github.com/remit-dev/remit"
)

// maxInputs is how many requests one result may have for its client.
const maxInputs = 16

// InputRequests are what a result asks its client for (2026-07-28, Multi Round-Trip Requests; the same of a task). They do not
// go by what the result says of its type, and take every spelling that a client may. What cannot be read in one way, or is too
// much, is a *remit.Error, and the last that there is.
func InputRequests(result json.RawMessage) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		members, err := Members(result, false)
		if err != nil {
			return // it is no object: nothing can be asked in it
		}
		for _, f := range members {
			if fold(f.Name) != fold("task") {
				continue
			}
			if inner, err := Members(f.Value, false); err == nil {
				members = append(members, inner...)
			}
		}
		for _, f := range members {
			if fold(f.Name) == fold("inputRequests") && string(f.Value) != "null" && !requested(f.Value, yield) {
				return
			}
		}
	}
}

func requested(asked json.RawMessage, yield func(Message, error) bool) (more bool) {
	requests, err := StrictMembers(asked)
	if err == nil && len(requests) > maxInputs {
		err = remit.Errorf(remit.TooLarge, "the server asks for %d things at once; at most %d are let through", len(requests), maxInputs)
	}
	if err != nil {
		yield(Message{}, err)
		return false
	}
	for _, r := range requests {
		m := Message{Raw: r.Value, Params: Member(r.Value, "params")}
		if json.Unmarshal(Member(r.Value, "method"), &m.Method) != nil || m.Method == "" {
			yield(Message{}, remit.Errorf(remit.BadRequest, "what the server asks for has no method"))
			return false
		}
		if !yield(m, nil) {
			return false
		}
	}
	return true
}
