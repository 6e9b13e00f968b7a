// Command asm writes the micro-kernels of package cpu for amd64: see
// device/cpu/kernel.go.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	// 8×2 accumulators of 16 elements in the 32 registers of AVX-512, 4×2 of 8
	// in the 16 of AVX2: enough to hide the latency of the multiplication.
	microKernel("multiplyAVX512", "AVX-512F", 8, 2, 64, func() VecVirtual { return ZMM() }, func(v VecVirtual) { VPXORD(v, v, v) })
	microKernel("multiplyAVX2", "AVX2 and FMA", 4, 2, 32, func() VecVirtual { return YMM() }, func(v VecVirtual) { VXORPS(v, v, v) })
	exponentials()
	maximum()
	Generate()
}

// microKernel writes a function that adds the product of a panel of A, rows
// elements a step, and a panel of B, vectors of size bytes a step, to C.
func microKernel(name, features string, rows, vectors, size int, vector func() VecVirtual, zero func(VecVirtual)) {
	columns := vectors * size / 4
	TEXT(name, NOSPLIT, "func(k int64, a, b, c *float32, ldc int64)")
	Doc(fmt.Sprintf("%s adds the product of a[k][%d] and b[k][%d] to %d×%d elements of c,", name, rows, columns, rows, columns),
		fmt.Sprintf("whose rows are ldc apart. It needs %s and k > 0.", features))
	k := Load(Param("k"), GP64())
	a, b, c := Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	SHLQ(Imm(2), ldc)

	sums := make([][]VecVirtual, rows)
	for r := range sums {
		for range vectors {
			v := vector()
			zero(v)
			sums[r] = append(sums[r], v)
		}
	}
	Label("step")
	var columnsOf []VecVirtual
	for j := range vectors {
		v := vector()
		VMOVUPS(Mem{Base: b, Disp: j * size}, v)
		columnsOf = append(columnsOf, v)
	}
	for r := range rows {
		v := vector()
		VBROADCASTSS(Mem{Base: a, Disp: 4 * r}, v)
		for j := range vectors {
			VFMADD231PS(columnsOf[j], v, sums[r][j])
		}
	}
	ADDQ(Imm(uint64(4*rows)), a)
	ADDQ(Imm(uint64(vectors*size)), b)
	DECQ(k)
	JNZ(LabelRef("step"))

	for r := range rows {
		for j := range vectors {
			at := Mem{Base: c, Disp: j * size}
			VADDPS(at, sums[r][j], sums[r][j])
			VMOVUPS(sums[r][j], at)
		}
		ADDQ(ldc, c)
	}
	VZEROUPPER()
	RET()
}

// constant returns a vector of copies of a number. It is written as its bits,
// for the assembler takes a whole number for an integer.
func constant(name string, x float32) VecVirtual {
	v := YMM()
	VBROADCASTSS(ConstData(name, U32(math.Float32bits(x))), v)
	return v
}

// exponentials writes the softmax's function: the exponentials of differences,
// by the method of exp in functions.go, with fused operations. Differences
// below the logarithm of the smallest normal number give 0.
func exponentials() {
	TEXT("exponentialsAVX2", NOSPLIT, "func(x *float32, groups int64, peak float32) float32")
	Doc("exponentialsAVX2 replaces groups of 8 elements by the exponentials of their differences",
		"to peak, which is not below them, and returns the sum. It needs AVX2 and FMA and groups > 0.")
	x, n := Load(Param("x"), GP64()), Load(Param("groups"), GP64())
	peak := YMM()
	addr, err := Param("peak").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(addr.Addr, peak)
	least, log2e := constant("least", -87.33654), constant("log2e", 1.44269504088896341)
	high, low := constant("ln2High", 0.693359375), constant("ln2Low", -2.12194440e-4)
	one := constant("one", 1)
	sum := YMM()
	VXORPS(sum, sum, sum)
	Label("eight")
	v, mask, whole := YMM(), YMM(), YMM()
	VMOVUPS(Mem{Base: x}, v)
	VSUBPS(peak, v, v)
	VCMPPS(Imm(0x05), least, v, mask) // not below; what is no number stays so
	VMAXPS(v, least, v)
	VMULPS(log2e, v, whole)
	VROUNDPS(Imm(0), whole, whole)
	VFNMADD231PS(high, whole, v)
	VFNMADD231PS(low, whole, v)
	p, square := constant("p0", 1.9875691500e-4), YMM()
	for i, c := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		VFMADD213PS(constant(fmt.Sprintf("p%d", i+1), c), v, p)
	}
	VMULPS(v, v, square)
	VFMADD213PS(v, square, p)
	VADDPS(one, p, p)
	VCVTPS2DQ(whole, whole)
	VPSLLD(Imm(23), whole, whole)
	VPADDD(whole, p, p) // times the power of two: p is from 0.7 to 1.42
	VANDPS(mask, p, p)
	VMOVUPS(p, Mem{Base: x})
	VADDPS(p, sum, sum)
	ADDQ(Imm(32), x)
	DECQ(n)
	JNZ(LabelRef("eight"))
	result := XMM()
	VEXTRACTF128(Imm(1), sum, result)
	VADDPS(sum.AsX(), result, result)
	other := XMM()
	VMOVHLPS(result, result, other)
	VADDPS(other, result, result)
	VMOVSHDUP(result, other)
	VADDSS(other, result, result)
	VZEROUPPER()
	Store(result, ReturnIndex(0))
	RET()
}

// maximum writes the largest of groups of elements.
func maximum() {
	TEXT("maximumAVX2", NOSPLIT, "func(x *float32, groups int64) float32")
	Doc("maximumAVX2 returns the largest of groups of 8 elements. It needs AVX2 and groups > 0.")
	x, n := Load(Param("x"), GP64()), Load(Param("groups"), GP64())
	most := YMM()
	VMOVUPS(Mem{Base: x}, most)
	Label("next")
	VMAXPS(Mem{Base: x}, most, most)
	ADDQ(Imm(32), x)
	DECQ(n)
	JNZ(LabelRef("next"))
	result, other := XMM(), XMM()
	VEXTRACTF128(Imm(1), most, result)
	VMAXPS(most.AsX(), result, result)
	VMOVHLPS(result, result, other)
	VMAXPS(other, result, result)
	VMOVSHDUP(result, other)
	VMAXSS(other, result, result)
	VZEROUPPER()
	Store(result, ReturnIndex(0))
	RET()
}
