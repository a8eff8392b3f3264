// Package ticket is what a client brings back to ask what became of its call. It is bound to who got it and to the call, and
// nobody else can make one.
package ticket

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// Prefix begins what Remit gives a client to bring back, so that it is not taken for something of the server's.
const Prefix = "remit1."

// Claims tells whether a JSON value is a string that Remit gave out, or that claims so.
func Claims(v json.RawMessage) bool {
	var s string
	return json.Unmarshal(v, &s) == nil && strings.HasPrefix(s, Prefix)
}

// Life bounds what a client brings back. An access request lives no longer.
const Life = 24 * time.Hour

// Ticket is what a client brings back to ask what became of its call: the requestState of a retry, or the id of a task. It
// is bound to who got it and to the call, and nobody else can make one. It lets nobody do anything: an answer is given to
// its own task only, and once.
type Ticket struct {
	Use    string       `json:"u"` // state | task
	Access remit.ID     `json:"a"`
	Task   remit.ID     `json:"t"`
	Server string       `json:"s"`
	Order  remit.Digest `json:"o"` // of the stored call
	At     int64        `json:"n"` // when it was made, Unix seconds
}

// Seal is the ticket as a client gets it.
func (t Ticket) Seal(key *[32]byte) string {
	body := envelope.Encode(t)
	return Prefix + base64.RawURLEncoding.EncodeToString(append(mac(key, body), body...))
}

func mac(key *[32]byte, body []byte) []byte {
	m := hmac.New(sha256.New, key[:])
	m.Write([]byte("remit mcp ticket v1\n"))
	m.Write(body)
	return m.Sum(nil)
}

// Unseal reads a ticket. What is not as it was given out is refused, as an *envelope.ProtocolError (2026-07-28, MRTR, Server
// Requirements).
func Unseal(key *[32]byte, text string) (t Ticket, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(text, Prefix))
	if err != nil || !strings.HasPrefix(text, Prefix) || len(raw) < sha256.Size || !hmac.Equal(raw[:sha256.Size], mac(key, raw[sha256.Size:])) ||
		json.Unmarshal(raw[sha256.Size:], &t) != nil {
		return Ticket{}, notOurs()
	}
	return t, nil
}

func notOurs() error {
	return envelope.Malformed(envelope.InvalidParams, "this is nothing that Remit gave to this task for this call; make the call without it")
}

// Open is Unseal of what was given out for the use, to the task and at the server of to, and whose time is not over.
func Open(key *[32]byte, text string, to Ticket, now time.Time) (Ticket, error) {
	t, err := Unseal(key, text)
	if err != nil {
		return Ticket{}, err
	}
	if t.Use != to.Use || t.Task != to.Task || t.Server != to.Server {
		return Ticket{}, notOurs()
	}
	if age := now.Sub(time.Unix(t.At, 0)); age < -time.Second || age > Life {
		return Ticket{}, envelope.Malformed(envelope.InvalidParams, "the time of what the call was held as, %s, is over; make the call without it", t.Access)
	}
	return t, nil
}
