// Package hookline is `remit hook HOST`, the command that an agent's program runs before it uses a tool: it hands the
// program's JSON to the instance's socket and answers by its exit code. 0 and silence is no objection. Everything else is
// 2 with a sentence on standard error and nothing on standard output: a refusal, and every failure, its own deadline
// among them. Those are the only two answers that no host misreads.
package hookline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Command is its name on the command line.
const Command = "hook"

// denied is the exit code with which every host refuses the call.
const denied = 2

// Limits, in bytes.
const (
	maxInput  = 1 << 20
	maxAnswer = 64 << 10
	maxShown  = 4 << 10
)

// The hook ends by itself before its host ends it: all hosts let a call pass when their own time for the hook is over.
const (
	deadline    = 25 * time.Second
	maxDeadline = 55 * time.Second
	forAnswer   = 5 * time.Second // of the deadline that is not for waiting for people
)

// Usage is what the command takes.
const Usage = "hook claude-code|codex|gemini|copilot [--event EVENT] [--socket PATH] [--org ORG] [--tree DIR] [--home DIR] [--shell NAME] [--front NAME,…] [--deadline 25s]"

// line is what the command line says.
type line struct {
	host, event, socket, org string
	headers                  string
	deadline                 time.Duration
}

// early answers `remit hook …` while the packages of the binary are initialised, and ends the process. The rest of
// them takes several times as long as the hook may; and packages without dependencies to wait for come first: they are
// initialised in the order of their import paths, each as soon as those that it imports are (Go specification, Program
// initialization). This one therefore imports no more than it needs, and not package net.
var _ = early()

func early() bool {
	if len(os.Args) < 2 || os.Args[1] != Command || len(os.Args) == 3 && (os.Args[2] == "--help" || os.Args[2] == "-h") {
		return false
	}
	os.Exit(Main(os.Args[2:]))
	return true
}

// Main reads the host's JSON from standard input and returns the exit code.
func Main(args []string) (code int) {
	var ended atomic.Bool
	end := func(sentence string) int {
		if !ended.CompareAndSwap(false, true) {
			select {} // the deadline has ended it, and the process is about to
		}
		if sentence == "" {
			return 0
		}
		fmt.Fprintln(os.Stderr, "remit: "+visible(sentence))
		return denied
	}
	defer func() {
		if failure := recover(); failure != nil {
			code = end("the hook failed, so the call is denied")
		}
	}()
	l, err := parse(args, os.Getenv)
	if err != nil {
		return end(err.Error() + ", so the call is denied")
	}
	time.AfterFunc(l.deadline, func() {
		os.Exit(end(fmt.Sprintf("the authority did not answer within %s, so the call is denied; try it again", l.deadline)))
	})
	return end(l.ask(os.Stdin, dial))
}

func parse(args []string, getenv func(string) string) (line, error) {
	l := line{socket: getenv("REMIT_SOCKET"), org: getenv("REMIT_ORG"), deadline: deadline}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return l, errors.New("say: remit " + Usage)
	}
	l.host = args[0]
	for args = args[1:]; len(args) > 0; {
		name, value, ok := strings.Cut(args[0], "=")
		args = args[1:]
		if !ok {
			if len(args) == 0 {
				return l, fmt.Errorf("%.40q has no value", name)
			}
			value, args = args[0], args[1:]
		}
		switch name {
		case "--event":
			l.event = value
		case "--socket":
			l.socket = value
		case "--org":
			l.org = value
		case "--tree":
			l.headers += "Remit-Tree: " + escape(value, "/") + "\r\n"
		case "--home":
			l.headers += "Remit-Home: " + escape(value, "/") + "\r\n"
		case "--shell":
			l.headers += "Remit-Shell: " + escape(value, "") + "\r\n"
		case "--front":
			l.headers += "Remit-Front: " + escape(value, ",") + "\r\n"
		case "--deadline":
			d, err := time.ParseDuration(value)
			if err != nil || d < 100*time.Millisecond || d > maxDeadline {
				return l, fmt.Errorf("--deadline is from 100ms to %s, not %.40q", maxDeadline, value)
			}
			l.deadline = d
		default:
			return l, fmt.Errorf("there is no %.40q; say: remit %s", name, Usage)
		}
	}
	if l.socket == "" || l.org == "" {
		return l, errors.New("neither --socket and --org nor REMIT_SOCKET and REMIT_ORG are given: this is no process of `remit run`")
	}
	return l, nil
}

// ask gives the sentence with which the call is denied; empty: there is no objection.
func (l line) ask(stdin io.Reader, dial func(socket string) (io.ReadWriteCloser, error)) string {
	body, err := io.ReadAll(io.LimitReader(stdin, maxInput+1))
	switch {
	case err != nil:
		return "the host's JSON cannot be read, so the call is denied"
	case len(body) > maxInput:
		return fmt.Sprintf("the host's JSON has more than %d bytes, so the call is not judged and denied; do it in smaller parts", maxInput)
	}
	event, err := l.eventOf(body)
	if err != nil {
		return err.Error() + ", so the call is denied"
	}
	c, err := dial(l.socket)
	if err != nil {
		return "the launcher does not answer at " + l.socket + ", so the call is denied: " + err.Error()
	}
	defer c.Close()
	wait := max(0, l.deadline-forAnswer) / time.Second
	// HTTP/1.0: the answer ends with the connection, and comes in one piece (RFC 9112 §6.3).
	head := "POST /v1/orgs/" + escape(l.org, "") + "/hook/" + escape(l.host, "") + "/" + escape(event, "") + " HTTP/1.0\r\n" +
		"Host: instance\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nPrefer: wait=" + strconv.Itoa(int(wait)) + "\r\n" + l.headers + "\r\n"
	_, werr := c.Write(append([]byte(head), body...))
	answer, rerr := io.ReadAll(io.LimitReader(c, maxAnswer))
	if len(answer) == 0 { // what refuses early may answer before it has read everything
		return fmt.Sprintf("the launcher broke off, so the call is denied: %v", errors.Join(werr, rerr))
	}
	return verdict(answer)
}

// eventOf finds the name of the event in the host's JSON, where that has one.
func (l line) eventOf(body []byte) (string, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(body, &m); err != nil || m == nil {
		return "", errors.New("what the host sent is no JSON object")
	}
	var event string
	if raw, ok := m["hook_event_name"]; ok {
		if err := json.Unmarshal(raw, &event); err != nil {
			return "", errors.New("hook_event_name in the host's JSON is no text")
		}
	}
	switch {
	case l.event != "" && event != "" && l.event != event:
		return "", fmt.Errorf("the hook is registered for %.40q, and the host's JSON is of %.40q", l.event, event)
	case event != "":
		return event, nil
	case l.event != "":
		return l.event, nil
	case l.host == "copilot": // it does not name the event; what is judged is this one
		return "preToolUse", nil
	}
	return "", errors.New("the host's JSON has no hook_event_name")
}

// verdict reads the answer. No objection is what says so in two ways; all else denies, whatever it is.
func verdict(answer []byte) string {
	head, body, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
	status, headers, _ := strings.Cut(string(head), "\r\n")
	_, code, _ := strings.Cut(status, " ")
	if ok && strings.HasPrefix(status, "HTTP/1.") && (code == "204" || strings.HasPrefix(code, "204 ")) {
		for h := range strings.SplitSeq(headers, "\r\n") {
			name, value, _ := strings.Cut(h, ":")
			if strings.EqualFold(name, "Remit-Hook") && strings.TrimSpace(value) == "no-objection" {
				return ""
			}
		}
	}
	var p struct{ Code, Detail string }
	if err := json.Unmarshal(body, &p); err != nil || p.Detail == "" {
		return fmt.Sprintf("the launcher gave an answer that is none (%.40q), so the call is denied", status)
	}
	return p.Detail + " [" + p.Code + "]"
}

// dial connects to a Unix socket, without package net.
func dial(socket string) (io.ReadWriteCloser, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	for {
		err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket})
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = syscall.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), socket), nil
}

// escape writes all bytes but letters, digits, - . _ ~ and those in plain as %XX: nothing in a flag ends a header.
func escape(s, plain string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 || strings.IndexByte(plain, c) >= 0 {
			b = append(b, c)
			continue
		}
		b = append(b, '%', hex[c>>4], hex[c&15])
	}
	return string(b)
}

// visible is text for one line of a terminal, and for a model: without control characters, and not endless.
func visible(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
