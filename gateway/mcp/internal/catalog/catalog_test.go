package catalog

import (
	"context"
	"testing"
	"time"
)

func TestWhoBoardsAfterAFlightHasLandedReadsNothing(t *testing.T) {
	var c Cache
	reads := 0
	read := func(context.Context) (map[string]Definition, time.Duration, error) {
		reads++
		return map[string]Definition{"a": {}}, time.Hour, nil
	}
	for range 2 { // both looked while nothing was remembered
		if tools, err := c.fly(t.Context(), "hub", "there", read); err != nil || len(tools) != 1 {
			t.Fatal(tools, err)
		}
	}
	if reads != 1 {
		t.Errorf("it was read %d times", reads)
	}
	if _, err := c.fly(t.Context(), "hub", "elsewhere", read); err != nil || reads != 2 {
		t.Errorf("%d, %v", reads, err)
	}
}
