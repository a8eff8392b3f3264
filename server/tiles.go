package server

import (
	"strconv"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// tiles is the prefix of the log as C2SP tlog-tiles: checkpoint, tile/… and tile/entries/… lie below it.
const tiles = org + "/log/tiles"

// signedHead is the newest checkpoint as a signed note.
func signedHead(s *Server, c *call) error {
	head, err := s.cfg.Log.Head(c.r.Context())
	if err != nil {
		return err
	}
	return c.content("text/plain; charset=utf-8", []byte(head.Checkpoint))
}

// tile gives hashes, which say nothing of what was decided, to anyone.
func tile(s *Server, c *call) error { return s.sendTile(c, "tile/"+c.r.PathValue("path")) }

// entryBundle gives leaves: they hold the organisation's own names.
func entryBundle(s *Server, c *call) error {
	return s.sendTile(c, "tile/entries/"+c.r.PathValue("path"))
}

func (s *Server) sendTile(c *call, path string) error {
	t, err := ledger.ParseTilePath(path)
	if err != nil {
		return err
	}
	who := c.who()
	if who == "" {
		who = "anyone" // who cannot be told apart share one allowance
	}
	leave, err := s.enter(who)
	if err != nil {
		return err
	}
	defer leave()
	b, err := s.cfg.Log.Tile(c.r.Context(), t)
	if err != nil {
		return err
	}
	// C2SP tlog-tiles: what a tile holds never changes. One that is not full is soon of no use.
	audience, keep := "public", "max-age=60"
	if ledger.EntryTile(t) && !s.cfg.PublicLog {
		audience = "private"
	}
	if ledger.FullTile(t) {
		keep = "max-age=31536000, immutable"
	}
	c.w.Header().Set("Cache-Control", audience+", "+keep)
	return c.content("application/octet-stream", b)
}

// content writes an answer that is not JSON.
func (c *call) content(kind string, b []byte) error {
	c.w.Header().Set("Content-Type", kind)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	if _, err := c.w.Write(b); err != nil {
		return errGone
	}
	return nil
}

// receipt proves one entry to whoever may read it.
func receipt(s *Server, c *call) error {
	bare, err := c.flag("bare")
	if err != nil {
		return err
	}
	i, err := s.readable(c)
	if err != nil {
		return err
	}
	b, err := s.cfg.Log.Receipt(c.r.Context(), i)
	if err == nil && bare {
		b, err = ledger.WithoutLeaf(b)
	}
	if err != nil {
		return err
	}
	return c.content("text/plain; charset=utf-8", b)
}

// readable is the entry that a request names, if its caller may read it: people may read any, an instance only decisions
// of its own task.
func (s *Server) readable(c *call) (remit.EntryIndex, error) {
	n, err := strconv.ParseUint(c.r.PathValue("entry"), 10, 62)
	if err != nil {
		return 0, remit.Errorf(remit.BadRequest, "an entry is a number, not %.32q", c.r.PathValue("entry"))
	}
	i, next := remit.EntryIndex(n), remit.EntryIndex(0)
	s.view(func(st *authority.State) { next = st.Next })
	if i >= next {
		return 0, remit.Errorf(remit.NotFound, "the log has no entry %d", i)
	}
	if c.person != "" {
		return i, nil
	}
	l, err := s.leaf(c.r.Context(), i)
	if err != nil {
		return 0, err
	}
	task := remit.ID("")
	if e, ok := l.Event.(*remit.Decided); ok {
		task = e.Task
	}
	return i, c.own(task)
}
