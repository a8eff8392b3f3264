package telemetry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// Reason is why a server is not ready: a stable word, and a sentence for people.
type Reason struct {
	Reason   string `json:"reason"`
	Sentence string `json:"sentence"`
}

// MaxBehind is how long an entry may wait for its checkpoint: signing takes milliseconds and is tried again twice a
// second, so after this the key or the second head cannot be used.
const MaxBehind = 30 * time.Second

// Reasons says why a server with this reading should get no work; none if it should. A server that is not ready still
// answers, and still takes authority away.
func Reasons(r Reading, maxDebt int) []Reason {
	out := []Reason{}
	add := func(reason, format string, args ...any) {
		out = append(out, Reason{reason, fmt.Sprintf(format, args...)})
	}
	if r.Stopped {
		add("log", "the log could not be written, so nothing is decided until the server is started again")
	}
	if !r.Policy {
		add("policy", "no policy is in force, so everything is denied: remit apply one")
	}
	if r.Doubt {
		add("clock", "the clock jumped: an administrator looks at it and says: remit clock confirm")
	}
	if r.Behind > MaxBehind {
		add("head", "the head of the log has not been signed or written a second time for %s: see the server's log, and the volume of the second head",
			r.Behind.Round(time.Second))
	}
	if r.Debt > maxDebt {
		add("debt", "%d upstream credentials that should be dead were not seen dead, and %d are tolerated: remit leases", r.Debt, maxDebt)
	}
	var full []string
	for name, s := range r.Stores {
		if s.Unknown || s.Free < s.Reserve || s.Quota > 0 && s.Used >= s.Quota {
			full = append(full, name)
		}
	}
	slices.Sort(full)
	for _, name := range full {
		s := r.Stores[name]
		switch {
		case s.Unknown:
			add("disk", "nobody can tell how much space is left for %s", name)
		case s.Free < s.Reserve:
			add("disk", "%d bytes are free where %s are kept, and %d are reserved for the log: free some space", s.Free, name, s.Reserve)
		default:
			add("disk", "%s take up their quota of %d bytes", name, s.Quota)
		}
	}
	if r.Draining {
		add("draining", "the server is being drained: it finishes what it began and takes nothing new")
	}
	return out
}

// Alive says that the process answers, and nothing else: who restarts a server that is not ready loses what it holds.
func Alive(w http.ResponseWriter, _ *http.Request) {
	plain(w)
	_, _ = io.WriteString(w, "ok\n") // the client is gone: there is nobody to tell
}

// Ready answers 200, or 503 with the reasons.
func (t *Telemetry) Ready(w http.ResponseWriter, _ *http.Request) {
	reasons := Reasons(t.cfg.Read(), t.cfg.MaxDebt)
	b, err := json.Marshal(struct {
		Ready   bool     `json:"ready"`
		Reasons []Reason `json:"reasons"`
	}{len(reasons) == 0, reasons})
	if err != nil {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	plain(w)
	w.Header().Set("Content-Type", "application/json")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(b, '\n'))
}

// readyFor is how long ReadyCode answers the same: anybody may ask, and looking costs something.
const readyFor = 200 * time.Millisecond

// ReadyCode answers 200 or 503 without a reason, for those whom the reasons do not concern.
func (t *Telemetry) ReadyCode(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	if now := time.Now(); now.Sub(t.asked) > readyFor {
		t.ready, t.asked = len(Reasons(t.cfg.Read(), t.cfg.MaxDebt)) == 0, now
	}
	ready := t.ready
	t.mu.Unlock()
	plain(w)
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "not ready\n")
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

func plain(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
}
