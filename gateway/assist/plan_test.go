package assist_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/remit-dev/remit"
)

func (r *rooms) Plan(_ context.Context, c remit.Caller, in remit.PlanRequest) (remit.PlanAnswer, error) {
	if c.Task != "T-1" {
		return remit.PlanAnswer{}, remit.Errorf(remit.NotLive, "the task has ended")
	}
	r.plans = append(r.plans, in)
	return r.plan, nil
}

func TestAPlanIsFiled(t *testing.T) {
	each(t, "T-1", func(t *testing.T, r *rooms, call func(tool, args string) (string, *mcp.CallToolResult)) {
		const args = `{"intent":"close it","minutes":5,"steps":[{"action":"tool.call","resource":"tool:jira/close","arguments":{"id":7},"intent":"the ticket"},
			{"action":"source.merge","resource":"repo:forge/acme/app","refs":["refs/heads/main"],"paths":["src/**"],"max_paths":3,"uses":2},
			{"action":"source.merge","resource":"repo:forge/acme/app","refs":["refs/heads/main"],"commit":"ab","before":"cd"}]}`
		for _, c := range []struct {
			answer remit.PlanAnswer
			words  string
			failed bool
		}{
			{remit.PlanAnswer{InForce: true}, "Nobody has to be asked", false},
			{remit.PlanAnswer{Decision: &remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-9", Sentence: "it needs a person"}}, `"access": "A-9"`, false},
			{remit.PlanAnswer{Decision: &remit.Decision{Verdict: remit.Deny, Code: remit.PlanInexact, Entry: 40, Sentence: "name it"}}, "PLAN_INEXACT", true},
		} {
			r.plan = c.answer
			if text, res := call("plan", args); !strings.Contains(text, c.words) || res.IsError != c.failed {
				t.Errorf("%v %s", res.IsError, text)
			}
		}
		p := r.plans[0]
		if p.Intent != "close it" || p.For != 5*time.Minute || len(p.Steps) != 3 || string(p.Steps[0].Arguments) != `{"id":7}` || p.Steps[0].Intent != "the ticket" ||
			p.Steps[1].MaxPaths != 3 || p.Steps[1].Uses != 2 || p.Steps[1].Paths[0] != "src/**" || p.Steps[2].New != "ab" || p.Steps[2].Old != "cd" {
			t.Errorf("%+v", p)
		}
		for _, bad := range []string{`{"intent":"x","minutes":-1,"steps":[]}`, `{"intent":"x","steps":[{"action":"a","resource":"b","effect":"x"}]}`} {
			if text, res := call("plan", bad); !res.IsError || !strings.Contains(text, "BAD_REQUEST") {
				t.Errorf("%s", text)
			}
		}
	})
	each(t, "T-2", func(t *testing.T, r *rooms, call func(tool, args string) (string, *mcp.CallToolResult)) {
		if text, res := call("plan", `{"intent":"x","steps":[]}`); !res.IsError || !strings.Contains(text, "NOT_LIVE") {
			t.Errorf("%s", text)
		}
	})
}

func (r *rooms) Withdraw(_ context.Context, c remit.Caller, access remit.ID) (remit.ID, error) {
	if c.Task != "T-1" || access != "" && access != "A-9" {
		return "", remit.Errorf(remit.NotFound, "there is no plan %s of a running task of yours", access)
	}
	return "A-9", nil
}

func TestAPlanIsTakenBack(t *testing.T) {
	each(t, "T-1", func(t *testing.T, _ *rooms, call func(tool, args string) (string, *mcp.CallToolResult)) {
		for args, words := range map[string]string{`{}`: "The plan A-9 is withdrawn", `{"access":"A-9"}`: "The plan A-9 is withdrawn", `{"access":"A-8"}`: "NOT_FOUND"} {
			if text, res := call("withdraw_plan", args); !strings.Contains(text, words) || res.IsError != (words == "NOT_FOUND") {
				t.Errorf("%s: %s", args, text)
			}
		}
	})
}
