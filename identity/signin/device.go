package signin

import (
	"crypto/rand"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

const (
	// DeviceLife is how long a terminal's code waits for its person; PollEvery how often the terminal may ask.
	DeviceLife = 10 * time.Minute
	PollEvery  = 5 * time.Second
	// GrantType is RFC 8628 §3.4; the client is the command line.
	GrantType = "urn:ietf:params:oauth:grant-type:device_code"
	Client    = "remit-cli"

	// RFC 8628 §6.1: no vowels, so no words, and no letters that look alike. 20^8 codes, of which few wait at a time.
	letters  = "BCDFGHJKLMNPQRSTVWXZ"
	codeSize = 8

	maxWaiting  = 1024 // terminals
	maxOfHost   = 8    // of one address
	maxName     = 64   // bytes of what a terminal calls itself
	maxMisses   = 10   // codes that do not exist, by one person in missesFor
	missesFor   = 10 * time.Minute
	maxWatchers = 4096 // people whose misses are counted
)

// Asking is a terminal that wants to be let in.
type Asking struct {
	Name    string       // as it calls itself
	Host    remit.Digest // its address, as the server tells hosts apart
	Address string       // for people
}

// Waiting is one whose code waits.
type Waiting struct {
	Asking
	Code            string // BCDF-GHJK
	Asked, NotAfter time.Time
}

type device struct {
	Waiting
	hash     remit.Digest // of the device code
	answered bool
	by       *identity.Session // who let it in; nil: nobody
	polled   time.Time
	every    time.Duration
}

// Devices are terminals that wait to be let in (RFC 8628). All of it is in memory, and short-lived.
type Devices struct {
	now func() time.Time

	mu     sync.Mutex
	list   []*device // oldest first
	misses map[remit.ID][]time.Time
}

// NewDevices has nobody waiting.
func NewDevices(now func() time.Time) *Devices {
	return &Devices{now: now, misses: map[remit.ID][]time.Time{}}
}

// Ask gives a terminal its code, and its person one to type. One address holds few places, and one more takes the oldest
// of its own, so that no stranger keeps others out.
func (d *Devices) Ask(a Asking) (deviceCode string, w Waiting, err error) {
	if len(a.Name) > maxName {
		return "", w, remit.Errorf(remit.BadRequest, "the terminal's name has %d bytes; at most %d", len(a.Name), maxName)
	}
	now := d.now()
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep(now)
	ofHost := func(x *device) bool { return x.Host == a.Host }
	n := 0
	for _, x := range d.list {
		if ofHost(x) {
			n++
		}
	}
	switch {
	case n >= maxOfHost:
		i := slices.IndexFunc(d.list, ofHost)
		d.list = slices.Delete(d.list, i, i+1)
	case len(d.list) >= maxWaiting:
		return "", w, remit.Errorf(remit.Overload, "too many terminals wait to be let in; try again in a few minutes")
	}
	code := userCode()
	for d.find(code) != nil {
		code = userCode()
	}
	w = Waiting{Asking: a, Code: code, Asked: now, NotAfter: now.Add(DeviceLife)}
	d.list = append(d.list, &device{Waiting: w, hash: remit.Hash(secret[:]), every: PollEvery})
	return base64.RawURLEncoding.EncodeToString(secret[:]), w, nil
}

func userCode() string {
	var b strings.Builder
	for i := range codeSize {
		if i == codeSize/2 {
			b.WriteByte('-')
		}
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(letters)))) // never fails
		b.WriteByte(letters[n.Int64()])
	}
	return b.String()
}

// canonical is a code as people type it, in its one form.
func canonical(code string) string {
	if len(code) > 4*codeSize {
		return ""
	}
	typed := strings.Map(func(r rune) rune {
		if strings.ContainsRune(letters, r) {
			return r
		}
		return -1
	}, strings.ToUpper(code))
	if len(typed) != codeSize {
		return ""
	}
	return typed[:codeSize/2] + "-" + typed[codeSize/2:]
}

func (d *Devices) sweep(now time.Time) {
	d.list = slices.DeleteFunc(d.list, func(x *device) bool { return !now.Before(x.NotAfter) })
}

// find is a terminal that waits; what was answered is found by nobody again.
func (d *Devices) find(code string) *device {
	for _, x := range d.list {
		if x.Code == code && !x.answered {
			return x
		}
	}
	return nil
}

// look finds a code for a person, who may mistype a few.
func (d *Devices) look(code string, who remit.ID) (*device, error) {
	now := d.now()
	d.sweep(now)
	recent := slices.DeleteFunc(d.misses[who], func(t time.Time) bool { return now.Sub(t) >= missesFor })
	if len(recent) >= maxMisses {
		return nil, remit.Errorf(remit.Overload, "you gave %d codes that nobody has; wait %s", maxMisses, missesFor)
	}
	if x := d.find(canonical(code)); x != nil {
		return x, nil
	}
	if len(d.misses) >= maxWatchers {
		clear(d.misses)
	}
	d.misses[who] = append(recent, now)
	return nil, remit.Errorf(remit.NotFound, "no terminal waits with the code %.16q; it is used, is older than %s, or is another", code, DeviceLife)
}

// Look shows a person the terminal that has a code.
func (d *Devices) Look(code string, who remit.ID) (Waiting, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x, err := d.look(code, who)
	if err != nil {
		return Waiting{}, err
	}
	return x.Waiting, nil
}

// Answer lets the terminal in as the person whose session by is, or refuses it; once.
func (d *Devices) Answer(code string, by identity.Session, letIn bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	x, err := d.look(code, by.Person)
	if err != nil {
		return err
	}
	x.answered = true
	if letIn {
		x.by = &by
	}
	return nil
}

// The reasons of RFC 8628 §3.5 why there is no token.
const (
	Pending  = "authorization_pending"
	SlowDown = "slow_down"
	Denied   = "access_denied"
	Expired  = "expired_token"
)

// Take gives a terminal the session that let it in, once, or the reason why there is none.
func (d *Devices) Take(deviceCode string) (by identity.Session, reason string) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(deviceCode)
	if err != nil || len(raw) != 32 {
		return by, Expired
	}
	now, hash := d.now(), remit.Hash(raw)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep(now)
	i := slices.IndexFunc(d.list, func(x *device) bool { return x.hash == hash })
	if i < 0 {
		return by, Expired
	}
	x := d.list[i]
	if !x.answered {
		early := !x.polled.IsZero() && now.Sub(x.polled) < x.every-time.Second/2 // networks are not even
		x.polled = now
		if early {
			x.every += PollEvery // §3.5: for this and all that follow
			return by, SlowDown
		}
		return by, Pending
	}
	d.list = slices.Delete(d.list, i, i+1)
	if x.by == nil {
		return by, Denied
	}
	return *x.by, ""
}
