package run

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/weights"
)

// Weights is where a program's weights are found by name; *weights.Set is one.
type Weights interface {
	Lookup(name string) (weights.Ref, bool)
}

// A Merger is Weights of which some are not what their files say, because
// something is merged into them.
type Merger interface {
	Weights
	// Merged returns the source of a weight that something is merged into, nil
	// for others.
	Merged(name string) Merged
}

// A Merged weight is computed when it is read.
type Merged interface {
	pager.Computed
	// Bytes is the size of the weight, which may have another dtype than its
	// tensor.
	Bytes() int64
	// Signature tells the contents from any others that are computed from the
	// same tensor.
	Signature() string
	// Files are those that are read besides the tensor's own.
	Files() []*weights.File
}

// seed makes numbers of signatures, which are compared within the process.
var seed = maphash.MakeSeed()

// Bind finds the weights of a program and reserves their extents. It reads
// nothing. The files of the weights must stay open as long as the model, or
// its weights on a unified device, are used.
//
// An extent has the same key whatever is merged into its weights, and a
// signature for it: where nothing is merged, what is resident stays in use.
func Bind(p *plan.Program, w Weights, pg *pager.Pager) (*Model, error) {
	b := binding{Weights: w, model: &Model{program: p, pager: pg}, merged: map[string]Merged{}}
	manifest := pager.Manifest{Name: p.Name}
	for _, e := range p.Extents {
		x, err := b.extent(e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		manifest.Extents = append(manifest.Extents, x)
	}
	space, err := pg.Reserve(manifest)
	if err != nil {
		return nil, err
	}
	b.model.space = space
	b.model.sched, err = space.Schedule(p.Uses(), p.Costs())
	return b.model, err
}

// A binding is a program whose weights are being found.
type binding struct {
	Weights
	model  *Model
	merged map[string]Merged // those of the weights that were looked up
}

// extent returns where the contents of an extent come from.
func (b *binding) extent(e plan.Extent) (pager.Extent, error) {
	x := pager.Extent{Name: e.Name, Bytes: e.Bytes}
	var key, signature strings.Builder
	for _, part := range e.Parts {
		ref, ok := b.Lookup(part.Weight)
		if !ok {
			return x, fmt.Errorf("the checkpoint has no tensor %s", part.Weight)
		}
		b.model.reads(ref.Files()...)
		var from pager.Source = source{ref}
		if !ref.Mapped() {
			from = made{ref}
		}
		length := ref.Length
		merged := b.mergedInto(part.Weight)
		if merged != nil {
			from, length = merged, merged.Bytes()
		}
		if part.From+part.Bytes > length {
			return x, fmt.Errorf("%v has %d bytes, the program reads %d", ref, length, part.From+part.Bytes)
		}
		// Extents are the same if they are the same bytes of the same open files.
		fmt.Fprintf(&key, "%d:%d+%d@%d ", ref.File.ID(), ref.Offset+part.From, part.Bytes, part.At)
		if length != ref.Length {
			fmt.Fprintf(&key, "of %d ", length)
		}
		if !ref.Mapped() {
			fmt.Fprintf(&key, "as %v %v ", ref.DType, ref.Shape)
		}
		if merged != nil {
			b.model.reads(merged.Files()...)
			fmt.Fprintf(&signature, "%d: %s ", part.At, merged.Signature())
		}
		x.Parts = append(x.Parts, pager.Part{Source: from, Offset: part.From, Bytes: part.Bytes, At: part.At})
	}
	x.Key = key.String()
	if signature.Len() > 0 {
		x.Signature = maphash.String(seed, signature.String())
	}
	return x, nil
}

// mergedInto returns the source of a weight that something is merged into,
// one for all parts of the weight, or nil.
func (b *binding) mergedInto(name string) Merged {
	m, ok := b.Weights.(Merger)
	if !ok {
		return nil
	}
	source, known := b.merged[name]
	if !known {
		source = m.Merged(name)
		b.merged[name] = source
	}
	return source
}

// reads adds files that must be what they were when they were opened.
func (m *Model) reads(files ...*weights.File) {
	for _, f := range files {
		if !slices.Contains(m.files, f) {
			m.files = append(m.files, f)
		}
	}
}

// source is a tensor as the pager reads it.
type source struct{ weights.Ref }

func (s source) Bytes(off, n int64) ([]byte, error) {
	b, err := s.Ref.Bytes()
	if err != nil {
		return nil, err
	}
	return b[off : off+n : off+n], nil
}

// A made source is a tensor whose bytes are made of those of several others.
type made struct{ ref weights.Ref }

func (m made) ReadAt(ctx context.Context, p []byte, off int64) error {
	return m.ref.ReadAt(ctx, p, off)
}

// Scratch returns what making the bytes takes beside them.
func (m made) Scratch() int64 { return m.ref.Scratch(1) }
