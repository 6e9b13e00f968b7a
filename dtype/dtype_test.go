package dtype

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
)

func TestNames(t *testing.T) {
	for d := DType(0); d < Q4_0; d++ {
		got, err := Parse(d.String())
		if err != nil || got != d {
			t.Errorf("Parse(%q) = %v, %v", d.String(), got, err)
		}
		if d.Size() < 1 || d.Size() > 8 || d.IsQuantized() || d.Bytes(3) != int64(3*d.Size()) {
			t.Errorf("%v has size %d", d, d.Size())
		}
	}
	for _, name := range []string{"", "f32", "F4", "DType(200)", "Q4_K"} {
		if d, err := Parse(name); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", name, d)
		}
	}
	if d := DType(200); d.Size() != 0 || d.Bytes(1) != 0 || d.String() != "DType(200)" || d.IsFloat() {
		t.Errorf("DType(200): size %d, name %q, float %v", d.Size(), d, d.IsFloat())
	}
}

// golden is a safetensors file, read with just enough code for the files that this package's own script writes.
type golden map[string]struct {
	DType   string `json:"dtype"`
	Offsets [2]int `json:"data_offsets"`
	data    []byte
}

func readGolden(t *testing.T, name string) golden {
	t.Helper()
	raw, err := os.ReadFile("../testdata/golden/" + name + ".safetensors")
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(raw)
	var g golden
	if err := json.Unmarshal(raw[8:8+n], &g); err != nil {
		t.Fatal(err)
	}
	for name, e := range g {
		e.data = raw[8+n:][e.Offsets[0]:e.Offsets[1]]
		g[name] = e
	}
	return g
}

func (g golden) get(t *testing.T, name string) (data []byte, dt DType) {
	t.Helper()
	e, ok := g[name]
	if !ok {
		t.Fatalf("no tensor %q in the golden file", name)
	}
	dt, err := Parse(e.DType)
	if err != nil {
		t.Fatal(err)
	}
	return e.data, dt
}

func (g golden) f32(t *testing.T, name string) []float32 {
	t.Helper()
	data, dt := g.get(t, name)
	if dt != F32 {
		t.Fatalf("golden tensor %q is %v, want F32", name, dt)
	}
	f := make([]float32, len(data)/4)
	for i := range f {
		f[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return f
}

// sameF32 reports whether a and b are the same bits, or NaNs of the same sign: PyTorch's own code paths differ in the
// payload they give a NaN.
func sameF32(a, b float32) bool {
	if a != a && b != b {
		return math.Signbit(float64(a)) == math.Signbit(float64(b))
	}
	return math.Float32bits(a) == math.Float32bits(b)
}

// TestWiden converts every pattern of the small float types.
func TestWiden(t *testing.T) {
	g := readGolden(t, "dtype")
	for _, dt := range []DType{F16, BF16, F8E4M3, F8E5M2} {
		want := g.f32(t, "to/"+dt.String())
		src := make([]byte, len(want)*dt.Size())
		for i := range want {
			if dt.Size() == 2 {
				binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
			} else {
				src[i] = byte(i)
			}
		}
		for _, shift := range []int{0, 1, 3} { // unaligned sources, and lengths that leave a rest
			n := len(want) - shift
			moved := append(make([]byte, shift), src[:n*dt.Size()]...)[shift:]
			got := make([]float32, n)
			ToF32(got, moved, dt)
			for i := range got {
				if !sameF32(got[i], want[i]) {
					t.Fatalf("%v pattern %#x = %v (%#x), want %v (%#x)", dt, i,
						got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
				}
			}
		}
	}
}

// TestNarrow converts edge cases and random values to the types that PyTorch defines a conversion of all values to.
func TestNarrow(t *testing.T) {
	g := readGolden(t, "dtype")
	src := g.f32(t, "from")
	for _, dt := range []DType{F32, F16, BF16, F8E4M3, F8E5M2, F64, BOOL} {
		name := "from/" + dt.String()
		if dt == F32 {
			name = "from"
		}
		want, _ := g.get(t, name)
		got := make([]byte, len(want))
		FromF32(got, src, dt)
		for i, f := range src {
			a, b := got[i*dt.Size():(i+1)*dt.Size()], want[i*dt.Size():(i+1)*dt.Size()]
			if bytes.Equal(a, b) {
				continue
			}
			if f != f && dt.IsFloat() { // NaN payloads may differ, see sameF32
				var x [1]float32
				if ToF32(x[:], a, dt); x[0] != x[0] && math.Signbit(float64(x[0])) == math.Signbit(float64(f)) {
					continue
				}
			}
			t.Fatalf("%v (%#x) as %v = %x, want %x", f, math.Float32bits(f), dt, a, b)
		}
	}
}

func TestWideTypes(t *testing.T) {
	g := readGolden(t, "dtype")
	for _, dt := range []DType{I8, I16, I32, I64, U8, U16, U32, U64, F64, BOOL} {
		raw, _ := g.get(t, "int/raw/"+dt.String())
		want := g.f32(t, "int/to/"+dt.String())
		got := make([]float32, len(want))
		ToF32(got, raw, dt)
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%v element %d = %v, want %v", dt, i, got[i], want[i])
			}
		}
		if dt == F64 || dt == BOOL {
			continue // TestNarrow has them
		}
		src := g.f32(t, "int/"+dt.String())
		wantBytes, _ := g.get(t, "int/from/"+dt.String())
		gotBytes := make([]byte, len(wantBytes))
		FromF32(gotBytes, src, dt)
		for i := range src {
			if a, b := gotBytes[i*dt.Size():(i+1)*dt.Size()], wantBytes[i*dt.Size():(i+1)*dt.Size()]; !bytes.Equal(a, b) {
				t.Fatalf("%v as %v = %x, want %x", src[i], dt, a, b)
			}
		}
	}
}

// TestClamp checks the conversions to integers that PyTorch leaves undefined.
func TestClamp(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		dt   DType
		f    float32
		want uint64
	}{
		{I8, 128, 0x7f}, {I8, -129, 0x80}, {I8, -1.9, 0xff}, {I8, nan, 0},
		{I16, inf, 0x7fff}, {I16, -inf, 0x8000}, {I32, 3e9, 0x7fffffff}, {I32, -3e9, 0x80000000},
		{I64, 1e30, 1<<63 - 1}, {I64, -1e30, 1 << 63}, {I64, nan, 0}, {I64, 0x1p63, 1<<63 - 1},
		{U8, 256, 0xff}, {U8, -1, 0}, {U16, 1e6, 0xffff}, {U32, 1e10, 0xffffffff}, {U32, -5, 0},
		{U64, inf, math.MaxUint64}, {U64, 0x1p64, math.MaxUint64}, {U64, -1, 0}, {U64, nan, 0}, {U64, 0x1p63, 1 << 63},
	} {
		var b [8]byte
		FromF32(b[:c.dt.Size()], []float32{c.f}, c.dt)
		if got := binary.LittleEndian.Uint64(b[:]); got != c.want {
			t.Errorf("%v as %v = %#x, want %#x", c.f, c.dt, got, c.want)
		}
	}
}

func TestLengths(t *testing.T) {
	mustPanic := func(name string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s did not panic", name)
			}
		}()
		f()
	}
	for dt := DType(0); dt < Q4_0; dt++ {
		ToF32(nil, nil, dt)
		FromF32(nil, nil, dt)
		mustPanic("ToF32 of "+dt.String(), func() { ToF32(make([]float32, 2), make([]byte, 2*dt.Size()+1), dt) })
		mustPanic("FromF32 of "+dt.String(), func() { FromF32(make([]byte, dt.Size()), make([]float32, 2), dt) })
	}
	mustPanic("ToF32 of no type", func() { ToF32(nil, nil, count) })
}

func TestViewF32(t *testing.T) {
	f := []float32{1, 2, 3}
	b := BytesOf(f)
	v, ok := ViewF32(b)
	if !ok || len(v) != 3 || &v[0] != &f[0] {
		t.Errorf("ViewF32 of aligned bytes = %v, %v", v, ok)
	}
	if v, ok := ViewF32(b[1:5]); ok {
		t.Errorf("ViewF32 of unaligned bytes = %v, want none", v)
	}
	if v, ok := ViewF32(b[:7]); ok {
		t.Errorf("ViewF32 of 7 bytes = %v, want none", v)
	}
	if v, ok := ViewF32(nil); !ok || len(v) != 0 {
		t.Errorf("ViewF32(nil) = %v, %v", v, ok)
	}
}

func BenchmarkToF32(b *testing.B) {
	const n = 1 << 16
	weights := make([]float32, n)
	x := uint64(1)
	for i := range weights { // roughly as large as a network's weights
		x = x*6364136223846793005 + 1442695040888963407
		weights[i] = float32(int32(x>>32)) * 0x1p-36
	}
	for _, dt := range []DType{F32, F16, BF16, F8E4M3, F8E5M2, I8, I64} {
		b.Run(fmt.Sprint(dt), func(b *testing.B) {
			src, dst := make([]byte, n*dt.Size()), make([]float32, n)
			FromF32(src, weights, dt)
			b.SetBytes(4 * n)
			for b.Loop() {
				ToF32(dst, src, dt)
			}
		})
	}
	for dt := Q4_0; dt < count; dt++ {
		b.Run(fmt.Sprint(dt), func(b *testing.B) {
			src, dst := make([]byte, dt.Bytes(n)), make([]float32, n)
			for i := range src {
				src[i] = byte(i*37) & 0x3b // no scale is infinite
			}
			b.SetBytes(4 * n)
			for b.Loop() {
				ToF32(dst, src, dt)
			}
		})
	}
}

func BenchmarkFromF32(b *testing.B) {
	const n = 1 << 16
	src := make([]float32, n)
	for i := range src {
		src[i] = float32(i-n/2) * 0x1p-18
	}
	for _, dt := range []DType{F16, BF16, F8E4M3} {
		b.Run(fmt.Sprint(dt), func(b *testing.B) {
			dst := make([]byte, n*dt.Size())
			b.SetBytes(4 * n)
			for b.Loop() {
				FromF32(dst, src, dt)
			}
		})
	}
}
