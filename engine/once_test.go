package engine_test

import (
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger/sqlite"
)

func wanted(c *world.Core) *authority.CreateTask {
	p, err := c.Engine.NewPayload([]byte("work"))
	if err != nil {
		panic(err)
	}
	return &authority.CreateTask{By: "p-mia", Agent: "coder", Intent: p.Commitment()}
}

func length(c *world.Core) (n remit.EntryIndex) {
	c.Engine.View(func(s *authority.State) { n = s.Next })
	return n
}

// TestOnce: what is asked again under its key is answered as the first time and not done again: at the same time, later,
// after a restart; another body is refused, another key is another request, and a day later all is forgotten.
func TestOnce(t *testing.T) {
	dir := t.TempDir()
	o := world.CoreOptions{Dir: dir}
	begin := func() *world.Core {
		store, err := sqlite.Open(filepath.Join(dir, "log.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		o.Store = store
		c, err := world.OpenCore(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	end := func(c *world.Core) {
		c.Engine.Close()
		if err := o.Store.(*sqlite.Store).Close(); err != nil {
			t.Error(err)
		}
	}
	c := begin()
	once := engine.Once{Key: remit.Digest{1}, Body: remit.Digest{2}}
	var all [32]authority.Result
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() {
			var err error
			if all[i], err = c.Engine.DoOnce(t.Context(), once, wanted(c)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for _, r := range all[1:] {
		if all[0].ID == "" || !reflect.DeepEqual(r, all[0]) {
			t.Fatalf("%+v and %+v are answers to one request", all[0], r)
		}
	}
	tasks := func() (n int) {
		c.Engine.View(func(s *authority.State) { n = len(s.Tasks) })
		return n
	}
	had := tasks()
	_, err := c.Engine.DoOnce(t.Context(), engine.Once{Key: once.Key, Body: remit.Digest{3}}, wanted(c))
	coded(t, err, remit.KeyReused)
	if r, err := c.Engine.DoOnce(t.Context(), engine.Once{Key: remit.Digest{4}, Body: once.Body}, wanted(c)); err != nil || r.ID == all[0].ID {
		t.Errorf("another key: %v %v", r, err)
	}
	if tasks() != had+1 || had != 1 {
		t.Errorf("%d tasks after %d", tasks(), had)
	}
	// What is refused is not kept: nothing was done.
	bad := wanted(c)
	bad.Agent = "nobody"
	refused := engine.Once{Key: remit.Digest{5}, Body: remit.Digest{5}}
	if _, err := c.Engine.DoOnce(t.Context(), refused, bad); err == nil {
		t.Error("a task of an agent that there is not")
	}
	if r, err := c.Engine.DoOnce(t.Context(), refused, wanted(c)); err != nil || r.ID == "" {
		t.Errorf("%v %v", r, err)
	}
	check(t, c)
	end(c)

	c = begin()
	defer end(c)
	before := length(c)
	if r, err := c.Engine.DoOnce(t.Context(), once, wanted(c)); err != nil || !reflect.DeepEqual(r, all[0]) || length(c) != before {
		t.Errorf("after a restart: %+v %v, %d entries more", r, err, length(c)-before)
	}
	_, err = c.Engine.Do(t.Context(), &authority.KeepAnswer{Key: once.Key, Body: once.Body})
	coded(t, err, remit.KeyInUse) // one key has one answer
	c.Clock.Advance(authority.AnswerLife + time.Hour)
	if r, err := c.Engine.DoOnce(t.Context(), once, wanted(c)); err != nil || r.ID == all[0].ID {
		t.Errorf("a day later: %v %v", r, err)
	}
	check(t, c)
}

// TestOnceOfNothing: a key under which nothing is named is refused, and nothing is done.
func TestOnceOfNothing(t *testing.T) {
	c := open(t, world.CoreOptions{})
	before := length(c)
	_, err := c.Engine.DoOnce(t.Context(), engine.Once{Key: remit.Digest{9}}, wanted(c))
	if coded(t, err, remit.BadRequest); length(c) != before {
		t.Error("it was done")
	}
}
