package dtype

import (
	_ "embed"
	"encoding/binary"
	"math"
	"math/bits"
)

// The IQ types of ggml take four or eight neighbouring elements together as a point of a grid, which a table has, with
// signs of their own. A group of 16 or 32 elements has a scale.

// grids are the points of all types, one byte a number: see testdata/golden/grids.py.
//
//go:embed grids.bin
var grids string

// Where the grids begin: those of points of eight, those of points of four, and that of IQ1_S and IQ1_M.
const (
	gridIQ2XXS = 0
	gridIQ2XS  = gridIQ2XXS + 8*256
	gridIQ2S   = gridIQ2XS + 8*512
	gridIQ3XXS = gridIQ2S + 8*1024
	gridIQ3S   = gridIQ3XXS + 4*256
	gridIQ1    = gridIQ3S + 4*512
)

// signed writes the eight numbers of a point times a scale. A set bit of signs makes its number negative.
func signed(dst []float32, point string, scale float32, signs byte) {
	for i := range 8 {
		v := scale * float32(int8(point[i]))
		dst[i] = math.Float32frombits(math.Float32bits(v) ^ uint32(signs>>i&1)<<31)
	}
}

// even returns seven signs with an eighth one that makes the number of set bits even.
func even(signs uint32) byte {
	s := byte(signs & 127)
	return s | byte(bits.OnesCount8(s)&1)<<7
}

// eight and four return point i of a grid.
func eight(grid, i int) string { return grids[grid+8*i:][:8] }
func four(grid, i int) string  { return grids[grid+4*i:][:4] }

// iq2XXS is 8 groups of 32: the numbers of four points in a word, and their signs and the scale in another.
func iq2XXS(dst *[256]float32, b *[66]byte, from, to int) {
	d := half(b[:])
	for g := from / 32; g < (to+31)/32; g++ {
		points, word := b[2+8*g:][:4], binary.LittleEndian.Uint32(b[6+8*g:])
		scale := float32(d*(0.5+float32(word>>28))) * 0.25
		for i, p := range points {
			signed(dst[32*g+8*i:], eight(gridIQ2XXS, int(p)), scale, even(word>>(7*i)))
		}
	}
}

// iq2XS is 16 groups of 16: two points, each of 9 bits with 7 of its signs, and scales of 4 bits.
func iq2XS(dst *[256]float32, b *[74]byte, from, to int) {
	d := half(b[:])
	for g := from / 16; g < (to+15)/16; g++ {
		scale := float32(d*(0.5+float32(b[66+g/2]>>(g%2*4)&15))) * 0.25
		for i := range 2 {
			word := binary.LittleEndian.Uint16(b[2+4*g+2*i:])
			signed(dst[16*g+8*i:], eight(gridIQ2XS, int(word&511)), scale, even(uint32(word>>9)))
		}
	}
}

// iq2S is 16 groups of 16: two points of 10 bits, of which the upper two lie apart, all signs, and scales of 4 bits.
func iq2S(dst *[256]float32, b *[82]byte, from, to int) {
	d, points, signs, highs, scales := half(b[:]), b[2:34], b[34:66], b[66:74], b[74:82]
	for g := from / 16; g < (to+15)/16; g++ {
		scale := float32(d*(0.5+float32(scales[g/2]>>(g%2*4)&15))) * 0.25
		for i := 2 * g; i < 2*g+2; i++ {
			point := int(points[i]) | int(highs[i/4]>>(i%4*2)&3)<<8
			signed(dst[8*i:], eight(gridIQ2S, point), scale, signs[i])
		}
	}
}

// iq3XXS is 8 groups of 32: eight points of four numbers, then a word for each group with signs and scale as of IQ2_XXS.
func iq3XXS(dst *[256]float32, b *[98]byte, from, to int) {
	d := half(b[:])
	for g := from / 32; g < (to+31)/32; g++ {
		word := binary.LittleEndian.Uint32(b[66+4*g:])
		scale := float32(d*(0.5+float32(word>>28))) * 0.5
		for i := range 4 {
			points := b[2+8*g+2*i:]
			signed(dst[32*g+8*i:], four(gridIQ3XXS, int(points[0]))+four(gridIQ3XXS, int(points[1])), scale, even(word>>(7*i)))
		}
	}
}

// iq3S is 8 groups of 32: eight points of four numbers and 9 bits, of which the highest lies apart, all signs, and scales
// of 4 bits.
func iq3S(dst *[256]float32, b *[110]byte, from, to int) {
	d, points, highs, signs, scales := half(b[:]), b[2:66], b[66:74], b[74:106], b[106:110]
	for g := from / 32; g < (to+31)/32; g++ {
		scale := d * float32(1+2*int(scales[g/2]>>(g%2*4)&15))
		for i := range 4 {
			at := func(k int) string { return four(gridIQ3S, int(points[8*g+k])|int(highs[g]>>k&1)<<8) }
			signed(dst[32*g+8*i:], at(2*i)+at(2*i+1), scale, signs[4*g+i])
		}
	}
}

// iq1 writes a point of IQ1_S or IQ1_M, whose numbers are -1, 0 and 1 moved by an eighth.
func iq1(dst []float32, point int, scale float32, down bool) {
	delta := float32(0.125)
	if down {
		delta = -delta
	}
	p := eight(gridIQ1, point)
	for i := range 8 {
		dst[i] = scale * (float32(int8(p[i])) + delta)
	}
}

// iq1S is 8 groups of 32: four points of 11 bits, of which the upper three lie with the scale, and the sign of what they
// are moved by.
func iq1S(dst *[256]float32, b *[50]byte, from, to int) {
	d := half(b[:])
	for g := from / 32; g < (to+31)/32; g++ {
		high := binary.LittleEndian.Uint16(b[34+2*g:])
		scale := d * float32(2*(high>>12&7)+1)
		for i := range 4 {
			iq1(dst[32*g+8*i:], int(b[2+4*g+i])|int(high>>(3*i)&7)<<8, scale, high>>15 != 0)
		}
	}
}

// iq1M is 16 groups of 16: two points as of IQ1_S, each moved by a sign of its own, and scales of 3 bits. The upper bits
// of the words of scales are a half.
func iq1M(dst *[256]float32, b *[56]byte, from, to int) {
	words := func(i int) uint16 { return binary.LittleEndian.Uint16(b[48+2*i:]) }
	d := F16ToF32(words(0)>>12 | words(1)>>12<<4 | words(2)>>12<<8 | words(3)>>12<<12)
	for g := from / 16; g < (to+15)/16; g++ {
		scale := d * float32(2*(words(g/4)>>(g%4*3)&7)+1)
		for i := range 2 {
			high := b[32+g] >> (4 * i)
			iq1(dst[16*g+8*i:], int(b[2*g+i])|int(high&7)<<8, scale, high&8 != 0)
		}
	}
}

// unevenValues are what the four bits of IQ4_NL and IQ4_XS stand for, closer to each other near 0.
var unevenValues = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// floatValues are twice what the four bits of MXFP4 stand for: a float with two bits of exponent and one of mantissa.
var floatValues = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// looked is 32 elements of 4 bits that are looked up: the lower halves of the 16 bytes, then the upper ones.
func looked(dst *[32]float32, qs *[16]byte, d float32, table *[16]int8) {
	var values [16]float32
	for q, v := range table {
		values[q] = d * float32(v)
	}
	for i, q := range qs {
		dst[i], dst[16+i] = values[q&15], values[q>>4]
	}
}

// iq4XS is 8 groups of 32 with signed scales of 6 bits.
func iq4XS(dst *[256]float32, b *[136]byte, from, to int) {
	d, highs := half(b[:]), binary.LittleEndian.Uint16(b[2:])
	for g := from / 32; g < (to+31)/32; g++ {
		scale := b[4+g/2]>>(g%2*4)&15 | byte(highs>>(2*g)&3)<<4
		looked((*[32]float32)(dst[32*g:]), (*[16]byte)(b[8+16*g:]), d*float32(int(scale)-32), &unevenValues)
	}
}

// halfE8M0 returns half of the power of two that eight bits of exponent stand for.
func halfE8M0(e byte) float32 {
	if e < 2 {
		return math.Float32frombits(0x00200000 << e)
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

// tq1 is 256 elements -1, 0 and 1, five in a byte as digits of a number in base 3, which is stored as a fraction of 256.
func tq1(dst *[256]float32, b *[54]byte) {
	d := half(b[52:])
	digits := func(dst []float32, bytes []byte, n int) {
		power := byte(1)
		for i := range n {
			for k, q := range bytes {
				dst[i*len(bytes)+k] = d * float32(int(uint16(q*power)*3>>8)-1)
			}
			power *= 3
		}
	}
	digits(dst[:], b[:32], 5)
	digits(dst[160:], b[32:48], 5)
	digits(dst[240:], b[48:52], 4)
}

// tq2 is 256 elements -1, 0 and 1 of two bits. A byte has four, 32 elements apart.
func tq2(dst *[256]float32, b *[66]byte) {
	d := half(b[64:])
	for i, q := range b[:64] {
		for k := range 4 {
			dst[i/32*128+32*k+i%32] = d * float32(int(q>>(2*k)&3)-1)
		}
	}
}
