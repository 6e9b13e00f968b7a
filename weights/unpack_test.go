package weights

import (
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
)

// quantizedGolden opens the layers that comfy-kitchen has quantized.
func quantizedGolden(t *testing.T) *Set {
	t.Helper()
	s, err := OpenSet(t.Context(), filepath.Join("..", "testdata", "golden", "quantized.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	u, err := s.Unpacked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestUnpacked compares what quantized weights stand for with comfy-kitchen,
// which multiplies in another order: by a unit in the last place, and a rotation
// by the rounding of its sums.
func TestUnpacked(t *testing.T) {
	s := quantizedGolden(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	tested := 0
	for _, name := range s.Names() {
		layer, ok := strings.CutSuffix(name, ".values")
		if !ok {
			continue
		}
		tested++
		values, _ := s.Lookup(name)
		want, err := values.ReadF32(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		weight, _ := s.Lookup(layer + ".weight")
		if weight.Quant == nil {
			t.Fatalf("%s is not quantized", layer)
		}
		format, _, _ := strings.Cut(layer, "_")
		if inPlace := slices.Contains([]string{"fp8", "int8", "old", "w4a4"}, format); weight.Mapped() != inPlace {
			t.Errorf("%s is used where the file is mapped: %v, want %v", layer, weight.Mapped(), inPlace)
		}
		if weight.Quant.Padded {
			s = s.Shaped(map[string][]int{layer + ".weight": values.Shape})
			weight, _ = s.Lookup(layer + ".weight")
		}
		got, err := weight.ReadF32(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(weight.Shape, values.Shape) || len(got) != len(want) || weight.Length != weight.DType.Bytes(int64(len(want))) {
			t.Fatalf("%s has the shape %v, %d values and %d bytes, want %v", layer, weight.Shape, len(got), weight.Length, values.Shape)
		}
		limit, largest := 0x1p-23, 0.0
		for _, v := range want {
			largest = max(largest, math.Abs(float64(v)))
		}
		for i := range want {
			allowed := limit * math.Abs(float64(want[i]))
			if weight.Quant.Smooth != nil {
				allowed *= 2 // one product more
			}
			if weight.Quant.Rotation > 0 {
				allowed = 8 * limit * largest
			}
			if !(math.Abs(float64(got[i]-want[i])) <= allowed) {
				t.Fatalf("%s: element %d is %v, want %v", layer, i, got[i], want[i])
			}
		}
		// Some rows, and some bytes, are the same as in the whole.
		columns := weight.Shape[1]
		from := random.IntN(weight.Shape[0])
		n := 1 + random.IntN(weight.Shape[0]-from)
		whole := make([]byte, weight.Length)
		if err := weight.ReadAt(t.Context(), whole, 0); err != nil {
			t.Fatal(err)
		}
		stored := make([]float32, len(got))
		dtype.ToF32(stored, whole, weight.DType)
		rows := stored[from*columns : (from+n)*columns]
		if err := weight.Decode(t.Context(), rows, from, n); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(rows, got[from*columns:(from+n)*columns]) {
			t.Errorf("%s: rows %d to %d are not those of the whole", layer, from, from+n)
		}
		begin := random.IntN(len(whole))
		part := make([]byte, random.IntN(len(whole)-begin))
		if err := weight.ReadAt(t.Context(), part, int64(begin)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(part, whole[begin:begin+len(part)]) {
			t.Errorf("%s: bytes %d to %d are not those of the whole", layer, begin, begin+len(part))
		}
	}
	if tested < 24 {
		t.Errorf("%d layers were compared, want all of the golden", tested)
	}
}

// quantizedLayer is a layer of int8_tensorwise with a scale for each row, whose
// numbers are rows and columns.
func quantizedLayer(mark string) []Tensor {
	scales := make([]float32, 8)
	for i := range scales {
		scales[i] = float32(i) + 0.5
	}
	return []Tensor{
		{Name: "l.weight", DType: dtype.I8, Shape: []int{8, 16}, Write: Bytes(slices.Repeat([]byte{2}, 128))},
		F32("l.weight_scale", dtype.F32, []int{8, 1}, scales),
		{Name: "l.comfy_quant", DType: dtype.U8, Shape: []int{len(mark)}, Write: Bytes([]byte(mark))},
		F32("other", dtype.F16, []int{3}, []float32{1, 2, 3}),
	}
}

// writeSet writes tensors and opens them.
func writeSet(t testing.TB, metadata map[string]string, tensors []Tensor) *Set {
	t.Helper()
	path := filepath.Join(t.TempDir(), "q.safetensors")
	if err := Write(t.Context(), path, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSet(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestUnpackedNames marks a layer in each of the ways there are: what belongs to
// it has no name of its own any more, and is found by the weight's.
func TestUnpackedNames(t *testing.T) {
	const mark = `{"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 16}`
	old := []Tensor{
		{Name: "m.l.weight", DType: dtype.F8E4M3, Shape: []int{1, 2}, Write: Bytes([]byte{0x38, 0x40})},
		F32("m.l.scale_weight", dtype.F32, nil, []float32{0.5}), F32("m.l.scale_input", dtype.F32, nil, []float32{1}),
		{Name: "m.scaled_fp8", DType: dtype.F8E4M3, Shape: []int{2}, Write: Bytes([]byte{0, 0})},
	}
	for what, test := range map[string]struct {
		set           *Set
		weight, scale string
		rotation      int
		values        []float32
	}{
		"a mark":        {writeSet(t, nil, quantizedLayer(mark)), "l.weight", "l.weight_scale", 16, nil},
		"the metadata":  {writeSet(t, map[string]string{quantMetadata: `{"layers": {"l": ` + mark + `, "gone": {"format": "nvfp4"}}}`}, slices.Delete(quantizedLayer(""), 2, 3)), "l.weight", "l.weight_scale", 16, nil},
		"both":          {writeSet(t, map[string]string{quantMetadata: `{"layers": {"l": {"format": "int8_tensorwise"}}}`}, quantizedLayer(mark)), "l.weight", "l.weight_scale", 0, nil},
		"the old marks": {writeSet(t, nil, old), "m.l.weight", "m.l.scale_weight", 0, []float32{0.5, 1}},
	} {
		u, err := test.set.Unpacked(t.Context())
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		want := []string{test.weight}
		if _, ok := test.set.Lookup("other"); ok {
			want = append(want, "other")
		}
		if !slices.Equal(u.Names(), want) || u.Metadata()[quantMetadata] != "" {
			t.Errorf("%s: the names are %v, the metadata %v", what, u.Names(), u.Metadata())
		}
		weight, _ := u.Lookup(test.weight)
		if weight.Quant == nil || weight.Quant.Rotation != test.rotation {
			t.Errorf("%s: the weight is %+v", what, weight.Quant)
			continue
		}
		// A view has other names for the weight, and for its parts with it.
		scale, ok := u.Under("model.").Lookup(ScaleOf("model." + test.weight))
		if !ok || scale.Name != test.scale {
			t.Errorf("%s: the scale is %v, %v", what, scale, ok)
		}
		if _, ok := u.Lookup(SmoothOf(test.weight)); ok {
			t.Errorf("%s: there is a smoothing", what)
		}
		if p, name := u.Packing(); p != nil {
			t.Errorf("%s: still packed by %s", what, name)
		}
		if got, err := weight.ReadF32(t.Context()); err != nil || test.values != nil && !slices.Equal(got, test.values) {
			t.Errorf("%s: got %v, %v, want %v", what, got, err, test.values)
		}
	}
	plain := writeSet(t, nil, []Tensor{F32("other", dtype.F16, []int{3}, []float32{1, 2, 3})})
	if u, err := plain.Unpacked(t.Context()); err != nil || u != plain {
		t.Errorf("a set without quantized layers became another one, %v", err)
	}
}

// TestBadQuantizedLayers breaks layers in each way: the error names a tensor and
// says what is wrong.
func TestBadQuantizedLayers(t *testing.T) {
	const mark = `{"format": "int8_tensorwise"}`
	nan := float32(math.NaN())
	ones := slices.Repeat([]float32{1}, 64)
	zeros := func(name string, dt dtype.DType, shape ...int) Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return Tensor{Name: name, DType: dt, Shape: shape, Write: Bytes(make([]byte, n*dt.Size()))}
	}
	type change struct {
		what, want string
		metadata   string
		tensors    []Tensor
	}
	layer := func(mark string, replaced ...Tensor) []Tensor {
		all := quantizedLayer(mark)
		for _, r := range replaced {
			all = slices.DeleteFunc(all, func(x Tensor) bool { return x.Name == r.Name })
			if r.Write != nil {
				all = append(all, r)
			}
		}
		return all
	}
	scale := func(shape []int, values ...float32) Tensor { return F32("l.weight_scale", dtype.F32, shape, values) }
	for _, c := range []change{
		{"unknown format", `tensor "l.weight" is quantized in a format that is not known: "int3"; known are [asym_w4a8_int8 `, "", layer(`{"format": "int3"}`)},
		{"no format", `a format that is not known: ""`, "", layer(`{}`)},
		{"format that is a number", `a format that is not known: ""`, "", layer(`{"format": 5}`)},
		{"no JSON", `tensor "l.comfy_quant": it should be the JSON of a layer's format: `, "", layer(`{"format`)},
		{"a list", `tensor "l.comfy_quant": it should be the JSON of a layer's format: `, "", layer(`[1]`)},
		{"giant mark", `tensor "l.comfy_quant": it should be the JSON of a layer's format as at most 65536 bytes, found U8 [70000]`, "", layer(strings.Repeat(" ", 70000))},
		{"mark of another type", `tensor "l.comfy_quant": it should be the JSON`, "", layer(mark, F32("l.comfy_quant", dtype.F32, []int{2}, ones[:2]))},
		{"metadata that are no JSON", `_quantization_metadata in the metadata should describe layers as JSON: `, "x", quantizedLayer(mark)},
		{"giant metadata", `_quantization_metadata in the metadata has 16777217 bytes, at most 16777216`, strings.Repeat(" ", maxQuantMetadata+1), quantizedLayer(mark)},
		{"no scale", `tensor "l.weight" is quantized (int8_tensorwise) and its weight_scale is missing: there is no tensor "l.weight_scale"`, "", layer(mark, Tensor{Name: "l.weight_scale"})},
		{"too many scales", `tensor "l.weight_scale" of the weight "l.weight" is F32 [9], expected [1 8] floating-point numbers`, "", layer(mark, scale([]int{9}, ones[:9]...))},
		{"scales of columns", `is F32 [1 8], expected`, "", layer(mark, scale([]int{1, 8}, ones[:8]...))},
		{"scales that are integers", `is I32 [8], expected`, "", layer(mark, zeros("l.weight_scale", dtype.I32, 8))},
		{"scale that is no number", `tensor "l.weight_scale": number 3 is NaN: the file is damaged`, "", layer(mark, scale([]int{8}, 1, 1, 1, nan, 1, 1, 1, 1))},
		{"scale that is infinite", `tensor "l.weight_scale": number 0 is +Inf`, "", layer(mark, scale(nil, float32(math.Inf(1))))},
		{"weight of another type", `tensor "l.weight" is F16 [8 16], which is not what the format int8_tensorwise stores: expected a matrix of [I8]`, "", layer(mark, zeros("l.weight", dtype.F16, 8, 16))},
		{"weight that is a vector", `tensor "l.weight" is I8 [8], which is not what`, "", layer(mark, zeros("l.weight", dtype.I8, 8))},
		{"empty weight", `tensor "l.weight" is I8 [0 16], which is not what`, "", layer(mark, zeros("l.weight", dtype.I8, 0, 16))},
		{"experts", `tensor "l.weight" has the weights of several experts (4)`, "", layer(`{"format": "int8_tensorwise", "num_experts": 4}`)},
		{"rotation that does not fit", `tensor "l.weight": its 16 columns cannot have been rotated in groups of 256`, "", layer(`{"format": "int8_tensorwise", "convrot": true}`)},
		{"rotation of a strange group", `its 16 columns cannot have been rotated in groups of 8`, "", layer(`{"format": "int8_tensorwise", "convrot": 1, "convrot_groupsize": 8}`)},
		{"group that is no number", `tensor "l.weight": convrot_groupsize is "-16", expected a whole number`, "", layer(`{"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": -16}`)},
		{"rotated kernels", `tensor "l.weight" is I8 [8 4 2 2], which is not what`, "", layer(`{"format": "int8_tensorwise", "params": {"convrot": true, "convrot_groupsize": 4}}`, zeros("l.weight", dtype.I8, 8, 4, 2, 2))},
		{"nvfp4 without its second scale", `and its weight_scale_2 is missing`, "", layer(`{"format": "nvfp4"}`, zeros("l.weight", dtype.U8, 16, 8))},
		{"nvfp4 with few scales", `tensor "l.weight_scale" of the weight "l.weight" is F8_E4M3 [8 1], expected 512 bytes, for each row one of 16 columns`, "",
			layer(`{"format": "nvfp4"}`, zeros("l.weight", dtype.U8, 16, 8), zeros("l.weight_scale", dtype.F8E4M3, 8, 1), F32("l.weight_scale_2", dtype.F32, nil, ones[:1]))},
		{"nvfp4 of half a block", `tensor "l.weight": rows of 8 numbers are no whole blocks of 16`, "",
			layer(`{"format": "nvfp4"}`, zeros("l.weight", dtype.U8, 16, 4), F32("l.weight_scale_2", dtype.F32, nil, ones[:1]))},
		{"nvfp4 with a smoothing of another size", `tensor "l.pre_quant_scale" of the weight "l.weight" is F32 [15], expected [16]`, "",
			layer(`{"format": "nvfp4"}`, zeros("l.weight", dtype.U8, 16, 8), F32("l.weight_scale_2", dtype.F32, nil, ones[:1]), F32("l.pre_quant_scale", dtype.F32, []int{15}, ones[:15]))},
		{"mxfp8 of integers", `is I8 [8 16], which is not what the format mxfp8 stores`, "", layer(`{"format": "mxfp8"}`)},
		{"w4a8 without scales of groups", `and its weight_s_rel is missing`, "", layer(`{"format": "asym_w4a8_int8"}`)},
		{"w4a8 of 5 bits", `tensor "l.weight": rows of 20 bytes are not 32 numbers of 4 or 6 bits in groups of 16`, "",
			layer(`{"format": "asym_w4a8_int8"}`, zeros("l.weight", dtype.I8, 8, 20), zeros("l.weight_s_rel", dtype.F8E4M3, 8, 2))},
		{"w4a8 of no columns", `rows of 16 bytes are not 0 numbers`, "", layer(`{"format": "asym_w4a8_int8"}`, zeros("l.weight_s_rel", dtype.F8E4M3, 8, 0))},
		{"w4a8 in groups of all that there is", `tensor "l.weight_s_rel" of the weight "l.weight" is F8_E4M3 [8 2], expected one F8_E4M3 a row for each 2000000000 columns`, "",
			layer(`{"format": "asym_w4a8_int8", "group_size": 2000000000}`, zeros("l.weight_s_rel", dtype.F8E4M3, 8, 2))},
		{"w4a8 with a correction", `has a correction of its groups ("l.weight_correction"), which is not supported`, "",
			layer(`{"format": "asym_w4a8_int8", "convrot_groupsize": 16}`, zeros("l.weight_s_rel", dtype.F8E4M3, 8, 2), F32("l.weight_s_channel", dtype.F32, []int{8}, ones[:8]), zeros("l.weight_correction", dtype.F32, 2, 8))},
		{"w4a8 with a short table", `tensor "l.weight_codebook" of the weight "l.weight" is F32 [15], expected [16]`, "",
			layer(`{"format": "asym_w4a8_int8", "convrot_groupsize": 16}`, zeros("l.weight_s_rel", dtype.F8E4M3, 8, 2), F32("l.weight_s_channel", dtype.F32, []int{8}, ones[:8]), zeros("l.weight_codebook", dtype.F32, 15))},
		{"w4a4 of odd rows", `tensor "l.weight": its 20 columns cannot have been rotated in groups of 16`, "", layer(`{"format": "convrot_w4a4", "convrot_groupsize": 16}`, zeros("l.weight", dtype.I8, 8, 10))},
	} {
		metadata := map[string]string{}
		if c.metadata != "" {
			metadata[quantMetadata] = c.metadata
		}
		_, err := writeSet(t, metadata, c.tensors).Unpacked(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 600 {
			t.Errorf("%s: got %v, want %s", c.what, err, c.want)
		}
	}
}

// FuzzUnpacked reads layers with any mark, type and shape: it ends, and what it
// accepts can be read.
func FuzzUnpacked(f *testing.F) {
	for _, format := range slices.Sorted(maps.Keys(formats)) {
		f.Add(`{"format": "`+format+`", "convrot": true, "convrot_groupsize": 16, "group_size": 16}`, 8, 16, 8, 1, uint8(3), uint8(0))
		f.Add(`{"format": "`+format+`", "params": {"convrot_groupsize": 4}}`, 16, 8, 128, 4, uint8(5), uint8(3))
	}
	types := []dtype.DType{dtype.F32, dtype.F16, dtype.BF16, dtype.F8E4M3, dtype.F8E5M2, dtype.I8, dtype.U8, dtype.I32}
	f.Fuzz(func(t *testing.T, mark string, rows, columns, scaleRows, scaleColumns int, weightType, scaleType uint8) {
		for _, n := range []int{rows, columns, scaleRows, scaleColumns} {
			if n < 0 || n > 300 {
				return
			}
		}
		zeros := func(name string, dt dtype.DType, shape ...int) Tensor {
			return Tensor{Name: name, DType: dt, Shape: shape, Write: Bytes(make([]byte, shape[0]*shape[1]*dt.Size()))}
		}
		scale := types[int(scaleType)%len(types)]
		s := writeSet(t, nil, []Tensor{
			{Name: "l.comfy_quant", DType: dtype.U8, Shape: []int{len(mark)}, Write: Bytes([]byte(mark))},
			zeros("l.weight", types[int(weightType)%len(types)], rows, columns),
			zeros("l.weight_scale", scale, scaleRows, scaleColumns), zeros("l.weight_s_rel", scale, scaleRows, scaleColumns),
			F32("l.weight_scale_2", dtype.F32, nil, []float32{1}), F32("l.weight_s_channel", dtype.F32, []int{rows}, make([]float32, rows)),
		})
		u, err := s.Unpacked(t.Context())
		if err != nil {
			return
		}
		for _, name := range u.Names() {
			ref, _ := u.Lookup(name)
			if _, err := ref.ReadF32(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
