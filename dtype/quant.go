package dtype

import (
	"encoding/binary"
	"math"
)

// A block-quantized element is an integer q of a few bits. Its value is d·q, with or without an offset, where d and the
// offset belong to the block or, in the types with a K, to a group of 16 or 32 elements of it, as products of a half and
// an integer. The layouts are those of ggml; products and sums are rounded to float32 one by one, as its reference does.
//
// Where the elements of a group take few values, these are computed once and then looked up.

// dequantize converts whole blocks.
func dequantize(dst []float32, src []byte, dt DType) {
	elems, bytes := dt.Block()
	for ; len(dst) > 0; dst, src = dst[elems:], src[bytes:] {
		dequantizeBlock(dst, src, dt, 0, elems)
	}
}

// PartOfBlock converts elements from..to of the block-quantized block at the beginning of src to their places in dst. It
// may change the others.
func PartOfBlock(dst *[MaxBlock]float32, src []byte, dt DType, from, to int) {
	dequantizeBlock(dst[:], src, dt, from, to)
}

// dequantizeBlock converts the groups of a block that have any of the elements from..to.
func dequantizeBlock(dst []float32, src []byte, dt DType, from, to int) {
	switch dt {
	case Q4_0:
		nibbles((*[32]float32)(dst), (*[16]byte)(src[2:]), half(src), 8, nothing)
	case Q4_1:
		nibbles((*[32]float32)(dst), (*[16]byte)(src[4:]), half(src), 0, half(src[2:]))
	case Q5_0:
		fives((*[32]float32)(dst), (*[20]byte)(src[2:]), half(src), 16, nothing)
	case Q5_1:
		fives((*[32]float32)(dst), (*[20]byte)(src[4:]), half(src), 0, half(src[2:]))
	case Q8_0:
		d := half(src)
		for i, q := range (*[32]byte)(src[2:]) {
			dst[i] = d * float32(int8(q))
		}
	case Q2_K:
		q2K((*[256]float32)(dst), (*[84]byte)(src), from, to)
	case Q3_K:
		q3K((*[256]float32)(dst), (*[110]byte)(src), from, to)
	case Q4_K:
		q4K((*[256]float32)(dst), (*[144]byte)(src), from, to)
	case Q5_K:
		q5K((*[256]float32)(dst), (*[176]byte)(src), from, to)
	case Q6_K:
		q6K((*[256]float32)(dst), (*[210]byte)(src), from, to)
	case IQ1_S:
		iq1S((*[256]float32)(dst), (*[50]byte)(src), from, to)
	case IQ1_M:
		iq1M((*[256]float32)(dst), (*[56]byte)(src), from, to)
	case IQ2_XXS:
		iq2XXS((*[256]float32)(dst), (*[66]byte)(src), from, to)
	case IQ2_XS:
		iq2XS((*[256]float32)(dst), (*[74]byte)(src), from, to)
	case IQ2_S:
		iq2S((*[256]float32)(dst), (*[82]byte)(src), from, to)
	case IQ3_XXS:
		iq3XXS((*[256]float32)(dst), (*[98]byte)(src), from, to)
	case IQ3_S:
		iq3S((*[256]float32)(dst), (*[110]byte)(src), from, to)
	case IQ4_NL:
		looked((*[32]float32)(dst), (*[16]byte)(src[2:]), half(src), &unevenValues)
	case IQ4_XS:
		iq4XS((*[256]float32)(dst), (*[136]byte)(src), from, to)
	case TQ1_0:
		tq1((*[256]float32)(dst), (*[54]byte)(src))
	case TQ2_0:
		tq2((*[256]float32)(dst), (*[66]byte)(src))
	case MXFP4:
		looked((*[32]float32)(dst), (*[16]byte)(src[1:]), halfE8M0(src[0]), &floatValues)
	case NVFP4:
		nvfp4((*[16]float32)(dst), (*[9]byte)(src))
	case MXFP8:
		mxfp8((*[32]float32)(dst), (*[33]byte)(src))
	case W4A8:
		w4a8((*[16]float32)(dst), (*[9]byte)(src))
	case I4:
		int4((*[32]float32)(dst), (*[16]byte)(src))
	}
}

func half(b []byte) float32 { return F16ToF32(binary.LittleEndian.Uint16(b)) }

// nothing is the offset -0, which added to any number, 0 and -0 among them, leaves it as it is.
var nothing = float32(math.Copysign(0, -1))

// nibbles is 32 elements d·(q-zero) + m of 4 bits: the lower halves of the 16 bytes, then the upper ones.
func nibbles(dst *[32]float32, qs *[16]byte, d float32, zero int, m float32) {
	var values [16]float32
	for q := range values {
		values[q] = float32(d*float32(q-zero)) + m
	}
	for i, q := range qs {
		dst[i], dst[16+i] = values[q&15], values[q>>4]
	}
}

// fives is 32 elements d·(q-zero) + m of 5 bits, the highest of which come first, in 4 bytes.
func fives(dst *[32]float32, b *[20]byte, d float32, zero int32, m float32) {
	high := binary.LittleEndian.Uint32(b[:])
	for i, q := range (*[16]byte)(b[4:]) {
		low, up := int32(q&15|byte(high>>i<<4)&16), int32(q>>4|byte(high>>(16+i)<<4)&16)
		dst[i], dst[16+i] = float32(d*float32(low-zero))+m, float32(d*float32(up-zero))+m
	}
}

// q2K is 16 groups of 16. A byte has elements of four groups, 32 elements apart.
func q2K(dst *[256]float32, b *[84]byte, from, to int) {
	scales, qs, d, m := b[:16], b[16:80], half(b[80:]), half(b[82:])
	for g := from / 16; g < (to+15)/16; g++ {
		s := scales[g]
		scale, offset := d*float32(s&15), m*float32(s>>4)
		var values [4]float32
		for q := range values {
			values[q] = float32(scale*float32(q)) - offset
		}
		shift := g / 2 % 4 * 2
		out := (*[16]float32)(dst[16*g:])
		for i, q := range (*[16]byte)(qs[g/8*32+g%2*16:]) {
			out[i] = values[q>>shift&3]
		}
	}
}

// q3K is 16 groups of 16 with signed scales of 6 bits. The third bit of an element, when it is not set, stands for -4.
func q3K(dst *[256]float32, b *[110]byte, from, to int) {
	mask, qs, packed, d := b[:32], b[32:96], b[96:108], half(b[108:])
	for g := from / 16; g < (to+15)/16; g++ {
		low, high := packed[g%8]>>(g/8*4)&15, packed[8+g%4]>>(g/4*2)&3
		scale := d * float32(int8(low|high<<4)-32)
		var values [8]float32
		for q := range values {
			values[q] = scale * float32(q-4)
		}
		shift, bit := g/2%4*2, g/2
		out := (*[16]float32)(dst[16*g:])
		above := (*[16]byte)(mask[g%2*16:])
		for i, q := range (*[16]byte)(qs[g/8*32+g%2*16:]) {
			out[i] = values[(q>>shift&3|above[i]>>bit<<2)&7]
		}
	}
}

// scaleAndOffset returns the scale and the offset of group g of eight, 6 bits each, of Q4_K and Q5_K.
func scaleAndOffset(b []byte, g int) (scale, offset byte) {
	if g < 4 {
		return b[g] & 63, b[g+4] & 63
	}
	return b[g+4]&15 | b[g-4]>>6<<4, b[g+4]>>4 | b[g]>>6<<4
}

// q4K is 8 groups of 32. A byte has elements of two neighbouring groups.
func q4K(dst *[256]float32, b *[144]byte, from, to int) {
	d, m, packed, qs := half(b[:]), half(b[2:]), b[4:16], b[16:]
	var low, high [16]float32
	fill := func(values *[16]float32, g int) {
		s, o := scaleAndOffset(packed, g)
		scale, offset := d*float32(s), m*float32(o)
		for q := range values {
			values[q] = float32(scale*float32(q)) - offset
		}
	}
	for pair := from / 64; pair < (to+63)/64; pair++ {
		fill(&low, 2*pair)
		fill(&high, 2*pair+1)
		out := (*[64]float32)(dst[64*pair:])
		for i, q := range (*[32]byte)(qs[32*pair:]) {
			out[i], out[32+i] = low[q&15], high[q>>4]
		}
	}
}

// q5K is Q4_K with a fifth bit, that of each group in a bit of the same 32 bytes.
func q5K(dst *[256]float32, b *[176]byte, from, to int) {
	d, m, packed, above, qs := half(b[:]), half(b[2:]), b[4:16], (*[32]byte)(b[16:]), b[48:]
	for g := from / 32; g < (to+31)/32; g++ {
		s, o := scaleAndOffset(packed, g)
		scale, offset := d*float32(s), m*float32(o)
		out := (*[32]float32)(dst[32*g:])
		for i, q := range (*[32]byte)(qs[g/2*32:]) {
			q = q>>(g%2*4)&15 | above[i]>>g&1<<4
			out[i] = float32(scale*float32(q)) - offset
		}
	}
}

// q6K is 16 groups of 16: four lower bits, of elements 64 apart in one byte, and two upper ones, of elements 32 apart.
func q6K(dst *[256]float32, b *[210]byte, from, to int) {
	lows, highs, scales, d := b[:128], b[128:192], b[192:208], half(b[208:])
	for g := from / 16; g < (to+15)/16; g++ {
		scale := d * float32(int8(scales[g]))
		at := g / 2 // of eight runs of 32
		low := (*[16]byte)(lows[at/4*64+at%2*32+g%2*16:])
		high := (*[16]byte)(highs[at/4*32+g%2*16:])
		lowShift, highShift := at%4/2*4, at%4*2
		out := (*[16]float32)(dst[16*g:])
		for i, q := range low {
			q = q>>lowShift&15 | high[i]>>highShift&3<<4
			out[i] = scale * float32(int32(q)-32)
		}
	}
}
