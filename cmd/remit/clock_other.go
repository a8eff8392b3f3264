//go:build !linux

package main

import "time"

var started = time.Now()

// sinceBoot is Go's monotonic clock: where there is no CLOCK_BOOTTIME, a suspended machine needs its clock confirmed.
func sinceBoot() time.Duration { return time.Since(started) }
