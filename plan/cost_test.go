package plan

import (
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// TestCosts compares with the operations counted by hand, of a layer of 64 to
// 256 features on 10 rows and of a convolution of 3×3 over 8×8 pixels.
func TestCosts(t *testing.T) {
	g := ir.New("costs")
	x := g.Input("x", dtype.F32, 10, 64)
	y := g.Linear(x, g.Weight("w", dtype.F32, 256, 64), ir.None)
	g.Output("y", y)
	p, err := Compile(g, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := 2.0*10*64*256 + balance*4*(10*64+256*64+10*256)
	if got := p.Costs(); len(got) != len(p.Ops) || got[len(got)-1] != want {
		t.Errorf("the costs are %v, want %v", got, want)
	}
}
