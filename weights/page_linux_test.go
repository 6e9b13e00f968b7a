package weights

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cached returns how many bytes of whole pages of a tensor are in the page cache.
func cached(t *testing.T, r Ref) (n int64) {
	t.Helper()
	m, err := r.File.Map()
	if err != nil {
		t.Fatal(err)
	}
	from, to := (r.Offset+pageSize-1)&^(pageSize-1), (r.Offset+r.Length)&^(pageSize-1)
	pages := make([]byte, (to-from)/pageSize)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[from])), uintptr(to-from), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range pages {
		n += int64(p&1) * pageSize
	}
	return n
}

// TestLoadAndDrop asks the system what it has in its cache.
func TestLoadAndDrop(t *testing.T) {
	f := openTwo(t, 3<<20)
	// What was just written must be on disk before it can be forgotten.
	w, err := os.OpenFile(f.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Sync(), w.Close()); err != nil {
		t.Fatal(err)
	}
	a, _ := f.Lookup("a")
	b, _ := f.Lookup("b")
	whole := int64(12<<20 - 2*pageSize)
	for range 2 {
		for _, r := range []Ref{a, b} {
			if err := r.Load(t.Context(), 0, r.Length); err != nil {
				t.Fatal(err)
			}
			if got := cached(t, r); got < whole {
				t.Errorf("%d bytes of tensor %s are in memory after it was loaded, expected %d", got, r.Name, whole)
			}
		}
		a.Drop(0, a.Length)
		// The cache's own pages may be as large as 2 MiB, and the one that both
		// tensors have a share in stays.
		if got := cached(t, a); got > 2<<20 {
			t.Errorf("%d bytes are in memory after they were dropped", got)
		}
		if got := cached(t, b); got < whole {
			t.Errorf("%d bytes of the neighbour are in memory, expected %d", got, whole)
		}
	}
	raw, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, make([]byte, a.Length)) {
		t.Error("what was dropped has other bytes when it is read again")
	}
}

func TestLoadErrors(t *testing.T) {
	f := openTwo(t, 3<<20)
	a, _ := f.Lookup("a")
	if err := a.Load(t.Context(), 1, a.Length); err == nil || !strings.Contains(err.Error(), "outside its") {
		t.Errorf("loading more than there is: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Load(ctx, 0, a.Length); !errors.Is(err, context.Canceled) {
		t.Errorf("loading with a cancelled context: %v", err)
	}
	if err := os.Truncate(f.Path(), 1<<20); err != nil {
		t.Fatal(err)
	}
	b, _ := f.Lookup("b")
	if err := b.Load(t.Context(), 0, b.Length); err == nil || !strings.Contains(err.Error(), f.Path()+": the file was truncated") {
		t.Errorf("loading from a truncated file: %v", err)
	}
	b.Drop(0, b.Length)
}

// TestHold reads a file into memory: what happens to it afterwards does not
// matter.
func TestHold(t *testing.T) {
	f := openTwo(t, 1<<20)
	if err := f.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(f.Path(), 100); err != nil {
		t.Fatal(err)
	}
	b, _ := f.Lookup("b")
	if err := b.Load(t.Context(), 0, b.Length); err != nil {
		t.Error(err)
	}
	b.Drop(0, b.Length)
	raw, err := b.Bytes()
	if err != nil || !bytes.Equal(raw, make([]byte, b.Length)) {
		t.Errorf("the tensor is not what the file had: %v", err)
	}
	mapped := openTwo(t, 10)
	if _, err := mapped.Map(); err != nil {
		t.Fatal(err)
	}
	if err := mapped.Hold(t.Context()); err == nil || !strings.Contains(err.Error(), "mapped already") {
		t.Errorf("holding a file that is mapped: %v", err)
	}
}
