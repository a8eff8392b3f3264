package remit

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Kinds of channels.
const (
	ChannelWebhook = "webhook" // Standard Webhooks
	ChannelEmail   = "email"   // SMTP
	ChannelSlack   = "slack"   // an incoming webhook, of Slack or of what takes the same messages
)

// Channel is a way to reach people. What goes through it tells and shows; nothing of it can decide.
type Channel struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Webhook: an https URL. Email: smtp://HOST:PORT, which goes on over STARTTLS or not at all, or smtps://HOST:PORT.
	// Slack has none: its URL is a credential.
	URL string `json:"url,omitempty"`
	CA  string `json:"ca,omitempty"` // file of PEM certificates to trust for it
	// Insecure means http:// or smtp:// without TLS, to a loopback address.
	Insecure bool `json:"insecure,omitempty"`
	// Secret signs a webhook's messages (whsec_…), is the URL of slack, or the password with which user (its member)
	// signs in to the mail server. Previous is the webhook's secret before: as long as both are declared, both sign.
	Secret   Source `json:"secret,omitzero"`
	Previous Source `json:"previous,omitzero"`
	// Email: the address in From:, and those that it goes to.
	From string   `json:"from,omitempty"`
	To   []string `json:"to,omitempty"`
	// People make a channel personal: of reviews, each of them is told of what they may answer and of what is taken from their
	// agents, and of nothing else, each in a message of their own.
	People []Reached `json:"people,omitempty"`
	// Events are the Telling that go through it; all by default. Groups: of requests only those on which one of these
	// decides, or to which they were escalated; all by default.
	Events []string `json:"events,omitempty"`
	Groups []string `json:"groups,omitempty"`
	Diff   bool     `json:"diff,omitempty"`   // the beginning of a change goes with it
	Remind string   `json:"remind,omitempty"` // how long before its end an open request is told of again: 1h
}

// Reached is how a channel reaches one person.
type Reached struct {
	Person string `json:"person"`
	// Address is theirs. Email: an address. Slack: a member id, which the message mentions. Webhook: what its endpoint knows
	// them as.
	Address string `json:"address"`
}

// Tells says whether a Telling goes through c.
func (c Channel) Tells(what string) bool {
	if len(c.Events) > 0 {
		return slices.Contains(c.Events, what)
	}
	return len(c.People) == 0 || slices.Contains(personal, what)
}

// Escalation says who is told of a request that nobody has voted on. Its clock starts when somebody who may vote has
// seen the card; before that, when the request was made.
type Escalation struct {
	Name   string   `json:"name"`
	After  string   `json:"after"`            // without a vote: 30m
	Unseen string   `json:"unseen,omitempty"` // without anybody who has seen it; After by default
	To     string   `json:"to"`               // the group that is told; who may vote stays as it is
	Of     []string `json:"of,omitempty"`     // requests on which one of these groups decides; all by default
}

// What is told.
const (
	TellOpened    = "hold.opened"
	TellMet       = "hold.met"
	TellDenied    = "hold.denied"
	TellExpired   = "hold.expired"
	TellVoid      = "hold.void" // it came to nothing otherwise: stale, superseded, dropped
	TellReminder  = "hold.reminder"
	TellEscalated = "hold.escalated"
	TellFinding   = "finding"
	TellDebt      = "lease.debt"
	TellGlass     = "break-glass"
	// Reviews of what agents may do: what is opened, reminded of, and taken away; and agents that suspended or retired
	// themselves, because nobody used them.
	TellReviewOpened   = "review.opened"
	TellReviewReminder = "review.reminder"
	TellReviewRemoved  = "review.removed"
	TellAgentIdle      = "agent.idle"
	// TellCallback is what an enforcement point that is not Remit's asked to be told of its own requests (AuthZEN, Access
	// Request and Approval Profile). It goes through the one webhook that it named, if that says so in its events.
	TellCallback = "authzen.callback"
)

// personal is what concerns some people more than others.
var personal = []string{TellReviewOpened, TellReviewReminder, TellReviewRemoved, TellAgentIdle}

// Telling is all of it.
func Telling() []string {
	return []string{TellOpened, TellMet, TellDenied, TellExpired, TellVoid, TellReminder, TellEscalated, TellFinding, TellDebt, TellGlass,
		TellReviewOpened, TellReviewReminder, TellReviewRemoved, TellAgentIdle, TellCallback}
}

type (
	// NotifyDeclared says who is told of what. Spec is the commitment of the channels and escalations; zero: nobody.
	NotifyDeclared struct {
		Spec Digest `cbor:"1,keyasint,omitzero"`
		By   ID     `cbor:"2,keyasint,omitempty"`
	}
	// AccessSeen: a person who may vote has had the card before them. It decides nothing.
	AccessSeen struct {
		Access ID `cbor:"1,keyasint"`
		Person ID `cbor:"2,keyasint"`
	}
)

func (*NotifyDeclared) Kind() string { return "notify.declared" }
func (*AccessSeen) Kind() string     { return "access.seen" }

// ChannelView is how a channel does.
type ChannelView struct {
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`
	Next      EntryIndex `json:"next"`    // the entry that it is told of next
	Waiting   int        `json:"waiting"` // messages that are not handed over yet
	Delivered uint64     `json:"delivered"`
	Tries     int        `json:"tries,omitempty"` // of the message that is being handed over
	Why       string     `json:"why,omitempty"`   // the last try failed
	Parked    []Parked   `json:"parked,omitempty"`
}

// Parked is a message that could not be handed over, and is no longer tried.
type Parked struct {
	ID   string    `json:"id"` // of the message
	What string    `json:"what"`
	At   time.Time `json:"at"`
	Why  string    `json:"why"`
}

// RetryRequest is for the messages that are parked in a channel: tried once more, or forgotten.
type RetryRequest struct {
	Drop bool `json:"drop,omitempty"`
}

// RetryAnswer says how many there were.
type RetryAnswer struct {
	Messages int `json:"messages"`
}

// GateView is how people decide at one gate: the rules that ask, for one action on one resource.
type GateView struct {
	Rules    []string `json:"rules"`
	Action   Action   `json:"action"`
	Resource Resource `json:"resource"`
	Requests int      `json:"requests"`
	Approved int      `json:"approved"`          // votes
	Denied   int      `json:"denied"`            // votes
	Timed    int      `json:"timed"`             // approvals by somebody whose seeing of the card is in the log
	Quick    int      `json:"quick"`             // of Timed, those within ten seconds
	Median   string   `json:"median,omitempty"`  // of the newest of Timed, from seeing to approving
	Rubber   string   `json:"rubber,omitempty"`  // why nobody seems to look here
	Routine  []Repeat `json:"routine,omitempty"` // what was approved again and again, the most frequent first
}

// AskedView is how often a person was asked in the last day: by requests of tasks that name a group of theirs and in which
// they have no part. One whose votes came with it asks nobody again.
type AskedView struct {
	Person string `json:"person"`
	Asked  int    `json:"asked"`
	Voted  int    `json:"voted"` // on how many of those
	Waits  int    `json:"waits"` // how many of those still wait for people
}

// Repeat are requests that were the same but for their content, as far as rules can tell.
type Repeat struct {
	Agent     string    `json:"agent"`
	Steps     []Step    `json:"steps"`
	Refs      []string  `json:"refs,omitempty"`      // the task's own branches as refs/heads/remit/TASK
	Protected []Pattern `json:"protected,omitempty"` // that were touched
	Approved  int       `json:"approved"`            // requests
	Denied    int       `json:"denied"`
	Requests  []ID      `json:"requests"` // the newest of those that were approved
}

// CheckNotify says through wrong what is not right about channels and escalations.
func CheckNotify(d Declarations, wrong func(path, format string, args ...any)) {
	group := func(at, name string) {
		if name != Administrators && !slices.ContainsFunc(d.Groups, func(g Group) bool { return g.Name == name }) {
			wrong(at, "no group %.80q is declared", name)
		}
	}
	span := func(at, s string) {
		if v, err := time.ParseDuration(s); err != nil || v < time.Minute || v > 24*time.Hour {
			wrong(at, "%.40q: write a time between 1m and 24h, such as 30m", s)
		}
	}
	if len(d.Notify) > 32 || len(d.Escalations) > 32 {
		wrong("notify", "there are at most 32 channels, and 32 escalations")
	}
	for i, c := range d.Notify {
		at := fmt.Sprintf("notify[%d]", i)
		checkChannel(at, c, d, wrong)
		for j, e := range c.Events {
			if !slices.Contains(Telling(), e) {
				wrong(fmt.Sprintf("%s.events[%d]", at, j), "%.80q is not told; one of %s", e, strings.Join(Telling(), ", "))
			} else if len(c.People) > 0 && !slices.Contains(personal, e) {
				wrong(fmt.Sprintf("%s.events[%d]", at, j), "a channel with people tells %s; declare another one for %s", strings.Join(personal, ", "), e)
			}
		}
		for j, g := range c.Groups {
			group(fmt.Sprintf("%s.groups[%d]", at, j), g)
		}
		if c.Remind != "" {
			span(at+".remind", c.Remind)
		}
	}
	for i, e := range d.Escalations {
		at := fmt.Sprintf("escalations[%d]", i)
		span(at+".after", e.After)
		if e.Unseen != "" {
			span(at+".unseen", e.Unseen)
		}
		group(at+".to", e.To)
		for j, g := range e.Of {
			group(fmt.Sprintf("%s.of[%d]", at, j), g)
		}
		if !slices.ContainsFunc(d.Notify, func(c Channel) bool {
			return (len(c.Groups) == 0 || slices.Contains(c.Groups, e.To)) && c.Tells(TellEscalated)
		}) {
			wrong(at+".to", "no channel tells group %q of what is escalated, so nobody would hear of it", e.To)
		}
	}
}

func checkChannel(at string, c Channel, d Declarations, wrong func(path, format string, args ...any)) {
	source := func(at string, s Source, user bool) {
		switch {
		case s.From == "store" && !slices.ContainsFunc(d.Secrets, func(x Secret) bool { return x.Name == s.Name }):
			wrong(at+".name", "no secret of that name is declared; `from: store` takes the value of a declared secret")
		case s.From == "file" || s.From == "env" || s.From == "store":
			if s.Name == "" || len(s.Argv) > 0 {
				wrong(at+".name", "a source from %s has a name, and no argv", s.From)
			}
		case s.From != "exec":
			wrong(at+".from", "write file, env, exec or store; a credential is never written in a declaration")
		case len(s.Argv) == 0 || s.Name != "":
			wrong(at+".argv", "a source from a command has argv, and no name")
		}
		if user != (s.User != "") {
			wrong(at+".user", "the user name is for email only, and there with every secret")
		}
	}
	for i, p := range c.People {
		at := fmt.Sprintf("%s.people[%d]", at, i)
		if !slices.ContainsFunc(d.People, func(o Person) bool { return o.Name == p.Person }) {
			wrong(at+".person", "no person %.80q is declared", p.Person)
		}
		if slices.ContainsFunc(c.People[:i], func(o Reached) bool { return o.Person == p.Person }) {
			wrong(at+".person", "%.80q stands here twice; write one address", p.Person)
		}
		if !reachable(c.Kind, p.Address) {
			wrong(at+".address", "write an address such as ana@example.com for email, a member id such as U012AB3CD for slack, and for a webhook 1 to 254 characters by which its endpoint knows the person")
		}
	}
	if len(c.People) > maxReached {
		wrong(at+".people", "a channel has at most %d people; declare another one for more", maxReached)
	}
	if c.Kind != ChannelEmail && (c.From != "" || len(c.To) > 0) {
		wrong(at, "from and to are for kind: email only")
	}
	if c.Kind != ChannelWebhook && c.Previous.From != "" {
		wrong(at+".previous", "previous is for kind: webhook only")
	}
	if c.Secret.From != "" {
		source(at+".secret", c.Secret, c.Kind == ChannelEmail)
	} else if c.Kind != ChannelEmail {
		wrong(at+".secret", "missing; it signs a webhook's messages, or is the URL of slack")
	}
	if c.Previous.From != "" {
		source(at+".previous", c.Previous, false)
	}
	switch c.Kind {
	case ChannelWebhook:
		checkPlace(at, c, "https", "http", wrong)
	case ChannelSlack:
		if c.URL != "" {
			wrong(at+".url", "who knows the URL of an incoming webhook can write there; say in secret where it comes from")
		}
	case ChannelEmail:
		checkPlace(at, c, "smtps", "smtp", wrong)
		for _, a := range append([]string{c.From}, c.To...) {
			if !mailAddress(a) {
				wrong(at, "from and to are addresses such as remit@example.com, without names; one of them is not")
			}
		}
		switch {
		case len(c.People) > 0 && len(c.To) > 0:
			wrong(at+".to", "a channel with people goes to their addresses; declare another one for what goes to all")
		case len(c.People) == 0 && (len(c.To) == 0 || len(c.To) > 50):
			wrong(at+".to", "a channel of kind email goes to 1 to 50 addresses, or has people")
		}
	default:
		wrong(at+".kind", "%.40q: write webhook, email or slack", c.Kind)
	}
}

const maxReached = 2000

func mailAddress(a string) bool {
	p, err := mail.ParseAddress(a)
	return err == nil && p.Address == a && len(a) <= 254
}

// reachable tells whether an address is one of a kind of channel. A member id is put into a message as it is, so it is
// nothing but letters and digits.
func reachable(kind, a string) bool {
	switch kind {
	case ChannelEmail:
		return mailAddress(a)
	case ChannelSlack:
		return len(a) > 1 && len(a) <= 32 && (a[0] == 'U' || a[0] == 'W') && strings.Trim(a, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
	}
	return a != "" && len(a) <= 254 && Visible(a) == a
}

// checkPlace never repeats the URL: what is wrong with it may be a password.
func checkPlace(at string, c Channel, safe, plain string, wrong func(path, format string, args ...any)) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Scheme != safe && u.Scheme != plain ||
		c.Kind == ChannelEmail && (u.Port() == "" || u.Path != "") {
		wrong(at+".url", "write https://HOST/PATH for a webhook, smtp://HOST:PORT or smtps://HOST:PORT for email, with nothing before the host and nothing behind")
		return
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case c.Insecure && (!loopback || u.Scheme != plain):
		wrong(at+".insecure", "insecure: true is for a loopback address and %s:// only", plain)
	case u.Scheme == "http" && !c.Insecure:
		wrong(at+".url", "http:// can be read on the way; write https://, or insecure: true for a loopback address")
	}
}
