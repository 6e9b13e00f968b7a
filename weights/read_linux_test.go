package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkRead reads a tensor of 1 GiB that is not in memory from the folder of temporary files (TMPDIR): with Load,
// through the page cache, and past it, by four direct reads of 8 MiB at a time.
func BenchmarkRead(b *testing.B) {
	const size, start = 1 << 30, 4096
	path := filepath.Join(b.TempDir(), "large.safetensors")
	header := fmt.Appendf(nil, `{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, size, size)
	header = append(header, bytes.Repeat([]byte{' '}, start-8-len(header))...)
	w, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	_, err = w.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...))
	block := bytes.Repeat([]byte("weir"), 1<<20)
	for n := 0; n < size && err == nil; n += len(block) {
		_, err = w.Write(block)
	}
	if err := errors.Join(err, w.Sync(), w.Close()); err != nil { // what is not on disk cannot be forgotten
		b.Fatal(err)
	}
	f, err := Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	a, _ := f.Lookup("a")
	if _, err := f.Map(); err != nil {
		b.Fatal(err)
	}
	b.Run("page cache", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			a.Drop(0, a.Length)
			if err := a.Load(b.Context(), 0, a.Length); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("direct", func(b *testing.B) {
		b.SetBytes(size)
		a.Drop(0, a.Length)
		for b.Loop() {
			if err := readDirect(path, start, size); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// readDirect reads bytes past the page cache, four times 8 MiB at once.
func readDirect(path string, off, n int64) error {
	const each, readers = 8 << 20, 4
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return fmt.Errorf("%s cannot be read past the page cache; set TMPDIR to a folder on a disk: %w", path, err)
	}
	defer unix.Close(fd)
	var wait sync.WaitGroup
	errs := make([]error, readers)
	for i := range int64(readers) {
		wait.Go(func() {
			memory, err := unix.Mmap(-1, 0, each, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			for at := off + i*each; at < off+n && err == nil; at += readers * each {
				_, err = unix.Pread(fd, memory, at)
			}
			errs[i] = errors.Join(err, unix.Munmap(memory))
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
