package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/gguf"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// source shows a file to packages lora and sd.
type source struct{ *weights.Set }

func (s source) Lookup(name string) (dtype.DType, ir.Shape, bool) {
	ref, ok := s.Set.Lookup(name)
	return ref.DType, ref.Shape, ok
}

func (s source) Adapters(string) []nn.Adapter { return nil }

func (s source) Scalar(name string) (float32, error) {
	ref, _ := s.Set.Lookup(name)
	v, err := ref.ReadF32(context.Background())
	if err != nil || len(v) != 1 {
		return 0, fmt.Errorf("tensor %s is not one number: %w", name, err)
	}
	return v[0], nil
}

// write writes tensors to a file and opens it.
func write(t testing.TB, tensors ...weights.Tensor) *weights.Set {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.safetensors")
	if err := weights.Write(t.Context(), path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	set, err := weights.OpenSet(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	return set
}

// unet returns the tiny UNet of the goldens with its weights in a dtype, and
// what else makes it a checkpoint.
func unet(t testing.TB, dt dtype.DType) *weights.Set {
	t.Helper()
	var tensors []weights.Tensor
	for name, prefix := range map[string]string{"unet_sd15": sd.UNetPrefix, "vae": sd.VAEPrefix, "clip_l": sd.ClipLSD1} {
		f := golden.Open(t, name)
		for _, ref := range f.Refs() {
			if strings.HasPrefix(ref.Name, prefix) {
				tensors = append(tensors, weights.F32(ref.Name, dt, ref.Shape, f.F32(ref.Name)))
			}
		}
	}
	return write(t, tensors...)
}

// cases returns the LoRAs of the golden as files, and what they make of the
// weights of unet, by their names.
func cases(t *testing.T) (files map[string]*weights.Set, merged map[string]map[string][]float32) {
	t.Helper()
	f := golden.Open(t, "merge")
	tensors := map[string][]weights.Tensor{}
	files, merged = map[string]*weights.Set{}, map[string]map[string][]float32{}
	for _, ref := range f.Refs() {
		if name, weight, ok := strings.Cut(ref.Name, ":"); ok {
			if merged[name] == nil {
				merged[name] = map[string][]float32{}
			}
			merged[name][weight] = f.F32(ref.Name)
		} else if name, tensor, ok := strings.Cut(ref.Name, "/"); ok {
			tensors[name] = append(tensors[name], weights.F32(tensor, dtype.F32, ref.Shape, f.F32(ref.Name)))
		}
	}
	for name, list := range tensors {
		files[name] = write(t, list...)
	}
	if len(files) < 15 {
		t.Fatalf("%d cases in the golden", len(files))
	}
	return files, merged
}

// newBase returns the tiny UNet as what LoRAs are put on.
func newBase(t testing.TB, base *weights.Set) lora.Base {
	t.Helper()
	c, err := sd.Detect(source{base}, map[string]string{clip.MetadataHeads: "4"})
	if err != nil {
		t.Fatal(err)
	}
	return lora.Base{Weights: source{base}, Denoiser: c}
}

// changes maps a LoRA onto the tiny UNet, with a strength.
func changes(t *testing.T, base, l *weights.Set, strength float32) map[string][]Change {
	t.Helper()
	m, err := lora.Map(source{l}, newBase(t, base))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Unmatched) > 0 {
		t.Errorf("unmatched: %v", m.Unmatched)
	}
	out := map[string][]Change{}
	for weight, list := range m.Changes {
		for _, c := range list {
			out[weight] = append(out[weight], Change{c, l, strength})
		}
	}
	return out
}

// read returns a weight as a whole.
func read(t *testing.T, base *weights.Set, name string, changes ...Change) []byte {
	t.Helper()
	ref, ok := base.Lookup(name)
	if !ok {
		t.Fatalf("no tensor %s", name)
	}
	raw := make([]byte, ref.Length)
	if err := New(ref, changes, 0, plenty).ReadAt(t.Context(), raw, 0); err != nil {
		t.Fatal(err)
	}
	return raw
}

func values(raw []byte, dt dtype.DType) []float32 {
	out := make([]float32, len(raw)/dt.Size())
	dtype.ToF32(out, raw, dt)
	return out
}

// TestMergedIsTheReferences merges LoRAs of every form that PEFT and LyCORIS
// have written. At other strengths than 1 the weight is on the line between
// the base and what the reference has merged.
func TestMergedIsTheReferences(t *testing.T) {
	base := unet(t, dtype.F32)
	files, merged := cases(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, strength := range []float32{1, 0.6, -0.5} {
			all := changes(t, base, files[name], strength)
			if len(all) != len(merged[name]) {
				t.Errorf("%s: %d weights are changed, want %d", name, len(all), len(merged[name]))
			}
			for weight, want := range merged[name] {
				plain := values(read(t, base, weight), dtype.F32)
				between := make([]float32, len(want))
				for i := range want {
					between[i] = plain[i] + strength*(want[i]-plain[i])
				}
				got := values(read(t, base, weight, all[weight]...), dtype.F32)
				what := fmt.Sprintf("%s, %s at %v", name, weight, strength)
				golden.Check(t, what, got, between, 2e-6)
				if e, err := golden.RelativeError(plain, between); err != nil || e < 0.01 {
					t.Errorf("%s: without the LoRA the error is %.3g (%v): this test shows nothing", what, e, err)
				}
			}
		}
	}
}

// TestAnyBytes reads merged weights in pieces of any size: they are those of
// the whole, also when goroutines share a weight.
func TestAnyBytes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	files, merged := cases(t)
	for _, dt := range []dtype.DType{dtype.F32, dtype.F16, dtype.BF16, dtype.F8E4M3} {
		base := unet(t, dt)
		for name, file := range files {
			all := changes(t, base, file, 0.8)
			for weight := range merged[name] {
				ref, _ := base.Lookup(weight)
				whole := read(t, base, weight, all[weight]...)
				w := New(ref, all[weight], 0, plenty)
				done := make(chan error)
				const readers = 3
				for range readers {
					from := r.Int64N(ref.Length)
					n := r.Int64N(ref.Length-from) + 1
					go func() {
						got := make([]byte, n)
						err := w.ReadAt(t.Context(), got, from)
						if err == nil && !bytes.Equal(got, whole[from:from+n]) {
							err = fmt.Errorf("bytes %d to %d differ from those of the whole", from, from+n)
						}
						done <- err
					}()
				}
				for range readers {
					if err := <-done; err != nil {
						t.Errorf("%s, %s %v: %v", name, weight, dt, err)
					}
				}
			}
		}
	}
}

// TestRounding compares weights in smaller types with those merged in float32.
func TestRounding(t *testing.T) {
	const name, weight = "dora of PEFT", sd.UNetPrefix + "input_blocks.0.0.weight"
	files, _ := cases(t)
	for _, dt := range []dtype.DType{dtype.F16, dtype.BF16, dtype.F8E4M3, dtype.F8E5M2} {
		base := unet(t, dt)
		ref, _ := base.Lookup(weight)
		wide := write(t, weights.F32(weight, dtype.F32, ref.Shape, values(read(t, base, weight), dt)))
		c := changes(t, base, files[name], 0.7)[weight]
		want := make([]byte, ref.Length)
		dtype.FromF32(want, values(read(t, wide, weight, c...), dtype.F32), dt)
		if got := read(t, base, weight, c...); !bytes.Equal(got, want) {
			t.Errorf("%v: the weight is not the one merged in F32, rounded", dt)
		}
	}
}

// tensor returns a tensor of random numbers.
func tensor(r *rand.Rand, name string, shape ...int) (weights.Tensor, []float32) {
	v := make([]float32, ir.Shape(shape).Elems())
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return weights.F32(name, dtype.F32, shape, v), v
}

// TestLarge merges a weight of many blocks whose result is known: W + 0.5·d,
// then with columns of length 1, then with rows of the lengths 0, 1, 2.
func TestLarge(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const n, k = 700, 300
	w, _ := tensor(r, "w", n, k)
	d, _ := tensor(r, "d", n, k)
	base := write(t, w)
	rows, columns := make([]float32, n), slices.Repeat([]float32{1}, k)
	for i := range rows {
		rows[i] = float32(i % 3)
	}
	l := write(t, d, weights.F32("rows", dtype.F32, []int{n, 1}, rows), weights.F32("columns", dtype.F32, []int{1, k}, columns))
	add := Change{lora.Change{First: lora.Factor{Whole: "d"}, Scale: 0.5}, l, 1}
	byColumn, byRow := add, add
	byColumn.Magnitude, byColumn.Columns, byColumn.Scale = "columns", true, 0
	byRow.Magnitude, byRow.Scale = "rows", 0

	got := values(read(t, base, "w", add, byColumn), dtype.F32)
	for j := range k {
		var square float64
		for i := range n {
			square += float64(got[i*k+j]) * float64(got[i*k+j])
		}
		if square < 0.9999 || square > 1.0001 {
			t.Fatalf("column %d has the square %v, want 1", j, square)
		}
	}
	got = values(read(t, base, "w", add, byColumn, byRow), dtype.F32)
	for i := range n {
		var square float64
		for _, v := range got[i*k:][:k] {
			square += float64(v) * float64(v)
		}
		if want := float64(rows[i] * rows[i]); square < want*0.9999 || square > want*1.0001 {
			t.Fatalf("row %d has the square %v, want %v", i, square, want)
		}
	}
}

// TestRowsOfAWeight merges changes into some rows of a weight: they are what
// the same changes make of those rows alone.
func TestRowsOfAWeight(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const n, k, from, rows = 600, 200, 150, 300
	w, v := tensor(r, "w", n, k)
	part := weights.F32("part", dtype.F32, []int{rows, k}, v[from*k:(from+rows)*k])
	base := write(t, w, part)
	up, _ := tensor(r, "up", rows, 3)
	down, _ := tensor(r, "down", 3, k)
	byRow, _ := tensor(r, "rows", rows)
	byColumn, _ := tensor(r, "columns", 1, k)
	l := write(t, up, down, byRow, byColumn)
	for _, magnitude := range []string{"", "rows", "columns"} {
		c := Change{lora.Change{First: lora.Factor{A: "up", B: "down"}, Scale: 0.3, Magnitude: magnitude, Columns: magnitude == "columns"}, l, 0.9}
		want := read(t, base, "part", c)
		c.From, c.Rows = from, rows
		got := read(t, base, "w", c)
		if !bytes.Equal(got[from*k*4:(from+rows)*k*4], want) {
			t.Errorf("DoRA of %q: the rows are not what they are alone", magnitude)
		}
		if whole := read(t, base, "w"); !bytes.Equal(got[:from*k*4], whole[:from*k*4]) || !bytes.Equal(got[(from+rows)*k*4:], whole[(from+rows)*k*4:]) {
			t.Errorf("DoRA of %q: other rows have changed", magnitude)
		}
	}
}

// TestZeros gives a row of zeros a length: it has no direction.
func TestZeros(t *testing.T) {
	base := write(t, weights.F32("w", dtype.F32, []int{2, 2}, []float32{0, 3, 0, 4}))
	l := write(t, weights.F32("d", dtype.F32, []int{2, 2}, []float32{0, -3, 0, 0}), weights.F32("rows", dtype.F32, []int{2}, []float32{5, 2}),
		weights.F32("columns", dtype.F32, []int{1, 2}, []float32{7, 12}))
	c := Change{lora.Change{First: lora.Factor{Whole: "d"}, Scale: 1, Magnitude: "rows"}, l, 1}
	if got := values(read(t, base, "w", c), dtype.F32); !slices.Equal(got, []float32{0, 0, 0, 2}) {
		t.Errorf("by rows: %v", got)
	}
	c.Magnitude, c.Columns = "columns", true
	if got := values(read(t, base, "w", c), dtype.F32); !slices.Equal(got, []float32{0, 0, 0, 12}) {
		t.Errorf("by columns: %v", got)
	}
}

// TestSignature: another strength, file or order is another signature.
func TestSignature(t *testing.T) {
	base := write(t, weights.F32("w", dtype.F32, []int{1, 1}, []float32{1}))
	ref, _ := base.Lookup("w")
	d := weights.F32("d", dtype.F32, []int{1, 1}, []float32{1})
	one, two := write(t, d), write(t, d)
	add := lora.Change{First: lora.Factor{Whole: "d"}, Scale: 1}
	seen := map[string]int{}
	for i, list := range [][]Change{
		{{add, one, 1}}, {{add, one, 0.5}}, {{add, two, 1}}, {{add, one, 1}, {add, two, 1}}, {{add, two, 1}, {add, one, 1}},
	} {
		s := New(ref, list, 0, plenty).Signature()
		if other, ok := seen[s]; ok {
			t.Errorf("%d has the signature of %d: %s", i, other, s)
		}
		seen[s] = i
		if again := New(ref, slices.Clone(list), 0, plenty).Signature(); again != s {
			t.Errorf("the same changes have the signatures %s and %s", s, again)
		}
	}
}

func TestErrors(t *testing.T) {
	const weight = sd.UNetPrefix + "time_embed.0.weight"
	base := unet(t, dtype.F16)
	ref, _ := base.Lookup(weight)
	files, _ := cases(t)
	c := changes(t, base, files["dora of columns"], 1)[weight]
	p := make([]byte, 64)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(ref, c, 0, plenty).ReadAt(cancelled, p, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := New(ref, c, 0, plenty).ReadAt(t.Context(), p, ref.Length-1); err == nil || !strings.Contains(err.Error(), "are outside its") {
		t.Errorf("behind the end: %v", err)
	}
	if err := New(ref, c, 0, plenty).ReadAt(cancelled, nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("no bytes: %v", err)
	}
	if runtime.GOOS == "windows" {
		return // a file that is mapped cannot be truncated there
	}
	for what, path := range map[string]string{"LoRA": c[0].Set.Files()[0].Path(), "base": ref.File.Path()} {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(len(whole)/100)); err != nil {
			t.Fatal(err)
		}
		err = New(ref, c, 0, plenty).ReadAt(t.Context(), p, 0)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "truncated") || !strings.Contains(err.Error(), "tensor") {
			t.Errorf("%s truncated: %v", what, err)
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatFitsIsMerged spoils files of every form a little, tensors and shapes:
// what the mapping still takes can be merged, and nothing panics.
func TestWhatFitsIsMerged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	base := unet(t, dtype.F16)
	on := newBase(t, base)
	files, _ := cases(t)
	more, _ := comfy(t)
	maps.Copy(files, more)
	names := slices.Sorted(maps.Keys(files))
	whole, skipped, refused := 0, 0, 0
	for range 200 {
		shapes := map[string][]int{}
		add := func(file *weights.Set, one bool) {
			list := file.Names()
			if one {
				list = list[r.IntN(len(list)):][:1]
			}
			for _, name := range list {
				ref, _ := file.Lookup(name)
				shapes[name] = slices.Clone(ref.Shape)
			}
		}
		add(files[names[r.IntN(len(names))]], false)
		for range r.IntN(3) {
			some := slices.Sorted(maps.Keys(shapes))
			name := some[r.IntN(len(some))]
			shape := shapes[name]
			switch kind := r.IntN(5); {
			case kind == 0 && len(some) > 1:
				delete(shapes, name)
			case kind == 1:
				add(files[names[r.IntN(len(names))]], true)
			case kind == 2 && len(shape) > 0:
				shape[r.IntN(len(shape))] = []int{0, 1, 2, 5, 32}[r.IntN(5)]
			case kind == 3 && len(shape) > 1:
				slices.Reverse(shape)
			case kind == 4:
				shapes[name] = append(shape, 1)
			}
		}
		var list []weights.Tensor
		for name, shape := range shapes {
			list = append(list, weights.F32(name, dtype.F32, shape, slices.Repeat([]float32{1}, ir.Shape(shape).Elems())))
		}
		l := write(t, list...)
		m, err := lora.Map(source{l}, on)
		switch {
		case err != nil:
			refused++
			continue
		case len(m.Skipped) > 0:
			skipped++
		default:
			whole++
		}
		for weight, list := range m.Changes {
			for _, c := range list {
				read(t, base, weight, Change{c, l, 0.5})
			}
		}
		for weight, list := range m.Adapters {
			for _, a := range list {
				read(t, base, weight, Change{lora.Merged(a), l, 0.5})
			}
		}
	}
	if whole < 20 || skipped < 20 || refused < 5 {
		t.Errorf("%d files were taken as a whole, %d in part and %d refused: this test shows little", whole, skipped, refused)
	}
}

// TestQuantizedBase merges into block-quantized weights, whose rows do not all
// begin where blocks do: the bytes are those of the same merged into what the
// blocks dequantize to, rounded to F16, whichever of them are read.
func TestQuantizedBase(t *testing.T) {
	for _, d := range []dtype.DType{dtype.Q4_K, dtype.Q8_0} {
		t.Run(d.String(), func(t *testing.T) { testQuantizedBase(t, d) })
	}
}

func testQuantizedBase(t *testing.T, quantized dtype.DType) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	plain := unet(t, dtype.F32)
	metadata := map[string]any{"general.architecture": "sd1"}
	var tensors []gguf.Tensor
	var same []weights.Tensor
	for _, name := range plain.Names() {
		ref, _ := plain.Lookup(name)
		v, err := ref.ReadF32(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		x := gguf.Tensor{Name: name, Shape: ref.Shape, DType: dtype.F32, Data: dtype.BytesOf(v)}
		if len(ref.Shape) > 1 && len(v)%dtype.MaxBlock == 0 {
			x.DType = quantized
			x.Data = gguf.Quantize(x.DType, v)
			dtype.ToF32(v, x.Data, x.DType)
			shape := []int32{}
			for _, n := range ref.Shape {
				shape = append(shape, int32(n))
			}
			metadata["comfy.gguf.orig_shape."+name], x.Shape = shape, []int{len(v) / dtype.MaxBlock, dtype.MaxBlock}
		}
		tensors, same = append(tensors, x), append(same, weights.F32(name, dtype.F32, ref.Shape, v))
	}
	path := filepath.Join(t.TempDir(), "unet.gguf")
	if err := os.WriteFile(path, gguf.Encode(metadata, tensors), 0o666); err != nil {
		t.Fatal(err)
	}
	base, err := weights.OpenSet(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	wide := write(t, same...)
	files, cases := comfy(t)
	seen, within := 0, 0 // weights, and rows that begin within a block
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		if len(c.files) > 1 {
			continue
		}
		l := files[c.files[0]]
		for weight, list := range changes(t, wide, l, c.strength) {
			ref, _ := base.Lookup(weight)
			want := values(read(t, wide, weight, list...), dtype.F32)
			rounded := make([]byte, 2*len(want))
			dt := DType(ref)
			if dt == dtype.F32 {
				continue
			}
			dtype.FromF32(rounded, want, dtype.F16)
			w := New(ref, list, 0, plenty)
			if dt != dtype.F16 || w.Bytes() != int64(len(rounded)) {
				t.Fatalf("%s is kept as %v in %d bytes", weight, dt, w.Bytes())
			}
			for range 5 {
				from := r.Int64N(w.Bytes())
				n := r.Int64N(w.Bytes()-from) + 1
				got := make([]byte, n)
				if err := w.ReadAt(t.Context(), got, from); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, rounded[from:from+n]) {
					t.Errorf("%s, %s (%v): bytes %d to %d are not those merged in F32, rounded", name, weight, ref.DType, from, from+n)
				}
			}
			seen++
			if elems, _ := ref.DType.Block(); int(ref.Elements())/ref.Shape[0]%elems != 0 {
				within++
			}
		}
	}
	if seen < 10 || within == 0 && quantized == dtype.Q4_K {
		t.Errorf("%d weights, %d with rows that begin within a block: this test shows little", seen, within)
	}
}

// TestTransposed merges changes into a weight that is stored with its inputs as
// rows: it becomes what the weight stored the usual way does, transposed.
func TestTransposed(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const n, k = 48, 300
	w, v := tensor(r, "w", n, k)
	turned := make([]float32, n*k)
	for i := range v {
		turned[i%k*n+i/k] = v[i]
	}
	base := write(t, w, weights.F32("turned", dtype.F32, []int{k, n}, turned))
	a, _ := tensor(r, "a", n, 3)
	b, _ := tensor(r, "b", 3, k)
	d, _ := tensor(r, "d", n, k)
	w1, _ := tensor(r, "w1", 4, 5)
	w2, _ := tensor(r, "w2", 12, 60)
	l := write(t, a, b, d, w1, w2)
	low, whole := lora.Factor{A: "a", B: "b"}, lora.Factor{Whole: "d"}
	for _, c := range []lora.Change{
		{First: low}, {First: whole}, {First: low, Second: low, Product: lora.Hadamard}, {First: whole, Product: lora.Replacement},
		{First: lora.Factor{Whole: "w1"}, Second: lora.Factor{Whole: "w2"}, Product: lora.Kronecker},
	} {
		c.Scale = 0.7
		want := values(read(t, base, "w", Change{c, l, 0.9}), dtype.F32)
		c.Transposed = true
		got := values(read(t, base, "turned", Change{c, l, 0.9}), dtype.F32)
		for i := range want {
			if got[i%k*n+i/k] != want[i] {
				t.Fatalf("%v: element %d,%d is %v, want %v", c.Product, i/k, i%k, got[i%k*n+i/k], want[i])
			}
		}
	}
}

// TestRotationStops cancels the computation of a rotation that mixes as many
// rows as one may.
func TestRotationStops(t *testing.T) {
	const n = 2048
	base := write(t, weights.F32("w", dtype.F32, []int{n, 1}, make([]float32, n)))
	l := write(t, weights.F32("blocks", dtype.F16, []int{1, n, n}, make([]float32, n*n)))
	ref, _ := base.Lookup("w")
	c := Change{lora.Change{Product: lora.Rotation, First: lora.Factor{Whole: "blocks"}, Group: n, Scale: 1}, l, 1}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := New(ref, []Change{c}, 0, plenty).ReadAt(ctx, make([]byte, 8), 0)
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 20*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}
