package authority

import (
	"reflect"

	"github.com/remit-dev/remit"
)

// SizeOf is what an event is taken to need in an entry, in bytes.
func SizeOf(e remit.Event) int { return sizeOf(reflect.ValueOf(e).Elem()) }

// SetEnds sets how many ends one command, and one Tick, writes down. It gives what puts it back.
func SetEnds(once, swept int) (back func()) {
	o, s := endsAtOnce, sweptAtOnce
	endsAtOnce, sweptAtOnce = once, swept
	return func() { endsAtOnce, sweptAtOnce = o, s }
}
