package engine

// What those who watch a server ask of its engine. None of it waits for the writer.

// Queued is how many commands wait for the writer.
func (e *Engine) Queued() int { return len(e.queue) }

// Doubt is the error with which everything but taking away is denied while the clock is in doubt; nil while it is not.
func (e *Engine) Doubt() error {
	_, err := e.clock.read()
	return err
}
