package dtype

import "math"

// The types of ComfyUI's quantized layers, by the formulas of comfy-kitchen.
// Products are rounded to float32 one by one, as there.

// e2m1 are the numbers of 1 sign, 2 exponent and 1 mantissa bits.
var e2m1 = [16]float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1)), -0.5, -1, -1.5, -2, -3, -4, -6}

// nvfp4 is 16 elements of 4 bits, the higher half of a byte first, after their
// scale.
func nvfp4(dst *[16]float32, b *[9]byte) {
	scale := f8e4m3[b[0]]
	for i, q := range b[1:] {
		dst[2*i], dst[2*i+1] = scale*e2m1[q>>4], scale*e2m1[q&15]
	}
}

// mxfp8 is 32 elements after their scale.
func mxfp8(dst *[32]float32, b *[33]byte) {
	scale := E8M0ToF32(b[0])
	for i, q := range b[1:] {
		dst[i] = scale * f8e4m3[q]
	}
}

// E8M0ToF32 returns the power of two that an exponent stands for. As in
// comfy-kitchen, the smallest stands for 0.
func E8M0ToF32(v uint8) float32 { return math.Float32frombits(uint32(v) << 23) }

// W4A8Levels is the table of W4A8 for files that have none of their own: the
// levels with the least error (Lloyd 1982, Max 1960) for normal numbers.
var W4A8Levels = [16]float32{
	-0.980602, -0.794529, -0.638165, -0.500986, -0.377321, -0.263187, -0.155210, -0.050720,
	0.052541, 0.156985, 0.265284, 0.379533, 0.502636, 0.638953, 0.794876, 0.980671,
}

// w4a8 is 16 elements of 4 bits, the lower half of a byte first, after their
// scale.
func w4a8(dst *[16]float32, b *[9]byte) {
	values := &w4a8Values[b[0]]
	for i, q := range b[1:] {
		dst[2*i], dst[2*i+1] = values[q&15], values[q>>4]
	}
}

// w4a8Values are the integers that the levels stand for, by the scale's byte.
var w4a8Values = func() (all [256][16]float32) {
	for scale := range all {
		for q, level := range W4A8Levels {
			all[scale][q] = RoundW4A8(level, f8e4m3[scale])
		}
	}
	return all
}()

// RoundW4A8 returns the integer from -127 to 127 that a level of W4A8 stands for
// in a group with a scale: the nearest, the even one of two.
func RoundW4A8(level, scale float32) float32 {
	return max(-127, min(127, float32(math.RoundToEven(float64(level*scale)))))
}

// int4 is 32 integers of 4 bits, the lower half of a byte first.
func int4(dst *[32]float32, b *[16]byte) {
	for i, q := range b {
		dst[2*i], dst[2*i+1] = float32(int8(q<<4)>>4), float32(int8(q)>>4)
	}
}
