package merge

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/weights"
)

// plenty is room for as many goroutines as there are, with the largest blocks.
const plenty = 1 << 30

// TestScratchIsWhatIsTaken counts what ReadAt allocates, with changes of every form:
// no more than Scratch says, and not much less.
func TestScratchIsWhatIsTaken(t *testing.T) {
	const n, k, taps, rank, small = 384, 320, 9, 24, 16
	r := rand.New(rand.NewPCG(1, 2))
	random := func(name string, dt dtype.DType, shape ...int) weights.Tensor {
		elements := 1
		for _, d := range shape {
			elements *= d
		}
		v := make([]float32, elements)
		for i := range v {
			v[i] = float32(r.NormFloat64() * 0.1)
		}
		return weights.F32(name, dt, shape, v)
	}
	set := write(t,
		random("w", dtype.F16, n, k, 3, 3), random("square", dtype.F32, n, n), random("quarter", dtype.BF16, n/4, k*taps),
		random("up", dtype.F16, n, rank), random("down", dtype.F32, rank, k*taps), random("up of square", dtype.F32, n, rank), random("down of square", dtype.F32, rank, n),
		random("turned up", dtype.F16, rank, n), random("some up", dtype.F16, rank, rank), random("core", dtype.F16, rank, rank, 3, 3), random("thin down", dtype.F16, rank, k),
		random("all", dtype.F32, n, k*taps), random("wide", dtype.F16, k, rank), random("narrow", dtype.F32, rank, k),
		random("first", dtype.F16, small, small), random("second up", dtype.F16, n/small, 4), random("second down", dtype.F16, 4, k*taps/small),
		random("rows", dtype.F32, n, 1), random("columns", dtype.F16, 1, k),
		random("rotations", dtype.F16, n/32, 32, 32), random("large rotations", dtype.F32, 3, 128, 128),
		random("butterflies", dtype.F32, 5, n/8, 8, 8), random("rescale", dtype.F32, n, 1),
	)
	low := lora.Factor{A: "up", B: "down"}
	tucker := lora.Factor{A: "turned up", B: "thin down", Core: "core", Transposed: true}
	weight, _ := set.Lookup("w")
	square, _ := set.Lookup("square")
	quarter, _ := set.Lookup("quarter")
	for name, c := range map[string]struct {
		base    weights.Ref
		changes []lora.Change
	}{
		"LoRA":                    {weight, []lora.Change{{First: low, Scale: 1}}},
		"LoRA in three":           {weight, []lora.Change{{First: tucker, Scale: 1}}},
		"LoRA of some rows":       {weight, []lora.Change{{First: low, Scale: 1, From: 100, Rows: 50}}},
		"two LoRAs":               {weight, []lora.Change{{First: low, Scale: 1}, {First: tucker, Scale: 1}}},
		"difference":              {weight, []lora.Change{{First: lora.Factor{Whole: "all"}, Scale: 1}}},
		"replacement":             {weight, []lora.Change{{First: lora.Factor{Whole: "all"}, Product: lora.Replacement}}},
		"LoHa":                    {weight, []lora.Change{{First: low, Second: low, Product: lora.Hadamard, Scale: 1}}},
		"LoHa in three":           {weight, []lora.Change{{First: tucker, Second: tucker, Product: lora.Hadamard, Scale: 1}}},
		"LoKr":                    {weight, []lora.Change{{First: lora.Factor{Whole: "first"}, Second: lora.Factor{A: "second up", B: "second down"}, Product: lora.Kronecker, Scale: 1}}},
		"GLoRA":                   {weight, []lora.Change{{First: low, Second: lora.Factor{A: "wide", B: "narrow"}, Product: lora.Generalized, Scale: 1}}},
		"DoRA":                    {weight, []lora.Change{{First: low, Scale: 1, Magnitude: "rows"}}},
		"DoRA of columns":         {weight, []lora.Change{{First: low, Scale: 1, Magnitude: "columns", Columns: true}}},
		"OFT":                     {weight, []lora.Change{{First: lora.Factor{Whole: "rotations"}, Product: lora.Rotation, Group: 32, Scale: 1, Constraint: 1e-3}}},
		"OFT of large blocks":     {weight, []lora.Change{{First: lora.Factor{Whole: "large rotations"}, Product: lora.Rotation, Group: 128, Scale: 1}}},
		"BOFT":                    {weight, []lora.Change{{First: lora.Factor{Whole: "butterflies"}, Second: lora.Factor{Whole: "rescale"}, Product: lora.Butterfly, Group: 128, Scale: 1}}},
		"OFT and DoRA of columns": {weight, []lora.Change{{First: lora.Factor{Whole: "rotations"}, Product: lora.Rotation, Group: 32, Scale: 1}, {First: low, Scale: 1, Magnitude: "columns", Columns: true}}},
		"turned":                  {square, []lora.Change{{First: lora.Factor{A: "up of square", B: "down of square"}, Transposed: true, Scale: 1}}},
		"a quarter":               {quarter, []lora.Change{{First: lora.Factor{A: "some up", B: "down"}, Scale: 1, Rows: rank}}},
	} {
		var want []byte
		for _, o := range []struct {
			threads int
			room    int64
		}{{1, plenty}, {3, plenty}, {2, 300 << 10}} {
			var changes []Change
			for _, change := range c.changes {
				changes = append(changes, Change{change, set, 0.7})
			}
			w := New(c.base, changes, o.threads, o.room)
			raw := make([]byte, w.Bytes())
			if taken, bound := allocated(t, func() error { return w.ReadAt(t.Context(), raw, 0) }), w.Scratch(); taken > bound+bound/100+96<<10 || o.threads == 1 && taken < bound/2 {
				t.Errorf("%s, %+v: %d bytes were taken, the bound is %d", name, o, taken, bound)
			}
			if want == nil {
				want = slices.Clone(raw)
			}
			if !bytes.Equal(raw, want) {
				t.Errorf("%s, %+v: the weight has other bits", name, o)
			}
			// An odd part of it takes no more.
			part := raw[len(raw)/3+1 : len(raw)/2]
			if taken, bound := allocated(t, func() error { return w.ReadAt(t.Context(), part, int64(len(raw)/3+1)) }), w.Scratch(); taken > bound+bound/100+96<<10 {
				t.Errorf("%s, %+v, a part: %d bytes were taken, the bound is %d", name, o, taken, bound)
			}
		}
	}
}

// allocated returns how many bytes a function allocates.
func allocated(t *testing.T, f func() error) int64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := f(); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// TestRoomsAreFew has as much room as many goroutines need with smaller blocks, and
// less than one needs for rows that must not be cut.
func TestRoomsAreFew(t *testing.T) {
	const n, k, room = 2048, 4096, 32 << 20
	set := write(t, weights.F32("w", dtype.F16, []int{n, k}, make([]float32, n*k)), weights.F32("r", dtype.F32, []int{2, n / 2, n / 2}, make([]float32, n*n/2)))
	ref, _ := set.Lookup("w")
	w := New(ref, []Change{{lora.Change{First: lora.Factor{A: "w", B: "w"}, Scale: 1}, set, 1}}, 64, room)
	if w.workers() != 64 || w.rows != 8 {
		t.Errorf("%d goroutines have %d rows each, want 64 with 8", w.workers(), w.rows)
	}
	w = New(ref, []Change{{lora.Change{First: lora.Factor{Whole: "r"}, Product: lora.Rotation, Group: n / 2, Scale: 1}, set, 1}}, 64, room)
	// Stored, decoded and changed elements of a block, columns that are mixed, and
	// three matrices; beside them the file's blocks as they are stored and decoded.
	const elements, matrix = n / 2 * k, n / 2 * n / 2
	const each = 2*(elements+2) + 4*(elements+2) + 4*elements + 4*n/2*mixedColumns + (4+8+8)*matrix
	if got, want := w.Scratch(), int64(each+(4+4)*2*matrix); got != want || w.workers() != 1 {
		t.Errorf("%d goroutines take %d bytes, want 1 and %d", w.workers(), got, want)
	}
}
