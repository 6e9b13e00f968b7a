//go:build !linux

package weights

import "context"

func (f *File) load(ctx context.Context, off, n int64) error { return f.loadByReading(ctx, off, n) }

// drop does nothing: the system chooses itself what its cache forgets.
func (f *File) drop(off, n int64) {}
