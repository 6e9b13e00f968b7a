package dtype

import (
	"encoding/binary"
	"math"
	"testing"
)

// TestWidenIsThePortable converts every half with and without the processor's
// instruction.
func TestWidenIsThePortable(t *testing.T) {
	if !hasF16C {
		t.Skip("the processor has no F16C, so every other test is of the portable code")
	}
	src := make([]byte, 2<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
	}
	fast, slow := make([]float32, 1<<16), make([]float32, 1<<16)
	f16ToF32(fast, src)
	hasF16C = false
	defer func() { hasF16C = true }()
	f16ToF32(slow, src)
	for i, v := range slow {
		if v == v && math.Float32bits(v) != math.Float32bits(fast[i]) || v != v && fast[i] == fast[i] {
			t.Errorf("half %#04x is %v, and %v in portable code", i, fast[i], v)
		}
	}
}
