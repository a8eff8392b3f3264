package scan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sarif"
)

// power is how much a thing can do at the upstream.
type power uint8

const (
	none power = iota
	reads
	writes
	administers
)

// fact is something that a collector saw of a thing; what it means is said in the table of rules.
type fact uint8

const (
	passesGate       fact = iota // it is on a list of who need not pass a gate
	noGate                       // what should be behind a gate has none
	exceptsAdmins                // administrators need not pass the gate
	insecureHook                 // a hook whose messages can be read or forged on the way
	outsideHook                  // a hook that tells another host
	writingWorkflows             // jobs of CI may write by default
	approvingJobs                // jobs of CI may approve pull requests
	openEnvironment              // an environment that every job may use
	ciSecret                     // a secret that jobs of CI are given
	standingRunner               // a runner that jobs of many share
	fromOutside                  // somebody of another organisation
	holdsPassword                // the upstream keeps a credential for another place
	standingApp                  // an application acts for people, without them
	customSubject                // tokens of CI jobs have a subject of its own making
	wildcard                     // a role that has everything
	escalates                    // a role by which one gets more than one has
	readsSecrets
	runsAnything // a role that starts programs in a cluster
	everybody    // bound to everybody, or to whoever has an account
	endlessToken // a token of a service account that has no end, kept as a Secret
	mountsToken  // every pod gets a credential that it did not ask for
	failsOpen    // a check that lets pass what it cannot check
	changesGates // a role that changes the checks themselves
	anonymous    // works for whoever asks
	heldTwice    // the same key or password is known in several places
	facts        // how many there are
)

// thing is one piece of authority at an upstream, as a collector saw it.
type thing struct {
	subject string // a name that stays: gitea:deploy_key/acme/payments/3
	kind    string // as remit.ScanReach.Kind
	where   string
	text    string // what it is, to begin a sentence with: deploy key "ci" (3)
	holder  string // who has it, by the upstream's own name: gitea:user/bob; empty: the upstream does not say
	account string // the holder as Target.Answers and Target.Own have it
	owner   string // who is declared to answer for it
	own     bool   // it is Remit's

	power      power
	credential bool // something that a program can be given: a token, a key, not a person's account
	answerable bool // somebody should answer for it
	endless    bool // it has no end
	usable     bool // the upstream tells of its use

	created, used, ends *time.Time
	never               bool // it was never used

	facts map[fact][]string // what was seen, as the rest of a sentence

	actions   []remit.Action
	resources []remit.Pattern
	except    []remit.Pattern
	note      string
}

// saw adds a fact; the text goes on after the thing's own: may push to main.
func (x *thing) saw(f fact, format string, args ...any) {
	if x.facts == nil {
		x.facts = map[fact][]string{}
	}
	x.facts[f] = append(x.facts[f], fmt.Sprintf(format, args...))
}

const (
	day       = 24 * time.Hour
	longLived = 90 * day
	unused    = 30 * day
)

// rule is a line of the table.
type rule struct {
	id    string
	level remit.ScanLevel
	short string // what it finds
	help  string // what to do
	// find gives the rest of the sentence that begins with the thing's text, for each finding.
	find func(x *thing, at time.Time) []string
}

// saw is a rule on one fact.
func saw(f fact) func(*thing, time.Time) []string {
	return func(x *thing, _ time.Time) []string { return x.facts[f] }
}

// when is a rule with one sentence.
func when(holds func(x *thing, at time.Time) (string, bool)) func(*thing, time.Time) []string {
	return func(x *thing, at time.Time) []string {
		if text, ok := holds(x, at); ok {
			return []string{text}
		}
		return nil
	}
}

// rules is all that a scan finds. An id is never given another meaning.
var rules = []rule{
	{"write-outside", remit.ScanError, "A credential outside Remit can write",
		"Make it read-only or remove it; work that has to write asks Remit for a task, whose credential ends with it.",
		when(func(x *thing, _ time.Time) (string, bool) {
			return "can write without Remit", x.credential && x.power == writes
		})},
	{"administer-outside", remit.ScanError, "A credential outside Remit can administer",
		"Remove it. Whoever has it can undo every gate there is.",
		when(func(x *thing, _ time.Time) (string, bool) {
			return "can administer, and so undo every gate", x.credential && x.power == administers
		})},
	{"account-administers", remit.ScanWarning, "An account administers",
		"Keep as few as can be, of declared people, with a second factor; let nothing run as one.",
		when(func(x *thing, _ time.Time) (string, bool) {
			return "administers, and so can undo every gate", !x.credential && x.power == administers
		})},
	{"account-writes", remit.ScanNote, "An account can write past Remit",
		"Take the right to write from it, if its changes should go through Remit.",
		when(func(x *thing, _ time.Time) (string, bool) {
			return "can write without Remit", !x.credential && x.power == writes
		})},
	{"unowned", remit.ScanWarning, "Nobody who is declared answers for it",
		"Declare who answers for it (a person of the same name or identity, or an agent), or remove it.",
		when(func(x *thing, _ time.Time) (string, bool) {
			who := "its holder is not told"
			if x.holder != "" {
				who = "it is of " + x.holder
			}
			return "belongs to nobody who is declared: " + who, x.answerable && x.owner == "" && x.power != none
		})},
	{"long-lived", remit.ScanWarning, "A credential lives long",
		"Replace it by one that ends within 90 days, or better by a lease of Remit, which ends with its task.",
		when(func(x *thing, at time.Time) (string, bool) {
			switch {
			case !x.credential || x.power == none:
				return "", false
			case x.ends != nil && x.created != nil && x.ends.Sub(*x.created) > longLived:
				return fmt.Sprintf("lives for %d days", int(x.ends.Sub(*x.created)/day)), true
			case x.ends != nil && x.ends.Sub(at) > longLived:
				return fmt.Sprintf("lives for another %d days", int(x.ends.Sub(at)/day)), true
			case !x.endless:
				return "", false
			case x.created == nil:
				return "has no end, and its age is not told", true
			case at.Sub(*x.created) > longLived:
				return fmt.Sprintf("has no end, and is %d days old", int(at.Sub(*x.created)/day)), true
			}
			return "", false
		})},
	{"endless", remit.ScanNote, "A credential has no end",
		"Give it an end. What has none is found again when nobody remembers what it is for.",
		when(func(x *thing, at time.Time) (string, bool) {
			return "has no end", x.credential && x.power != none && x.endless && x.created != nil && at.Sub(*x.created) <= longLived
		})},
	{"unused", remit.ScanWarning, "Nobody uses it",
		"Remove it. What nobody uses is missed by nobody, but for whoever steals it.",
		when(func(x *thing, at time.Time) (string, bool) {
			switch {
			case !x.usable || x.power == none:
				return "", false
			case x.used != nil && at.Sub(*x.used) > unused:
				return fmt.Sprintf("was last used %d days ago", int(at.Sub(*x.used)/day)), true
			case x.never && x.created != nil && at.Sub(*x.created) > unused:
				return fmt.Sprintf("was never used in %d days", int(at.Sub(*x.created)/day)), true
			}
			return "", false
		})},
	{"shared", remit.ScanError, "One credential is known in several places",
		"Give each its own. With one for all, nobody can say who did what, and it cannot be taken from one alone.", saw(heldTwice)},
	{"bypasses-gate", remit.ScanError, "Somebody need not pass a gate",
		"Take it off the list. An exception for an emergency is break-glass, which is reviewed afterwards.", saw(passesGate)},
	{"no-gate", remit.ScanError, "There is no gate where one should be",
		"Protect it at the upstream, so that what does not come through Remit is refused there too.", saw(noGate)},
	{"gate-excepts-administrators", remit.ScanWarning, "A gate does not hold for administrators",
		"Let it hold for administrators too.", saw(exceptsAdmins)},
	{"insecure-hook", remit.ScanError, "A hook sends in the clear, or to whoever answers",
		"Let it send by https, with certificates checked and a secret by which the receiver knows it.", saw(insecureHook)},
	{"hook-outside", remit.ScanWarning, "A hook tells another host what happens",
		"Remove it if nobody can say who reads there.", saw(outsideHook)},
	{"workflow-writes", remit.ScanError, "Jobs of CI may write by default",
		"Set the default permissions of workflows to read; a workflow that must write says so itself, in a reviewed file.", saw(writingWorkflows)},
	{"workflow-approves", remit.ScanError, "Jobs of CI may approve changes",
		"Forbid workflows to create and approve pull requests: their approval would count as a person's.", saw(approvingJobs)},
	{"open-environment", remit.ScanError, "Every job may use an environment's secrets",
		"Add required reviewers, or allow protected branches only.", saw(openEnvironment)},
	{"ci-secret", remit.ScanWarning, "CI keeps a secret",
		"Replace it by a lease of Remit for the job (remit ci run), which ends with the job.", saw(ciSecret)},
	{"standing-runner", remit.ScanWarning, "A runner outlives its jobs",
		"Use runners that are made for one job: what one job leaves behind, the next one of somebody else finds.", saw(standingRunner)},
	{"outsider", remit.ScanWarning, "Somebody from outside has access",
		"Remove them, or declare who answers for them.", saw(fromOutside)},
	{"stored-credential", remit.ScanWarning, "The upstream keeps a credential for another place",
		"Give it the least that serves, and change it when people leave.", saw(holdsPassword)},
	{"standing-app", remit.ScanWarning, "An application acts by itself",
		"Take from it what it does not need; remove it if nobody can say what it is for.", saw(standingApp)},
	{"custom-subject", remit.ScanWarning, "The subject of CI jobs' tokens was changed",
		"See that whatever trusts these tokens still tells this repository and this workflow apart from others.", saw(customSubject)},
	{"wildcard-role", remit.ScanError, "A role has everything",
		"Write down the verbs and resources that are needed.", saw(wildcard)},
	{"escalation", remit.ScanError, "A role leads to more than it says",
		"Take escalate, bind, impersonate, tokens of others and approval of certificates from it.", saw(escalates)},
	{"reads-secrets", remit.ScanError, "A role reads secrets",
		"Give the one secret by name, mounted, to what needs it.", saw(readsSecrets)},
	{"runs-anything", remit.ScanError, "A role starts programs",
		"Let what runs come through Remit's deployments only: whoever starts a pod has all that its namespace has.",
		func(x *thing, _ time.Time) []string {
			if strings.HasPrefix(x.owner, "environment:") && x.where != everywhere {
				return nil // as whom Remit deploys there
			}
			return x.facts[runsAnything]
		}},
	{"changes-gates", remit.ScanError, "A role can change the cluster's checks",
		"Keep webhook configurations and admission policies to administrators.", saw(changesGates)},
	{"everybody", remit.ScanError, "Everybody has it",
		"Bind it to named service accounts and groups of people.", saw(everybody)},
	{"endless-token", remit.ScanError, "A token of a service account has no end",
		"Delete the Secret; pods and Remit get tokens that end (TokenRequest).", saw(endlessToken)},
	{"mounts-token", remit.ScanWarning, "Every pod gets a credential",
		"Set automountServiceAccountToken: false.", saw(mountsToken)},
	{"fails-open", remit.ScanError, "A check lets pass what it cannot check",
		"Set failurePolicy: Fail.", saw(failsOpen)},
	{"anonymous", remit.ScanWarning, "It works for whoever asks",
		"Ask for a credential.", saw(anonymous)},
}

// judge makes findings of things, the worst first, and says what they reach. What is Remit's own is no finding, save where
// it is a fact about the upstream's gates.
func judge(found []thing, at time.Time) (out []remit.ScanFinding, reach []remit.ScanReach) {
	out, reach = []remit.ScanFinding{}, []remit.ScanReach{}
	for i := range found {
		x := &found[i]
		if x.own {
			continue
		}
		for _, rule := range rules {
			for _, rest := range rule.find(x, at) {
				out = append(out, x.finding(rule, rest, at))
			}
		}
		if len(x.actions) > 0 && len(x.resources) > 0 {
			reach = append(reach, x.reaches())
		}
	}
	slices.SortStableFunc(out, func(a, b remit.ScanFinding) int {
		return cmp.Or(cmp.Compare(b.Level.Rank(), a.Level.Rank()), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Text, b.Text))
	})
	slices.SortStableFunc(reach, func(a, b remit.ScanReach) int {
		return cmp.Or(cmp.Compare(a.Impact, b.Impact), cmp.Compare(a.Credential, b.Credential))
	})
	return out, reach
}

func (x *thing) finding(r rule, rest string, at time.Time) remit.ScanFinding {
	f := remit.ScanFinding{Rule: r.id, Level: r.level, Subject: x.subject, Where: x.where, Text: x.text + " " + rest, Help: r.help,
		Created: x.created, LastUse: x.used, Never: x.usable && x.never}
	if x.created != nil {
		days := max(int(at.Sub(*x.created)/day), 0)
		f.AgeDays = &days
	}
	return f
}

func (x *thing) reaches() remit.ScanReach {
	holder := cmp.Or(x.owner, x.holder, x.subject)
	impact := remit.Read
	for _, a := range x.actions {
		if info, ok := remit.Lookup(a); !ok || info.Impact < impact {
			impact = info.Impact // the zero value of what the catalogue lacks is the strictest
		}
	}
	return remit.ScanReach{Holder: holder, Credential: x.subject, Kind: x.kind, Actions: x.actions, Resources: x.resources, Except: x.except, Impact: impact, Note: x.note}
}

// SARIF is a report as a log of results. Version is that of the tool. What could not be seen is a notification of the run,
// which then did not succeed. What is known is suppressed, and a gap that is known fails no run; nil: nothing is.
func SARIF(report remit.ScanReport, version string, known *remit.ScanKnown) sarif.Log {
	driver := sarif.Driver{Name: "remit", Version: version}
	for _, r := range rules {
		driver.Rules = append(driver.Rules, sarif.Rule{ID: r.id, Name: camel(r.id), Short: sarif.Message{Text: r.short}, Help: sarif.Message{Text: r.help},
			Default: sarif.Configuration{Level: string(r.level)}, More: map[string]any{"tags": []string{"security"}}})
	}
	how := sarif.Invocation{Successful: report.Complete(), EndUTC: report.At.UTC().Format(time.RFC3339)}
	if known != nil {
		how.Successful = len(known.Unseen) == 0
	}
	for _, g := range report.Unseen {
		n := sarif.Notification{Level: sarif.Error, Message: sarif.Message{Text: g.What + " could not be seen: " + g.Why}, More: map[string]any{"code": g.Code}}
		if known != nil {
			if a, is := known.Gap(g); is {
				n.Level, n.More["accepted"], n.More["until"] = sarif.Note, a.Reason, a.Until
			}
		}
		how.Notifications = append(how.Notifications, n)
	}
	run := sarif.Run{Tool: sarif.Tool{Driver: driver}, ID: "remit/scan/" + report.Upstream + "/", Invocations: []sarif.Invocation{how}}
	for _, f := range report.Findings {
		mark := remit.Hash([]byte(report.Upstream), []byte{0}, []byte(f.Rule), []byte{0}, []byte(f.Subject), []byte{0}, []byte(f.Where))
		more := map[string]any{"where": f.Where}
		if f.AgeDays != nil {
			more["ageDays"] = *f.AgeDays
		}
		if f.LastUse != nil {
			more["lastUse"] = f.LastUse.UTC().Format(time.RFC3339)
		}
		if f.Never {
			more["neverUsed"] = true
		}
		var suppressed []sarif.Suppression
		if known != nil {
			suppressed = []sarif.Suppression{}
			if a, is := known.Finding(f); is {
				suppressed = append(suppressed, sarif.Suppression{Kind: sarif.External, Status: sarif.Accepted, Justification: a.Reason, More: map[string]any{"until": a.Until}})
			}
		}
		run.Results = append(run.Results, sarif.Result{RuleID: f.Rule, Suppressions: suppressed, Level: string(f.Level), Message: sarif.Message{Text: f.Text + ". " + f.Help},
			Locations:    []sarif.Location{{Logical: []sarif.Logical{{Name: f.Where, Qualified: report.Upstream + "/" + f.Subject, Kind: "resource"}}}},
			Fingerprints: map[string]string{"subject/v1": mark.String()}, More: more})
	}
	return sarif.Log{Runs: []sarif.Run{run}}
}

// camel is a rule's id as a name: WriteOutside.
func camel(id string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(id, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
