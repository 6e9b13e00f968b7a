package dtype

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestDequantize compares all types with the reference, whose blocks are random and have scales of all sizes.
func TestDequantize(t *testing.T) {
	g := readGolden(t, "quant")
	for dt := Q4_0; dt < NVFP4; dt++ {
		t.Run(dt.String(), func(t *testing.T) {
			raw, _ := g.get(t, dt.String()+"/blocks")
			want := g.f32(t, dt.String()+"/values")
			elems, size := dt.Block()
			if len(raw)/size*elems != len(want) || dt.Bytes(int64(len(want))) != int64(len(raw)) || elems > MaxBlock {
				t.Fatalf("%d values of %d bytes: blocks of %d in %d bytes", len(want), len(raw), elems, size)
			}
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 0))
			for block := range len(want) / elems {
				from := r.IntN(elems)
				to := from + 1 + r.IntN(elems-from)
				var part [MaxBlock]float32
				PartOfBlock(&part, raw[block*size:][:size], dt, from, to)
				for i := from; i < to; i++ {
					if math.Float32bits(part[i]) != math.Float32bits(want[block*elems+i]) {
						t.Fatalf("seed %d: element %d of %d to %d of block %d = %v, want %v", seed, i, from, to, block, part[i], want[block*elems+i])
					}
				}
			}
			for _, shift := range []int{0, 1} { // unaligned sources
				moved := append(make([]byte, shift), raw...)[shift:]
				got := make([]float32, len(want))
				ToF32(got, moved, dt)
				for i := range got {
					if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
						t.Fatalf("element %d of block %d = %v, want %v", i%elems, i/elems, got[i], want[i])
					}
				}
			}
		})
	}
}

func TestBlocks(t *testing.T) {
	for dt := Q4_0; dt < count; dt++ {
		elems, size := dt.Block()
		if dt.Size() != 0 || !dt.IsQuantized() || !dt.IsFloat() {
			t.Errorf("%v: size %d, quantized %v, float %v", dt, dt.Size(), dt.IsQuantized(), dt.IsFloat())
		}
		for n, want := range map[int]int{0: 0, 1: 1, elems: 1, elems + 1: 2, 3 * elems: 3} {
			if got := dt.Bytes(int64(n)); got != int64(want*size) {
				t.Errorf("%d elements of %v take %d bytes, want %d", n, dt, got, want*size)
			}
		}
		ToF32(nil, nil, dt)
		for what, f := range map[string]func(){
			"part of a block": func() { ToF32(make([]float32, elems/2), make([]byte, size), dt) },
			"a missing byte":  func() { ToF32(make([]float32, elems), make([]byte, size-1), dt) },
			"too many bytes":  func() { ToF32(make([]float32, elems), make([]byte, 2*size), dt) },
			"quantizing":      func() { FromF32(make([]byte, size), make([]float32, elems), dt) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%v: %s did not panic", dt, what)
					}
				}()
				f()
			}()
		}
	}
}
