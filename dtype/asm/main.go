// Command asm writes the conversions to float32 for amd64.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	widen("widenF16C", "halves. It needs AVX and F16C", 8, 16, func(src Mem, dst []VecVirtual) {
		VCVTPH2PS(src, dst[0])
	})
	widen("widenBF16", "numbers BF16, which are the upper halves of float32. It needs AVX2", 16, 32, func(src Mem, dst []VecVirtual) {
		for i, v := range dst {
			VPMOVZXWD(src.Offset(16*i), v)
			VPSLLD(Imm(16), v, v)
		}
	})
	widen("widenI8", "signed bytes. It needs AVX2", 16, 16, func(src Mem, dst []VecVirtual) {
		for i, v := range dst {
			VPMOVSXBD(src.Offset(8*i), v)
			VCVTDQ2PS(v, v)
		}
	})
	widen("widenF8E5M2", "numbers F8_E5M2, which are the upper bytes of halves. It needs AVX2 and F16C", 16, 16, func(src Mem, dst []VecVirtual) {
		words := YMM()
		VPMOVZXBW(src, words)
		VPSLLW(Imm(8), words, words)
		halves(words, dst)
	})
	f8e4m3()
	Generate()
}

// widen writes a function that converts groups of elements, each of so many
// bytes. What converts a group gets a register for each 8 elements.
func widen(name, what string, elements, bytes int, group func(src Mem, dst []VecVirtual)) {
	TEXT(name, NOSPLIT, "func(dst *float32, src *byte, groups int64)")
	Doc(name + " converts groups of " + number(elements) + " " + what + " and groups > 0.")
	Pragma("noescape")
	loop(elements, bytes, group)
}

func number(n int) string { return map[int]string{8: "8", 16: "16"}[n] }

// loop goes through the groups.
func loop(elements, bytes int, group func(src Mem, dst []VecVirtual)) {
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("groups"), GP64())
	out := make([]VecVirtual, elements/8)
	for i := range out {
		out[i] = YMM()
	}
	Label("group")
	group(Mem{Base: src}, out)
	for i, v := range out {
		VMOVUPS(v, Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(Imm(uint64(bytes)), src)
	ADDQ(Imm(uint64(4*elements)), dst)
	DECQ(n)
	JNZ(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// halves widens 16 halves.
func halves(words VecVirtual, dst []VecVirtual) {
	VCVTPH2PS(words.AsX(), dst[0])
	upper := XMM()
	VEXTRACTI128(Imm(1), words, upper)
	VCVTPH2PS(upper, dst[1])
}

// f8e4m3 moves the bits of a number to where a half has them, whose exponent is
// larger by 8. The one number of all ones becomes the NaN that a table has.
func f8e4m3() {
	TEXT("widenF8E4M3", NOSPLIT, "func(dst *float32, src *byte, groups int64)")
	Doc("widenF8E4M3 converts groups of 16 numbers F8_E4M3. It needs AVX2 and F16C and groups > 0.")
	Pragma("noescape")
	all := map[uint32]VecVirtual{}
	for _, word := range []uint32{0x3f803f80, 0x80008000, 0x7e007e00, 0x43800000} { // the last is 256
		all[word] = constant(word)
	}
	loop(16, 16, func(src Mem, dst []VecVirtual) {
		words, sign, nan := YMM(), YMM(), YMM()
		VPMOVZXBW(src, words)
		VPSLLW(Imm(8), words, sign)
		VPAND(all[0x80008000], sign, sign)
		VPSLLW(Imm(7), words, words)
		VPAND(all[0x3f803f80], words, words)
		VPCMPEQW(all[0x3f803f80], words, nan)
		VPANDN(words, nan, words)
		VPAND(all[0x7e007e00], nan, nan)
		VPOR(nan, words, words)
		VPOR(sign, words, words)
		halves(words, dst)
		for _, v := range dst {
			VMULPS(all[0x43800000], v, v)
		}
	})
}

// constant returns a register of copies of 32 bits.
func constant(bits uint32) VecVirtual {
	x, v := XMM(), YMM()
	r := GP32()
	MOVL(Imm(uint64(bits)), r)
	VMOVD(r, x)
	VPBROADCASTD(x, v)
	return v
}
