package ledger

// Usage is how full a BlobDir is.
type Usage struct {
	Used    int64  // bytes of blobs, and of those being put
	Quota   int64  // 0: none
	Free    uint64 // on its volume
	Reserve uint64 // of that, kept for the log
}

// Usage tells how full the directory is; an error means that nobody can tell how much is free.
func (d *BlobDir) Usage() (Usage, error) {
	d.mu.Lock()
	u := Usage{Used: d.used, Quota: d.o.Quota, Reserve: d.o.Reserve}
	d.mu.Unlock()
	var err error
	u.Free, err = d.o.Free(d.dir)
	return u, err
}
