package policy

import (
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// WithLimit is b with another time limit of one evaluation.
func (b *Bundle) WithLimit(d time.Duration) *Bundle {
	c := *b
	c.limit = d
	return &c
}

// Input is what the package of action sees of f.
func Input(f authority.Facts, action remit.Action) ast.Value { return newInput(f).of(action) }

// Functions is the list of what a policy may call.
func Functions() []string { return functions }
