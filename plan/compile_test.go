package plan

import (
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

func TestCompileRefusesABrokenGraph(t *testing.T) {
	g := ir.New("model")
	x := g.Input("x", dtype.F32, 2, 8)
	g.Output("y", g.Linear(x, g.Weight("proj.weight", dtype.F16, 16, 9), ir.None))
	if _, err := Compile(g, Options{}); err == nil || !strings.Contains(err.Error(), "proj.weight") {
		t.Fatalf("error %v does not name the weight that does not fit", err)
	}
}
