package ledger

import (
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/remit-dev/remit"
)

// Leaf is an event as it stands in the log. Its encoding is deterministic CBOR (RFC 8949 §4.2.1) with integer keys:
//
//	{1: schema, 2: kind, 3: Unix nanoseconds, 4: commitment of the command, 5: event}
//
// Member 4 is there on the first event of a command only; the events of one command follow each other.
type Leaf struct {
	At      time.Time
	Command remit.Digest // commitment; zero on the further events of a command
	Event   remit.Event
}

// Schema is the version of the leaf's encoding that this source writes.
//
//	1  first release
const Schema = 1

// UnknownKindError is a kind of event that this version does not know: it stops a fold.
type UnknownKindError struct{ Kind string }

func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("this version does not know events of kind %q: a newer release wrote the log, and only that release or a later one reads it", e.Kind)
}

// Encode gives the one encoding of l. It refuses what Decode would refuse: a leaf of more than MaxLeaf bytes, a time
// before 1970, a kind that NewEvent does not know.
func Encode(l Leaf) ([]byte, error) {
	if l.Event == nil {
		return nil, remit.Errorf(remit.Internal, "a leaf has an event")
	}
	kind := l.Event.Kind()
	if _, ok := remit.NewEvent(kind); !ok {
		return nil, remit.Errorf(remit.Internal, "%w", &UnknownKindError{kind})
	}
	nanos := l.At.UnixNano()
	if nanos < 0 || !time.Unix(0, nanos).Equal(l.At) {
		return nil, remit.Errorf(remit.Internal, "a leaf's time lies between 1970 and 2262, not at %v", l.At)
	}
	v := reflect.ValueOf(l.Event)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil, remit.Errorf(remit.Internal, "an event of kind %s is a pointer to its struct, not %T", kind, l.Event)
	}
	body, err := codecOf(v.Type().Elem())
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "an event of kind %s cannot be encoded: %w", kind, err)
	}
	b := make([]byte, 0, 512)
	if l.Command.IsZero() {
		b = append(b, mapHead|4)
	} else {
		b = append(b, mapHead|5)
	}
	b = append(b, 1, Schema, 2)
	b = appendHead(b, textHead, uint64(len(kind)))
	b = append(b, kind...)
	b = append(b, 3)
	b = appendHead(b, uintHead, uint64(nanos))
	if !l.Command.IsZero() {
		b = append(b, 4)
		b = appendHead(b, bytesHead, uint64(len(l.Command)))
		b = append(b, l.Command[:]...)
	}
	if b, err = body.encode(append(b, 5), v.Elem()); err != nil {
		return nil, remit.Errorf(remit.Internal, "an event of kind %s cannot be encoded: %w", kind, err)
	}
	if len(b) > MaxLeaf {
		return nil, remit.Errorf(remit.TooLargeToJudge, "an event of kind %s takes %d bytes; an entry has at most %d", kind, len(b), MaxLeaf)
	}
	return b, nil
}

// Decode reads what Encode writes and nothing else: a kind that it does not know is an *UnknownKindError, anything but
// the one encoding is refused.
func Decode(b []byte) (Leaf, error) {
	if len(b) > MaxLeaf {
		return Leaf{}, malformed("it has %d bytes, at most %d are allowed", len(b), MaxLeaf)
	}
	if len(b) < 4 || b[0] != mapHead|4 && b[0] != mapHead|5 || b[1] != 1 {
		return Leaf{}, malformed("it does not begin as a map of 4 or 5 members whose first is the schema")
	}
	members, b := b[0], b[2:]
	schema, b, ok := takeHead(b, uintHead)
	if !ok || schema != Schema {
		return Leaf{}, malformed("its schema is not %d: a newer release wrote it", Schema)
	}
	kind, b, ok := takeMember(b, 2, textHead)
	if !ok {
		return Leaf{}, malformed("member 2, the kind, is not a text")
	}
	event, known := remit.NewEvent(string(kind))
	if !known {
		return Leaf{}, &UnknownKindError{string(kind)}
	}
	if len(b) == 0 || b[0] != 3 {
		return Leaf{}, malformed("member 3, the time, is missing")
	}
	nanos, b, ok := takeHead(b[1:], uintHead)
	if !ok || nanos > math.MaxInt64 {
		return Leaf{}, malformed("member 3, the time, is not in Unix nanoseconds")
	}
	l := Leaf{At: time.Unix(0, int64(nanos)).UTC(), Event: event}
	if members == mapHead|5 {
		var c []byte
		c, b, ok = takeMember(b, 4, bytesHead)
		if !ok || len(c) != len(l.Command) {
			return Leaf{}, malformed("member 4, the command's commitment, does not have 32 bytes")
		}
		l.Command = remit.Digest(c)
		if l.Command.IsZero() {
			return Leaf{}, malformed("member 4, the command's commitment, is zero")
		}
	}
	if len(b) == 0 || b[0] != 5 {
		return Leaf{}, malformed("member 5, the event, is missing")
	}
	v := reflect.ValueOf(event).Elem()
	body, err := codecOf(v.Type())
	if err != nil {
		return Leaf{}, malformed("event of kind %s: %w", kind, err)
	}
	rest, err := body.decode(b[1:], v)
	if err != nil {
		return Leaf{}, malformed("event of kind %s: %w", kind, err)
	}
	if len(rest) > 0 {
		return Leaf{}, malformed("%d bytes follow the event", len(rest))
	}
	return l, nil
}

func malformed(format string, args ...any) error {
	return remit.Errorf(remit.Internal, "malformed leaf: "+format, args...)
}
