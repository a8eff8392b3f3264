package cadence_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit/internal/cadence"
)

func at(s string) int64 {
	t, err := time.Parse(time.DateTime, s)
	if err != nil {
		panic(err)
	}
	return t.UnixNano()
}

func TestSlot(t *testing.T) {
	for _, c := range []struct{ cadence, last, now, want string }{
		{"0 9 1 */3 *", "2026-01-01 09:00:00", "2026-04-01 08:59:59", ""},
		{"0 9 1 */3 *", "2026-01-01 09:00:00", "2026-04-01 09:00:00", "2026-04-01 09:00:00"},
		{"0 9 1 */3 *", "2026-01-01 09:00:00", "2036-02-01 00:00:00", "2036-01-01 09:00:00"},  // ten years are one
		{"30 6 * * mon", "2026-03-28 00:00:00", "2026-03-30 07:00:00", "2026-03-30 06:30:00"}, // the clocks of others changed on the 29th
		{"0 0 29 2 *", "2026-01-01 00:00:00", "2028-03-01 00:00:00", "2028-02-29 00:00:00"},
		{"nonsense", "2026-01-01 00:00:00", "2028-03-01 00:00:00", ""},
	} {
		want := int64(0)
		if c.want != "" {
			want = at(c.want)
		}
		for _, zone := range []string{"UTC", "America/New_York", "Pacific/Kiritimati"} {
			local, err := time.LoadLocation(zone)
			if err != nil {
				t.Skip(err)
			}
			was := time.Local
			time.Local = local
			got := cadence.Slot(c.cadence, at(c.last), at(c.now))
			time.Local = was
			if got != want {
				t.Errorf("%q from %s to %s, on a machine in %s: %s, not %s", c.cadence, c.last, c.now, zone, time.Unix(0, got).UTC(), c.want)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0 9 1 */3 *", "30 6 * * mon", "* * * * *", "@daily", "TZ=UTC 0 9 * * *", "0 9 31 2 *", "0 9 1-31/2 jan,feb *"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := cadence.Parse(s)
		if err != nil {
			return
		}
		first := c.Next(time.Unix(0, 0).UTC())
		second := c.Next(first)
		if first.IsZero() || second.Sub(first) < 24*time.Hour || first.Location() != time.UTC {
			t.Fatalf("%q comes at %s and at %s", s, first, second)
		}
	})
}
