package envelope

import (
	"encoding/json"
	"fmt"

	"github.com/remit-dev/remit"
)

// Page takes a page of a list apart. A page that two readers could read in two ways is refused.
func Page(result []byte, member string) (elements []json.RawMessage, next string, err error) {
	fields, err := Members(result, true)
	if err != nil {
		return nil, "", fmt.Errorf("cannot be read: %w", err)
	}
	found := false
	for _, f := range fields {
		switch f.Name {
		case member:
			if err := json.Unmarshal(f.Value, &elements); err != nil {
				return nil, "", fmt.Errorf("is no list")
			}
			found = true
		case "nextCursor":
			if err := json.Unmarshal(f.Value, &next); err != nil {
				return nil, "", fmt.Errorf("goes on in a way that cannot be read")
			}
		default:
			if fold(f.Name) == fold(member) {
				return nil, "", fmt.Errorf("has the member %q", f.Name)
			}
		}
	}
	if !found {
		return nil, "", fmt.Errorf("has no member %q", member)
	}
	return elements, next, nil
}

// NameOf is what an element of a list is named by.
func NameOf(element json.RawMessage, member string) (name string, err error) {
	fields, err := Members(element, true)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	for _, f := range fields {
		if f.Name == member && json.Unmarshal(f.Value, &name) == nil && name != "" {
			return name, nil
		}
	}
	return "", fmt.Errorf("has no %s", member)
}

// Replace puts other values in the place of members that are there; every other byte stays.
func Replace(raw []byte, values map[string][]byte) ([]byte, error) {
	s := scanner{text: raw, deepest: maxServerDepth}
	s.space()
	var out []byte
	from := 0
	err := s.object(1, func(name string, at, end int) {
		if v, ok := values[name]; ok {
			out = append(append(out, raw[from:at]...), v...)
			from = end
		}
	})
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the answer of the server cannot be read: %w", err)
	}
	return append(out, raw[from:]...), nil
}
