package weights

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/edsrzf/mmap-go"
)

// Load reads bytes of the tensor from off on into the system's page cache, and maps them where Bytes has them, so that
// who reads them there waits for no disk. They must lie within the tensor.
func (r Ref) Load(ctx context.Context, off, n int64) error {
	if off < 0 || n < 0 || off > r.Length || n > r.Length-off {
		return fmt.Errorf("%v: bytes %d to %d are outside its %d bytes", r, off, off+n, r.Length)
	}
	if n == 0 {
		return ctx.Err()
	}
	if _, err := r.File.Map(); err != nil {
		return fmt.Errorf("tensor %s: %w", quote(r.Name), err)
	}
	if r.File.held {
		return ctx.Err()
	}
	if err := r.File.load(ctx, r.Offset+off, n); err != nil {
		return fmt.Errorf("tensor %s: %w", quote(r.Name), err)
	}
	return nil
}

// Drop lets the page cache forget bytes of the tensor, where the system can be told so. They stay valid: who reads them
// again waits for the disk.
func (r Ref) Drop(off, n int64) {
	if !r.File.held {
		r.File.drop(r.Offset+off, n)
	}
}

// Hold reads the whole file into memory of the program's own and makes that what Map returns: nothing is read from disk
// any more, and the memory is the system's to page out. It must come before Map.
func (f *File) Hold(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return fmt.Errorf("%s: reading: %w", f.path, os.ErrClosed)
	case f.held:
		return nil
	case f.mapped != nil:
		return fmt.Errorf("%s: the file is mapped already", f.path)
	}
	memory, err := mmap.MapRegion(nil, int(f.Size()), mmap.RDWR, mmap.ANON, 0)
	if err != nil {
		return fmt.Errorf("%s: memory for %d bytes: %w", f.path, f.Size(), err)
	}
	if err := f.ReadAt(ctx, memory, 0); err != nil {
		return errors.Join(err, memory.Unmap())
	}
	f.mapped, f.held = memory, true
	return nil
}

// pageSize is the grain of the page cache that is assumed, in bytes. A larger one only makes Drop forget less.
const pageSize = 4096

// loadByReading reads by read calls, into memory that is thrown away: the page cache keeps what was read.
func (f *File) loadByReading(ctx context.Context, off, n int64) error {
	scratch := make([]byte, min(n, 1<<20))
	for n > 0 {
		k := min(n, int64(len(scratch)))
		if err := f.ReadAt(ctx, scratch[:k], off); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// lost is the error of bytes that could not be read into the mapping.
func (f *File) lost(off int64, err error) error {
	if changed := f.Check(); changed != nil {
		return changed
	}
	return fmt.Errorf("%s: reading at byte %d: %w", f.path, off, err)
}
