package ledger

import (
	"context"
	"errors"
)

// ReadBlobDir reads the blobs of a directory that another process writes: nothing is made or cleaned in it.
func ReadBlobDir(dir string) *BlobDir { return &BlobDir{dir: dir, o: BlobOptions{Free: freeBytes}} }

// CopyBlobs puts every blob of one place into another, checked against its digest on the way. One that is erased
// meanwhile is left out.
func CopyBlobs(ctx context.Context, to, from Blobs) error {
	for b, err := range from.List(ctx) {
		if err != nil {
			return err
		}
		r, _, err := from.Open(ctx, b.Digest)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		_, _, err = to.Put(ctx, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}
