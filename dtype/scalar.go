package dtype

import "math"

// F16ToF32 widens an IEEE 754 half. A signalling NaN becomes quiet, as the processors' own conversions do.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	bits := uint32(h&0x7fff) << 13
	switch exp := h & 0x7c00; {
	case exp == 0: // zero or subnormal: mant × 2⁻²⁴, by the subtraction of two normal numbers
		const half = 113 << 23 // 2⁻¹⁴
		f := math.Float32frombits(bits+half) - math.Float32frombits(half)
		return math.Float32frombits(math.Float32bits(f) | sign)
	case exp != 0x7c00:
		return math.Float32frombits(sign | (bits + (127-15)<<23))
	case bits == 0x7c00<<13:
		return math.Float32frombits(sign | 0x7f800000)
	default:
		return math.Float32frombits(sign | 0x7fc00000 | bits)
	}
}

// F32ToF16 rounds to an IEEE 754 half: to nearest, ties to even, too large values to infinity. A NaN stays one.
func F32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x47800000: // 2¹⁶ and infinity; what lies between 65504 and it rounds by the carry below
		return sign | 0x7c00
	case b < 0x38800000: // less than 2⁻¹⁴: subnormal; adding 0.5 leaves multiples of 2⁻²⁴ in the mantissa
		f := math.Float32frombits(b) + 0.5
		return sign | uint16(math.Float32bits(f)-0x3f000000)
	default:
		b += 0xfff + b>>13&1
		return sign | uint16((b-(127-15)<<23)>>13)
	}
}

// BF16ToF32 widens a bfloat16, whose bits are the upper half of a float32's.
func BF16ToF32(h uint16) float32 {
	return math.Float32frombits(uint32(h) << 16)
}

// F32ToBF16 rounds to a bfloat16: to nearest, ties to even, too large values to infinity. A NaN stays one.
func F32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40 // quiet, lest the dropped bits were the only ones that made it a NaN
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// F32ToF8E4M3 rounds to nearest, ties to even. The format has no infinity: what is larger than its largest value, 448,
// becomes 448. A NaN stays one.
func F32ToF8E4M3(f float32) uint8 {
	b := math.Float32bits(f)
	sign := uint8(b>>24) & 0x80
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7f
	case b >= 0x43e00000: // 448
		return sign | 0x7e
	case b < 0x3c800000: // less than 2⁻⁶: subnormal; adding 2¹⁴ leaves multiples of 2⁻⁹ in the mantissa
		f := math.Float32frombits(b) + 0x1p14
		return sign | uint8(math.Float32bits(f)-0x46800000)
	default:
		b += 0x7ffff + b>>20&1
		return sign | uint8((b-(127-7)<<23)>>20)
	}
}

// F32ToF8E5M2 rounds to nearest, ties to even, too large values to infinity. A NaN stays one.
func F32ToF8E5M2(f float32) uint8 {
	b := math.Float32bits(f)
	sign := uint8(b>>24) & 0x80
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7f
	case b >= 0x47800000: // 2¹⁶ and infinity
		return sign | 0x7c
	case b < 0x38800000: // less than 2⁻¹⁴: subnormal; adding 2⁷ leaves multiples of 2⁻¹⁶ in the mantissa
		f := math.Float32frombits(b) + 0x1p7
		return sign | uint8(math.Float32bits(f)-0x43000000)
	default:
		b += 0xfffff + b>>21&1
		return sign | uint8((b-(127-15)<<23)>>21)
	}
}

var f8e4m3, f8e5m2 = f8Tables()

func f8Tables() (e4m3, e5m2 [256]float32) {
	for v := range 256 {
		e5m2[v] = F16ToF32(uint16(v) << 8)
		exp, mant := v>>3&15, float64(v&7)
		f := math.Ldexp(1+mant/8, exp-7)
		switch {
		case exp == 0:
			f = math.Ldexp(mant/8, -6)
		case exp == 15 && mant == 7:
			f = math.NaN()
		}
		if v >= 0x80 {
			f = math.Copysign(f, -1)
		}
		e4m3[v] = float32(f)
	}
	return e4m3, e5m2
}
