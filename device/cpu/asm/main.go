// Command asm writes the micro-kernels of package cpu for amd64: see
// device/cpu/kernel.go.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	// 8×2 accumulators of 16 elements in the 32 registers of AVX-512, 4×2 of 8
	// in the 16 of AVX2: enough to hide the latency of the multiplication.
	microKernel("multiplyAVX512", "AVX-512F", 8, 2, 64, func() VecVirtual { return ZMM() }, func(v VecVirtual) { VPXORD(v, v, v) })
	microKernel("multiplyAVX2", "AVX2 and FMA", 4, 2, 32, func() VecVirtual { return YMM() }, func(v VecVirtual) { VXORPS(v, v, v) })
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
