package run

import (
	"fmt"
	"strings"

	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/weights"
)

// Weights is where a program's weights are found by name; *weights.Set is one.
type Weights interface {
	Lookup(name string) (weights.Ref, bool)
}

// checker is a file that can tell whether it is still what was opened.
type checker interface{ Check() error }

// Bind finds the weights of a program and reserves their extents. It reads
// nothing. The files of the weights must stay open as long as the model, or
// its weights on a unified device, are used.
func Bind(p *plan.Program, w Weights, pg *pager.Pager) (*Model, error) {
	m := &Model{program: p, pager: pg}
	files := map[*weights.File]bool{}
	manifest := pager.Manifest{Name: p.Name}
	for _, e := range p.Extents {
		x := pager.Extent{Name: e.Name, Bytes: e.Bytes}
		var key strings.Builder
		for _, part := range e.Parts {
			ref, ok := w.Lookup(part.Weight)
			if !ok {
				return nil, fmt.Errorf("%s: the checkpoint has no tensor %s", p.Name, part.Weight)
			}
			if part.From+part.Bytes > ref.Length {
				return nil, fmt.Errorf("%s: %v has %d bytes, the program reads %d", p.Name, ref, ref.Length, part.From+part.Bytes)
			}
			if !files[ref.File] {
				files[ref.File] = true
				m.files = append(m.files, ref.File)
			}
			// Extents are the same if they are the same bytes of the same open files.
			fmt.Fprintf(&key, "%d:%d+%d@%d ", ref.File.ID(), ref.Offset+part.From, part.Bytes, part.At)
			x.Parts = append(x.Parts, pager.Part{Source: source{ref}, Offset: part.From, Bytes: part.Bytes, At: part.At})
		}
		x.Key = key.String()
		manifest.Extents = append(manifest.Extents, x)
	}
	space, err := pg.Reserve(manifest)
	if err != nil {
		return nil, err
	}
	m.space = space
	m.sched, err = space.Schedule(p.Uses(), p.Costs())
	return m, err
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
