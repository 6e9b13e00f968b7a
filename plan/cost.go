package plan

import "github.com/weir-run/weir/ir"

// balance is how many additions and multiplications a processor does in the
// time that a byte takes it to read: between 10 and 100 on what there is.
const balance = 16

// Costs returns what each operation costs, in additions and multiplications
// of float32, which is nearly proportional to the time that it takes.
func (p *Program) Costs() []float64 {
	costs := make([]float64, len(p.Ops))
	for i := range p.Ops {
		costs[i] = p.Ops[i].cost()
	}
	return costs
}

// cost counts the arithmetic of an operation and the bytes that it reads and
// writes.
func (op *Op) cost() float64 {
	out := float64(op.Out.Shape.Elems())
	var bytes float64
	for _, a := range append(op.Args[:len(op.Args):len(op.Args)], op.Out) {
		bytes += float64(a.DType.Bytes(int64(a.Shape.Elems())))
	}
	if op.Kind == ir.Embedding { // reads rows of its table, not all
		bytes = 8 * out
	}
	return op.arithmetic(out) + balance*bytes
}

func (op *Op) arithmetic(out float64) float64 {
	arg := func(i int) ir.Shape { return op.Args[i].Shape }
	switch op.Kind {
	case ir.Linear: // of the rows of the weight that are in the operand
		x, w := arg(0), arg(1)
		return 2 * float64(x.Elems()) / float64(max(x[len(x)-1], 1)) * float64(w.Elems())
	case ir.Conv:
		w := arg(1)
		return 2 * out / float64(max(op.Out.Shape[1], 1)) * float64(w.Elems())
	case ir.Attention:
		q, k, v := arg(0), arg(1), arg(2)
		keys := float64(k[len(k)-2])
		return 2 * keys * (float64(q.Elems()) + float64(q.Elems())/float64(max(k[len(k)-1], 1))*float64(v[len(v)-1]))
	case ir.Reduce:
		return float64(arg(0).Elems())
	}
	return out * float64(8+len(op.Steps))
}
