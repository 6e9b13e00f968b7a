package plan

import "github.com/weir-run/weir/ir"

// dropDead returns the graph without the operations that no output needs.
func dropDead(g *ir.Graph) *ir.Graph {
	needed := make([]bool, len(g.Values))
	for _, out := range g.Outputs {
		needed[out.Value] = true
	}
	keep, n := make([]bool, len(g.Ops)), 0
	for i := len(g.Ops) - 1; i >= 0; i-- {
		if op := &g.Ops[i]; needed[op.Out] {
			keep[i], n = true, n+1
			for _, v := range op.In {
				needed[v] = true
			}
		}
	}
	live := &ir.Graph{Name: g.Name, Values: g.Values, Outputs: g.Outputs, Ops: make([]ir.Op, 0, n)}
	for i, op := range g.Ops {
		if keep[i] {
			live.Ops = append(live.Ops, op)
		}
	}
	return live
}
