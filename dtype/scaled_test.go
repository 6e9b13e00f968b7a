package dtype

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestScaledBlocks compares random blocks with the types' definitions, in double
// precision.
func TestScaledBlocks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	float := func(v uint8, exponent, mantissa, bias int) float64 {
		m, e := float64(v&(1<<mantissa-1)), int(v)>>mantissa&(1<<exponent-1)
		x := math.Ldexp(m, 1-bias-mantissa)
		if e > 0 {
			x = math.Ldexp(m+float64(int(1)<<mantissa), e-bias-mantissa)
		}
		if v>>(exponent+mantissa)&1 == 1 {
			x = -x
		}
		return x
	}
	e4m3 := func(v uint8) float64 { return float(v, 4, 3, 7) }
	for dt, element := range map[DType]func(b []byte, i int) float64{
		NVFP4: func(b []byte, i int) float64 { return e4m3(b[0]) * float(b[1+i/2]>>(4-i%2*4)&15, 2, 1, 1) },
		MXFP8: func(b []byte, i int) float64 { return math.Ldexp(e4m3(b[1+i]), int(b[0])-127) },
		W4A8: func(b []byte, i int) float64 {
			level := W4A8Levels[b[1+i/2]>>(i%2*4)&15]
			return math.Max(-127, math.Min(127, math.RoundToEven(float64(level*float32(e4m3(b[0]))))))
		},
		I4: func(b []byte, i int) float64 {
			v := float64(b[i/2] >> (i % 2 * 4) & 15)
			if v > 7 {
				v -= 16
			}
			return v
		},
	} {
		elems, size := dt.Block()
		raw := make([]byte, 4096*size)
		for i := range raw {
			if raw[i] = byte(r.Uint32()); raw[i]&0x7f == 0x7f {
				raw[i] = 0 // no number in F8_E4M3
			}
		}
		for block := 0; block < len(raw) && dt == MXFP8; block += size {
			raw[block] = byte(1 + r.IntN(230)) // in the range of float32
		}
		got := make([]float32, len(raw)/size*elems)
		ToF32(got, raw, dt)
		for i, v := range got {
			if want := element(raw[i/elems*size:], i%elems); float64(v) != float64(float32(want)) {
				t.Fatalf("%v: element %d of block %d is %v, want %v", dt, i%elems, i/elems, v, want)
			}
		}
	}
	if E8M0ToF32(127) != 1 || E8M0ToF32(130) != 8 || E8M0ToF32(0) != 0 {
		t.Errorf("exponents 127, 130 and 0 stand for %v, %v and %v", E8M0ToF32(127), E8M0ToF32(130), E8M0ToF32(0))
	}
}
