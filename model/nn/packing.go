package nn

import (
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// Quantized is a source of which some weights are stored as other numbers than
// their own.
type Quantized interface {
	// Packing returns what is to be done for a weight W[N,K] whose stored numbers
	// are Q[N,K], and false for weights that are stored as they are.
	Packing(weight string) (Packing, bool)
}

// A Packing turns a product with the stored numbers Q of a weight into that
// with the weight: y = Scale·(Q·rotated(x·Smooth)). Scale and Smooth are names
// of weights in the source, "" for none.
type Packing struct {
	// Scale has one number, or one for each row of Q.
	Scale string
	// Rotation is the length of the groups that x is rotated in; 0 is none.
	Rotation int
	// Smooth has a number for each element of x.
	Smooth string
	// Padded says that the source may have more rows and columns than the weight,
	// up to the next multiple of MaxPadding. Only an [Audit] takes it.
	Padded bool
}

// MaxPadding is the multiple that padded weights are filled up to at most.
const MaxPadding = 32

// PackingOf returns the packing of a weight of any source.
func PackingOf(src Source, weight string) (Packing, bool) {
	if q, ok := src.(Quantized); ok {
		return q.Packing(weight)
	}
	return Packing{}, false
}

// packed returns a weight as it is stored, and what that means.
func (s Scope) packed(name string, shape ...int) (ir.Value, Packing) {
	name = s.prefix + name
	dt, found, ok := s.src.Lookup(name)
	p, packed := PackingOf(s.src, name)
	if p.Padded && s.audit != nil && padded(found, shape) {
		found = shape
	}
	if f := faultOf(name, dt, found, shape, ok, packed); f != nil {
		s.fail(*f)
		dt, p = dtype.F32, Packing{}
	}
	return s.g.Weight(name, dt, shape...), p
}

// padded reports whether a matrix may be one of another shape with rows and
// columns added.
func padded(found, shape ir.Shape) bool {
	if len(found) != len(shape) {
		return false
	}
	for i, n := range shape {
		if found[i] < n || found[i]-n >= MaxPadding {
			return false
		}
	}
	return true
}

// unpack makes of a product with stored numbers the one with the weight. The
// bias comes after the scale; the result's rows are its dimension -channel,
// counted from the end.
func (s Scope) unpack(p Packing, x, bias ir.Value, channel int, product func(x, bias ir.Value) ir.Value) ir.Value {
	if p.Smooth != "" {
		x = s.g.Mul(x, s.part(p.Smooth, 1))
	}
	if p.Rotation > 0 {
		x = s.g.Rotate(x, p.Rotation)
	}
	if p.Scale == "" {
		return product(x, bias)
	}
	y := s.g.Mul(product(x, ir.None), s.part(p.Scale, channel))
	if bias == ir.None {
		return y
	}
	return s.g.Add(y, s.along(bias, channel))
}

// part returns the factors of a quantized weight as elements along dimension
// -channel.
func (s Scope) part(name string, channel int) ir.Value {
	dt, shape, ok := s.src.Lookup(name)
	if !ok {
		s.g.Fail("a part of a quantized weight is missing: there is no %s", name)
	}
	return s.along(s.g.Weight(name, dt, max(shape.Elems(), 1)), channel)
}

// along returns a vector with dimensions of 1 after its own, so that it is
// dimension -channel.
func (s Scope) along(v ir.Value, channel int) ir.Value {
	if channel == 1 {
		return v
	}
	shape := make([]int, channel)
	for i := range shape {
		shape[i] = 1
	}
	shape[0] = s.g.Shape(v)[0]
	return s.g.Reshape(v, shape...)
}

// Embedding gathers the rows of NAME.weight[rows,width] that ids[...] name.
func (s Scope) Embedding(name string, ids ir.Value, rows, width int) ir.Value {
	return s.EmbeddingOf(name+".weight", ids, rows, width)
}

// EmbeddingOf is Embedding for tables whose names do not end in ".weight". Of a
// quantized table, the rows that are gathered are unpacked.
func (s Scope) EmbeddingOf(table string, ids ir.Value, rows, width int) (y ir.Value) {
	s.g.In(s.prefix+table, func() {
		w, p := s.packed(table, rows, width)
		y = s.g.Embedding(ids, w)
		if p.Scale != "" {
			y = s.g.Mul(y, s.scaleOf(p.Scale, ids))
		}
		if p.Rotation > 0 {
			y = s.g.Rotate(y, p.Rotation)
		}
		if p.Smooth != "" {
			y = s.g.Mul(y, s.part(p.Smooth, 1))
		}
	})
	return y
}

// scaleOf returns the scale of a table: its only one, or those of the rows that
// ids name.
func (s Scope) scaleOf(name string, ids ir.Value) ir.Value {
	scale := s.part(name, 1)
	n := s.g.Shape(scale)[0]
	if n == 1 {
		return scale
	}
	return s.g.Embedding(ids, s.g.Reshape(scale, n, 1))
}
