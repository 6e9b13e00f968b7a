package weights

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// load asks for all of the bytes at once, so that the disk has many reads to work on, and then has the system map them,
// piece by piece.
func (f *File) load(ctx context.Context, off, n int64) error {
	f.mu.Lock()
	mapped, closed := f.mapped, f.closed
	f.mu.Unlock()
	if closed {
		return f.lost(off, unix.EBADF)
	}
	// Only a hint, whose failure the reading will show.
	_ = unix.Fadvise(int(f.file.Fd()), off, n, unix.FADV_WILLNEED)
	for end := off + n; off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := off &^ (pageSize - 1)
		to := min(off+readChunk, end)
		err := unix.Madvise(mapped[from:to], unix.MADV_POPULATE_READ)
		switch {
		case errors.Is(err, unix.EINVAL): // Linux before 5.14
			return f.loadByReading(ctx, off, end-off)
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil: // the file has become shorter, or its disk failed
			return f.lost(off, err)
		}
		off = to
	}
	return nil
}

// drop unmaps whole pages and lets the cache forget them. The pages at both ends, which neighbours may have a share in,
// stay.
func (f *File) drop(off, n int64) {
	from := (off + pageSize - 1) &^ (pageSize - 1)
	to := (off + n) &^ (pageSize - 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if from >= to || f.closed || f.mapped == nil {
		return
	}
	// Both are hints: what is not forgotten costs memory that the system can take back.
	_ = unix.Madvise(f.mapped[from:to], unix.MADV_DONTNEED)
	_ = unix.Fadvise(int(f.file.Fd()), from, to-from, unix.FADV_DONTNEED)
}
