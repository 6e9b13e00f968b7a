package weights

import (
	"context"
	"io"
)

// readChunk is how many bytes are read between two looks at the context.
const readChunk = 8 << 20

// An interruptible reads from r until its context is cancelled, which is then the error.
type interruptible struct {
	ctx context.Context
	r   io.ReaderAt
}

// ReadAt implements [io.ReaderAt]. A read that is cancelled stops within readChunk bytes.
func (i interruptible) ReadAt(p []byte, off int64) (n int, err error) {
	for {
		if err := i.ctx.Err(); err != nil {
			return n, err
		}
		k, err := i.r.ReadAt(p[n:min(n+readChunk, len(p))], off+int64(n))
		if n += k; n == len(p) || err != nil {
			return n, err
		}
	}
}
