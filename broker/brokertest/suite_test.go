package brokertest_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/brokertest"
)

// TestTheFakeIsAProvider runs the suite on what the machine is tested with, in each of its shapes.
func TestTheFakeIsAProvider(t *testing.T) {
	for name, shape := range map[string]func(*brokertest.Upstream){
		"anchored": func(*brokertest.Upstream) {},
		"endless":  func(u *brokertest.Upstream) { u.Kind.Longest = 0 },
		"bare":     func(u *brokertest.Upstream) { u.Kind.Anchored = false },
		"dies late": func(u *brokertest.Upstream) {
			u.DiesAfter = 3
			u.Kind.Revocation, u.Kind.Bound = remit.RevokeBounded, time.Second
		},
		"expires": func(u *brokertest.Upstream) {
			u.Kind.Anchored, u.Kind.Revocation, u.Kind.Longest = false, remit.RevokeExpiry, time.Minute
		},
	} {
		t.Run(name, func(t *testing.T) {
			brokertest.Run(t, func(t *testing.T) brokertest.Subject {
				u := brokertest.New(time.Now)
				shape(u)
				return brokertest.Subject{Provider: u, Upstream: remit.Upstream{Name: "forge"}, Target: "repo:forge/acme/app", Pause: func() {}}
			})
		})
	}
	var _ broker.Sweeper = (*brokertest.Upstream)(nil)
}
