package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/remit-dev/remit"
)

// well is a server with nothing wrong.
func well() Reading {
	return Reading{Now: time.Unix(1_800_000_000, 0), Policy: true, Entries: 10, Signed: 10, Signing: time.Unix(1_799_999_000, 0),
		Stores: map[string]Store{"packs": {Used: 5, Quota: 10, Free: 100, Reserve: 50}}}
}

func TestReadiness(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Reading)
		want   []string
	}{
		"well":                     {func(*Reading) {}, nil},
		"idle for long":            {func(r *Reading) { r.Signing = time.Time{} }, nil},
		"no policy":                {func(r *Reading) { r.Policy = false }, []string{"policy"}},
		"stopped":                  {func(r *Reading) { r.Stopped = true }, []string{"log"}},
		"clock":                    {func(r *Reading) { r.Doubt = true }, []string{"clock"}},
		"about to sign":            {func(r *Reading) { r.Behind = MaxBehind }, nil},
		"does not sign":            {func(r *Reading) { r.Behind = MaxBehind + 1 }, []string{"head"}},
		"debt that is tolerated":   {func(r *Reading) { r.Debt = 2 }, nil},
		"debt":                     {func(r *Reading) { r.Debt = 3 }, []string{"debt"}},
		"exposure is no debt":      {func(r *Reading) { r.Exposure = 9 }, nil},
		"at the reserve":           {func(r *Reading) { r.Stores["packs"] = Store{Free: 50, Reserve: 50} }, nil},
		"below the reserve":        {func(r *Reading) { r.Stores["packs"] = Store{Free: 49, Reserve: 50} }, []string{"disk"}},
		"quota":                    {func(r *Reading) { r.Stores["packs"] = Store{Used: 10, Quota: 10, Free: 100} }, []string{"disk"}},
		"nobody knows":             {func(r *Reading) { r.Stores["packs"] = Store{Free: 100, Unknown: true} }, []string{"disk"}},
		"draining":                 {func(r *Reading) { r.Draining = true }, []string{"draining"}},
		"everything":               {func(r *Reading) { *r = Reading{Stopped: true, Doubt: true, Behind: time.Hour, Debt: 9, Draining: true} }, []string{"log", "policy", "clock", "head", "debt", "draining"}},
		"two stores, in one order": {func(r *Reading) { r.Stores["blobs"] = Store{Unknown: true}; r.Stores["packs"] = Store{Unknown: true} }, []string{"disk", "disk"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := well()
			test.change(&r)
			var got []string
			for _, why := range Reasons(r, 2) {
				got = append(got, why.Reason)
				if why.Sentence == "" {
					t.Errorf("%s says nothing", why.Reason)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
			tel := start(t, func() Reading { return r })
			for path, handler := range map[string]http.Handler{"/readyz": tel.Handler(), "plain": http.HandlerFunc(tel.ReadyCode)} {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
				if want := map[bool]int{true: 200, false: 503}[test.want == nil]; w.Code != want {
					t.Errorf("%s answers %d, want %d", path, w.Code, want)
				}
				if path == "plain" {
					if strings.ContainsAny(w.Body.String(), "{0123456789") {
						t.Errorf("it says why: %s", w.Body)
					}
					continue
				}
				var out struct {
					Ready   bool
					Reasons []Reason
				}
				if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Ready != (test.want == nil) || len(out.Reasons) != len(test.want) || out.Reasons == nil {
					t.Errorf("%s %v", w.Body, err)
				}
			}
			for _, why := range test.want {
				if v := scrape(t, tel)[`remit_not_ready{reason="`+why+`"}`]; v != 1 {
					t.Errorf("remit_not_ready of %s is %v", why, v)
				}
			}
		})
	}
}

func start(t *testing.T, read func() Reading) *Telemetry {
	t.Helper()
	tel, err := New(t.Context(), Config{Version: "test", Org: "acme", Read: read, MaxDebt: 2})
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

// scrape is what Prometheus would read, by its own parser.
func scrape(t *testing.T, tel *Telemetry) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for name, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, m := range f.Metric {
			labels := []string{}
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+`="`+l.GetValue()+`"`)
			}
			key := name
			if len(labels) > 0 {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case m.Counter != nil:
				out[key] = m.Counter.GetValue()
			case m.Gauge != nil:
				out[key] = m.Gauge.GetValue()
			case m.Histogram != nil:
				out[key] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	r := well()
	r.Queue, r.Holds, r.Tasks, r.Instances, r.Attempts, r.Debt, r.Exposure, r.Behind = 1, 2, 3, 4, 5, 6, 7, 2*time.Second
	r.Leases = map[LeaseKey]int{{"gitea", remit.LeaseActive}: 8}
	r.Lag = map[string]uint64{"views": 9}
	tel := start(t, func() Reading { return r })
	push := []remit.StepFacts{{Step: remit.Step{Action: "source.push"}, Ref: "refs/heads/x"}}
	for _, e := range []remit.Event{
		&remit.Decided{Verdict: remit.Allow, Steps: push, Bytes: 100},
		&remit.Decided{Verdict: remit.Deny, Code: remit.OutOfScope, Steps: push, Bytes: 7},
		&remit.Decided{Verdict: remit.Deny, Code: "MADE_UP", Steps: []remit.StepFacts{{Step: remit.Step{Action: "agents.choice"}}}, Bytes: 7},
		&remit.DenialRepeated{Count: 41}, &remit.DenialRepeated{Count: -5},
		&remit.VoteCast{Approve: true, Assurance: remit.AssuranceTouch}, &remit.VoteCast{Assurance: "made up"},
		&remit.Redeemed{}, &remit.Recorded{Outcome: remit.Ambiguous, Code: remit.UpstreamDown}, &remit.Recorded{Outcome: "made up"},
		&remit.LeaseMoved{To: remit.LeaseActive}, &remit.LeaseMoved{To: remit.LeaseRevoked}, &remit.Found{Detection: "denial-burst"}, &remit.Genesis{},
	} {
		tel.Event(e)
	}
	tel.Committed(3, time.Millisecond, nil)
	tel.Committed(3, time.Millisecond, errors.New("disk"))
	got := scrape(t, tel)
	for key, want := range map[string]float64{
		`remit_decisions_total{code="",verdict="allow"}`:                        1,
		`remit_decisions_total{code="OUT_OF_SCOPE",verdict="deny"}`:             1,
		`remit_decisions_total{code="other",verdict="deny"}`:                    1,
		`remit_steps_total{action="source.push",verdict="allow"}`:               1,
		`remit_steps_total{action="other",verdict="deny"}`:                      1,
		`remit_push_bytes_total{verdict="allow"}`:                               100,
		`remit_push_bytes_total{verdict="deny"}`:                                7,
		`remit_push_bytes_total{verdict="hold"}`:                                0,
		`remit_denials_repeated_total`:                                          41,
		`remit_votes_total{assurance="touch",vote="approve"}`:                   1,
		`remit_votes_total{assurance="other",vote="deny"}`:                      1,
		`remit_permits_redeemed_total`:                                          1,
		`remit_outcomes_total{code="UPSTREAM_UNAVAILABLE",outcome="ambiguous"}`: 1,
		`remit_outcomes_total{code="",outcome="other"}`:                         1,
		`remit_outcomes_total{code="",outcome="done"}`:                          0,
		`remit_leases_ended_total{status="revoked"}`:                            1,
		`remit_findings_total{detection="denial-burst"}`:                        1,
		`remit_log_commit_seconds`:                                              1,
		`remit_log_batch_entries`:                                               1,
		`remit_log_commit_failures_total`:                                       1,
		`remit_queue_depth`:                                                     1,
		`remit_holds_open`:                                                      2,
		`remit_tasks_live`:                                                      3,
		`remit_instances_live`:                                                  4,
		`remit_attempts_open`:                                                   5,
		`remit_lease_debt`:                                                      6,
		`remit_lease_exposure`:                                                  7,
		`remit_leases{provider="gitea",status="active"}`:                        8,
		`remit_follower_lag_entries{follower="views"}`:                          9,
		`remit_log_entries`:                                                     10,
		`remit_log_signed_entries`:                                              10,
		`remit_log_unsigned_seconds`:                                            2,
		`remit_log_checkpoint_age_seconds`:                                      1000,
		`remit_store_used_bytes{store="packs"}`:                                 5,
		`remit_store_quota_bytes{store="packs"}`:                                10,
		`remit_store_free_bytes{store="packs"}`:                                 100,
		`remit_store_reserve_bytes{store="packs"}`:                              50,
		`remit_clock_doubt`:                                                     0,
		`remit_log_stopped`:                                                     0,
		`remit_ready`:                                                           0, // debt
		`remit_build_info{version="test"}`:                                      1,
	} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", key, v, ok, want)
		}
	}
	if got["go_goroutines"] == 0 || got["process_start_time_seconds"] == 0 {
		t.Error("nothing of the Go runtime, or of the process")
	}
	for key := range got {
		if !strings.HasPrefix(key, "remit_") && !strings.HasPrefix(key, "go_") && !strings.HasPrefix(key, "process_") {
			t.Errorf("a name of nobody: %s", key)
		}
	}
}

// No request makes a series of its own, whatever it asks for.
func TestRequestsAreCountedByTheirRoute(t *testing.T) {
	tel := start(t, well)
	inner := http.NewServeMux()
	inner.HandleFunc("GET /v1/tasks/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
	inner.HandleFunc("/gateway/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(103)
		w.WriteHeader(403)
		w.WriteHeader(200)
	})
	inner.HandleFunc("/", http.NotFound)
	root := http.NewServeMux()
	root.Handle("/", inner)
	for _, path := range []string{"/v1/tasks/T-1", "/v1/tasks/T-2", "/gateway/a", "/nothing/1", "/nothing/2", "/v1/tasks"} {
		tel.HTTP(root).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	got := map[string]float64{}
	for key, v := range scrape(t, tel) {
		if strings.HasPrefix(key, "remit_http_requests_total") {
			got[key] = v
		}
	}
	want := map[string]float64{
		`remit_http_requests_total{route="GET /v1/tasks/{id}",status="200"}`: 2,
		`remit_http_requests_total{route="* /gateway/",status="403"}`:        1,
		`remit_http_requests_total{route="* other",status="404"}`:            3,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

func TestAHandlerThatPanicsIsCounted(t *testing.T) {
	tel := start(t, well)
	defer func() {
		if recover() == nil {
			t.Error("the panic is lost")
		}
		if scrape(t, tel)[`remit_http_requests_total{route="* other",status="200"}`] != 1 {
			t.Error("not counted")
		}
	}()
	tel.HTTP(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })).
		ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

// Anybody may ask the public address whether the server is ready; that looks at it a few times a second at most.
func TestPublicReadinessIsNotALever(t *testing.T) {
	looked := 0
	tel := start(t, func() Reading { looked++; return well() })
	for range 1000 {
		tel.ReadyCode(httptest.NewRecorder(), httptest.NewRequest("GET", "/readyz", nil))
	}
	if looked > 100 {
		t.Errorf("1000 questions looked %d times", looked)
	}
}

func TestHealth(t *testing.T) {
	w := httptest.NewRecorder()
	start(t, func() Reading { t.Error("it looks at the server"); return Reading{} }).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestLinesCarryTheirTrace(t *testing.T) {
	tel, spans := remembered(t)
	var out bytes.Buffer
	log := slog.New(Lines(slog.NewTextHandler(&out, nil))).With("task", "T-1").WithGroup("g")
	ctx, end := tel.Step(t.Context(), nil)
	log.InfoContext(ctx, "inside")
	end()
	log.InfoContext(context.Background(), "outside")
	if err := tel.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := spans.all[0].SpanContext().TraceID().String()
	inside, outside, _ := strings.Cut(out.String(), "\n")
	if !strings.Contains(inside, "trace_id="+id) || strings.Contains(outside, "trace_id") {
		t.Errorf("%s", out.String())
	}
}

func TestACollectorThatIsNone(t *testing.T) {
	for _, url := range []string{"127.0.0.1:4318", "ftp://host", "http://", "http://user:pass@host"} {
		if _, err := New(t.Context(), Config{OTLP: url, Read: well}); err == nil || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// Spans go to a collector as OTLP over HTTP, below the base URL.
func TestSpansAreSent(t *testing.T) {
	got := make(chan string, 4)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type")
		if !bytes.Contains(b, []byte("authorize")) {
			t.Error("the span is not in it")
		}
	}))
	defer collector.Close()
	os.Unsetenv("OTEL_TRACES_SAMPLER")
	tel, err := New(t.Context(), Config{OTLP: collector.URL + "/base", Read: well})
	if err != nil {
		t.Fatal(err)
	}
	_, end := tel.Call(t.Context(), "authorize")
	end()
	if err := tel.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if what := <-got; what != "POST /base/v1/traces application/x-protobuf" {
		t.Error(what)
	}
}
