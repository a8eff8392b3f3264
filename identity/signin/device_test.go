package signin

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

func askDevice(t testing.TB, d *Devices, host string) (string, Waiting) {
	t.Helper()
	secret, w, err := d.Ask(Asking{Name: "laptop", Host: remit.Hash([]byte(host)), Address: host})
	if err != nil {
		t.Fatal(err)
	}
	return secret, w
}

func TestDevice(t *testing.T) {
	c := newClock()
	d := NewDevices(c.Now)
	ada := identity.Session{Person: "p-ada"}
	secret, w := askDevice(t, d, "192.0.2.1")
	if !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(w.Code) || len(secret) != 43 || !w.NotAfter.Equal(c.Now().Add(DeviceLife)) {
		t.Fatalf("%q, %+v", secret, w)
	}
	take := func(want string) identity.Session {
		t.Helper()
		by, got := d.Take(secret)
		if got != want {
			t.Fatalf("%q, not %q", got, want)
		}
		return by
	}
	take(Pending)
	c.Advance(PollEvery)
	take(Pending)
	c.Advance(time.Second)
	take(SlowDown)
	c.Advance(PollEvery)
	take(SlowDown) // §3.5: the interval grew
	c.Advance(4 * PollEvery)
	take(Pending)
	// People type as they like; they look as often as they like, and answer once.
	for _, typed := range []string{w.Code, strings.ToLower(w.Code), strings.ReplaceAll(w.Code, "-", ""), " " + strings.ReplaceAll(w.Code, "-", " ") + " "} {
		if got, err := d.Look(typed, "p-ada"); err != nil || got != w {
			t.Fatalf("%q: %+v, %v", typed, got, err)
		}
	}
	if err := d.Answer(w.Code, ada, true); err != nil {
		t.Fatal(err)
	}
	refused(t, d.Answer(w.Code, identity.Session{Person: "p-eve"}, true), remit.NotFound, "no terminal")
	refused(t, d.Answer(w.Code, ada, false), remit.NotFound, "no terminal")
	if _, err := d.Look(w.Code, "p-ada"); err == nil {
		t.Fatal("an answered code is shown again")
	}
	if got := take(""); got.Person != "p-ada" {
		t.Fatalf("%+v", got)
	}
	take(Expired) // one use
}

func TestDeviceDeniedAndExpired(t *testing.T) {
	c := newClock()
	d := NewDevices(c.Now)
	secret, w := askDevice(t, d, "a")
	if err := d.Answer(w.Code, identity.Session{Person: "p-ada"}, false); err != nil {
		t.Fatal(err)
	}
	if _, got := d.Take(secret); got != Denied {
		t.Fatal(got)
	}
	// A code is not good after its time, whether it was confirmed or not.
	late, w := askDevice(t, d, "a")
	confirmed, x := askDevice(t, d, "a")
	if err := d.Answer(x.Code, identity.Session{Person: "p-ada"}, true); err != nil {
		t.Fatal(err)
	}
	c.Advance(DeviceLife)
	for _, s := range []string{late, confirmed, "", "nonsense", strings.Repeat("A", 43)} {
		if by, got := d.Take(s); got != Expired || by.Person != "" {
			t.Fatalf("%q: %s, %+v", s, got, by)
		}
	}
	refused(t, d.Answer(w.Code, identity.Session{Person: "p-ada"}, true), remit.NotFound, "no terminal")
	if len(d.list) != 0 {
		t.Fatalf("%d terminals are remembered", len(d.list))
	}
}

// Guessing codes: ten that nobody has, and a person waits; others do not.
func TestCodesAreNotGuessed(t *testing.T) {
	c := newClock()
	d := NewDevices(c.Now)
	_, w := askDevice(t, d, "a")
	for i := range maxMisses {
		_, err := d.Look(fmt.Sprintf("BBBB-BBB%c", letters[i]), "p-eve")
		refused(t, err, remit.NotFound, "no terminal")
	}
	_, err := d.Look(w.Code, "p-eve")
	refused(t, err, remit.Overload, "nobody has")
	refused(t, d.Answer(w.Code, identity.Session{Person: "p-eve"}, true), remit.Overload, "nobody has")
	if _, err := d.Look(w.Code, "p-ada"); err != nil {
		t.Fatal(err)
	}
	c.Advance(missesFor)
	_, w = askDevice(t, d, "a")
	if _, err := d.Look(w.Code, "p-eve"); err != nil {
		t.Fatal(err)
	}
}

// Whoever asks without end takes the places of their own address only, until all places are taken.
func TestDevicesAreBounded(t *testing.T) {
	c := newClock()
	d := NewDevices(c.Now)
	secret, _ := askDevice(t, d, "person")
	for range 1000 {
		askDevice(t, d, "stranger")
	}
	if len(d.list) != 1+maxOfHost {
		t.Fatalf("%d terminals wait", len(d.list))
	}
	if _, got := d.Take(secret); got != Pending {
		t.Fatalf("a stranger took the place of a person: %s", got)
	}
	var err error
	for i := range maxWaiting {
		if _, _, err = d.Ask(Asking{Host: remit.Hash([]byte(fmt.Sprint(i)))}); err != nil {
			break
		}
	}
	refused(t, err, remit.Overload, "too many terminals")
	c.Advance(DeviceLife)
	askDevice(t, d, "person")
	if len(d.list) != 1 {
		t.Fatalf("%d terminals wait", len(d.list))
	}
	_, _, err = d.Ask(Asking{Name: strings.Repeat("a", maxName+1)})
	refused(t, err, remit.BadRequest, "name")
}

// Whatever comes in whatever order, a terminal gets the session of the one person who said yes to its code, at most
// once, and within its time.
func TestDeviceProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		d := NewDevices(c.Now)
		type asked struct {
			secret  string
			w       Waiting
			yes, no remit.ID
			taken   bool
		}
		var all []*asked
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			var a *asked
			if len(all) > 0 {
				a = rapid.SampledFrom(all).Draw(t, "which")
			}
			who := remit.ID(rapid.SampledFrom([]string{"p-ada", "p-ben"}).Draw(t, "who"))
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				secret, w, err := d.Ask(Asking{Host: remit.Hash([]byte(fmt.Sprint(len(all))))})
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, &asked{secret: secret, w: w})
			case 1, 2:
				if a == nil {
					continue
				}
				yes := rapid.Bool().Draw(t, "yes")
				open := a.yes == "" && a.no == "" && c.Now().Before(a.w.NotAfter)
				err := d.Answer(a.w.Code, identity.Session{Person: who}, yes)
				if err == nil && !open {
					t.Fatal("answered twice, or too late")
				}
				if err == nil && yes {
					a.yes = who
				} else if err == nil {
					a.no = who
				}
			case 3:
				if a == nil {
					continue
				}
				by, reason := d.Take(a.secret)
				if (reason == "") != (by.Person != "") {
					t.Fatal("a session beside a reason")
				}
				if reason == "" {
					if a.taken || by.Person != a.yes || !c.Now().Before(a.w.NotAfter) {
						t.Fatalf("%+v got %s", a, by.Person)
					}
					a.taken = true
				}
			case 4:
				c.Advance(time.Duration(rapid.IntRange(1, 400).Draw(t, "seconds")) * time.Second)
			}
		}
	})
}
