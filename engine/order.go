package engine

import (
	"context"
	"runtime"
)

// inOrder does work on batches on all cores and gives them to take in the order in which they were sent. send tells
// whether there is any use in more. The first error ends it; what is still under way is waited for.
func inOrder[B any](ctx context.Context, produce func(ctx context.Context, send func(B) bool) error, work func(context.Context, B), take func(B) error) error {
	type job struct {
		batch B
		done  chan struct{}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	workers := runtime.GOMAXPROCS(0)
	todo, out := make(chan *job), make(chan *job, 2*workers)
	for range workers {
		go func() {
			for j := range todo {
				work(ctx, j.batch)
				close(j.done)
			}
		}()
	}
	produced := make(chan error, 1)
	go func() {
		defer close(out)
		defer close(todo)
		produced <- produce(ctx, func(b B) bool {
			j := &job{b, make(chan struct{})}
			for _, to := range []chan *job{todo, out} {
				select {
				case to <- j:
				case <-ctx.Done():
					return false
				}
			}
			return true
		})
	}()
	var failed error
	for j := range out {
		if failed == nil && ctx.Err() == nil {
			<-j.done
			if failed = take(j.batch); failed != nil {
				stop()
			}
		}
	}
	if err := <-produced; failed == nil {
		failed = err
	}
	if failed == nil {
		failed = ctx.Err()
	}
	return failed
}
