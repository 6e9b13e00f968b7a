package plan

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/gguf"
	"github.com/weir-run/weir/ir"
)

var seedFlag = flag.Uint64("seed", 0, "replay the random test with this seed alone")

// A graphMaker builds random graphs of every kind of operation.
type graphMaker struct {
	*rand.Rand
	g       *ir.Graph
	values  []ir.Value // float tensors to build on
	weights checkpoint
	tables  map[string][]ir.Value // weights by shape
	inputs  map[string]cells
}

const vocabulary = 6 // what token ids are below

func randomGraph(seed uint64) *graphMaker {
	m := &graphMaker{
		Rand: rand.New(rand.NewPCG(seed, 0)), g: ir.New("random"), weights: checkpoint{}, inputs: map[string]cells{},
		tables: map[string][]ir.Value{},
	}
	for range 1 + m.IntN(3) {
		m.input(m.shape()...)
	}
	for range 3 + m.IntN(25) {
		m.g.In(fmt.Sprintf("op%d", len(m.g.Ops)), func() {
			v := m.makers()[m.IntN(len(m.makers()))](m.pick())
			if v != ir.None && m.IntN(4) == 0 {
				v = m.unary(v)
			}
			if v != ir.None && m.g.Shape(v).Elems() <= 2048 {
				m.values = append(m.values, v)
			}
		})
	}
	m.g.Output("last", m.values[len(m.values)-1])
	for i := range m.IntN(3) {
		m.g.Output(fmt.Sprint("other", i), m.pick())
	}
	if m.IntN(8) == 0 {
		m.g.Output("weight", m.weight(m.shape()...))
	}
	if err := m.g.Err(); err != nil {
		panic(err)
	}
	return m
}

func (m *graphMaker) makers() []func(ir.Value) ir.Value {
	return []func(ir.Value) ir.Value{
		m.linear, m.linear, m.conv, m.conv, m.attention, m.norm, m.norm, m.rotate, m.groupNorm, m.embedding, m.rope, m.sinusoid,
		m.concat, m.pad, m.resample, m.reduce, m.reshape, m.permute, m.permute, m.slice, m.slice, m.expand,
		m.unary, m.unary, m.unary, m.binary, m.binary, m.binary, m.binary,
		m.residual, m.gated, m.sidePath, m.modulated, m.embedded,
	}
}

// pick returns a value, more often a recent one.
func (m *graphMaker) pick() ir.Value {
	n := len(m.values)
	if m.IntN(2) == 0 {
		return m.values[n-1-m.IntN(min(n, 3))]
	}
	return m.values[m.IntN(n)]
}

func (m *graphMaker) shape() ir.Shape {
	return [][]int{{2, 4}, {2, 3, 4}, {1, 4, 8}, {2, 4, 3, 2}, {1, 4, 4, 4}, {2, 4, 2, 2, 2}, {1, 16, 4}, {2, 32, 4}}[m.IntN(8)]
}

func (m *graphMaker) input(shape ...int) ir.Value {
	name := fmt.Sprint("in", len(m.inputs))
	data := make(cells, ir.Shape(shape).Elems())
	for i := range data {
		data[i] = math.Float32bits(float32(m.NormFloat64()))
	}
	m.inputs[name] = data
	v := m.g.Input(name, dtype.F32, shape...)
	m.values = append(m.values, v)
	return v
}

// weight returns a weight of a shape, sometimes one that is used already or a
// view of another one.
func (m *graphMaker) weight(shape ...int) ir.Value {
	key := fmt.Sprint(shape)
	if known := m.tables[key]; len(known) > 0 && m.IntN(3) == 0 {
		return known[m.IntN(len(known))]
	}
	if len(shape) == 2 {
		switch m.IntN(8) {
		case 0:
			return m.g.Permute(m.weight(shape[1], shape[0]), 1, 0)
		case 1, 2:
			from, after := m.IntN(3), m.IntN(3)
			return m.g.Slice(m.weight(from+shape[0]+after, shape[1]), 0, from, from+shape[0])
		case 3:
			return m.g.Reshape(m.weight(shape[0], shape[1], 1, 1), shape...)
		}
	}
	types := []dtype.DType{dtype.F32, dtype.F16, dtype.BF16, dtype.F8E4M3}
	dt := types[m.IntN(len(types))]
	values := make([]float32, ir.Shape(shape).Elems())
	for i := range values {
		values[i] = float32(m.NormFloat64()) / 2
	}
	name := fmt.Sprintf("model.block%d.w%d", len(m.weights)/3, len(m.weights))
	if len(values)%32 == 0 && m.IntN(2) == 0 {
		dt = dtype.Q8_0
		m.weights[name] = gguf.Quantize(dt, values)
	} else {
		m.weights[name] = make([]byte, len(values)*dt.Size())
		dtype.FromF32(m.weights[name], values, dt)
	}
	v := m.g.Weight(name, dt, shape...)
	m.tables[key] = append(m.tables[key], v)
	return v
}

// maybe returns a weight or None.
func (m *graphMaker) maybe(shape ...int) ir.Value {
	if m.IntN(2) == 0 {
		return ir.None
	}
	return m.weight(shape...)
}

func (m *graphMaker) project(x ir.Value, n int) ir.Value {
	s := m.g.Shape(x)
	return m.g.Linear(x, m.weight(n, s[len(s)-1]), m.maybe(n))
}

func (m *graphMaker) linear(x ir.Value) ir.Value { return m.project(x, 1+m.IntN(8)) }

func (m *graphMaker) conv(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	if len(s) < 3 {
		return ir.None
	}
	o := ir.ConvOptions{Groups: 1, Stride: []int{1 + m.IntN(2)}, Pad: []int{m.IntN(2)}, PadAfter: []int{m.IntN(2)}}
	if m.IntN(3) == 0 && s[1]%2 == 0 {
		o.Groups = 2
	}
	out := o.Groups * (1 + m.IntN(3))
	shape := ir.Shape{out, s[1] / o.Groups}
	for _, n := range s[2:] {
		shape = append(shape, 1+m.IntN(min(n, 3)))
	}
	return m.g.Conv(x, m.weight(shape...), m.maybe(out), o)
}

// sequence returns x with three dimensions.
func (m *graphMaker) sequence(x ir.Value) ir.Value {
	if s := m.g.Shape(x); len(s) != 3 {
		return m.g.Reshape(x, 1, -1, s[len(s)-1])
	}
	return x
}

func (m *graphMaker) attention(x ir.Value) ir.Value {
	x = m.sequence(x)
	s := m.g.Shape(x)
	o := ir.AttentionOptions{Heads: 2, KVHeads: 1 + m.IntN(2), Causal: m.IntN(3) == 0}
	q := m.project(x, 4)
	k, v := m.project(x, 2*o.KVHeads), m.project(x, 3*o.KVHeads)
	if m.IntN(2) == 0 { // one projection for all, cut up
		all := m.project(x, 4+4*o.KVHeads)
		q, k, v = m.g.Slice(all, -1, 0, 4), m.g.Slice(all, -1, 4, 4+2*o.KVHeads), m.g.Slice(all, -1, 4+2*o.KVHeads, 4+4*o.KVHeads)
	}
	if m.IntN(2) == 0 {
		o.Mask = m.input(s[1], s[1])
	}
	return m.g.Attention(q, k, v, o)
}

func (m *graphMaker) norm(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	n := s[len(s)-1]
	switch m.IntN(3) {
	case 0:
		return m.g.LayerNorm(x, m.maybe(n), m.maybe(n), 1e-5)
	case 1:
		return m.g.RMSNorm(x, m.maybe(n), 1e-6)
	}
	return m.g.Softmax(x)
}

func (m *graphMaker) rotate(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	switch n := s[len(s)-1]; {
	case n%16 == 0:
		return m.g.Rotate(x, 16)
	case n%4 == 0:
		return m.g.Rotate(x, 4)
	}
	return ir.None
}

func (m *graphMaker) groupNorm(x ir.Value) ir.Value {
	n := m.g.Shape(x)[1]
	groups := 1
	if n%2 == 0 {
		groups = 2
	}
	return m.g.GroupNorm(x, m.maybe(n), m.maybe(n), groups, 1e-5)
}

func (m *graphMaker) embedding(x ir.Value) ir.Value {
	if _, ok := m.inputs["ids"]; !ok {
		m.inputs["ids"] = make(cells, 12)
		for i := range m.inputs["ids"] {
			m.inputs["ids"][i] = uint32(m.IntN(vocabulary))
		}
	}
	ids := m.g.Input("ids", dtype.I32, 3, 4)
	if m.IntN(2) == 0 {
		ids = m.g.Slice(ids, 0, 1, 3)
	}
	if s := m.g.Shape(x); len(s) == 2 && s[0] >= vocabulary {
		return m.g.Embedding(ids, x)
	}
	return m.g.Embedding(ids, m.weight(vocabulary, 4))
}

func (m *graphMaker) rope(x ir.Value) ir.Value {
	if x = m.sequence(x); m.g.Shape(x)[2]%4 != 0 {
		x = m.project(x, 4)
	}
	s := m.g.Shape(x)
	angles := ir.Shape{s[1], s[2] / 4}
	if m.IntN(2) == 0 {
		angles = append(ir.Shape{s[0]}, angles...)
	}
	return m.g.Rope(x, m.weight(angles...), m.input(angles...), 2, m.IntN(2) == 0)
}

func (m *graphMaker) sinusoid(x ir.Value) ir.Value {
	return m.g.Sinusoid(m.g.Reshape(m.g.Slice(x, 0, 0, 1), -1), 4, 10000)
}

func (m *graphMaker) concat(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	axis := m.IntN(len(s))
	parts := []ir.Value{x}
	for range 1 + m.IntN(2) {
		if y := m.like(x); m.IntN(2) == 0 {
			parts = append(parts, m.g.Slice(y, axis, 0, 1+m.IntN(s[axis])))
		} else {
			parts = append(parts, y)
		}
	}
	m.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return m.g.Concat(axis, parts...)
}

func (m *graphMaker) pad(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	before, after := make([]int, len(s)), make([]int, len(s))
	mode := ir.PadMode(m.IntN(3))
	for i, n := range s {
		if mode == ir.PadReflect {
			n--
		}
		before[i], after[i] = m.IntN(min(n, 2)+1), m.IntN(min(n, 2)+1)
	}
	if m.IntN(2) == 0 {
		before[0], after[0] = 0, 0
	}
	return m.g.Pad(x, before, after, mode)
}

func (m *graphMaker) resample(x ir.Value) ir.Value {
	return m.g.Resample(x, ir.ResampleMode(m.IntN(4)), 1+m.IntN(5))
}

func (m *graphMaker) reduce(x ir.Value) ir.Value {
	axes := m.Perm(len(m.g.Shape(x)))
	return m.g.Reduce(x, ir.Reduction(m.IntN(3)), axes[:1+m.IntN(2)]...)
}

func (m *graphMaker) reshape(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	n, shape := s.Elems(), []int{1}
	for len(shape) < 4 && n > 1 {
		d := 2 + m.IntN(3)
		if n%d != 0 {
			d = n
		}
		shape, n = append(shape, d), n/d
	}
	shape = append(shape, n)
	m.Shuffle(len(shape), func(i, j int) { shape[i], shape[j] = shape[j], shape[i] })
	return m.g.Reshape(x, shape...)
}

func (m *graphMaker) permute(x ir.Value) ir.Value {
	return m.g.Permute(x, m.Perm(len(m.g.Shape(x)))...)
}

func (m *graphMaker) slice(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	axis := m.IntN(len(s))
	from := m.IntN(s[axis])
	v := m.g.Slice(x, axis, from, from+1+m.IntN(s[axis]-from))
	if m.IntN(4) == 0 { // both parts
		m.values = append(m.values, m.g.Slice(x, axis, 0, from+1))
	}
	return v
}

func (m *graphMaker) expand(x ir.Value) ir.Value {
	if s := m.g.Shape(x); len(s) < 5 {
		return m.g.Expand(x, append([]int{2}, s...)...)
	}
	return ir.None
}

func (m *graphMaker) unary(x ir.Value) ir.Value {
	switch f := ir.Func(m.IntN(int(ir.Clamp) + 1)); f {
	case ir.Exp: // of a bounded value, or nothing but infinity is left soon
		return m.g.Unary(f, m.g.Unary(ir.Tanh, x))
	case ir.Sqrt:
		return m.g.Unary(f, m.g.Unary(ir.ReLU, x))
	case ir.Affine, ir.LeakyReLU:
		return m.g.Unary(f, x, 0.5, 0.25)
	case ir.Clamp:
		return m.g.Unary(f, x, -1, 1)
	default:
		return m.g.Unary(f, x)
	}
}

// like returns a value of the same shape.
func (m *graphMaker) like(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	var same []ir.Value
	for _, v := range m.values {
		if m.g.Shape(v).Equal(s) {
			same = append(same, v)
		}
	}
	switch m.IntN(6) {
	case 0:
		return m.project(x, s[len(s)-1])
	case 1:
		return m.weight(s...)
	case 2:
		return m.unary(x)
	}
	if len(same) == 0 {
		return x
	}
	return same[m.IntN(len(same))]
}

func (m *graphMaker) binary(x ir.Value) ir.Value {
	y := m.like(x)
	s := m.g.Shape(y)
	if m.IntN(4) == 0 { // broadcast
		y = m.g.Slice(y, m.IntN(len(s)), 0, 1)
	}
	if m.IntN(2) == 0 {
		x, y = y, x
	}
	funcs := []ir.Func{ir.Add, ir.Add, ir.Sub, ir.Mul, ir.Mul, ir.Max, ir.Min, ir.PReLU}
	return m.g.Binary(funcs[m.IntN(len(funcs))], x, y)
}

func (m *graphMaker) residual(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	y := m.project(m.g.SiLU(m.norm(x)), 3)
	y = m.project(m.g.GELU(y), s[len(s)-1])
	if m.IntN(2) == 0 { // the addition in another shape
		x, y = m.g.Reshape(x, -1, s[0]), m.g.Reshape(y, -1, s[0])
	}
	if m.IntN(2) == 0 {
		return m.g.Add(y, x)
	}
	return m.g.Add(x, y)
}

func (m *graphMaker) gated(x ir.Value) ir.Value {
	y := m.project(x, 6)
	switch m.IntN(4) {
	case 0: // with a side path
		y = m.g.Add(y, m.g.Affine(m.project(m.project(x, 1), 6), 0.5, 0))
	case 1:
		y = m.g.Add(y, m.weight(6))
	case 2:
		y = m.g.Mul(y, m.g.Slice(x, -1, 0, 1))
	}
	p := m.g.Split(y, -1, 2)
	if m.IntN(4) == 0 {
		p = []ir.Value{m.g.Slice(y, -1, 4, 6), m.g.Reshape(m.g.Slice(y, -1, 0, 4), append(m.g.Shape(y)[:len(m.g.Shape(y))-1:len(m.g.Shape(y))-1], 4)...)}
		return m.g.Mul(p[0], m.g.Slice(m.g.Unary(ir.Sigmoid, p[1]), -1, 1, 3))
	}
	if m.IntN(2) == 0 {
		return m.g.Binary(ir.Mul, m.g.GELU(p[1]), p[0])
	}
	return m.g.Mul(p[0], m.g.GELU(p[1]))
}

func (m *graphMaker) sidePath(x ir.Value) ir.Value {
	n := 2 + m.IntN(5)
	return m.g.Add(m.project(x, n), m.g.Affine(m.project(m.project(x, 1), n), 0.5, 0))
}

func (m *graphMaker) modulated(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	n := s[len(s)-1]
	p := m.g.Split(m.project(m.g.SiLU(m.g.Reduce(x, ir.Mean, len(s)-2)), 3*n), -1, 3)
	y := m.g.Modulate(m.g.LayerNorm(x, ir.None, ir.None, 1e-5), p[0], p[1])
	return m.g.Add(x, m.g.Mul(p[2], y))
}

// embedded adds a vector for each channel that is made after what it is added
// to, as the time embedding is.
func (m *graphMaker) embedded(x ir.Value) ir.Value {
	s := m.g.Shape(x)
	if len(s) != 4 {
		return ir.None
	}
	t := m.g.Reshape(m.g.Slice(m.pick(), 0, 0, 1), 1, -1)
	y := m.g.Conv(x, m.weight(4, s[1], 1, 1), ir.None, ir.ConvOptions{})
	return m.g.Add(y, m.g.Reshape(m.project(m.g.SiLU(t), 4), 1, 4, 1, 1))
}

// TestProgramsComputeTheirGraphs runs random graphs operation by operation and
// as programs, and compares every bit.
func TestProgramsComputeTheirGraphs(t *testing.T) {
	seed, n := rand.Uint64(), 600
	if *seedFlag != 0 {
		seed, n = *seedFlag, 1
	}
	c := coverage{fused: map[ir.Kind]int{}, kinds: map[ir.Kind]int{}}
	for i := range n {
		s := seed + uint64(i)
		if err := c.check(s); err != nil {
			t.Fatalf("seed %d (replay with -seed %d): %v", s, s, err)
		}
	}
	if n > 1 {
		t.Logf("first seed %d, %+v", seed, c)
		c.requireAll(t)
	}
}

// A coverage counts what random graphs have exercised.
type coverage struct {
	fused, kinds                           map[ir.Kind]int // with more steps than were built; of the program
	shared, tiled, copies, numbers, finite int
	smaller                                int // programs that regions made smaller
	quantized, within, cut                 int // operands; of them those that begin within a block, and tiles
}

func (c *coverage) check(seed uint64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	m := randomGraph(seed)
	o := Options{MaxExtent: []int64{0, 64, 128, 500}[m.IntN(4)]}
	p, err := Compile(m.g, o)
	if err != nil && o.MaxExtent > 0 && strings.Contains(err.Error(), "larger than an extent") {
		o.MaxExtent = 0
		p, err = Compile(m.g, o)
	}
	if err != nil {
		return err
	}
	if err := c.compare(m, p); err != nil {
		return err
	}
	o.Arena = 1 + m.Int64N(p.Arena)
	small, err := Compile(m.g, o)
	if err != nil {
		return err
	}
	if small.Arena > p.Arena || small.Arena > o.Arena && o.Arena >= p.Arena {
		return fmt.Errorf("the arena is %d with a limit of %d, %d without", small.Arena, o.Arena, p.Arena)
	}
	if !slices.EqualFunc(small.Extents, p.Extents, func(a, b Extent) bool { return slices.Equal(a.Parts, b.Parts) }) {
		return fmt.Errorf("with a limit the extents are %v, not %v", small.Extents, p.Extents)
	}
	if small.Arena < p.Arena {
		c.smaller++
	}
	if err := c.compare(m, small); err != nil {
		return fmt.Errorf("with an arena of %d rather than %d bytes: %w", small.Arena, p.Arena, err)
	}
	return nil
}

// compare runs a program of a graph and compares every bit.
func (c *coverage) compare(m *graphMaker, p *Program) error {
	if err := p.Validate(); err != nil {
		return err
	}
	c.count(p)
	want, got := evaluate(m.g, m.weights, m.inputs), execute(p, m.weights, m.inputs)
	for name, w := range want {
		for i, word := range got[name] {
			g, w := math.Float32frombits(word), math.Float32frombits(w[i])
			if g != w && (g == g || w == w) {
				return fmt.Errorf("output %s: element %d is %v, want %v\n%s", name, i, g, w, table(p))
			}
			c.numbers++
			if g-g == 0 {
				c.finite++
			}
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d outputs, want %d", len(got), len(want))
	}
	return nil
}

func table(p *Program) string {
	var b strings.Builder
	p.WriteTable(&b, true)
	return b.String()
}

func (c *coverage) count(p *Program) {
	for i := range p.Ops {
		op := &p.Ops[i]
		c.kinds[op.Kind]++
		if len(op.Steps) > 0 && (op.Kind != ir.Elementwise || len(op.Steps) > 1) {
			c.fused[op.Kind]++
		}
		if slices.ContainsFunc(op.Args, func(a Operand) bool { return a.overlaps(&op.Out) }) {
			c.shared++
		}
		if op.Attrs.RowFrom > 0 {
			c.tiled++
		}
		for _, a := range op.Args {
			if a.DType.IsQuantized() {
				c.quantized++
			}
			if a.Skip > 0 {
				c.within++
			}
			if a.DType.IsQuantized() && op.Attrs.RowFrom > 0 {
				c.cut++
			}
		}
		if op.Kind == ir.Elementwise && len(op.Steps) == 0 {
			c.copies++
		}
	}
}

// requireAll fails the test if there is anything that the graphs did not
// exercise.
func (c *coverage) requireAll(t *testing.T) {
	for k := ir.Elementwise; k < ir.Reshape; k++ {
		if c.kinds[k] == 0 || c.fused[k] == 0 {
			t.Errorf("%d operations are %s, %d of them with steps", c.kinds[k], k, c.fused[k])
		}
	}
	if c.quantized == 0 || c.within == 0 || c.cut == 0 {
		t.Errorf("%d operands are block-quantized, %d of them begin within a block, %d are tiles", c.quantized, c.within, c.cut)
	}
	if c.shared == 0 || c.tiled == 0 || c.copies == 0 {
		t.Errorf("%d operations write over an operand, %d are tiles, %d are copies", c.shared, c.tiled, c.copies)
	}
	if c.smaller == 0 {
		t.Error("no arena became smaller with a limit")
	}
	if c.finite < c.numbers*9/10 {
		t.Errorf("only %d of %d results are finite", c.finite, c.numbers)
	}
}
