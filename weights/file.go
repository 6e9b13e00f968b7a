// Package weights reads checkpoints in the formats safetensors, GGUF and PyTorch, and writes the first.
//
// Opening a file reads its header alone, checks everything the header claims, and gives a [Ref] for each tensor: a
// pointer into the file, no bytes. Bytes are had by positional reads or through a read-only mapping of the file. A [Set]
// makes several files one namespace, such as the shards of a large checkpoint.
package weights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/edsrzf/mmap-go"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/regular"
)

// Ref is a tensor ref: where in which file a tensor lies, and what it is. It holds none of the tensor's bytes.
type Ref struct {
	Name   string // as in the file
	DType  dtype.DType
	Shape  []int // not to be changed: refs share it
	File   *File
	Offset int64 // from the beginning of the file
	Length int64 // in bytes: what the dtype takes for the shape's elements
	// Quant says what the elements of a quantized weight stand for; nil for all
	// other tensors.
	Quant *Quant
}

// Elements returns the number of the tensor's elements.
func (r Ref) Elements() int64 {
	elems, bytes := r.DType.Block()
	return r.Length / int64(bytes) * int64(elems)
}

// String names the file, the tensor, its dtype and its shape, as errors do.
func (r Ref) String() string {
	return fmt.Sprintf("%s: tensor %s, %v %v", r.File.Path(), quote(r.Name), r.DType, r.Shape)
}

// ReadAt fills p with the tensor's bytes from off on, which must lie within the tensor.
func (r Ref) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off < 0 || off > r.Length || int64(len(p)) > r.Length-off {
		return fmt.Errorf("%v: bytes %d to %d are outside its %d bytes", r, off, off+int64(len(p)), r.Length)
	}
	if !r.Mapped() {
		return r.readBlocks(ctx, p, off)
	}
	if err := r.File.ReadAt(ctx, p, r.Offset+off); err != nil {
		return fmt.Errorf("tensor %s: %w", quote(r.Name), err)
	}
	return nil
}

// ReadF32 reads the whole tensor in float32: what its elements stand for, if it
// is quantized.
func (r Ref) ReadF32(ctx context.Context) ([]float32, error) {
	raw := make([]byte, r.Length)
	if err := r.ReadAt(ctx, raw, 0); err != nil {
		return nil, err
	}
	f := make([]float32, r.Elements())
	dtype.ToF32(f, raw, r.DType)
	if r.Quant == nil {
		return f, nil
	}
	return f, r.Decode(ctx, f, 0, r.Shape[0])
}

// Bytes returns the tensor's bytes in the mapped file, under the conditions of [File.Map].
func (r Ref) Bytes() ([]byte, error) {
	m, err := r.File.Map()
	if err != nil {
		return nil, fmt.Errorf("tensor %s: %w", quote(r.Name), err)
	}
	return m[r.Offset : r.Offset+r.Length : r.Offset+r.Length], nil
}

// File is an open file of weights. Its methods may be called from several goroutines, Close after all others.
type File struct {
	path   string
	id     uint64
	file   *os.File
	info   fs.FileInfo // as it was when opened
	header *header

	mu     sync.Mutex // guards what follows
	mapped mmap.MMap
	held   bool // mapped is a copy in memory, see Hold
	closed bool
}

// opened counts the files that were opened.
var opened atomic.Uint64

// ID returns a number that no other open of a file has in this process, so that what was read from one is never taken
// for the contents of another.
func (f *File) ID() uint64 { return f.id }

// Open opens the safetensors, GGUF or PyTorch file at path; which it is, its first bytes tell. It reads and checks the header and
// nothing else; see [OpenSet] for sharded checkpoints. The errors say what is wrong with the file and, for other kinds of
// files, what they are. Cancelling the context ends the reading with its error.
func Open(ctx context.Context, path string) (*File, error) {
	f, info, err := regular.Open(path)
	if errors.Is(err, regular.ErrNot) {
		return nil, fault.New(fault.Model, "%w of weights, such as .safetensors, .gguf or .ckpt", err)
	}
	if err != nil {
		return nil, err
	}
	file, err := newFile(ctx, path, f, info)
	if err != nil {
		f.Close()
		return nil, fault.Mark(fault.Model, fmt.Errorf("%s: %w", path, err))
	}
	return file, nil
}

func newFile(ctx context.Context, path string, f *os.File, info fs.FileInfo) (*File, error) {
	read := readHeader
	switch {
	case begins(f, magicGGUF):
		read = readGGUF
	case begins(f, magicZip):
		read = readTorch
	}
	h, err := read(ctx, f, info.Size())
	if err != nil {
		return nil, err
	}
	file := &File{path: path, id: opened.Add(1), file: f, info: info, header: h}
	for i := range h.refs {
		h.refs[i].File = file
	}
	return file, nil
}

// Path returns the path that the file was opened by.
func (f *File) Path() string { return f.path }

// Size returns the length in bytes that the file had when it was opened.
func (f *File) Size() int64 { return f.info.Size() }

// Metadata returns a copy of the strings that the file's maker stored beside the tensors. It is empty when there are
// none.
func (f *File) Metadata() map[string]string {
	m := make(map[string]string, len(f.header.metadata))
	maps.Copy(m, f.header.metadata)
	return m
}

// Refs returns the tensors in the order of their offsets. The slice is not to be changed.
func (f *File) Refs() []Ref { return f.header.refs }

// Names returns the tensors' names in lexical order.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.header.byName)) }

// Lookup returns the tensor of that name.
func (f *File) Lookup(name string) (Ref, bool) {
	i, ok := f.header.byName[name]
	if !ok {
		return Ref{}, false
	}
	return f.header.refs[i], true
}

// ReadAt fills p with the bytes of the file from off on. The error of a file that has become too short says so. A read
// that is cancelled stops within [readChunk] bytes.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) error {
	n, err := interruptible{ctx, f.file}.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%s: reading at byte %d: %w", f.path, off+int64(n), err)
	}
	if err := f.Check(); err != nil {
		return err
	}
	return fmt.Errorf("%s: no byte %d: the file has %d", f.path, off+int64(n), f.Size())
}

// Map returns all of the file's bytes as read-only memory, so that a tensor's are those from its Offset on. The file is
// mapped by the first call, which reads nothing: pages come from the disk when they are touched. The memory is valid
// until Close; to write to it, or to read it later, is a fault. So is reading it when the file has become shorter, or
// when its disk fails: code that reads it must run under [Guard], which makes an error of that fault.
func (f *File) Map() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fmt.Errorf("%s: mapping: %w", f.path, os.ErrClosed)
	}
	if f.mapped != nil {
		return f.mapped, nil
	}
	// The length is the one that was checked: a file that shrank since would give less to a mapping of all of it.
	m, err := mmap.MapRegion(f.file, int(f.Size()), mmap.RDONLY, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: mapping %d bytes: %w", f.path, f.Size(), err)
	}
	f.mapped = m
	mappings.add(f, m)
	return m, nil
}

// Check returns an error when the file is no longer what was opened: when it has another size or a later modification
// time, or when another file or none has taken its path.
func (f *File) Check() error {
	now, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	switch {
	case now.Size() < f.Size():
		return fmt.Errorf("%s: the file was truncated after it was opened: expected %d bytes, found %d", f.path, f.Size(), now.Size())
	case now.Size() > f.Size():
		return fmt.Errorf("%s: the file has grown since it was opened: expected %d bytes, found %d", f.path, f.Size(), now.Size())
	case !now.ModTime().Equal(f.info.ModTime()):
		return fmt.Errorf("%s: the file was written to after it was opened: expected modification time %v, found %v", f.path, f.info.ModTime(), now.ModTime())
	}
	there, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("the file was removed after it was opened: %w", err)
	}
	if !os.SameFile(now, there) {
		return fmt.Errorf("%s: the file was replaced by another one after it was opened", f.path)
	}
	return nil
}

// Close unmaps and closes the file. Closing it again does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	var unmapping error
	if f.mapped != nil {
		mappings.remove(f)
		unmapping = f.mapped.Unmap()
	}
	if err := errors.Join(unmapping, f.file.Close()); err != nil {
		return fmt.Errorf("%s: closing: %w", f.path, err)
	}
	return nil
}
