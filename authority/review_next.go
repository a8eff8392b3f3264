package authority

import (
	"time"

	"github.com/remit-dev/remit/internal/cadence"
)

// Next is when the cadence of c comes again after now. Where a run is open then, the next one opens after its end.
func (c *Campaign) Next(now int64) int64 {
	s, err := cadence.Parse(c.Cadence)
	if err != nil {
		return 0 // no set with such a one comes into force
	}
	return s.Next(time.Unix(0, now).UTC()).UnixNano()
}
