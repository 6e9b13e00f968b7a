//go:build unix

// Windows lets nobody truncate, replace or remove a file that is mapped.

package weights

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// openTwo opens a file of two tensors, each of n float32s: a, then b.
func openTwo(t *testing.T, n int) *File {
	t.Helper()
	f, err := Open(t.Context(), writeTest(t, "two.safetensors", map[string][]float32{"a": make([]float32, n), "b": make([]float32, n)}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func sum(b []byte) error {
	s := 0
	for _, v := range b {
		s += int(v)
	}
	if s != 0 {
		return fmt.Errorf("the sum is %d", s)
	}
	return nil
}

// TestTruncatedWhileMapped reads a mapped file that has become shorter, from several goroutines at once.
func TestTruncatedWhileMapped(t *testing.T) {
	const n = 1 << 20
	f := openTwo(t, n)
	first, last := f.Refs()[0], f.Refs()[1]
	mapped, err := last.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	start, err := first.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if err := Guard(func() error { return sum(mapped) }); err != nil {
		t.Fatal(err)
	}
	size := f.Size()
	short := last.Offset + 10
	if err := os.Truncate(f.Path(), short); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			err := Guard(func() error {
				if i%2 == 0 {
					copy(make([]byte, n), mapped[len(mapped)/2:]) // memmove faults too
				}
				return sum(mapped)
			})
			var fault *FaultError
			if !errors.As(err, &fault) {
				t.Errorf("reading the mapped file gives %v, want a FaultError", err)
				return
			}
			if fault.File != f || fault.Tensor != last.Name || fault.Offset < short || fault.Offset >= size {
				t.Errorf("the fault is in tensor %q at byte %d, want in %q from %d on", fault.Tensor, fault.Offset, last.Name, short)
			}
			want := fmt.Sprintf("%s: tensor %q: byte %d of the mapped file is gone: the file was truncated after it was opened: expected %d bytes, found %d",
				f.Path(), last.Name, fault.Offset, size, short)
			if err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
		})
	}
	wg.Wait()
	if err := Guard(func() error { return sum(start) }); err != nil {
		t.Errorf("reading what is still there: %v", err)
	}
}

func TestTruncatedWhileRead(t *testing.T) {
	f := openTwo(t, 1000)
	last := f.Refs()[1]
	size := f.Size()
	if err := os.Truncate(f.Path(), last.Offset); err != nil {
		t.Fatal(err)
	}
	_, err := last.ReadF32(t.Context())
	want := fmt.Sprintf("tensor %q: %s: the file was truncated after it was opened: expected %d bytes, found %d", last.Name, f.Path(), size, last.Offset)
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	if _, err := f.Refs()[0].ReadF32(t.Context()); err != nil {
		t.Errorf("reading what is still there: %v", err)
	}
}

func TestCheck(t *testing.T) {
	other := writeTest(t, "other.safetensors", map[string][]float32{"c": {1}})
	for _, c := range []struct {
		name   string
		change func(path string) error
		want   string
	}{
		{"nothing", func(string) error { return nil }, ""},
		{"truncated", func(p string) error { return os.Truncate(p, 20) }, "the file was truncated after it was opened: expected 192 bytes, found 20"},
		{"grown", func(p string) error { return os.Truncate(p, 200) }, "the file has grown since it was opened: expected 192 bytes, found 200"},
		{"written", func(p string) error { return os.Chtimes(p, time.Time{}, time.Now().Add(time.Hour)) }, "the file was written to after it was opened"},
		{"removed", os.Remove, "the file was removed after it was opened"},
		{"replaced", func(p string) error { return os.Rename(other, p) }, "the file was replaced by another one after it was opened"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := openTwo(t, 0)
			if err := c.change(f.Path()); err != nil {
				t.Fatal(err)
			}
			err := f.Check()
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.Base(f.Path())) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
