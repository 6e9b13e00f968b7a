package plan

import "github.com/weir-run/weir/ir"

// shareMemory returns for each value the one whose memory it is kept in:
// itself, or an operand of the operation that makes it and that may write over
// the operand, because nothing needs it any more and each element is read
// before it is written.
//
// An Elementwise may write over any operand if every window on that operand
// has the layout of the result. A norm, a softmax or a rotation may write over its input
// unless a step reads that too.
func shareMemory(s *draft) []ir.Value {
	home := make([]ir.Value, len(s.values))
	lastUse := make([]int, len(s.values))
	for v := range home {
		home[v] = ir.Value(v)
	}
	for t, op := range s.ops {
		for _, arg := range op.args {
			lastUse[arg.of] = t
		}
	}
	for _, out := range s.outputs {
		lastUse[out.window.of] = len(s.ops)
	}
	for t, op := range s.ops {
		candidates := op.args
		switch op.Kind {
		case ir.Elementwise:
		case ir.LayerNorm, ir.RMSNorm, ir.GroupNorm, ir.Softmax, ir.Rotate:
			candidates = op.args[:1]
		default:
			continue
		}
		for _, arg := range candidates {
			if lastUse[arg.of] == t && s.values[arg.of].Kind != ir.Weight && s.mayOverwrite(op, arg.of) {
				home[op.out.of] = home[arg.of]
				break
			}
		}
	}
	return home
}

// mayOverwrite reports whether the result of an operation can be written over
// the operand v while the operation reads it.
func (s *draft) mayOverwrite(op *operation, v ir.Value) bool {
	if s.bytes(v) != s.bytes(op.out.of) || op.out.shape.Elems() != s.values[op.out.of].Shape.Elems() {
		return false
	}
	for i, arg := range op.args {
		if arg.of == v && (op.Kind != ir.Elementwise && i > 0 || !arg.contiguous() || arg.offset != 0) {
			return false
		}
	}
	return true
}
