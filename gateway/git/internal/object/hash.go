package object

import (
	"strconv"

	"github.com/pjbgf/sha1cd"
)

// Hasher computes the id of one object after another with SHA-1 that notices
// collision attacks. It is not safe for concurrent use.
type Hasher struct {
	sum     sha1cd.CollisionResistantHash
	scratch []byte
}

// NewHasher makes a Hasher; Start must come before Write.
func NewHasher() *Hasher {
	// sha1cd.New is documented to return its collision-detecting digest
	// behind hash.Hash.
	return &Hasher{sum: sha1cd.New().(sha1cd.CollisionResistantHash)}
}

// Start begins an object of type t and of exactly size bytes.
func (h *Hasher) Start(t Type, size int64) {
	h.sum.Reset()
	h.scratch = append(append(h.scratch[:0], t.String()...), ' ')
	h.scratch = append(strconv.AppendInt(h.scratch, size, 10), 0)
	h.sum.Write(h.scratch)
}

// Write adds bytes of the object; it never fails.
func (h *Hasher) Write(p []byte) (int, error) { return h.sum.Write(p) }

// Sum gives the id, or an Error with COLLISION.
func (h *Hasher) Sum() (OID, error) {
	var o OID
	digest, collided := h.sum.CollisionResistantSum(h.scratch[:0])
	copy(o[:], digest)
	if collided {
		return OID{}, Refuse(CodeCollision, o.String(),
			"the object carries the marks of a SHA-1 collision attack; it cannot be pushed")
	}
	return o, nil
}

// Hash gives the id of a whole object.
func Hash(t Type, body []byte) (OID, error) {
	h := NewHasher()
	h.Start(t, int64(len(body)))
	h.Write(body)
	return h.Sum()
}
