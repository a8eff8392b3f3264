package main

import (
	"context"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
)

const openWithin = 5 * time.Second // in which an opener says that it cannot

// loginBrowser signs a person in to the console in their browser with the key of their terminal.
func (a *app) loginBrowser(ctx context.Context, link bool) error {
	p, err := a.profile()
	if err != nil {
		return err
	}
	if p.Device {
		return usagef("this terminal has no key to prove you with; give --key, or sign in where your passkey is")
	}
	pub, err := publicKey(p.Key)
	if err != nil {
		return err
	}
	s, err := a.dial(p)
	if err != nil {
		return err
	}
	h, err := s.HandOver(ctx, pub.Marshal(), func(text []byte) ([]byte, error) {
		if err := checkChallenge(text, p); err != nil {
			return nil, err
		}
		return a.sign(ctx, p.Key, identity.SignInNamespace, text)
	})
	if err != nil {
		return err
	}
	if !strings.HasPrefix(h.Link, p.Server+"/console/") {
		return remit.Errorf(remit.Forbidden, "the server at %s gives a link to another place: %s", p.Server, visible(h.Link))
	}
	if link || a.output == "json" {
		return a.print(h, func() {
			a.printf("%s\nOpen it in your own browser: it signs you in once, until %s. Who has it first is you.\n", visible(h.Link), h.NotAfter.Local().Format("15:04:05"))
		})
	}
	if err := a.openBrowser(ctx, h.Link); err != nil {
		return remit.Errorf(remit.NotFound, "no browser can be opened here: %w; say: remit login --browser --link", err)
	}
	a.printf("your browser asks whether to sign you in; if it shows no page, say: remit login --browser --link\n")
	return nil
}

// openBrowser opens a link that is a secret. What other users of a machine can read is the command line of the program
// that opens it, so that names a file which only the person can read, and the file leads to the link.
func (a *app) openBrowser(ctx context.Context, link string) error {
	dir := a.sessionDir()
	if dir == "" {
		return fmt.Errorf("neither HOME nor XDG_RUNTIME_DIR is set")
	}
	opener := "xdg-open"
	if runtime.GOOS == "darwin" {
		opener = "open"
	}
	opener, err := exec.LookPath(opener)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if fi, err := os.Lstat(dir); err != nil || !fi.IsDir() || fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be read by others", dir)
	}
	// It stays behind: the link in it is good for nothing once it was used, or after a minute.
	page := filepath.Join(dir, "hand-over.html")
	text := `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0;url=` +
		html.EscapeString(link) + `"><title>Remit</title><p><a href="` + html.EscapeString(link) + `">Go on to Remit</a></p></html>` + "\n"
	if err := replaceFile(page, []byte(text)); err != nil {
		return err
	}
	c := exec.CommandContext(ctx, opener, page)
	c.Stdout, c.Stderr = a.stderr, a.stderr
	if err := c.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(openWithin): // some openers are the browser, and end when it does
		return nil
	}
}
