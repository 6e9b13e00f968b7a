package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
)

// TestCutRows tells the rows of each tile of a weight of 2048 bytes.
func TestCutRows(t *testing.T) {
	for _, test := range []struct {
		name, want string
		max        int64
		build      func(g *ir.Graph) ir.Value
	}{
		{"fits", "[all]", 2048, func(g *ir.Graph) ir.Value {
			return g.Linear(g.Input("x", dtype.F32, 3, 16), g.Weight("w", dtype.F32, 32, 16), ir.None)
		}},
		{"as few as possible, all as large", "[0:11 11:22 22:32]", 1000, func(g *ir.Graph) ir.Value {
			return g.Linear(g.Input("x", dtype.F32, 3, 16), g.Weight("w", dtype.F32, 32, 16), ir.None)
		}},
		{"convolution", "[0:16 16:32]", 1024, func(g *ir.Graph) ir.Value {
			return g.Conv(g.Input("x", dtype.F32, 1, 16, 5, 3), g.Weight("w", dtype.F32, 32, 16, 1, 1), ir.None, ir.ConvOptions{})
		}},
		{"groups stay together", "[0:12 12:20]", 1280, func(g *ir.Graph) ir.Value {
			return g.Conv(g.Input("x", dtype.F32, 1, 130, 5, 3), g.Weight("w", dtype.F32, 20, 26, 1, 1), ir.None, ir.ConvOptions{Groups: 5})
		}},
		{"tokens", "[0:16 16:32]", 1024, func(g *ir.Graph) ir.Value {
			return g.Embedding(g.Input("ids", dtype.I32, 4), g.Weight("w", dtype.F32, 32, 16))
		}},
		{"blocks stay whole", "[0:16 16:32]", 600, func(g *ir.Graph) ir.Value { // 8 rows of 4 values are a block of 34 bytes
			return g.Linear(g.Input("x", dtype.F32, 3, 32), g.Weight("w", dtype.Q8_0, 32, 32), ir.None)
		}},
	} {
		g := ir.New(test.name)
		g.Output("y", test.build(g))
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		var tiles []string
		for _, op := range compileUntil(t, g, Options{MaxExtent: test.max}, "rows").draft.ops {
			if op.Attrs.RowTo == 0 {
				tiles = append(tiles, "all")
			} else {
				tiles = append(tiles, fmt.Sprintf("%d:%d", op.Attrs.RowFrom, op.Attrs.RowTo))
			}
		}
		if got := fmt.Sprint(tiles); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	// What needs all of a weight at once says so.
	g := ir.New("whole")
	g.Output("y", g.Add(g.Input("x", dtype.F32, 32, 16), g.Weight("table", dtype.F32, 32, 16)))
	if _, err := Compile(g, Options{MaxExtent: 1024}); err == nil || !strings.Contains(err.Error(), "cannot plan whole: weight table (F32 [32 16], 2048 bytes) is larger than an extent of 1024 bytes") {
		t.Errorf("got the error %v", err)
	}
	// So does a model in tiles without number, before they are made.
	g = ir.New("huge")
	g.Output("y", g.Linear(g.Input("x", dtype.F32, 1, 4096), g.Weight("w", dtype.F16, 1<<20, 4096), ir.None))
	for max, want := range map[int64]string{64 << 10: "", 32 << 10: "262144 tiles of at most 32768 bytes"} {
		p, err := Compile(g, Options{MaxExtent: max})
		switch {
		case want == "" && (err != nil || len(p.Ops) != maxTiles):
			t.Errorf("extents of %d bytes: %v", max, err)
		case want != "" && (fault.Of(err) != fault.Memory || !strings.Contains(err.Error(), want)):
			t.Errorf("got the error %v, want %s", err, want)
		}
	}
}
