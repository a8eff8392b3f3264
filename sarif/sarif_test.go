package sarif_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/remit-dev/remit/sarif"
)

// official is the schema of the standard, as OASIS publishes it at sarif.Schema.
func official(t *testing.T) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile("testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(sarif.Schema, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(sarif.Schema)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func full() sarif.Log {
	rules := []sarif.Rule{
		{ID: "write-outside", Name: "WriteOutside", Short: sarif.Message{Text: "writes go round"}, Help: sarif.Message{Text: "remove it"}, Default: sarif.Configuration{Level: sarif.Error}, More: map[string]any{"tags": []string{"security"}}},
		{ID: "long-lived", Short: sarif.Message{Text: "has no end"}},
	}
	return sarif.Log{Runs: []sarif.Run{{
		Tool:        sarif.Tool{Driver: sarif.Driver{Name: "remit", Version: "0.7.0", InformationURI: "https://remit.dev", Rules: rules}},
		ID:          "remit/scan/forge/",
		Invocations: []sarif.Invocation{{EndUTC: "2026-01-02T03:04:05Z", Notifications: []sarif.Notification{{Level: sarif.Error, Message: sarif.Message{Text: "tokens of bob: the answer was 403"}}}}},
		Results: []sarif.Result{
			{RuleID: "write-outside", Level: sarif.Error, Message: sarif.Message{Text: "<b> & a key"}, Fingerprints: map[string]string{"subject/v1": "ab"}, Locations: []sarif.Location{{
				Physical: &sarif.Physical{Artifact: sarif.Artifact{URI: "https://forge.example/acme"}, Region: &sarif.Region{StartLine: 1}},
				Logical:  []sarif.Logical{{Name: "3", Qualified: "gitea:deploy_key/acme/3", Kind: "resource"}},
			}}, More: map[string]any{"age": 3}, Suppressions: []sarif.Suppression{}},
			{RuleID: "long-lived", Message: sarif.Message{Text: "old"},
				Suppressions: []sarif.Suppression{{Kind: sarif.External, Status: sarif.Accepted, Justification: "until it is replaced", More: map[string]any{"until": "2027-03-31"}}}},
		},
	}}}
}

func TestWhatIsWrittenIsSARIF(t *testing.T) {
	schema := official(t)
	for name, log := range map[string]sarif.Log{
		"full": full(), "nothing was looked at": {},
		"nothing was found": {Runs: []sarif.Run{{Tool: sarif.Tool{Driver: sarif.Driver{Name: "remit"}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := sarif.Write(&out, log); err != nil {
				t.Fatal(err)
			}
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(doc); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			if strings.Contains(out.String(), ": null") {
				t.Errorf("a member is null:\n%s", &out)
			}
		})
	}
}

func TestTheSchemaWouldNotice(t *testing.T) {
	var out bytes.Buffer
	if err := sarif.Write(&out, full()); err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(out.String(), `"text": "old"`, `"txt": "old"`, 1)
	doc, _ := jsonschema.UnmarshalJSON(strings.NewReader(broken))
	if err := official(t).Validate(doc); err == nil {
		t.Error("a message without text passed")
	}
}

func TestResultsNameTheirRuleByItsPlace(t *testing.T) {
	var out bytes.Buffer
	if err := sarif.Write(&out, full()); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID    string
				RuleIndex int
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	for _, run := range log.Runs {
		for _, r := range run.Results {
			if got := run.Tool.Driver.Rules[r.RuleIndex].ID; got != r.RuleID {
				t.Errorf("result of %s points to %s", r.RuleID, got)
			}
		}
	}
}

func TestWhatTheStandardForbidsIsRefused(t *testing.T) {
	for name, change := range map[string]func(*sarif.Run){
		"no name":                   func(r *sarif.Run) { r.Tool.Driver.Name = "" },
		"a rule twice":              func(r *sarif.Run) { r.Tool.Driver.Rules = append(r.Tool.Driver.Rules, r.Tool.Driver.Rules[0]) },
		"a rule without a sentence": func(r *sarif.Run) { r.Tool.Driver.Rules[0].Short.Text = "" },
		"a result of no rule":       func(r *sarif.Run) { r.Results[0].RuleID = "other" },
		"a level of its own":        func(r *sarif.Run) { r.Results[0].Level = "critical" },
		"a result without a word":   func(r *sarif.Run) { r.Results[1].Message.Text = "" },
		"a silent notification":     func(r *sarif.Run) { r.Invocations[0].Notifications[0].Message.Text = "" },
	} {
		t.Run(name, func(t *testing.T) {
			log := full()
			change(&log.Runs[0])
			if err := sarif.Write(&bytes.Buffer{}, log); err == nil {
				t.Error("it was written")
			}
		})
	}
}
