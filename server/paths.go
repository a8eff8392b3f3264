package server

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/server/internal/openapi"
)

// maxPattern is the longest pattern over nodes, in bytes.
const maxPattern = 512

// graph is the graph of attack paths of one state, with the names of its people.
type graph struct {
	*analysis.Graph
	names  follow.Directory
	size   remit.EntryIndex
	policy remit.Digest
}

// graphs keeps the last graph that was made, for as long as it would be made the same.
type graphs struct {
	sync.Mutex
	last   *graph
	minute int64 // in which it was made
}

var (
	nodeParam  = openapi.Param{Name: "node", Meaning: "whose: agent:coder, secret:deploy-key, or a pattern over nodes"}
	limitParam = openapi.Param{Name: "limit", Meaning: "the most paths, 1 to 1000; 20 by default"}
	freeParam  = openapi.Param{Name: "free", Meaning: "true: only paths on which nobody is asked"}

	fromParam = openapi.Param{Name: "from", Meaning: "what the attacker holds: untrusted, agent:coder, person:ana, repo:forge/acme/**; untrusted by default"}
	toParam   = openapi.Param{Name: "to", Meaning: "what they are after, as from; environment, which is all of them, by default"}
)

// graph makes the graph of the state in force, or takes the last one.
func (s *Server) graph(ctx context.Context) (*graph, error) {
	done, err := s.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	s.graphs.Lock()
	defer s.graphs.Unlock()
	var size remit.EntryIndex
	s.view(func(st *authority.State) { size = st.Next })
	minute := s.now().Unix() / 60
	if g := s.graphs.last; g != nil && g.size == size && s.graphs.minute == minute {
		return g, nil
	}
	st, err := s.cfg.Engine.Supposed("", nil)
	if err != nil {
		return nil, err
	}
	judge, err := s.cfg.Engine.Policy(ctx, st.Policy)
	if err != nil {
		return nil, err
	}
	g, err := s.draw(ctx, st, judge, s.people(ctx))
	if err == nil {
		s.graphs.last, s.graphs.minute = g, minute
	}
	return g, err
}

// draw makes the graph of a state under a policy, with what scans found past Remit.
func (s *Server) draw(ctx context.Context, st *authority.State, judge authority.Policy, names follow.Directory) (*graph, error) {
	g, err := analysis.Build(st, judge, analysis.Options{At: max(st.Now, s.now().UnixNano())})
	if err != nil {
		return nil, err
	}
	var reports []remit.ScanReport
	var unseen []string
	for _, name := range slices.Sorted(maps.Keys(st.Scans)) {
		if st.Upstreams[name] == nil {
			continue
		}
		scan, err := s.scanOf(ctx, name)
		if err != nil { // erased, or the upstream is new in what is supposed: its gap is said, and hides nothing else
			unseen = append(unseen, "What the scan of upstream "+name+" found cannot be read: "+err.Error())
			continue
		}
		if scan.Stale {
			unseen = append(unseen, "Upstream "+name+" is declared otherwise since it was scanned.")
		}
		reports = append(reports, scan.Report)
	}
	if len(reports) > 0 {
		if g, err = analysis.WithScan(g, reports...); err != nil {
			return nil, err
		}
	}
	g.Unseen = append(g.Unseen, unseen...)
	return &graph{g, names, st.Next, judge.Digest()}, nil
}

// pattern reads a pattern over nodes; people stand in it by name.
func (g *graph) pattern(name, text string) (string, error) {
	if len(text) > maxPattern {
		return "", remit.Errorf(remit.BadRequest, "%s has %d bytes; a pattern has at most %d", name, len(text), maxPattern)
	}
	for _, sep := range []string{":", "/"} {
		if person, ok := strings.CutPrefix(text, string(analysis.KindPerson)+sep); ok {
			if id, known := g.names.ID(person); known {
				return string(analysis.KindPerson) + sep + string(id), nil
			}
		}
	}
	return text, nil
}

// listPaths are the paths from what an attacker holds to what they are after.
func listPaths(s *Server, c *call) (out remit.PathsAnswer, err error) {
	q, err := c.pathsQuery()
	if err != nil {
		return out, err
	}
	return s.Paths(c.r.Context(), q)
}

// reachOf is the blast radius of a node.
func reachOf(s *Server, c *call) (out remit.PathsReach, err error) {
	q, err := c.pathsQuery()
	if err != nil {
		return out, err
	}
	return s.Reach(c.r.Context(), q)
}

// cutOf is where approvals would cut every free path, beside where they are.
func cutOf(s *Server, c *call) (out remit.PathsCut, err error) {
	q, err := c.pathsQuery()
	if err != nil {
		return out, err
	}
	return s.Cut(c.r.Context(), q)
}

// pathsQuery reads the question of a request.
func (c *call) pathsQuery() (q remit.PathsQuery, err error) {
	in := c.r.URL.Query()
	q = remit.PathsQuery{From: in.Get("from"), To: in.Get("to"), Node: in.Get("node")}
	if text := in.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 {
			return q, remit.Errorf(remit.BadRequest, "limit is a number from 1 to %d, not %.32q", remit.MaxPaths, text)
		}
	}
	switch text := in.Get("free"); text {
	case "", "false":
	case "true":
		q.Free = true
	default:
		return q, remit.Errorf(remit.BadRequest, "free is true or false, not %.32q", text)
	}
	return q, nil
}

// Paths are the paths from q.From to q.To.
func (s *Server) Paths(ctx context.Context, q remit.PathsQuery) (out remit.PathsAnswer, err error) {
	g, err := s.graph(ctx)
	if err != nil {
		return out, err
	}
	if q.Limit < 0 || q.Limit > remit.MaxPaths {
		return out, remit.Errorf(remit.BadRequest, "limit is a number from 1 to %d, not %d", remit.MaxPaths, q.Limit)
	}
	from, to, err := g.ends(q)
	if err != nil {
		return out, err
	}
	found, err := g.Paths(analysis.Query{From: from, To: to, Limit: q.Limit, Free: q.Free})
	if err != nil {
		return out, g.explain(err)
	}
	w := g.wire()
	out = remit.PathsAnswer{From: w.ids(found.From), To: w.ids(found.To), Paths: []remit.PathWay{}, More: found.More, Unseen: w.texts(g.Unseen)}
	for _, p := range found.Paths {
		out.Paths = append(out.Paths, w.way(p))
	}
	out.Nodes = w.known()
	return out, nil
}

// Reach is the blast radius of q.Node.
func (s *Server) Reach(ctx context.Context, q remit.PathsQuery) (out remit.PathsReach, err error) {
	if q.Node == "" {
		return out, remit.Errorf(remit.BadRequest, "node is missing: a node such as agent:coder, or a pattern over nodes")
	}
	g, err := s.graph(ctx)
	if err != nil {
		return out, err
	}
	node, err := g.pattern("node", q.Node)
	if err != nil {
		return out, err
	}
	nodes, err := g.Match(node)
	if err != nil {
		return out, g.explain(err)
	}
	found, err := g.Reach(nodes...)
	if err != nil {
		return out, err
	}
	w := g.wire()
	list := func(all []analysis.Reached) []remit.PathReached {
		out := []remit.PathReached{}
		for _, r := range all {
			out = append(out, remit.PathReached{Node: w.node(r.Node), Approvals: r.Approvals, Steps: r.Steps, Last: w.edge(r.Last)})
		}
		return out
	}
	return remit.PathsReach{From: w.ids(found.From), Free: list(found.Free), One: list(found.One), More: list(found.More), Unseen: w.texts(g.Unseen)}, nil
}

// Cut is a smallest set of ways between q.From and q.To on which an approval would leave no free path, beside where
// approvals are.
func (s *Server) Cut(ctx context.Context, q remit.PathsQuery) (out remit.PathsCut, err error) {
	g, err := s.graph(ctx)
	if err != nil {
		return out, err
	}
	from, to, err := g.ends(q)
	if err != nil {
		return out, err
	}
	found, err := g.Placement(from, to)
	if err != nil {
		return out, g.explain(err)
	}
	w := g.wire()
	out = remit.PathsCut{From: w.ids(found.Cut.From), To: w.ids(found.Cut.To), Edges: []remit.PathEdge{},
		Missing: w.places(found.Missing), Vacuous: w.places(found.Vacuous), Redundant: w.places(found.Redundant), Elsewhere: found.Elsewhere, Unseen: w.texts(g.Unseen)}
	for _, e := range found.Cut.Edges {
		out.Edges = append(out.Edges, w.edge(e))
	}
	for i, n := range found.Cut.Uncut {
		u := remit.PathUncut{Node: w.id(n)}
		if i < len(found.Cut.UncutPaths) && len(found.Cut.UncutPaths[i].Edges) > 0 {
			way := w.way(found.Cut.UncutPaths[i])
			u.Path = &way
		}
		out.Uncut = append(out.Uncut, u)
	}
	out.Nodes = w.known()
	return out, nil
}

// explain puts the names of people into an error of the analysis.
func (g *graph) explain(err error) error {
	var e *remit.Error
	if errors.As(err, &e) {
		return &remit.Error{Code: e.Code, Sentence: named(g.names, e.Sentence), Err: e.Err}
	}
	return err
}

// ends are the patterns of a question, or those that are meant where it has none.
func (g *graph) ends(q remit.PathsQuery) (from, to string, err error) {
	if from, err = g.pattern("from", cmp.Or(q.From, string(analysis.KindUntrusted))); err != nil {
		return "", "", err
	}
	to, err = g.pattern("to", cmp.Or(q.To, string(analysis.KindEnvironment)))
	return from, to, err
}

// wholeGraph is all nodes and edges.
func wholeGraph(s *Server, c *call) (remit.PathGraph, error) {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{}) // it may be large, and the caller slow
	return s.PathGraph(c.r.Context())
}

// PathGraph is all nodes and edges.
func (s *Server) PathGraph(ctx context.Context) (out remit.PathGraph, err error) {
	g, err := s.graph(ctx)
	if err != nil {
		return out, err
	}
	w := g.wire()
	out = remit.PathGraph{Org: s.org(), Size: g.size, Policy: g.policy, Nodes: make([]remit.PathNode, len(g.Nodes)), Edges: make([]remit.PathEdge, len(g.Edges)), Unseen: w.texts(g.Unseen)}
	for i, n := range g.Nodes {
		out.Nodes[i] = w.node(n.ID)
	}
	for i, e := range g.Edges {
		out.Edges[i] = w.edge(e)
	}
	return out, nil
}

// comparePaths says what declarations would add to the paths.
func comparePaths(s *Server, c *call, in remit.PathsCompare) (remit.PathsChange, error) {
	return s.ComparePaths(c.r.Context(), c.person, in.Declarations)
}

// ComparePaths says what declarations would add to the paths, if by put them in force and nobody had to agree.
func (s *Server) ComparePaths(ctx context.Context, by remit.ID, in remit.Declarations) (remit.PathsChange, error) {
	before, err := s.graph(ctx)
	if err != nil {
		return remit.PathsChange{}, err
	}
	after, err := s.supposed(ctx, by, in)
	if err != nil {
		return remit.PathsChange{}, err
	}
	return after.since(before)
}

// supposed is the graph that would be there if declarations were in force.
func (s *Server) supposed(ctx context.Context, by remit.ID, in remit.Declarations) (*graph, error) {
	d, err := s.declare(ctx, in, true)
	if err != nil {
		return nil, err
	}
	st, err := s.cfg.Engine.Supposed(by, &d.set)
	if err != nil {
		return nil, d.explain(err)
	}
	var judge authority.Policy
	if len(in.Policy) > 0 {
		judge, err = s.cfg.Bundles.Compile(ctx, in.Policy) // which is kept nowhere
	} else {
		judge, err = s.cfg.Engine.Policy(ctx, st.Policy)
	}
	if err != nil {
		return nil, err
	}
	done, err := s.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.draw(ctx, st, judge, d.names)
}

// since is what g has that before had not.
func (g *graph) since(before *graph) (remit.PathsChange, error) {
	found, err := analysis.Compare(before.Graph, g.Graph)
	if err != nil {
		return remit.PathsChange{}, err
	}
	w := g.wire()
	out := remit.PathsChange{Nodes: w.ids(found.Nodes), Gone: before.wire().ids(found.Gone), New: []remit.PathNew{}, More: found.More, Widens: found.Widens, Unseen: w.texts(g.Unseen)}
	for _, p := range found.New {
		out.New = append(out.New, remit.PathNew{PathWay: w.way(p.Path), Before: p.Before})
	}
	out.Known = w.known()
	return out, nil
}
