package guardian

import (
	"encoding/hex"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/remit-dev/remit"
)

// skew is how far a client's clock may be from ours (§10.3).
const skew = 5 * time.Minute

// Sessions live in memory, bounded: after a restart a host shakes hands again.
const (
	maxSessions     = 1024
	maxOfInstance   = 32
	maxReplay       = 16 << 10 // ids and nonces of one session that could still be replayed
	maxDeferrals    = 256      // of one session (§6)
	maxMethods      = 128      // of a handshake
	sessionLifetime = 12 * time.Hour
)

// sessions are those of all instances. A session is its instance's: nobody else can name it.
type sessions struct {
	mu  sync.Mutex
	all map[owner]*session
}

type owner struct {
	instance remit.ID
	id       string
}

// session is what is agreed with a host, and the chain of what it asked (§8).
type session struct {
	mu      sync.Mutex
	agent   string
	agreed  bool
	hello   remit.Digest // of what the client said, so that it may say it again
	methods []string
	used    map[string]time.Time // request ids and nonces, until when they could come again
	head    []byte
	entries int
	defers  int
	ended   bool
	dir     string // where the host says that it works
	last    time.Time
}

func (s *sessions) find(o owner, now time.Time) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.all[o]
	if found != nil {
		found.last = now
	}
	return found
}

// open gives the session, made if it is not there; nil: there are too many.
func (s *sessions) open(o owner, now time.Time) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.all[o]; found != nil {
		found.last = now
		return found
	}
	mine := 0
	for other, v := range s.all {
		if now.Sub(v.last) > sessionLifetime {
			delete(s.all, other)
		} else if other.instance == o.instance {
			mine++
		}
	}
	if mine >= maxOfInstance || len(s.all) >= maxSessions {
		return nil
	}
	if s.all == nil {
		s.all = map[owner]*session{}
	}
	made := &session{used: map[string]time.Time{}, last: now}
	s.all[o] = made
	return made
}

// reserve notes that a request was seen, and refuses one that was seen before (§10.3). The caller holds the lock.
func (s *session) reserve(e *envelope, now time.Time) *failure {
	if e.time.Before(now.Add(-skew)) || e.time.After(now.Add(skew)) {
		f := fail(outOfWindow, "timestamp_out_of_window", "the request's timestamp is too far from this guardian's clock")
		f.Data.Skew = skew.Milliseconds()
		return f
	}
	names := []string{"r" + e.request}
	if e.nonce != "" {
		names = append(names, "n"+e.nonce)
	}
	for _, name := range names {
		if _, seen := s.used[name]; seen {
			return fail(replayDetected, "replay_detected", "this request_id or nonce was used in the ACS session before")
		}
	}
	if len(s.used)+len(names) > maxReplay {
		for name, until := range s.used {
			if now.After(until) {
				delete(s.used, name)
			}
		}
		if len(s.used)+len(names) > maxReplay {
			return fail(sessionRefused, "too_many_requests", "the ACS session has asked more in ten minutes than can be remembered")
		}
	}
	for _, name := range names {
		s.used[name] = now.Add(2 * skew) // a timestamp may lie in the future, too
	}
	return nil
}

// write appends the step to the chain and gives the new head. The caller holds the lock.
func (s *session) write(e *envelope, now time.Time) (string, error) {
	hash, err := requestHash(e.params)
	if err != nil {
		return "", err
	}
	head, err := link(entry{ID: strconv.Itoa(s.entries + 1), Step: e.request, Type: e.method, RequestHash: hash, Timestamp: now.UTC().Format(time.RFC3339)}, s.head)
	if err != nil {
		return "", err
	}
	s.head, s.entries = head, s.entries+1
	return hex.EncodeToString(head), nil
}

// negotiated tells whether a method was agreed on: by its name, or by the name of everything that MCP has.
func (s *session) negotiated(method string) bool {
	if slices.Contains(s.methods, method) {
		return true
	}
	_, mcp := wrapped(method)
	return mcp && slices.Contains(s.methods, "protocols/MCP/*")
}
