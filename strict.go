package remit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// DecodeStrict reads exactly one JSON value of at most limit bytes from r into v: unknown members, duplicate members
// at any depth and trailing bytes are errors that say where.
func DecodeStrict(r io.Reader, limit int64, v any) error {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	if int64(len(body)) > limit {
		return Errorf(TooLarge, "the body is larger than %d bytes", limit)
	}
	if err := noDuplicates(json.NewDecoder(bytes.NewReader(body)), 0); err != nil {
		return Errorf(BadRequest, "%w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return Errorf(BadRequest, "not the JSON that is wanted here: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Errorf(BadRequest, "there is more after the JSON value, at byte %d", dec.InputOffset())
	}
	return nil
}

// maxNested is how deep values lie within each other; a walk that goes as deep as a stranger says ends the process.
const maxNested = 64

// noDuplicates walks one value; encoding/json itself lets the last of two equal members win.
func noDuplicates(dec *json.Decoder, depth int) error {
	if depth > maxNested {
		return fmt.Errorf("values are nested deeper than %d, at byte %d", maxNested, dec.InputOffset())
	}
	tok, err := dec.Token()
	if err != nil {
		return fmt.Errorf("not JSON at byte %d: %w", dec.InputOffset(), err)
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			name, err := dec.Token()
			if err != nil {
				return fmt.Errorf("not JSON at byte %d: %w", dec.InputOffset(), err)
			}
			key := name.(string)
			if seen[folded(key)] {
				return fmt.Errorf("member %q stands twice, at byte %d", key, dec.InputOffset())
			}
			seen[folded(key)] = true
		}
		if err := noDuplicates(dec, depth+1); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("not JSON at byte %d: %w", dec.InputOffset(), err)
	}
	return nil
}

// folded is the same for all names that encoding/json takes for one member.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, name)
}
