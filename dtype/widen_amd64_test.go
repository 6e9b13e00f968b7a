package dtype

import (
	"encoding/binary"
	"math"
	"testing"
)

// TestWidenIsThePortable converts every element of the types with and without
// the processor's instructions.
func TestWidenIsThePortable(t *testing.T) {
	for dt := range count {
		w := wideners[dt]
		if w.convert == nil {
			continue // every other test is of the portable code
		}
		src := make([]byte, 2<<16)
		for i := range 1 << 16 {
			binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
		}
		n := len(src) / dt.Size()
		for _, length := range []int{n, n - 1, n - 15, 17, 7, 1} {
			from := (n - length) * dt.Size()
			fast, slow := make([]float32, length), make([]float32, length)
			ToF32(fast, src[from:], dt)
			wideners[dt] = widener{}
			ToF32(slow, src[from:], dt)
			wideners[dt] = w
			for i, v := range slow {
				same := math.Float32bits(v) == math.Float32bits(fast[i])
				// The payload of a half that is no number is the processor's.
				if !same && !(dt == F16 && v != v && fast[i] != fast[i]) {
					t.Fatalf("%v: element %d of %d is %v, and %v in portable code", dt, i, length, fast[i], v)
				}
			}
		}
	}
}
