package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/weir-run/weir/dtype"
)

// Quantize returns numbers, as many as whole blocks have, as Q8_0 or Q4_K. It is as good as tests of models need.
func Quantize(dt dtype.DType, x []float32) []byte {
	elems, _ := dt.Block()
	var out []byte
	for block := range slices.Chunk(x, elems) {
		switch dt {
		case dtype.Q8_0:
			out = appendQ8(out, block)
		case dtype.Q4_K:
			out = appendQ4K(out, block)
		default:
			panic(fmt.Sprintf("gguf.Quantize: %v is not done", dt))
		}
	}
	return out
}

func appendQ8(out []byte, x []float32) []byte {
	most := max(slices.Max(x), -slices.Min(x))
	out, d := appendHalf(out, most/127)
	for _, v := range x {
		out = append(out, byte(int8(level(v, d, -127, 127))))
	}
	return out
}

func appendQ4K(out []byte, x []float32) []byte {
	var scales, offsets [8]float32
	for g := range 8 {
		low := min(slices.Min(x[32*g:32*g+32]), 0)
		scales[g], offsets[g] = (slices.Max(x[32*g:32*g+32])-low)/15, -low
	}
	out, d := appendHalf(out, slices.Max(scales[:])/63)
	out, m := appendHalf(out, slices.Max(offsets[:])/63)
	var packed [12]byte
	for g := range 8 {
		s, o := level(scales[g], d, 0, 63), level(offsets[g], m, 0, 63)
		scales[g], offsets[g] = d*float32(s), m*float32(o)
		if g < 4 {
			packed[g], packed[g+4] = byte(s), byte(o)
			continue
		}
		packed[g-4] |= byte(s >> 4 << 6)
		packed[g] |= byte(o >> 4 << 6)
		packed[g+4] = byte(s&15 | o<<4)
	}
	out = append(out, packed[:]...)
	for pair := range 4 {
		for i := range 32 {
			var q [2]int
			for k := range q {
				g := 2*pair + k
				q[k] = level(x[32*g+i]+offsets[g], scales[g], 0, 15)
			}
			out = append(out, byte(q[0]|q[1]<<4))
		}
	}
	return out
}

// appendHalf appends a scale and returns what it has become.
func appendHalf(out []byte, d float32) ([]byte, float32) {
	h := dtype.F32ToF16(d)
	return binary.LittleEndian.AppendUint16(out, h), dtype.F16ToF32(h)
}

// level returns v/d, rounded and within bounds.
func level(v, d float32, low, high int) int {
	if d == 0 {
		return 0
	}
	return min(max(int(math.RoundToEven(float64(v/d))), low), high)
}
