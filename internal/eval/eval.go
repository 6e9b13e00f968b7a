// Package eval runs a planned program in one go, for tests of model packages:
// every weight is in memory, every operation runs in order on the processor.
package eval

import (
	"context"
	"maps"
	"slices"
	"testing"
	"unsafe"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/device/cpu"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/weights"
)

// A Weight is a tensor with its bytes.
type Weight struct {
	DType dtype.DType
	Shape ir.Shape
	Bytes []byte
}

// Weights are the weights of a model by name. They are a [nn.Source] without
// adapters.
type Weights map[string]Weight

// Lookup returns the dtype and shape of a weight.
func (w Weights) Lookup(name string) (dtype.DType, ir.Shape, bool) {
	x, ok := w[name]
	return x.DType, x.Shape, ok
}

// Names returns the names in lexical order.
func (w Weights) Names() []string { return slices.Sorted(maps.Keys(w)) }

// Adapters returns nothing.
func (w Weights) Adapters(string) []nn.Adapter { return nil }

// Read returns all tensors of a file as they are stored.
func Read(t testing.TB, f *weights.File) Weights {
	t.Helper()
	w := Weights{}
	for _, ref := range f.Refs() {
		w[ref.Name] = read(t, ref)
	}
	return w
}

// ReadSet returns all tensors of a set as they are stored.
func ReadSet(t testing.TB, s *weights.Set) Weights {
	t.Helper()
	w := Weights{}
	for _, name := range s.Names() {
		ref, _ := s.Lookup(name)
		w[name] = read(t, ref)
	}
	return w
}

func read(t testing.TB, ref weights.Ref) Weight {
	t.Helper()
	raw := make([]byte, ref.Length)
	if err := ref.ReadAt(context.Background(), raw, 0); err != nil {
		t.Fatal(err)
	}
	return Weight{ref.DType, slices.Clone(ref.Shape), raw}
}

// F32 returns the weights in float32.
func (w Weights) F32() Weights {
	out := Weights{}
	for name, x := range w {
		values := make([]float32, x.Shape.Elems())
		dtype.ToF32(values, x.Bytes, x.DType)
		out[name] = Weight{dtype.F32, x.Shape, bytesOf(values)}
	}
	return out
}

// Build builds a graph on the weights, plans it and runs it. Source may be the
// weights themselves or one that puts adapters on them.
func Build(t testing.TB, source nn.Source, w Weights, inputs map[string]any, build func(nn.Scope)) map[string][]float32 {
	t.Helper()
	g := ir.New(t.Name())
	build(nn.NewScope(g, source))
	p, err := plan.Compile(g, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Program(t, p, w, inputs)
}

// Program runs a program and returns its outputs. The inputs are []float32 or
// []int32; every one that the program asks for must be there, in its length.
func Program(t testing.TB, p *plan.Program, w Weights, inputs map[string]any) map[string][]float32 {
	t.Helper()
	d := cpu.New(cpu.Options{})
	defer d.Close()
	r := runner{t, d, nil, map[string]device.Buffer{}}
	var err error
	if r.arena, err = d.Alloc(p.Arena); err != nil {
		t.Fatal(err)
	}
	defer d.Free(r.arena)
	for name, x := range w {
		if r.weights[name], err = d.Map(x.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	r.upload(p, inputs)
	for i := range p.Ops {
		r.run(p, &p.Ops[i])
	}
	return r.download(p)
}

// A runner is one run of a program.
type runner struct {
	t       testing.TB
	dev     device.Device
	arena   device.Buffer
	weights map[string]device.Buffer
}

func (r *runner) upload(p *plan.Program, inputs map[string]any) {
	r.t.Helper()
	for _, in := range p.Inputs {
		var raw []byte
		switch v := inputs[in.Name].(type) {
		case []float32:
			raw = bytesOf(v)
		case []int32:
			raw = bytesOf(v)
		default:
			r.t.Fatalf("input %s %v %v is given as %T", in.Name, in.DType, in.Shape, v)
		}
		if int64(len(raw)) != in.Bytes {
			r.t.Fatalf("input %s %v has %d bytes, want %d", in.Name, in.Shape, len(raw), in.Bytes)
		}
		r.wait(in.Name, r.dev.Upload(context.Background(), r.arena, in.Offset, raw))
	}
}

func (r *runner) run(p *plan.Program, op *plan.Op) {
	r.t.Helper()
	args := device.Args{Out: r.tensor(p, op.Out)}
	for _, a := range op.Args {
		args.In = append(args.In, r.tensor(p, a))
	}
	r.wait(op.Name, r.dev.Run(context.Background(), &op.Op, args))
}

// tensor returns where an operand is: weights are mapped whole, so a part
// begins where it does in its weight.
func (r *runner) tensor(p *plan.Program, o plan.Operand) device.Tensor {
	x := device.Tensor{Name: o.Name, Buffer: r.arena, Offset: o.Offset, Skip: o.Skip, DType: o.DType, Shape: o.Shape, Strides: o.Strides}
	if o.Extent < 0 {
		return x
	}
	part := p.Extents[o.Extent].Parts[o.Part]
	b, ok := r.weights[part.Weight]
	if !ok {
		r.t.Fatalf("the program needs the weight %s", part.Weight)
	}
	x.Buffer, x.Offset = b, part.From+o.Offset
	return x
}

func (r *runner) download(p *plan.Program) map[string][]float32 {
	r.t.Helper()
	out := map[string][]float32{}
	for _, o := range p.Outputs {
		values := make([]float32, o.Shape.Elems())
		r.wait(o.Name, r.dev.Download(context.Background(), bytesOf(values), r.arena, o.Offset))
		out[o.Name] = values
	}
	return out
}

func (r *runner) wait(what string, e device.Event) {
	r.t.Helper()
	if err := e.Wait(context.Background()); err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
}

// bytesOf returns the memory of numbers of four bytes.
func bytesOf[T float32 | int32](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}
