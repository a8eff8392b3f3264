package upstream

import (
	"errors"

	"github.com/remit-dev/remit"
)

// ErrUnsent is wrapped by what went wrong before a server could have begun with a request.
var ErrUnsent = errors.New("it was not sent")

// Unsent is an error of a request that did nothing.
func Unsent(format string, args ...any) error {
	e := remit.Errorf(remit.UpstreamDown, format, args...)
	return &remit.Error{Code: e.Code, Sentence: e.Sentence, Err: errors.Join(ErrUnsent, e.Err)}
}

// Before is an error of what comes before the request itself.
func Before(err error) error {
	e := (*remit.Error)(nil)
	if errors.Is(err, ErrUnsent) || !errors.As(err, &e) {
		return err
	}
	return &remit.Error{Code: e.Code, Sentence: e.Sentence, Err: errors.Join(ErrUnsent, e.Err)}
}
