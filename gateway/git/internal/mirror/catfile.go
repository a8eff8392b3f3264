package mirror

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// MaxObject is the largest object that is read into memory, in bytes.
const MaxObject = 24 << 20

// reader is one process git cat-file --batch, which answers one question after another.
type reader struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	cancel context.CancelFunc
}

func (m *mirror) newReader() (*reader, error) {
	// The process outlives the request that starts it.
	ctx, cancel := context.WithCancel(context.Background())
	cmd, err := m.git.Command(ctx, m.dir, "cat-file", "--batch")
	if err != nil {
		cancel()
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting git cat-file: %w", err)
	}
	return &reader{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 64<<10), cancel: cancel}, nil
}

func (r *reader) close() {
	r.in.Close()
	r.cancel()
	r.cmd.Wait() // reaps it; how it ended does not matter
}

// get reads an object and checks that it is what its id says. After an error other than ErrNotFound the process is in
// an unknown state.
func (r *reader) get(ctx context.Context, oid object.OID) (object.Type, []byte, error) {
	defer context.AfterFunc(ctx, r.cancel)()
	if _, err := io.WriteString(r.in, oid.String()+"\n"); err != nil {
		return 0, nil, errors.Join(ctx.Err(), err)
	}
	line, err := r.out.ReadString('\n')
	if err != nil {
		return 0, nil, errors.Join(ctx.Err(), err)
	}
	parts := strings.Fields(line)
	if len(parts) == 2 && parts[1] == "missing" {
		return 0, nil, change.ErrNotFound
	}
	if len(parts) != 3 || parts[0] != oid.String() {
		return 0, nil, fmt.Errorf("git cat-file answers %q", line)
	}
	typ, ok := object.ParseType(parts[1])
	size, err := strconv.ParseInt(parts[2], 10, 64)
	if !ok || err != nil {
		return 0, nil, fmt.Errorf("git cat-file answers %q", line)
	}
	if size > MaxObject {
		return 0, nil, object.Refuse(object.CodeTooLargeJudge, oid.String(), "the %s is %d bytes long, above the %d that are read at once", typ, size, MaxObject)
	}
	body := make([]byte, size+1)
	if _, err := io.ReadFull(r.out, body); err != nil {
		return 0, nil, errors.Join(ctx.Err(), err)
	}
	body = body[:size]
	got, err := object.Hash(typ, body)
	if err != nil {
		return 0, nil, err
	}
	if got != oid {
		return 0, nil, object.Refuse(object.CodeBadObject, oid.String(), "the mirror's object of that id is really %s", got)
	}
	return typ, body, nil
}

// read takes a process from the pool, or starts one.
func (m *mirror) read(ctx context.Context, oid object.OID) (object.Type, []byte, error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	r, err := m.take()
	if err != nil {
		return 0, nil, err
	}
	typ, body, err := r.get(ctx, oid)
	if err != nil && !errors.Is(err, change.ErrNotFound) || ctx.Err() != nil {
		r.close()
		return typ, body, err
	}
	m.give(r)
	return typ, body, err
}

// maxIdle is how many processes wait for the next question, per mirror.
const maxIdle = 2

func (m *mirror) take() (*reader, error) {
	m.mu.Lock()
	if n := len(m.idle); n > 0 {
		r := m.idle[n-1]
		m.idle = m.idle[:n-1]
		m.mu.Unlock()
		return r, nil
	}
	m.mu.Unlock()
	return m.newReader()
}

func (m *mirror) give(r *reader) {
	m.mu.Lock()
	if !m.gone && len(m.idle) < maxIdle {
		m.idle = append(m.idle, r)
		r = nil
	}
	m.mu.Unlock()
	if r != nil {
		r.close()
	}
}

// stop ends the processes that wait.
func (m *mirror) stop() {
	m.mu.Lock()
	idle := m.idle
	m.idle = nil
	m.mu.Unlock()
	for _, r := range idle {
		r.close()
	}
}
