package plan

import (
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// TestDropDead keeps what outputs need, views on the way included, in order.
func TestDropDead(t *testing.T) {
	g := ir.New("dead")
	x := g.Input("x", dtype.F32, 2, 3)
	a := g.SiLU(x)
	b := g.GELU(a) // read by c alone, which nothing reads
	g.Reshape(b, 6)
	d := g.Permute(a, 1, 0)
	g.Output("y", g.SiLU(d))
	live := dropDead(g)
	var kept []ir.Value
	for _, op := range live.Ops {
		kept = append(kept, op.Out)
	}
	if want := []ir.Value{a, d, g.Outputs[0].Value}; len(kept) != 3 || kept[0] != want[0] || kept[1] != want[1] || kept[2] != want[2] {
		t.Errorf("the operations that make %v stay, want those of %v", kept, want)
	}
	if len(g.Ops) != 5 {
		t.Error("the graph was changed")
	}
}
