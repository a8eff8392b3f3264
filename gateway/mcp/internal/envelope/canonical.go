package envelope

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gowebpki/jcs"

	"github.com/remit-dev/remit"
)

// Canonical is the params of a call as RFC 8785 writes them, without what changes from one asking to the next.
//
// answers tells whether a requestState is what came of a question of our own: that, and the inputResponses to it, is no
// part of the call either. What is no object, or has no canonical form, is a remit.BadRequest.
func Canonical(params json.RawMessage, answers func(state json.RawMessage) bool) (json.RawMessage, error) {
	if len(bytes.TrimSpace(params)) == 0 {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(params, &members); err != nil || members == nil {
		return nil, remit.Errorf(remit.BadRequest, "the params of a request are an object")
	}
	changed := answers(members["requestState"])
	if changed {
		delete(members, "requestState")
		delete(members, "inputResponses")
	}
	if raw, ok := members["_meta"]; ok {
		var meta map[string]json.RawMessage
		if err := json.Unmarshal(raw, &meta); err != nil {
			return nil, remit.Errorf(remit.BadRequest, "params._meta is an object")
		}
		before := len(meta)
		for name := range meta {
			if volatile(name) {
				delete(meta, name)
			}
		}
		if changed = changed || before != len(meta) || before == 0; len(meta) == 0 {
			delete(members, "_meta")
		} else {
			var err error
			if members["_meta"], err = json.Marshal(meta); err != nil {
				return nil, remit.Errorf(remit.BadRequest, "params._meta cannot be written again: %w", err)
			}
		}
	}
	if changed {
		var err error
		if params, err = json.Marshal(members); err != nil {
			return nil, remit.Errorf(remit.BadRequest, "the params cannot be written again: %w", err)
		}
	}
	s := scanner{text: params, deepest: maxDepth, exact: true} // two numbers beyond ±2^53 have one canonical form (RFC 7493 §2.2)
	if err := s.whole(); err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the call cannot be told from others: %w", err)
	}
	out, err := jcs.Transform(params)
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the call is no JSON that has one meaning (RFC 8785): %w", err)
	}
	return out, nil
}

// volatile tells of a member of _meta whether it says how a call is made and not what it does.
func volatile(name string) bool {
	switch name {
	case "progressToken", "traceparent", "tracestate", "baggage": // 2025-11-25 basic/utilities/progress; SEP-414
		return true
	}
	return strings.HasPrefix(name, "io.modelcontextprotocol/") // 2026-07-28: version, client and capabilities of each request
}

// Digest is the digest by which a definition is pinned.
func Digest(element json.RawMessage) (remit.Digest, error) {
	s := scanner{text: element, deepest: maxDepth, strict: false}
	if err := s.whole(); err != nil {
		return remit.Digest{}, fmt.Errorf("has a definition that cannot be read: %w", err)
	}
	plain, err := jcs.Transform(element)
	if err != nil {
		return remit.Digest{}, fmt.Errorf("has a definition that no digest can be made of: %w", err)
	}
	return remit.Hash(plain), nil
}

// StrictMembers refuses params that two parsers could read in two ways: what is judged is what the client sees.
func StrictMembers(params json.RawMessage) ([]field, error) {
	if params == nil {
		return nil, nil
	}
	s := scanner{text: params, deepest: maxDepth, strict: true}
	if err := s.whole(); err != nil {
		return nil, remit.Errorf(remit.BadRequest, "what the server asks cannot be read: %w", err)
	}
	return Members(params, false)
}
