package weights

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/weir-run/weir/fault"
)

// An Array is a list among a GGUF file's metadata, such as the words of a tokenizer. It holds none of the elements: they
// are read when they are asked for.
type Array struct {
	file   *File
	key    string
	kind   uint32
	n      int64
	offset int64 // of the elements in the file
	length int64 // of them, in bytes
}

// Array returns a list among the file's metadata. Lists of lists are not kept.
func (f *File) Array(key string) (Array, bool) {
	a, ok := f.header.arrays[key]
	a.file = f
	return a, ok
}

// Array returns a list among the metadata of the first file that has one of that key.
func (s *Set) Array(key string) (Array, bool) {
	for _, f := range s.files {
		if a, ok := f.Array(key); ok {
			return a, true
		}
	}
	return Array{}, false
}

// Len returns how many elements the list has.
func (a Array) Len() int { return int(a.n) }

// Strings reads the elements, which must be strings.
func (a Array) Strings(ctx context.Context) ([]string, error) {
	if a.kind != ggufString {
		return nil, a.mistyped("strings")
	}
	raw, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	all := string(raw) // which the elements share
	out := make([]string, 0, a.n)
	for at := 0; len(out) < int(a.n); {
		if len(all)-at < 8 {
			return nil, a.changed()
		}
		n := binary.LittleEndian.Uint64(raw[at:])
		if at += 8; n > uint64(len(all)-at) {
			return nil, a.changed()
		}
		out = append(out, all[at:at+int(n)])
		at += int(n)
	}
	return out, nil
}

// Bytes reads the elements, which must be integers of 8 bits.
func (a Array) Bytes(ctx context.Context) ([]byte, error) {
	if a.kind != ggufU8 && a.kind != ggufI8 {
		return nil, a.mistyped("bytes")
	}
	return a.read(ctx)
}

// Float32s reads the elements, which must be float32.
func (a Array) Float32s(ctx context.Context) ([]float32, error) {
	if a.kind != ggufF32 {
		return nil, a.mistyped("float32 numbers")
	}
	raw, err := a.read(ctx)
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out, err
}

// Int32s reads the elements, which must be integers of 32 bits.
func (a Array) Int32s(ctx context.Context) ([]int32, error) {
	if a.kind != ggufI32 && a.kind != ggufU32 {
		return nil, a.mistyped("integers of 32 bits")
	}
	raw, err := a.read(ctx)
	out := make([]int32, len(raw)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out, err
}

func (a Array) read(ctx context.Context) ([]byte, error) {
	raw := make([]byte, a.length)
	if err := a.file.ReadAt(ctx, raw, a.offset); err != nil {
		return nil, fmt.Errorf("metadata %s: %w", fault.Name(a.key), err)
	}
	return raw, nil
}

func (a Array) mistyped(want string) error {
	return fault.New(fault.Model, "%s: metadata %s are a list of type %d, expected %s", a.file.Path(), fault.Name(a.key), a.kind, want)
}

func (a Array) changed() error {
	return fault.New(fault.Model, "%s: metadata %s are no longer what they were when the file was opened: %w", a.file.Path(), fault.Name(a.key), io.ErrUnexpectedEOF)
}

// array reads past a list and keeps where it is, unless it holds lists.
func (g *ggufReader) array(key string) error {
	if _, twice := g.arrays[key]; twice {
		return errors.New("it occurs twice")
	}
	kind, n, err := g.arrayHead()
	if err != nil {
		return err
	}
	a := Array{key: key, kind: kind, n: int64(min(n, math.MaxInt64)), offset: g.at}
	if err := g.skipElements(kind, n, 0); err != nil {
		return err
	}
	if a.length = g.at - a.offset; kind != ggufArray {
		g.arrays[key] = a
	}
	return nil
}
