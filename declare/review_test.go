package declare_test

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
)

const reviewed = `people:
  - {name: dan, keys: []}
groups:
  - {name: security, members: [dan]}
agents:
  - name: coder
    function: code
    owner: dan
    purpose: Fixes bugs
campaigns:
  - name: quarterly
    agents: [co*]
    functions: [code]
    owners: [dan]
    cadence: "0 9 1 */3 *"
    due: 21d
    reviewers: [security]
    fallback: security
    canaries: 2
reviews:
  suspend_after: 7d
  retire_after: "off"
  unused_after: 45d
  due: 3d
  fallback: security
  micro: [wide, unused]
`

func TestReviewsAreReadAndWritten(t *testing.T) {
	read := func(text string) (*remit.Declarations, error) {
		set, _, err := declare.Read(fstest.MapFS{"a.yaml": {Data: []byte(text)}})
		return set, err
	}
	set, err := read(reviewed)
	if err != nil {
		t.Fatal(err)
	}
	c, r := set.Campaigns[0], set.Reviews
	if c.Cadence != "0 9 1 */3 *" || c.Due != "21d" || c.Canaries != 2 || r.SuspendAfter != "7d" || r.RetireAfter != "off" || len(r.Micro) != 2 {
		t.Errorf("%+v %+v", c, r)
	}
	for _, text := range []string{reviewed, reviewed[:strings.Index(reviewed, "reviews:")] + "reviews: {}\n"} {
		set, err := read(text)
		if err != nil {
			t.Fatal(err)
		}
		files := fstest.MapFS{}
		for name, body := range declare.Write(set) {
			files[name] = &fstest.MapFile{Data: body}
		}
		again, _, err := declare.Read(files)
		if err != nil || !reflect.DeepEqual(set, again) {
			t.Errorf("%v: written and read again it is\n%+v, not\n%+v", err, again, set)
		}
	}
}

// What is wrong is said with its file, its line and what would be right.
func TestWrongReviewsSayWhere(t *testing.T) {
	for change, want := range map[[2]string]string{
		{"name: quarterly", "name: Q3!"}:                      `a.yaml:11: campaigns[0].name: "Q3!": a name is`,
		{"[co*]", "[cooder]"}:                                 `a.yaml:12: campaigns[0].agents[0]: no agent "cooder" is declared; "coder" is meant`,
		{"[co*]", "[ci-*]"}:                                   `a.yaml:12: campaigns[0].agents[0]: no declared agent's name begins with "ci-"`,
		{"[co*]", `["*"]`}:                                    `campaigns[0].agents[0]: all agents are meant where agents is left out`,
		{"functions: [code]", "functions: [coding]"}:          `a.yaml:13: campaigns[0].functions[0]: "coding": write plan`,
		{"owners: [dan]", "owners: [dna]"}:                    `a.yaml:14: campaigns[0].owners[0]: no person "dna" is declared`,
		{`"0 9 1 */3 *"`, `"@monthly"`}:                       "a.yaml:15: campaigns[0].cadence: \"@monthly\" is not five fields with one blank between; write minute, hour, day of the month, month and day of the week, in UTC, such as `0 9 1 */3 *`",
		{`"0 9 1 */3 *"`, `"0 9 30 2 *"`}:                     `a.yaml:15: campaigns[0].cadence: "0 9 30 2 *": there is no such day, so it would never come; write minute`,
		{`"0 9 1 */3 *"`, `"*/5 9 1 * *"`}:                    `a.yaml:15: campaigns[0].cadence: "*/5 9 1 * *": "*/5" is no minute, which is one number`,
		{`"0 9 1 */3 *"`, `"0 25 1 * *"`}:                     `a.yaml:15: campaigns[0].cadence: "0 25 1 * *": "25" is no hour (end of range (25) above maximum (23): 25); write minute`,
		{`"0 9 1 */3 *"`, `"0 9 1 */0 *"`}:                    `a.yaml:15: campaigns[0].cadence: "0 9 1 */0 *": "*/0" is no month (`,
		{`"0 9 1 */3 *"`, `"0 9 1 */3 fry"`}:                  `a.yaml:15: campaigns[0].cadence: "0 9 1 */3 fry": "fry" is no day of the week (`,
		{`"0 9 1 */3 *"`, `"0 9 31-1 * *"`}:                   `a.yaml:15: campaigns[0].cadence: "0 9 31-1 * *": "31-1" is no day of the month (`,
		{`"0 9 1 */3 *"`, `"0 9  1 */3 *"`}:                   `a.yaml:15: campaigns[0].cadence: "0 9  1 */3 *" is not five fields with one blank between`,
		{"    cadence: \"0 9 1 */3 *\"\n", ""}:                `campaigns[0].cadence: missing`,
		{"due: 21d", `due: "21"`}:                             `a.yaml:16: campaigns[0].due: "21" is no length of time; write a number and m, h or d: 14d`,
		{"due: 21d", "due: 91d"}:                              `a.yaml:16: campaigns[0].due: 91d is not between 1h and 90d`,
		{"reviewers: [security]", "reviewers: [secs]"}:        `a.yaml:17: campaigns[0].reviewers[0]: no group "secs" is declared`,
		{"fallback: security\n    c", "fallback: all\n    c"}: `a.yaml:18: campaigns[0].fallback: no group "all" is declared`,
		{"canaries: 2", "canaries: 21"}:                       `a.yaml:19: campaigns[0].canaries: a run has 0 to 20 canaries, not 21`,
		{"suspend_after: 7d", "suspend_after: soon"}:          `a.yaml:21: reviews.suspend_after: "soon" is no length of time`,
		{`retire_after: "off"`, `retire_after: 7d`}:           `a.yaml:22: reviews.retire_after: an agent retires after it was suspended`,
		{"unused_after: 45d", "unused_after: 1h"}:             `a.yaml:23: reviews.unused_after: 1h is not between 1d and`,
		{"[wide, unused]", "[wide, wide]"}:                    `a.yaml:26: reviews.micro[1]: "wide" is not one of`,
		{"unused_after: 45d", "unused: 45d"}:                  `a.yaml:23: reviews: unknown member "unused"`,
		{"  micro: [wide, unused]\n", "reviews: {}\n"}:        `a.yaml:26: not YAML`,
	} {
		text := strings.Replace(reviewed, change[0], change[1], 1)
		if text == reviewed {
			t.Fatalf("%q is not there", change[0])
		}
		_, _, err := declare.Read(fstest.MapFS{"a.yaml": {Data: []byte(text)}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q in the place of %q: %v; want %s", change[1], change[0], err, want)
		}
	}
	_, _, err := declare.Read(fstest.MapFS{"a.yaml": {Data: []byte(reviewed)}, "b.yaml": {Data: []byte("reviews: {due: 2d}\n")}})
	if err == nil || !strings.Contains(err.Error(), "b.yaml:1: reviews: reviews is declared already, at a.yaml:20") {
		t.Errorf("declared twice: %v", err)
	}
}
