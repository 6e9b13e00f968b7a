package weights

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sort"
	"sync"
	"unsafe"
)

// FaultError says that bytes of a mapped file could not be read: the file was truncated after it was mapped, or its
// disk failed.
type FaultError struct {
	File   *File
	Tensor string // the tensor that the byte belongs to, "" when it is none's
	Offset int64  // of the byte in the file
	Found  int64  // the file's size after the fault, -1 when it cannot be told
}

func (e *FaultError) Error() string {
	what := e.File.Path()
	if e.Tensor != "" {
		what += ": tensor " + quote(e.Tensor)
	}
	if 0 <= e.Found && e.Found < e.File.Size() {
		return fmt.Sprintf("%s: byte %d of the mapped file is gone: the file was truncated after it was opened: expected %d bytes, found %d", what, e.Offset, e.File.Size(), e.Found)
	}
	return fmt.Sprintf("%s: byte %d of the mapped file could not be read: its disk failed or was removed", what, e.Offset)
}

// Guard runs f and returns its error. When f faults on the mapped memory of an open [File], Guard returns a *FaultError
// instead of letting the program crash. All other panics pass. It guards the goroutine that calls it and none that f
// starts: those need a Guard of their own.
func Guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		// The runtime's panic for a fault has an Addr method, as debug.SetPanicOnFault says.
		if fault, ok := p.(interface {
			runtime.Error
			Addr() uintptr
		}); ok {
			if e := mappings.find(fault.Addr()); e != nil {
				err = e
				return
			}
		}
		panic(p)
	}()
	return f()
}

// mappings knows the mapped files by their addresses.
var mappings registry

type registry struct {
	mu      sync.RWMutex
	regions []region // by address
}

type region struct {
	base uintptr
	size uintptr
	file *File
}

func (r *registry) add(f *File, m []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions = append(r.regions, region{uintptr(unsafe.Pointer(unsafe.SliceData(m))), uintptr(len(m)), f})
	slices.SortFunc(r.regions, func(a, b region) int { return cmp.Compare(a.base, b.base) })
}

func (r *registry) remove(f *File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions = slices.DeleteFunc(r.regions, func(e region) bool { return e.file == f })
}

// find returns the fault at addr, or nil when no file is mapped there.
func (r *registry) find(addr uintptr) *FaultError {
	r.mu.RLock()
	defer r.mu.RUnlock()
	i := sort.Search(len(r.regions), func(i int) bool { return r.regions[i].base > addr }) - 1
	if i < 0 || addr-r.regions[i].base >= r.regions[i].size {
		return nil
	}
	e := &FaultError{File: r.regions[i].file, Offset: int64(addr - r.regions[i].base), Found: -1}
	if now, err := e.File.file.Stat(); err == nil {
		e.Found = now.Size()
	}
	refs := e.File.Refs()
	// The last tensor that begins at or before the byte; empty tensors that begin there too come before it.
	if i := sort.Search(len(refs), func(i int) bool { return refs[i].Offset > e.Offset }) - 1; i >= 0 {
		e.Tensor = refs[i].Name
	}
	return e
}
