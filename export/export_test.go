package export_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/export"
	"github.com/remit-dev/remit/ledger"
)

var update = flag.Bool("update", false, "write the golden lines")

var source = export.Source{Org: "acme", Origin: "remit.example/acme", Version: "test"}

// fill puts something into every member, as the log could have it.
func fill(v reflect.Value, name string) {
	switch x := v.Addr().Interface().(type) {
	case *remit.Verdict:
		*x = remit.Allow
		return
	case *remit.Digest:
		*x = remit.Hash([]byte(name))
		return
	case *remit.Action:
		*x = "source.push"
		return
	case *remit.Resource:
		*x = "repo:forge/payments"
		return
	case *remit.Code:
		*x = remit.OutOfScope
		return
	case *remit.Outcome:
		*x = remit.Done
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.ToLower(name))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(3)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), name)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), name)
		}
	default:
		panic("a member of kind " + v.Kind().String())
	}
}

func entry(t *testing.T, i int, e remit.Event) export.Entry {
	t.Helper()
	at := time.Unix(1_800_000_000, 123_456_789).UTC()
	view, err := ledger.View(ledger.Leaf{At: at, Event: e})
	if err != nil {
		t.Fatal(err)
	}
	return export.Entry{Index: remit.EntryIndex(i), At: at, Event: e, View: view}
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile("testdata/ocsf-1.8.0.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func valid(s *jsonschema.Schema, line []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// every is an event of each kind, full and empty, and what some of them become by their members.
func every(t *testing.T) (out []remit.Event) {
	for _, kind := range remit.Kinds() {
		full, ok := remit.NewEvent(kind)
		if !ok {
			t.Fatalf("%q is no kind", kind)
		}
		fill(reflect.ValueOf(full).Elem(), "")
		out = append(out, full)
	}
	return append(out, &remit.AgentChanged{Agent: "coder", Status: remit.AgentActive}, &remit.AgentChanged{Agent: "coder", Status: remit.AgentSuspended},
		&remit.AgentChanged{Agent: "coder", Status: remit.AgentRetired},
		&remit.Decided{Gateway: "probe", Agent: "coder", Code: remit.CrossesBoundary}, &remit.Decided{Gateway: "probe", Agent: "coder", Verdict: remit.Hold},
		&remit.Decided{Gateway: "probe", Executor: "executor/source", Verdict: remit.Allow, Steps: []remit.StepFacts{{Step: remit.Step{Action: "source.read", Resource: "repo:forge/a"}}}},
		&remit.Recorded{Attempt: "X-1", Outcome: remit.Ambiguous}, &remit.LeaseMoved{Lease: "L-1", To: remit.LeaseQuarantined},
		&remit.LeaseOpened{ID: "L-1", Task: "T-1", Upstream: "forge", Target: "repo:forge/a"}, &remit.SecretStored{Name: "s", Version: 2},
		&remit.VoteCast{Access: "A-1", Person: "P-1"}, &remit.UpstreamContained{Upstream: "forge", By: "P-1"}, &remit.Found{Detection: "ref-moved-outside", Entries: []remit.EntryIndex{4}, Count: 1})
}

// Every kind of event has lines that do not change by accident. A new kind without a mapping fails here.
func TestEveryKindHasItsLines(t *testing.T) {
	ocsf := schema(t)
	for _, format := range export.Formats() {
		var got bytes.Buffer
		for i, e := range every(t) {
			line, err := source.Line(format, entry(t, i, e))
			if err != nil {
				t.Errorf("%s: %v", e.Kind(), err)
				continue
			}
			if bytes.ContainsAny(line, "\n\r") {
				t.Errorf("%s is more than a line", e.Kind())
			}
			if last, err := export.Last(format, line); err != nil || last != remit.EntryIndex(i) {
				t.Errorf("%s: its line is of entry %d, %v; want %d", e.Kind(), last, err, i)
			}
			switch format {
			case "ocsf":
				if err := valid(ocsf, line); err != nil {
					t.Errorf("%s is not OCSF: %v\n%s", e.Kind(), err, line)
				}
			case "cloudevents":
				var c cloudevents.Event
				if err := json.Unmarshal(line, &c); err != nil {
					t.Errorf("%s: %v", e.Kind(), err)
				} else if err := c.Validate(); err != nil || c.ID() != fmt.Sprint(i) || c.Type() != "dev.remit."+e.Kind() || c.Source() != "remit.example/acme" ||
					!c.Time().Equal(time.Unix(1_800_000_000, 123_456_789)) || !json.Valid(c.Data()) {
					t.Errorf("%s is no CloudEvent, or another: %v %s", e.Kind(), err, line)
				}
			}
			// The leaf's own view is not this package's, and changes with each member that an event gets.
			golden := entry(t, 7, e)
			golden.View = []byte(`{}`)
			if line, err = source.Line(format, golden); err != nil {
				t.Error(err)
			}
			got.Write(append(line, '\n'))
		}
		path := "testdata/" + format + ".jsonl"
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		was, is := strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")
		for i := range max(len(was), len(is)) {
			a, b := "", ""
			if i < len(was) {
				a = was[i]
			}
			if i < len(is) {
				b = is[i]
			}
			if a != b {
				t.Errorf("%s line %d is\n%s\nand was\n%s\n(go test ./export -update, if that is what you want)", path, i+1, b, a)
				break
			}
		}
	}
}

// An event with nothing in it still makes a valid line: old logs have fewer members.
func TestEmptyEventsAreValid(t *testing.T) {
	ocsf := schema(t)
	for _, kind := range remit.Kinds() {
		e, _ := remit.NewEvent(kind)
		// Names and ids are never empty in a log; everything else may be.
		v := reflect.ValueOf(e).Elem()
		for i := range v.NumField() {
			if v.Field(i).Kind() == reflect.String && !strings.Contains(v.Type().Field(i).Tag.Get("cbor"), "omitempty") {
				v.Field(i).SetString("x")
			}
		}
		if d, ok := e.(*remit.Decided); ok {
			d.Executor = "executor/source" // every decision is of one or of an agent
		}
		line, err := source.OCSF(entry(t, 0, e))
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(ocsf, line); err != nil {
			t.Errorf("%s: %v\n%s", kind, err, line)
		}
	}
}

type strange struct{}

func (*strange) Kind() string { return "strange" }

func TestAKindWithoutAMappingIsAnError(t *testing.T) {
	if _, err := source.OCSF(export.Entry{Event: &strange{}, View: []byte("{}")}); err == nil {
		t.Error("it was left out silently")
	}
	if _, err := source.Line("xml", export.Entry{Event: &remit.Genesis{}, View: []byte("{}")}); err == nil {
		t.Error("an unknown format")
	}
}

// The schema must be able to say no.
func TestTheSchemaRefuses(t *testing.T) {
	s := schema(t)
	line, err := source.OCSF(entry(t, 0, &remit.AgentChanged{Agent: "coder", Status: remit.AgentSuspended}))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"without a user":          func(m map[string]any) { delete(m, "user") },
		"another class's type":    func(m map[string]any) { m["type_uid"] = 300405 },
		"an activity of nobody":   func(m map[string]any) { m["activity_id"], m["type_uid"] = 12, 300112 },
		"99 without a name":       func(m map[string]any) { m["activity_id"], m["type_uid"] = 99, 300199 },
		"an attribute of nobody":  func(m map[string]any) { m["agent"] = "coder" },
		"another version":         func(m map[string]any) { m["metadata"].(map[string]any)["version"] = "1.7.0" },
		"a time that is a string": func(m map[string]any) { m["time"] = "now" },
		"an unknown severity":     func(m map[string]any) { m["severity_id"] = 7 },
	} {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if valid(s, b) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestLastRefusesWhatIsNotOurs(t *testing.T) {
	for _, line := range []string{"", "x", "{}", `{"metadata":{}}`, `{"id":"x","specversion":"1.0"}`, `{"id":"1"}`, `{"metadata":{"sequence":-1}}`} {
		for _, format := range append(export.Formats(), "") {
			if n, err := export.Last(format, []byte(line)); err == nil {
				t.Errorf("%s as %s is entry %d", line, format, n)
			}
		}
	}
	if _, err := export.Last("cloudevents", []byte(`{"metadata":{"sequence":3}}`)); err == nil {
		t.Error("an OCSF event was taken for a CloudEvent")
	}
	if _, err := export.Last("ocsf", []byte(`{"id":"3","specversion":"1.0"}`)); err == nil {
		t.Error("a CloudEvent was taken for an OCSF event")
	}
}

// FuzzLast reads lines of files that anybody may have written.
func FuzzLast(f *testing.F) {
	f.Add("ocsf", []byte(`{"metadata":{"sequence":3}}`))
	f.Add("cloudevents", []byte(`{"id":"3","specversion":"1.0"}`))
	f.Add(export.InToto, []byte(`{"payload":"eyJwcmVkaWNhdGUiOnsicHJvcGVydGllcyI6WyJSRU1JVF9SRUNPUkQgYSM0MSJdfX0="}`))
	f.Fuzz(func(t *testing.T, format string, line []byte) {
		n, err := export.Last(format, line)
		if err != nil {
			return
		}
		said := line
		if format == export.InToto { // what it says lies in the envelope, in base64
			var e struct{ Payload []byte }
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("entry %d of what is no envelope: %q", n, line)
			}
			said = e.Payload
		}
		if !bytes.Contains(said, []byte(fmt.Sprint(uint64(n)))) && !bytes.ContainsAny(said, `\`) {
			t.Errorf("entry %d is nowhere in %q", n, said)
		}
	})
}

// TestLastStatement: an export of statements goes on after the entry that the last of them names.
func TestLastStatement(t *testing.T) {
	line := func(statement string) []byte {
		b, err := json.Marshal(map[string]any{"payloadType": "application/vnd.in-toto+json", "payload": []byte(statement)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if n, err := export.Last(export.InToto, line(`{"predicate":{"properties":["REMIT_VOTE_APPROVED","REMIT_RECORD acme.example/log#41"]}}`)); err != nil || n != 41 {
		t.Errorf("%d %v", n, err)
	}
	for _, s := range []string{`{}`, `{"predicate":{"properties":["REMIT_RECORD acme.example/log#-1"]}}`, `{"predicate":{"properties":["REMIT_RECORD acme.example/log"]}}`, `7`} {
		if n, err := export.Last(export.InToto, line(s)); err == nil {
			t.Errorf("%s: %d", s, n)
		}
	}
	if n, err := export.Last(export.InToto, []byte(`{"id":"7","specversion":"1.0"}`)); err == nil {
		t.Errorf("a CloudEvent: %d", n)
	}
}
