package main

import "golang.org/x/sys/unix"

// limitFiles lets a process write no file beyond so many bytes: the write that reaches there is short, the next fails.
func limitFiles(pid int, bytes uint64) error {
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil)
}
