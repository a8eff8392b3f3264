package card

import (
	"bytes"
	"encoding/json"
	"strings"
)

// line is a line of a receipt. Long texts keep their line ends.
type line struct {
	Name, Text string
	Long       bool
}

// named are the members of receipts that have a name for people, in the order in which these are read: first what came
// of it and what to do.
var named = []struct{ member, name string }{
	{"why", "what was seen"}, {"said", "what was seen"}, {"next", "what to do now"}, {"exit", "the command ended with"}, {"now", "there now"}, {"wanted", "wanted"},
	{"before", "there before"}, {"objects", "objects"}, {"output", "it printed"}, {"verdict", "verdict"}, {"text", "in its words"}, {"repo", "repository"},
	{"into", "into"}, {"head", "head"}, {"base", "base"}, {"tree", "tree"}, {"diff", "difference"}, {"commit", "commit"}, {"parents", "parents"},
	{"status", "answered with status"}, {"answer", "it answered"},
}

// shownElsewhere are members that the card has in another place.
var shownElsewhere = map[string]bool{"environment": true, "attempt": true, "kind": true}

// receiptLines is what an upstream said, as people read it: a receipt of ours member by member, anything else as it is.
func receiptLines(receipt string) []line {
	if receipt == "" {
		return nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(receipt), &members) != nil || len(members) == 0 {
		return []line{{"the upstream said", Visible(receipt), true}}
	}
	var out []line
	known := 0
	for _, n := range named {
		if raw, ok := members[n.member]; ok {
			known++
			text := plain(raw)
			out = append(out, line{n.name, Visible(text), strings.Contains(text, "\n")})
		}
	}
	for member := range members {
		if shownElsewhere[member] {
			known++
		}
	}
	if known < len(members) { // what this release has no name for is not left out
		var b bytes.Buffer
		if json.Indent(&b, []byte(receipt), "", "  ") == nil {
			out = append(out, line{"the receipt", Visible(b.String()), true})
		}
	}
	return out
}

// plain is a value without the signs of JSON: a text itself, a list a line each, an object as its values.
func plain(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		var lines []string
		for _, v := range list {
			lines = append(lines, plain(v))
		}
		return strings.Join(lines, "\n")
	}
	var object struct {
		Object, State, Why, Rollout string
	}
	if json.Unmarshal(raw, &object) == nil && object.Object != "" {
		text = object.Object + ": " + object.State
		for _, more := range []string{object.Why, object.Rollout} {
			if more != "" {
				text += "; " + more
			}
		}
		return text
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}
