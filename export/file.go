package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/remit-dev/remit"
)

// OpenFile opens a file of lines to append to, and finds the entry that its last whole line is of. A line that a crash
// cut short is taken away; it is written again.
func OpenFile(path, format string) (_ *os.File, last remit.EntryIndex, some bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, false, fmt.Errorf("opening %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, false, fmt.Errorf("reading %s: %w", path, err)
	}
	const longest = 1 << 20 // no line is longer: an entry is not
	tail := make([]byte, min(size, 2*longest))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, false, fmt.Errorf("reading %s: %w", path, err)
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	if end == 0 && int64(len(tail)) < size {
		return nil, 0, false, remit.Errorf(remit.Conflict, "%s is not a file of exported lines; name another file", path)
	}
	if end > 0 {
		line := tail[:end-1]
		line = line[bytes.LastIndexByte(line, '\n')+1:]
		if last, err = Last(format, line); err != nil {
			return nil, 0, false, fmt.Errorf("%s: %w", path, err)
		}
	}
	if cut := size - int64(len(tail)) + int64(end); cut < size {
		if end == 0 && !bytes.HasPrefix(tail, []byte("{")) {
			return nil, 0, false, remit.Errorf(remit.Conflict, "%s is not a file of exported lines; name another file", path)
		}
		if err := f.Truncate(cut); err != nil {
			return nil, 0, false, fmt.Errorf("taking away the end of %s that was cut short: %w", path, err)
		}
	}
	return f, last, end > 0, nil
}
