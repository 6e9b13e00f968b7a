package cpu

import "golang.org/x/sys/unix"

// populate has the system give the memory now, in large pages if it can, so
// that what is free is known and kernels are not held up. Both are hints.
func populate(b []byte) {
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	_ = unix.Madvise(b, unix.MADV_POPULATE_WRITE)
}
