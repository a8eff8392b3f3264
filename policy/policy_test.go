package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/policy"
)

func module(name, text string) []remit.PolicyFile {
	return []remit.PolicyFile{{Name: name, Text: text}}
}

func mustCompile(t testing.TB, files []remit.PolicyFile) *policy.Bundle {
	t.Helper()
	b, err := policy.Compile(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func push(changes ...func(*authority.StepView)) authority.Facts {
	s := authority.StepView{Action: "source.push", Stage: remit.StageSource, Impact: remit.Write, Resource: "repo:forge/acme/shop",
		Ref: "refs/heads/remit/T-1/fix", DefaultBranch: "refs/heads/main", Op: remit.RefUpdate, Commits: 1}
	for _, c := range changes {
		c(&s)
	}
	return authority.Facts{Org: "acme", Profile: remit.Team, Minute: 29_000_000, Agent: authority.AgentFacts{Name: "coder", Function: remit.FuncCode},
		Instance: authority.InstanceFacts{Confinement: remit.ConfineHome}, Steps: []authority.StepView{s}}
}

func TestErrorsSayWhereAndWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an unfinished rule", "package remit.any\n\ndeny contains x if {\n", "p.rego:4:0: unexpected eof"},
		{"old Rego", "package remit.any\ndeny[x] { x := 1 }", "p.rego:2:"},
		{"an empty module", "# nothing\n", "p.rego: the module is empty; it begins with `package"},
		{"an action that is not in the catalogue", "package remit.source.pull\ndeny contains 1 if true",
			"p.rego:1:1: package remit.source.pull judges nothing (the catalogue has source.read, source.push, source.propose, source.merge); write"},
		{"another name space", "package acme.rules\ndeny contains 1 if true", "p.rego:1:1: package acme.rules judges nothing; write"},
		{"below an action", "package remit.source.push.more\ndeny contains 1 if true", "judges nothing"},
		{"a package without a verdict", "package remit.any\ndenied contains 1 if true", "p.rego:1:1: package remit.any has none of deny, hold and observe"},
		{"the clock", "package remit.any\ndeny contains 1 if time.now_ns() > 0", "p.rego:2:20: time.now_ns is not for policies"},
		{"a misspelt member of input", "package remit.any\ndeny contains 1 if input.agent.nmae == \"x\"", "p.rego:2:"},
		{"a misspelt member of a step", "package remit.any\ndeny contains 1 if {\n\tsome s in input.steps\n\ts.oops == \"x\"\n}", "p.rego:4:"},
		{"a misspelt helper", "package remit.any\ndeny contains 1 if data.remit.lib.oops", "p.rego:2:20: data.remit.lib.oops names nothing in this bundle"},
		{"a misspelt helper of an import", "package remit.any\nimport data.remit.any as self\ndeny contains 1 if {\n\tnot self.oops\n}", "p.rego:4:6: data.remit.any.oops names nothing"},
		{"an unused import", "package remit.any\nimport data.remit.lib\ndeny contains 1 if true", "p.rego:2:1: "},
		{"an unsafe variable", "package remit.any\ndeny contains x if true", "p.rego:2:15: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := policy.Compile(t.Context(), module("p.rego", c.text))
			var e *remit.Error
			if !errors.As(err, &e) || e.Code != remit.BadRequest || !strings.Contains(e.Sentence, c.want) {
				t.Fatalf("got %v, want it to say %q", err, c.want)
			}
			var problems policy.Problems
			if !errors.As(err, &problems) || problems[0].File != "p.rego" || (problems[0].Line == 0 && c.name != "an empty module") {
				t.Fatalf("the error names no place: %#v", err)
			}
		})
	}
}

func TestLimitsAndNames(t *testing.T) {
	const text = "package remit.any\ndeny contains 1 if false\n"
	many := make([]remit.PolicyFile, policy.MaxModules+1)
	for i := range many {
		many[i] = remit.PolicyFile{Name: fmt.Sprintf("p%d.rego", i), Text: text}
	}
	for _, c := range []struct {
		name  string
		files []remit.PolicyFile
		want  string
	}{
		{"too many modules", many, "at most 64 modules, not 65"},
		{"too much text", module("p.rego", text+strings.Repeat("#", policy.MaxBytes)), `at most 1048576 bytes; module "p.rego"`},
		{"a name twice", append(module("p.rego", text), module("p.rego", text)...), `"p.rego" stands twice`},
		{"a name that leaves the directory", module("../p.rego", text), "no segment is empty or begins with a dot"},
		{"an absolute name", module("/p.rego", text), "no segment is empty"},
		{"another file", module("p.txt", text), "ends in .rego"},
		{"a name with a line end", module("p\n.rego", text), "letters, digits"},
		{"a long name", module(strings.Repeat("p", 128)+".rego", text), "at most 128 bytes"},
		{"not text", module("p.rego", text+"#\xff"), "not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := policy.Compile(t.Context(), c.files); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := policy.Compile(t.Context(), many[:policy.MaxModules]); err != nil {
		t.Fatalf("64 modules: %v", err)
	}
}

func TestWhatIsNotAFunctionOfTheFactsCannotBeCalled(t *testing.T) {
	for _, call := range []string{
		`http.send({"method": "get", "url": "http://localhost"})`, `time.now_ns()`, `time.clock(0)`, `time.date([0, "Local"])`,
		`time.weekday(0)`, `time.format(0)`, `time.parse_ns("2006", "2026")`, `time.add_date(0, 0, 0, 1)`, `time.diff(0, 1)`,
		`rand.intn("x", 9)`, `uuid.rfc4122("x")`, `opa.runtime()`, `net.lookup_ip_addr("localhost")`, `net.cidr_contains("10.0.0.0/8", "10.0.0.1")`,
		`json.match_schema({}, {"$ref": "http://localhost/s"})`, `json.verify_schema({})`, `graphql.is_valid("{}", "{}")`,
		`io.jwt.decode_verify("", {})`, `io.jwt.encode_sign({}, {}, {})`, `crypto.x509.parse_and_verify_certificates("")`,
		`providers.aws.sign_req({}, {}, 0)`, `rego.parse_module("", "")`, `print("x")`, `trace("x")`, `yaml.unmarshal("")`,
		`internal.print([])`, `internal.test_case([])`,
	} {
		t.Run(call, func(t *testing.T) {
			_, err := policy.Compile(t.Context(), module("p.rego", "package remit.any\ndeny contains {} if {\n\tx := "+call+"\n\tx\n}\nhold contains {} if "+call))
			if err == nil || !strings.Contains(err.Error(), "p.rego:") {
				t.Fatalf("it compiles: %v", err)
			}
		})
	}
	for _, name := range policy.Functions() {
		i := slices.IndexFunc(ast.Builtins, func(b *ast.Builtin) bool { return b.Name == name })
		if i < 0 || ast.Builtins[i].Nondeterministic {
			t.Errorf("%s is unknown to OPA or nondeterministic", name)
		}
	}
}

func TestJudge(t *testing.T) {
	const any = "package remit.any\n"
	for _, c := range []struct {
		name, text string
		want       authority.Finding
	}{
		{"neither set is defined", any + "deny contains {} if false", authority.Finding{Verdict: remit.Allow}},
		{"no package for the action", "package remit.secret.read\ndeny contains {\"rule\": \"r\", \"text\": \"t\"} if true", authority.Finding{Verdict: remit.Allow}},
		{"a complete rule that is undefined", any + "deny := 1 if false", authority.Finding{Verdict: remit.Allow}},
		{"one rule denies", any + `deny contains {"rule": "r", "text": "No."} if true`,
			authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"r"}, Sentence: "No."}},
		{"deny outranks hold", any + `deny contains {"rule": "b", "text": "No."} if true
			deny contains {"rule": "a", "text": "Never."} if true
			deny contains {"rule": "c", "text": "No."} if true
			hold contains {"rule": "h", "text": "Ask.", "votes": [{"group": "g", "n": 1}]} if true`,
			authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"a", "b", "c", "h"}, Sentence: "Never. No."}},
		{"holds add their votes", any + `hold contains {"rule": "y", "text": "Ask two.", "votes": [{"group": "g", "n": 1}, {"group": "b", "n": 1}]} if true
			hold contains {"rule": "x", "text": "Ask.", "votes": [{"group": "g", "n": 2}]} if true
			hold contains {"rule": "z", "text": "Ask.", "votes": []} if true`,
			authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Rules: []string{"x", "y", "z"}, Sentence: "Ask. Ask two.",
				Votes: []remit.Need{{Group: "b", N: 1}, {Group: "g", N: 2}}}},
		{"an observed rule changes nothing", any + `observe contains {"rule": "r", "text": "No.", "verdict": "deny"} if true`,
			authority.Finding{Verdict: remit.Allow, Observed: []remit.Observation{{Rule: "r", Verdict: remit.Deny, Text: "No."}}}},
		{"observed beside what decides", any + `hold contains {"rule": "h", "text": "Ask."} if true
			observe contains {"rule": "b", "text": "Two.", "verdict": "hold"} if true
			observe contains {"rule": "b", "text": "One.", "verdict": "hold"} if true
			observe contains {"rule": "c", "text": "No.", "verdict": "deny"} if true
			observe contains {"rule": "a", "text": "Ask.", "verdict": "hold"} if true`,
			authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Rules: []string{"h"}, Sentence: "Ask.", Observed: []remit.Observation{
				{Rule: "c", Verdict: remit.Deny, Text: "No."}, {Rule: "a", Verdict: remit.Hold, Text: "Ask."}, {Rule: "b", Verdict: remit.Hold, Text: "One."}}}},
		{"observe that is undefined", any + `observe contains {"rule": "r", "text": "t", "verdict": "deny"} if input.bytes > 9`, authority.Finding{Verdict: remit.Allow}},
		{"as many observed rules as a decision holds", any + `observe contains {"rule": sprintf("r%d", [i]), "text": "t", "verdict": "deny"} if some i in numbers.range(10, 25)`,
			authority.Finding{Verdict: remit.Allow, Observed: sixteen()}},
		{"a function that fails", any + `deny contains {"rule": "r", "text": "t"} if to_number(input.org) == 1`,
			authority.Finding{Verdict: remit.Deny, Code: remit.PolicyError, Sentence: "The policy package remit.any failed at p.rego:2. An administrator has to correct it."}},
		{"rules that contradict each other", any + "x := 1 if true\nx := 2 if input.bytes == 0\ndeny contains {\"rule\": \"r\", \"text\": \"t\"} if x == 1",
			authority.Finding{Verdict: remit.Deny, Code: remit.PolicyError, Sentence: "The policy package remit.any failed at p.rego:3. An administrator has to correct it."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mustCompile(t, module("p.rego", c.text)).Judge(push()); !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func sixteen() (out []remit.Observation) {
	for i := range remit.MaxObserved {
		out = append(out, remit.Observation{Rule: fmt.Sprintf("r%d", 10+i), Verdict: remit.Deny, Text: "t"})
	}
	return out
}

func TestAnotherShapeDenies(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, rule := range []string{
		`deny := true`, `deny := []`, `deny := {"rule": "r", "text": "t"}`, `deny if true`, `hold := "yes"`, `deny.x contains 1 if true`,
		`deny contains "no" if true`, `deny contains {} if true`, `deny contains {"rule": "r"} if true`, `deny contains {"text": "t"} if true`,
		`deny contains {"rule": "", "text": "t"} if true`, `deny contains {"rule": "r", "text": ""} if true`, `deny contains {"rule": 1, "text": "t"} if true`,
		`deny contains {"rule": "r", "text": ["t"]} if true`, `deny contains {"rule": "src/a.go!", "text": "t"} if true`,
		`deny contains {"rule": "r", "text": "` + long + `"} if true`, `deny contains {"rule": "r", "text": "a\nb"} if true`,
		`deny contains {"rule": "r", "text": "t", "votes": []} if true`, `hold contains {"rule": "r", "text": "t", "allow": true} if true`,
		`hold contains {"rule": "r", "text": "t", "votes": 1} if true`, `hold contains {"rule": "r", "text": "t", "votes": [{"group": "g"}]} if true`,
		`hold contains {"rule": "r", "text": "t", "votes": [{"group": "g", "n": 0}]} if true`, `hold contains {"rule": "r", "text": "t", "votes": [{"group": "g", "n": 1.5}]} if true`,
		`hold contains {"rule": "r", "text": "t", "votes": [{"group": "g", "n": 17}]} if true`, `hold contains {"rule": "r", "text": "t", "votes": [{"group": "", "n": 1}]} if true`,
		`hold contains {"rule": "r", "text": "t", "votes": [{"group": "g", "n": "1"}]} if true`, `hold contains {"rule": "r", "text": "t", "votes": [{"group": "g", "n": 1, "m": 1}]} if true`,
		`hold contains {"rule": "r", "text": "t", "votes": {"g"}} if true`, `deny contains {"rule": sprintf("r%d", [i]), "text": "t"} if some i in numbers.range(1, 33)`,
		`observe := true`, `observe contains "no" if true`, `observe contains {"rule": "r", "text": "t"} if true`,
		`observe contains {"rule": "r", "text": "t", "verdict": "allow"} if true`, `observe contains {"rule": "r", "text": "t", "verdict": 1} if true`,
		`observe contains {"rule": "r", "text": "t", "verdict": "deny", "votes": []} if true`, `deny contains {"rule": "r", "text": "t", "verdict": "deny"} if true`,
		`observe contains {"rule": "src/a.go!", "text": "t", "verdict": "deny"} if true`,
		`observe contains {"rule": sprintf("r%d", [i]), "text": "t", "verdict": "hold"} if some i in numbers.range(10, 26)`,
	} {
		t.Run(rule, func(t *testing.T) {
			got := mustCompile(t, module("p.rego", "package remit.source.push\n"+rule)).Judge(push())
			if got.Verdict != remit.Deny || got.Code != remit.PolicyResult || got.Limit || len(got.Sentence) < 20 || strings.Contains(got.Sentence, "src/a.go") {
				t.Fatalf("%+v", got)
			}
		})
	}
}

func TestAPackageSeesTheStepsOfItsActionOnly(t *testing.T) {
	b := mustCompile(t, []remit.PolicyFile{
		{Name: "a.rego", Text: "package remit.any\nhold contains {\"rule\": \"any\", \"text\": sprintf(\"any %d.\", [count(input.steps)])} if true"},
		{Name: "b.rego", Text: "package remit.build.trigger\nhold contains {\"rule\": \"build\", \"text\": sprintf(\"build %d.\", [count(input.steps)])} if input.steps[_].effect"},
		{Name: "p.rego", Text: "package remit.source.push\nhold contains {\"rule\": \"push\", \"text\": sprintf(\"push %d.\", [count(input.steps)])} if input.steps[_].op == \"update\""},
	})
	f := push()
	f.Steps = append(f.Steps, f.Steps[0], authority.StepView{Action: "build.trigger", Effect: true})
	if got := b.Judge(f); got.Sentence != "any 3. build 1. push 2." {
		t.Fatalf("%+v", got)
	}
	if got := b.Judge(push()); got.Sentence != "any 1. push 1." {
		t.Fatalf("%+v", got)
	}
}

func TestSentencesAreCutBetweenTexts(t *testing.T) {
	b := mustCompile(t, module("p.rego", `package remit.any
		deny contains {"rule": "r", "text": sprintf("%s %d.", [concat("", [x | some _ in numbers.range(1, 100); x := "x"]), i])} if some i in numbers.range(1, 900)`))
	got := b.Judge(push())
	if got.Code != remit.PolicyDenied || len(got.Sentence) > 2200 || !strings.HasSuffix(got.Sentence, ". And more of the kind.") {
		t.Fatalf("%d bytes: %s", len(got.Sentence), got.Sentence)
	}
}

func TestAnEndlessRuleIsCut(t *testing.T) {
	b := mustCompile(t, module("p.rego", `package remit.any
		deny contains {"rule": "r", "text": "t"} if count([1 | some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); a + b == input.bytes]) > 0`))
	got := b.WithLimit(1).Judge(push())
	if got.Verdict != remit.Deny || got.Code != remit.PolicyTimeout || !got.Limit {
		t.Fatalf("%+v", got)
	}
}

func TestFindingsThatCanBeDerivedAreNotMarkedAsLimits(t *testing.T) {
	if got := mustCompile(t, policy.Builtin()).Judge(push(func(s *authority.StepView) { s.Ref, s.Op = "refs/tags/v1", remit.RefForce })); got.Limit || got.Code != remit.PolicyDenied {
		t.Fatalf("%+v", got)
	}
}

// anyFacts are facts with every member drawn, bytes that are not UTF-8 among them.
func anyFacts(t *rapid.T) authority.Facts {
	var f authority.Facts
	fill(t, reflect.ValueOf(&f).Elem())
	return f
}

func fill(t *rapid.T, v reflect.Value) {
	switch v.Interface().(type) {
	case json.RawMessage:
		v.SetBytes([]byte(rapid.SampledFrom([]string{"", "null", `{"a":[1,2.50,-0,9007199254740993,1e400],"b":{"<c>":"é\u2028","":true}}`, `"\u003c"`}).Draw(t, "json")))
		return
	case remit.Digest:
		v.Set(reflect.ValueOf(remit.Hash([]byte(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "digest")))))
		if rapid.Bool().Draw(t, "no digest") {
			v.SetZero()
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		if n := rapid.IntRange(-1, 3).Draw(t, "length"); n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(t, v.Index(i))
			}
		}
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"", "main", "refs/heads/main", "refs/tags/v1", "source.push", "source.merge", "deploy.promote",
			"force", "delete", "none", "production", "a\xff\xfe<b>", "é\u2028\"\\", "\x00"}).Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.IntRange(0, 2).Draw(t, "impact")))
	case reflect.Uint64:
		v.SetUint(rapid.SampledFrom([]uint64{0, 7, 1<<64 - 1}).Draw(t, "entry"))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.SampledFrom([]uint32{0, 57344, 33188, 1<<32 - 1}).Draw(t, "mode")))
	default:
		v.SetInt(int64(rapid.SampledFrom([]int{0, 1, 201, -1, 1 << 62}).Draw(t, "number")))
	}
}

func TestInputIsTheJSONOfTheFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		action := remit.Action(rapid.SampledFrom([]string{"", "source.push"}).Draw(t, "action"))
		mine := policy.Input(f, action)
		if action != "" && f.Steps != nil {
			f.Steps = slices.DeleteFunc(f.Steps, func(s authority.StepView) bool { return s.Action != action })
		}
		want, err := ast.ValueFromReader(strings.NewReader(string(f.Encode())))
		if err != nil {
			t.Fatal(err)
		}
		if mine.Compare(want) != 0 {
			t.Fatalf("got  %v\nwant %v", mine, want)
		}
	})
}

func TestTheSameFactsGiveTheSameFinding(t *testing.T) {
	one, two := mustCompile(t, policy.Builtin()), mustCompile(t, reversed(policy.Builtin()))
	if one.Digest() != two.Digest() || one.Digest().IsZero() {
		t.Fatal("the digest depends on the order of the files")
	}
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		for i := range f.Steps {
			f.Steps[i].Action = rapid.SampledFrom([]remit.Action{"source.push", "source.merge", "deploy.promote", "operate.change", "secret.read"}).Draw(t, "action")
		}
		for i := range f.Steps {
			for j := range f.Steps[i].Dependencies {
				f.Steps[i].Dependencies[j].Findings = append(f.Steps[i].Dependencies[j].Findings, remit.OddContent)
			}
		}
		f.Instance.Confinement = rapid.SampledFrom([]remit.Confinement{"none", "uid"}).Draw(t, "confinement")
		digest := f.Digest()
		want := one.Judge(f)
		var wg sync.WaitGroup
		for _, b := range []*policy.Bundle{one, two, two} {
			wg.Go(func() {
				if got := b.Judge(f); !reflect.DeepEqual(got, want) {
					t.Errorf("got  %+v\nwant %+v", got, want)
				}
			})
		}
		wg.Wait()
		if f.Digest() != digest {
			t.Fatal("Judge changed the facts")
		}
		if want.Code == remit.PolicyResult || want.Code == remit.PolicyError {
			t.Fatalf("the built-in policy failed: %+v", want)
		}
	})
}

func reversed(files []remit.PolicyFile) []remit.PolicyFile {
	slices.Reverse(files)
	return files
}

func TestTheDigestSeesEveryByte(t *testing.T) {
	base := mustCompile(t, policy.Builtin()).Digest()
	for i := range policy.Builtin() {
		files := policy.Builtin()
		files[i].Text += "\n"
		if mustCompile(t, files).Digest() == base {
			t.Errorf("%s: another text, the same digest", files[i].Name)
		}
		files = policy.Builtin()
		files[i].Name = "x" + files[i].Name
		if mustCompile(t, files).Digest() == base {
			t.Errorf("%s: another name, the same digest", files[i].Name)
		}
	}
}

func TestABundleThatIsCancelledIsNotCompiled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := policy.Compile(ctx, policy.Builtin()); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestDecode(t *testing.T) {
	b, err := policy.Encode(reversed(policy.Builtin()))
	if err != nil {
		t.Fatal(err)
	}
	files, err := policy.Decode(b)
	if err != nil || !reflect.DeepEqual(files, policy.Builtin()) {
		t.Fatalf("%v", err)
	}
	const magic = "remit policy bundle v1\n"
	for _, bad := range []string{"", "x", magic[:10], magic + "a.rego", magic + "a.rego 1\n", magic + "a.rego 1\nx", magic + "a.rego 01\nx\n", magic + "a.rego 2\nx\n",
		magic + "a.rego 4294967295\nx\n", magic + "b.rego 1\nx\na.rego 1\nx\n", magic + "a.rego 1\nx\na.rego 1\nx\n", magic + "a.txt 1\nx\n", magic + "a.rego 1\nx\n\n", magic + "a.rego +1\nx\n"} {
		if _, err := policy.Decode([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
	if files, err := policy.Decode([]byte(magic)); err != nil || len(files) != 0 {
		t.Errorf("the empty bundle: %v, %v", files, err)
	}
}

func FuzzDecode(f *testing.F) {
	b, _ := policy.Encode(policy.Builtin())
	f.Add(b)
	f.Add([]byte("remit policy bundle v1\na.rego 3\nabc\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := policy.Decode(b)
		if err != nil {
			return
		}
		if again, err := policy.Encode(files); err != nil || string(again) != string(b) {
			t.Fatalf("%v: %q", err, again)
		}
	})
}

func TestVersionIsOPAs(t *testing.T) {
	if policy.Version() != "1.22.2" {
		t.Fatalf("OPA is now %s: read its release notes for changed meanings of functions that policies may call", policy.Version())
	}
}

func BenchmarkJudge(b *testing.B) {
	bundle := mustCompile(b, policy.Builtin())
	f := push(func(s *authority.StepView) {
		s.Paths = []remit.PathChange{{Path: "a", New: "1", NewMode: 33188}, {Path: "b", New: "1", NewMode: 33188}, {Path: "c", New: "1", NewMode: 33188}}
	})
	b.ReportAllocs()
	for b.Loop() {
		if bundle.Judge(f).Verdict != remit.Allow {
			b.Fatal("denied")
		}
	}
}

// The document lists each member of input, and no other.
func TestTheDocumentNamesEveryMember(t *testing.T) {
	text, err := os.ReadFile("../doc/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| member of `input` |")
	var listed []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "`"); len(cells) > 2 && strings.HasPrefix(line, "| `") {
			listed = append(listed, cells[1])
		}
	}
	var want []string
	var walk func(path string, v reflect.Type)
	walk = func(path string, v reflect.Type) {
		switch {
		case v.Kind() == reflect.Slice && v.Elem().Kind() == reflect.Struct:
			walk(path+"[]", v.Elem())
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				name, _, _ := strings.Cut(v.Field(i).Tag.Get("json"), ",")
				walk(strings.TrimPrefix(path+"."+name, "."), v.Field(i).Type)
			}
		default:
			want = append(want, path)
		}
	}
	walk("", reflect.TypeFor[authority.Facts]())
	slices.Sort(want)
	slices.Sort(listed)
	if !slices.Equal(want, listed) {
		for _, m := range want {
			if !slices.Contains(listed, m) {
				t.Errorf("doc/policy.md does not list `%s`", m)
			}
		}
		for _, m := range listed {
			if !slices.Contains(want, m) {
				t.Errorf("doc/policy.md lists `%s`, which is no member", m)
			}
		}
	}
}
