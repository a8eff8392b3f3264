// Package stdio is servers that are processes: they speak over their standard input and output (MCP, stdio), and die with
// whoever they were started for.
package stdio

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/upstream"
)

// Limits of a process.
const (
	stopWithin     = 3 * time.Second // between asking it to end and making it
	discoverWithin = 10 * time.Second
	maxNoise       = 64 << 10 // bytes of its standard error that are logged
	maxNoiseLine   = 1 << 10
	maxGarbage     = 100 // lines of its standard output that are no messages
)

// Server is a server that is a process.
type Server struct {
	Name    string                                  // as it is declared
	Command []string                                // and its arguments
	Env     func(context.Context) ([]string, error) // the whole environment, with its secrets; nil: an empty one
}

func (s Server) key() string { return s.Name + "\x00" + strings.Join(s.Command, "\x00") }

// Pool starts processes, and ends them. All but its unexported fields are set before it is used.
type Pool struct {
	Max        int           // processes, in all
	MaxMessage int           // bytes of a message of a server's
	Begin      time.Duration // within which a process that is shared has to say what it speaks
	Idle       time.Duration // after which one that nobody uses ends
	Log        *slog.Logger
	// Ended is closed when an instance ends, and its processes end with it.
	Ended func(instance remit.ID) <-chan struct{}
	// Redact finds what of an environment is secret in what a server says.
	Redact func(server string, values []string) *upstream.Redactor

	mu      sync.Mutex
	shared  map[place]*Process
	running int // those of sessions too
}

// place is whose a shared process is.
type place struct {
	instance remit.ID // empty: Remit's own
	key      string
}

// Close ends the processes that are shared, and waits for that. Those of sessions end with them.
func (o *Pool) Close() {
	var each sync.WaitGroup
	o.mu.Lock()
	for _, p := range o.shared {
		each.Go(p.Stop)
	}
	o.mu.Unlock()
	each.Wait()
}

// Process is a server that speaks over its standard input and output (MCP, stdio). A session has one of its own, so that
// its messages are its client's; all that has no session shares one for each instance and server, with ids of Remit's.
// It dies with the gateway, with its instance, with its session, or when it is idle.
type Process struct {
	pool    *Pool
	server  Server
	shared  bool
	version string // that a shared one speaks

	cmd      *exec.Cmd
	in       chan []byte
	scrub    *upstream.Redactor
	stopping chan struct{}
	dead     chan struct{}
	once     sync.Once
	ready    chan struct{} // a shared one has begun, or err says why not
	err      error

	mu       sync.Mutex
	n        int
	calls    []*Waiter // the newest last
	listener *Waiter
	idle     *time.Timer
	part     []byte // a line that has not ended
	garbage  int
	noise    int
}

// Waiter is who waits for messages of a process.
type Waiter struct {
	key      string // of the id; empty: a session's stream
	token    string // progressToken, as it came
	Messages chan []byte
	gone     chan struct{}
}

// Get gives the process that an instance shares, and starts it if there is none. An error wraps upstream.ErrUnsent.
func (o *Pool) Get(ctx context.Context, s Server, instance remit.ID) (*Process, error) {
	key := place{instance, s.key()}
	o.mu.Lock()
	p := o.shared[key]
	if p == nil || p.over() {
		p = o.newProcess(s, true)
		if o.shared == nil {
			o.shared = map[place]*Process{}
		}
		o.shared[key] = p
		go func() {
			begin, cancel := context.WithTimeout(context.Background(), o.Begin)
			defer cancel()
			if p.err = p.start(begin, instance); p.err == nil {
				p.err = p.handshake(begin)
			}
			close(p.ready)
			if p.err != nil {
				p.Stop()
			}
			<-p.dead
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.shared[key] == p {
				delete(o.shared, key)
			}
		}()
	}
	o.mu.Unlock()
	select {
	case <-p.ready:
		return p, p.err
	case <-ctx.Done():
		return nil, upstream.Unsent("the server %s has not begun yet", s.Name)
	}
}

func (o *Pool) newProcess(s Server, shared bool) *Process {
	return &Process{pool: o, server: s, shared: shared, in: make(chan []byte), stopping: make(chan struct{}), dead: make(chan struct{}), ready: make(chan struct{})}
}

// Own starts the process of one session. An error wraps upstream.ErrUnsent.
func (o *Pool) Own(ctx context.Context, s Server, instance remit.ID) (*Process, error) {
	p := o.newProcess(s, false)
	return p, p.start(ctx, instance)
}

func (p *Process) over() bool { return closed(p.stopping) || closed(p.dead) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// start starts the process. The thread that starts it lives as long as it does: on Linux its parent is that thread, whose
// end would kill it.
func (p *Process) start(ctx context.Context, instance remit.ID) error {
	p.pool.mu.Lock()
	full := p.pool.running >= p.pool.Max
	if !full {
		p.pool.running++
	}
	p.pool.mu.Unlock()
	started := make(chan error, 1)
	if full {
		close(p.dead)
		return upstream.Unsent("there are %d servers running, as many as there may be", p.pool.Max)
	}
	var env []string
	if p.server.Env != nil {
		var err error
		if env, err = p.server.Env(ctx); err != nil {
			started <- err
		}
	}
	go func() {
		runtime.LockOSThread()
		defer func() {
			p.pool.mu.Lock()
			p.pool.running--
			p.pool.mu.Unlock()
			close(p.dead)
		}()
		if len(started) > 0 {
			return
		}
		cmd := exec.Command(p.server.Command[0], p.server.Command[1:]...)
		cmd.Env, cmd.Dir, cmd.WaitDelay, cmd.SysProcAttr = append([]string{}, env...), "/", stopWithin, attributes()
		p.scrub = p.pool.Redact(p.server.Name, declared(env))
		stdin, err := cmd.StdinPipe()
		if err == nil {
			cmd.Stdout, cmd.Stderr = output(p.heard), output(p.grumbled)
			err = cmd.Start()
		}
		if err != nil {
			started <- err
			return
		}
		p.mu.Lock()
		p.cmd = cmd
		p.mu.Unlock()
		if p.over() { // meanwhile
			signalGroup(cmd.Process.Pid, syscall.SIGKILL)
		}
		started <- nil
		ended := p.pool.Ended(instance)
		go func() { // what a server does not read is not sent: it waits here, and the sender elsewhere
			defer stdin.Close()
			for {
				select {
				case line := <-p.in:
					if _, err := stdin.Write(line); err != nil {
						go p.Stop()
						return
					}
				case <-ended:
					go p.Stop()
					return
				case <-p.stopping:
					return
				case <-p.dead:
					return
				}
			}
		}()
		err = cmd.Wait()
		signalGroup(cmd.Process.Pid, syscall.SIGKILL) // what it left behind
		p.pool.Log.Info("the process of a server ended", "upstream", p.server.Name, "instance", instance, "err", err)
	}()
	if err := <-started; err != nil {
		e := upstream.Unsent("the server %s cannot be started", p.server.Name)
		p.pool.Log.Error("starting the process of a server", "upstream", p.server.Name, "err", err)
		return e
	}
	if p.shared {
		p.mu.Lock()
		p.idle = time.AfterFunc(p.pool.Idle, p.Stop)
		p.mu.Unlock()
	}
	return nil
}

// declared are the values of an environment that were declared for the server: its secrets may be among them.
func declared(env []string) (values []string) {
	for _, line := range env {
		name, v, _ := strings.Cut(line, "=")
		if !slices.Contains([]string{"PATH", "HOME", "LANG"}, name) && len(v) >= 8 {
			values = append(values, v)
		}
	}
	return values
}

// Stop ends the process as the protocol says (stdio, Shutdown): its input is closed, it is asked, it is made to; and
// whatever it started goes with it.
func (p *Process) Stop() {
	p.once.Do(func() { close(p.stopping) })
	p.mu.Lock()
	cmd := p.cmd
	if p.idle != nil {
		p.idle.Stop()
	}
	p.mu.Unlock()
	if cmd == nil || closed(p.dead) {
		return
	}
	signalGroup(cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.dead:
	case <-time.After(stopWithin):
		signalGroup(cmd.Process.Pid, syscall.SIGKILL)
		<-p.dead
	}
}

// Send writes a message. An error means that the process has read nothing of it.
func (p *Process) Send(ctx context.Context, raw []byte) error {
	line := append(bytes.Map(func(r rune) rune { // between the parts of JSON only; within texts there is none
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, raw), '\n')
	select {
	case p.in <- line:
		return nil
	case <-p.stopping:
	case <-p.dead:
	case <-ctx.Done():
	}
	return upstream.Unsent("the server %s takes no messages", p.server.Name)
}

// output is a function as what a command writes to.
type output func([]byte)

func (o output) Write(b []byte) (int, error) {
	o(b)
	return len(b), nil
}

// heard takes what the process says: messages, one on a line.
func (p *Process) heard(b []byte) {
	p.part = append(p.part, b...)
	for {
		line, rest, ok := bytes.Cut(p.part, []byte("\n"))
		if !ok {
			break
		}
		p.line(slices.Clone(bytes.TrimSpace(line)))
		p.part = rest
	}
	if len(p.part) > p.pool.MaxMessage {
		p.part = nil
		p.pool.Log.Warn("a server says too much at once, and is ended", "upstream", p.server.Name)
		go p.Stop()
	}
}

func (p *Process) line(line []byte) {
	if len(line) == 0 || p.over() {
		return
	}
	m, err := envelope.FromServer(line)
	if err != nil {
		if p.garbage++; p.garbage == maxGarbage {
			p.pool.Log.Warn("a server says what are no messages, and is ended", "upstream", p.server.Name, "err", err)
			go p.Stop()
		}
		return
	}
	w := p.to(m)
	if w == nil {
		if m.Request() { // nobody can answer it
			refusal := envelope.Encode(envelope.Reply{Version: "2.0", ID: m.ID, Error: envelope.Encode(envelope.Error{Code: envelope.MethodNotFound, Message: "nobody is there who could answer that"})})
			go func() { _ = p.Send(context.Background(), refusal) }() // it is about to end otherwise
		}
		return
	}
	select {
	case w.Messages <- line:
	case <-w.gone:
	case <-p.stopping:
	}
}

// to finds who a message is for. Servers of this kind do not say what their requests and notifications belong to, except
// by progress tokens: they go to the newest call, and what concerns none to the session's stream. In a shared process
// nobody is asked anything, and only progress is passed on.
func (p *Process) to(m envelope.Message) *Waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	var newest *Waiter
	if len(p.calls) > 0 {
		newest = p.calls[len(p.calls)-1]
	}
	switch {
	case m.Response():
		for _, w := range p.calls {
			if w.key == m.Key() {
				return w
			}
		}
		return nil
	case m.Method == "notifications/progress":
		token := string(envelope.Member(m.Params, "progressToken"))
		for _, w := range slices.Backward(p.calls) {
			if token != "" && w.token == token {
				return w
			}
		}
		return nil
	case p.shared:
		return nil
	case newest != nil && (m.Request() || m.Method == "notifications/message" || p.listener == nil):
		return newest
	}
	return p.listener
}

// grumbled logs what the process says on its standard error, as far as it is not too much.
func (p *Process) grumbled(b []byte) {
	for line := range bytes.Lines(b) {
		if p.noise > maxNoise {
			return
		}
		p.noise += len(line)
		line = bytes.TrimSpace(line)
		p.pool.Log.Info("a server's own log", "upstream", p.server.Name, "line", fmt.Sprintf("%q", p.scrub.Clean(line[:min(len(line), maxNoiseLine)])))
	}
}

// Expect waits for what answers the request with that id, until done is called.
func (p *Process) Expect(key, token string) (w *Waiter, done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w = &Waiter{key: key, token: token, Messages: make(chan []byte), gone: make(chan struct{})}
	if slices.ContainsFunc(p.calls, func(o *Waiter) bool { return o.key == key }) {
		return nil, nil, envelope.Malformed(envelope.InvalidRequest, "a request with this id has no answer yet")
	}
	p.calls = append(p.calls, w)
	return w, func() {
		close(w.gone)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.calls = slices.DeleteFunc(p.calls, func(o *Waiter) bool { return o == w })
		if p.idle != nil && len(p.calls) == 0 && !p.over() {
			p.idle.Reset(p.pool.Idle)
		}
	}, nil
}

// Listen waits for what the process of a session says of itself, until done is called; false: somebody does already.
func (p *Process) Listen() (w *Waiter, done func(), ok bool) {
	w = &Waiter{Messages: make(chan []byte), gone: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		return nil, nil, false
	}
	p.listener = w
	return w, func() {
		close(w.gone)
		p.mu.Lock()
		p.listener = nil
		p.mu.Unlock()
	}, true
}

// Shared tells whether the process serves all that has no session.
func (p *Process) Shared() bool { return p.shared }

// Speaks is the version of the protocol that a shared process speaks.
func (p *Process) Speaks() string { return p.version }

// Redactor finds the secrets of its environment in what the process says.
func (p *Process) Redactor() *upstream.Redactor { return p.scrub }

// Gone is closed when the process has ended.
func (p *Process) Gone() <-chan struct{} { return p.dead }

// NewID is an id of Remit's own.
func (p *Process) NewID() json.RawMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	if p.idle != nil {
		p.idle.Stop()
	}
	return envelope.Encode(fmt.Sprintf("remit-%d", p.n))
}

// request makes a request in Remit's own name.
func (p *Process) request(ctx context.Context, method string, params json.RawMessage) (envelope.Message, error) {
	id := p.NewID()
	body := map[string]any{"jsonrpc": "2.0", "id": id, "method": method}
	if params != nil {
		body["params"] = params
	}
	w, done, err := p.Expect(envelope.IDKey(id), "")
	if err != nil {
		return envelope.Message{}, err
	}
	defer done()
	if err := p.Send(ctx, envelope.Encode(body)); err != nil {
		return envelope.Message{}, err
	}
	select {
	case b := <-w.Messages:
		return envelope.FromServer(p.scrub.Clean(b))
	case <-p.dead:
		return envelope.Message{}, remit.Errorf(remit.UpstreamDown, "the server %s ended before it answered", p.server.Name)
	case <-ctx.Done():
		return envelope.Message{}, remit.Errorf(remit.UpstreamDown, "the server %s does not answer", p.server.Name)
	}
}

// handshake finds out what a shared process speaks: the stateless protocol, or an older one, in which Remit then begins
// a session of its own that can do nothing of what a server may ask for.
func (p *Process) handshake(ctx context.Context) error {
	params, err := envelope.WithMeta(nil, envelope.Stateless)
	if err != nil {
		return err
	}
	first, cancel := context.WithTimeout(ctx, discoverWithin)
	m, err := p.request(first, "server/discover", params)
	cancel()
	var said struct {
		Supported []string `json:"supportedVersions"`
		Version   string   `json:"protocolVersion"`
	}
	if err == nil && json.Unmarshal(m.Result, &said) == nil && slices.Contains(said.Supported, envelope.Stateless) {
		p.version = envelope.Stateless
		return nil
	}
	m, err = p.request(ctx, "initialize", envelope.Encode(map[string]any{"protocolVersion": envelope.Versions[1], "capabilities": struct{}{}, "clientInfo": envelope.ClientInfo}))
	if err != nil {
		return upstream.Before(err)
	}
	if json.Unmarshal(m.Result, &said) != nil || !slices.Contains(envelope.Versions[1:], said.Version) {
		return upstream.Unsent("the server %s begins no session in a version that is spoken here", p.server.Name)
	}
	p.version = said.Version
	return p.Send(ctx, envelope.Encode(map[string]string{"jsonrpc": "2.0", "method": "notifications/initialized"}))
}

// Ask makes one request in Remit's own name, in the process that an instance shares. The answer is a result or the server's
// error. An error of Remit's wraps upstream.ErrUnsent where the server cannot have begun with the request.
func (o *Pool) Ask(ctx context.Context, s Server, instance remit.ID, method string, params json.RawMessage) (result, fault json.RawMessage, err error) {
	p, err := o.Get(ctx, s, instance)
	if err != nil {
		return nil, nil, upstream.Before(err)
	}
	if p.version >= envelope.Stateless {
		if params, err = envelope.WithMeta(params, p.version); err != nil {
			return nil, nil, upstream.Unsent("the request cannot be written: %w", err)
		}
	}
	m, err := p.request(ctx, method, params)
	return m.Result, m.Fault, err
}
