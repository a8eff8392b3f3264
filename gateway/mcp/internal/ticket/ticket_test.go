package ticket

import (
	"errors"
	"testing"
	"time"

	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

func FuzzTicket(f *testing.F) {
	key := &[32]byte{1}
	f.Add(Ticket{Use: "state", Task: "T-1"}.Seal(key))
	f.Add("remit1.")
	made := Ticket{Use: "state", Access: "A-1", Task: "T-1", At: time.Now().Unix()}.Seal(key)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Unseal(key, s)
		var e *envelope.ProtocolError
		switch {
		case err == nil && s != made && got.Access != "": // only what was given out is taken
			t.Fatalf("%q is taken as %+v", s, got)
		case err != nil && !errors.As(err, &e):
			t.Fatalf("%q: %v", s, err)
		}
	})
}
