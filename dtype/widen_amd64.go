package dtype

import "github.com/klauspost/cpuid/v2"

//go:generate go run ./asm -out convert_amd64.s -stubs convert_amd64.go -pkg dtype

// A widener converts groups of elements of a type by the processor's own
// instructions.
type widener struct {
	elems, bytes int // of a group
	convert      func(dst *float32, src *byte, groups int64)
}

// wideners are those that the processor can run.
var wideners = func() (all [count]widener) {
	if cpuid.CPU.Supports(cpuid.AVX, cpuid.F16C) {
		all[F16] = widener{8, 16, widenF16C}
	}
	if cpuid.CPU.Supports(cpuid.AVX2) {
		all[BF16], all[I8] = widener{16, 32, widenBF16}, widener{16, 16, widenI8}
	}
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.F16C) {
		all[F8E4M3], all[F8E5M2] = widener{16, 16, widenF8E4M3}, widener{16, 16, widenF8E5M2}
	}
	return all
}()

// widen converts the first elements by the processor's own instructions and
// returns how many.
func widen(dst []float32, src []byte, dt DType) int {
	w := wideners[dt]
	if w.convert == nil || len(dst) < w.elems {
		return 0
	}
	groups := len(dst) / w.elems
	_ = src[groups*w.bytes-1]
	w.convert(&dst[0], &src[0], int64(groups))
	return groups * w.elems
}
