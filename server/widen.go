package server

import (
	"context"
	"fmt"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
	"github.com/remit-dev/remit/authority"
)

// widens tells why a bundle may let pass what the one in force does not; empty where it cannot. Two proofs are tried, and
// either is enough.
func (s *Server) widens(had, files []remit.PolicyFile) string {
	why := policyWidens(had, files)
	if why == "" || s.cfg.PolicyWidens == nil {
		return why
	}
	return s.cfg.PolicyWidens(had, files)
}

// reach writes into a set what an attacker would come to with it and does not without it, by the paths of both. It is asked
// where nothing else in the set widens: by itself each change may narrow or move, and together they may open a way. What
// cannot be computed counts as widening. The authority holds what it says for a second administrator.
func (d *declaring) reach(by remit.ID) error {
	changed := false
	var err error
	d.s.view(func(st *authority.State) {
		var changes []remit.Change
		changes, err = authority.Diff(st, &d.set)
		for _, c := range changes {
			if c.Widens != "" {
				changed = false
				return // it holds already, with that for a reason
			}
			changed = changed || c.Kind != "notify" && c.Kind != "activation" && c.Kind != "detection"
		}
	})
	if err != nil {
		return d.explain(err)
	}
	if !changed {
		return nil
	}
	c, err := d.compare(d.ctx, by)
	switch {
	case d.ctx.Err() != nil:
		return d.ctx.Err()
	case err != nil:
		d.s.cfg.Slog.Error("what declarations reach cannot be computed", "err", err)
		d.set.ReachWidens = "what can be reached by it cannot be computed, so it counts as widening"
	case c.Widens && len(c.New) > 0:
		p := c.New[0].Path
		d.set.ReachWidens = fmt.Sprintf("it opens a way from %s to %s that asks fewer people than before, or was not there (%d such ways)", p.From(), p.To(), len(c.New))
	case c.Widens:
		d.set.ReachWidens = "more can be reached by it than can be looked at, so it counts as widening"
	}
	return nil
}

// compare draws the paths as they are and as they would be.
func (d *declaring) compare(ctx context.Context, by remit.ID) (analysis.Change, error) {
	before, err := d.s.graph(ctx)
	if err != nil {
		return analysis.Change{}, err
	}
	st, err := d.s.cfg.Engine.Supposed(by, &d.set)
	if err != nil {
		return analysis.Change{}, err
	}
	judge := d.judge
	if judge == nil {
		if judge, err = d.s.cfg.Engine.Policy(ctx, st.Policy); err != nil {
			return analysis.Change{}, err
		}
	}
	done, err := d.s.work(ctx)
	if err != nil {
		return analysis.Change{}, err
	}
	defer done()
	after, err := d.s.draw(ctx, st, judge, d.names)
	if err != nil {
		return analysis.Change{}, err
	}
	return analysis.Compare(before.Graph, after.Graph)
}
