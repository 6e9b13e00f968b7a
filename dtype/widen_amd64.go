package dtype

import "github.com/klauspost/cpuid/v2"

//go:generate go run ./asm -out f16_amd64.s -stubs f16_amd64.go -pkg dtype

// hasF16C says whether the processor converts halves.
var hasF16C = cpuid.CPU.Supports(cpuid.AVX, cpuid.F16C)

// widen converts the first halves by the processor's own instruction and
// returns how many.
func widen(dst []float32, src []byte) int {
	groups := len(dst) / 8
	if !hasF16C || groups == 0 {
		return 0
	}
	_ = src[16*groups-1]
	widenF16C(&dst[0], &src[0], int64(groups))
	return 8 * groups
}
