package declare_test

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/remit-dev/remit/declare"
)

// told is channels that are right: tests change one thing of them.
const told = `people:
- name: ada
  keys: [KEY1]
groups:
- name: team
  members: [ada]
secrets:
- {name: notify/chat, zone: S}
notify:
- name: ops
  kind: webhook
  url: https://hooks.example.org/remit
  secret: {from: file, name: /etc/remit/hook}
  previous: {from: exec, argv: [pass, hook]}
  events: [hold.opened, finding]
  remind: 1h
- name: mail
  kind: email
  url: smtp://mail.example.org:587
  secret: {from: env, name: MAIL, user: remit}
  from: remit@example.org
  to: [ada@example.org]
  groups: [team]
- name: chat
  kind: slack
  secret: {from: store, name: notify/chat}
  diff: true
- name: owners
  kind: email
  url: smtps://mail.example.org:465
  from: remit@example.org
  people: [{person: ada, address: ada@example.org}]
- name: local
  kind: webhook
  url: http://127.0.0.1:9/
  insecure: true
  secret: {from: file, name: /x}
escalations:
- {name: first, after: 30m, unseen: 2h, to: team, of: [administrators]}
`

func TestChannelsAreReadAndWritten(t *testing.T) {
	set, _, err := declare.Read(fstest.MapFS{"x.yaml": {Data: []byte(keys(told))}})
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := declare.Read(fsOf(declare.Write(set)))
	if err != nil || !reflect.DeepEqual(set, again) {
		t.Fatalf("%v\n%+v\n%+v", err, set, again)
	}
}

func TestWhatIsWrongAboutChannels(t *testing.T) {
	for _, c := range []struct{ name, old, now, want string }{
		{"a kind", "kind: slack", "kind: pigeon", "notify[2].kind: \"pigeon\": write webhook, email or slack"},
		{"a name", "name: ops", "name: Ops!", "notify[0].name: \"Ops!\": a name is 1 to 40"},
		{"a name twice", "name: mail\n", "name: ops\n", "notify[1].name: \"ops\" is declared already"},
		{"a password in a URL", "https://hooks", "https://user:hunter2@hooks", "notify[0].url: write https://HOST/PATH"},
		{"a token in a URL", "/remit\n", "/remit?token=hunter2\n", "notify[0].url: write https://HOST/PATH"},
		{"http", "https://hooks", "http://hooks", "notify[0].url: http:// can be read on the way"},
		{"insecure elsewhere", "http://127.0.0.1:9/", "http://192.0.2.1:9/", "notify[4].insecure: insecure: true is for a loopback address"},
		{"insecure and safe", "http://127.0.0.1:9/", "https://127.0.0.1:9/", "notify[4].insecure: insecure: true is for a loopback address"},
		{"another scheme", "https://hooks", "gopher://hooks", "notify[0].url: write"},
		{"no port", ":587", "", "notify[1].url: write"},
		{"no secret", "  secret: {from: file, name: /etc/remit/hook}\n", "", "notify[0].secret: missing"},
		{"a secret that is one", "{from: file, name: /etc/remit/hook}", "whsec_hunter2", "a credential is never written in a declaration"},
		{"a source", "{from: file, name: /etc/remit/hook}", "{from: file}", "notify[0].secret.name: a source from file has a name"},
		{"a source that is none", "{from: file, name: /etc/remit/hook}", "{from: dns, name: x}", "notify[0].secret.from: write file, env, exec or store"},
		{"an exec with a name", "{from: exec, argv: [pass, hook]}", "{from: exec}", "notify[0].previous.argv: a source from a command has argv"},
		{"a secret that nobody declares", "name: notify/chat}\n  diff", "name: notify/cat}\n  diff", "notify[2].secret.name: no secret of that name"},
		{"a user", "name: /x}", "name: /x, user: me}", "notify[4].secret.user: the user name is for email only"},
		{"no user", ", user: remit", "", "notify[1].secret.user: the user name"},
		{"a URL of slack", "kind: slack\n", "kind: slack\n  url: https://hooks.slack.com/services/hunter2\n", "notify[2].url: who knows the URL"},
		{"addresses of a webhook", "remind: 1h", "to: [ada@example.org]", "notify[0]: from and to are for kind: email only"},
		{"previous of slack", "  diff: true", "  previous: {from: env, name: X}", "notify[2].previous: previous is for kind: webhook only"},
		{"a name in an address", "from: remit@example.org", "from: Remit <remit@example.org>", "notify[1]: from and to are addresses"},
		{"a line in an address", "to: [ada@example.org]", `to: ["ada@example.org\nBcc: eve@example.org"]`, "notify[1]: from and to are addresses"},
		{"nobody", "  to: [ada@example.org]\n", "", "notify[1].to: a channel of kind email goes to 1 to 50"},
		{"people and everybody", "  to: [ada@example.org]\n", "  to: [ada@example.org]\n  people: [{person: ada, address: ada@example.org}]\n", "notify[1].to: a channel with people goes to their addresses"},
		{"an address of a person", "  to: [ada@example.org]\n", "  people: [{person: ada, address: Ada}]\n", "notify[1].people[0].address: write an address such as ana@example.com"},
		{"a member id", "  diff: true", "  people: [{person: ada, address: \"U1> <!channel\"}]", "notify[2].people[0].address: write an address"},
		{"a person that is none", "  to: [ada@example.org]\n", "  people: [{person: adam, address: a@example.org}]\n", "notify[1].people[0].person: no person \"adam\" is declared"},
		{"a person twice", "  remind: 1h\n", "  people: [{person: ada, address: a}, {person: ada, address: b}]\n", "notify[0].people[1].person: \"ada\" stands here twice"},
		{"what is for nobody in person", "  remind: 1h\n", "  people: [{person: ada, address: a}]\n", "notify[0].events[0]: a channel with people tells review.opened, review.reminder, review.removed, agent.idle; declare another one for hold.opened"},
		{"an event", "[hold.opened, finding]", "[hold.open]", "notify[0].events[0]: \"hold.open\" is not told; one of hold.opened"},
		{"a group", "groups: [team]", "groups: [teem]", "notify[1].groups[0]: no group \"teem\" is declared"},
		{"a reminder", "remind: 1h", "remind: soon", "notify[0].remind: \"soon\": write a time between 1m and 24h"},
		{"an escalation's time", "after: 30m", "after: 30 min", "escalations[0].after: \"30 min\": write a time"},
		{"an escalation's patience", "unseen: 2h", "unseen: 25h", "escalations[0].unseen: \"25h\": write a time"},
		{"an escalation's group", "to: team,", "to: teem,", "escalations[0].to: no group \"teem\" is declared"},
		{"an escalation of", "of: [administrators]", "of: [admins]", "escalations[0].of[0]: no group \"admins\" is declared"},
		{"an escalation that nobody hears of", "  diff: true\n", "  diff: true\n  events: [finding]\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(told, c.old, c.now, 1)
			if text == told {
				t.Fatal("nothing was changed")
			}
			if c.want == "" {
				text = strings.Replace(strings.Replace(text, "groups: [team]", "events: [finding]", 1), "insecure: true\n", "insecure: true\n  events: [finding]\n", 1)
				c.want = "escalations[0].to: no channel tells group \"team\""
			}
			_, _, err := declare.Read(fstest.MapFS{"x.yaml": {Data: []byte(keys(text))}})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}
