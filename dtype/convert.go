package dtype

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// ToF32 converts the len(dst) elements of type dt in src to float32. src may have any alignment; its length must be that
// of whole blocks, dt.Bytes(len(dst)), and ToF32 panics when it is not. Integers that float32 cannot hold are rounded to
// the nearest one; a BOOL is 1 when its byte is not 0.
func ToF32(dst []float32, src []byte, dt DType) {
	checkLength("ToF32", len(dst), len(src), dt)
	if len(dst) == 0 {
		return
	}
	if n := widen(dst, src, dt); n > 0 { // these types have no blocks
		dst, src = dst[n:], src[n*dt.Size():]
	}
	le := binary.LittleEndian
	switch dt {
	case F32:
		copy(BytesOf(dst), src)
	case F16:
		f16ToF32(dst, src)
	case BF16:
		for len(dst) >= 4 {
			w := le.Uint64(src)
			dst[0] = math.Float32frombits(uint32(w) << 16)
			dst[1] = math.Float32frombits(uint32(w) &^ 0xffff)
			dst[2] = math.Float32frombits(uint32(w>>32) << 16)
			dst[3] = math.Float32frombits(uint32(w>>32) &^ 0xffff)
			dst, src = dst[4:], src[8:]
		}
		for i := range dst {
			dst[i] = BF16ToF32(le.Uint16(src[2*i:]))
		}
	case F8E4M3:
		fromTable(dst, src, &f8e4m3)
	case F8E5M2:
		fromTable(dst, src, &f8e5m2)
	case I8:
		for i := range dst {
			dst[i] = float32(int8(src[i]))
		}
	case I16:
		for i := range dst {
			dst[i] = float32(int16(le.Uint16(src[2*i:])))
		}
	case I32:
		for i := range dst {
			dst[i] = float32(int32(le.Uint32(src[4*i:])))
		}
	case I64:
		for i := range dst {
			dst[i] = float32(int64(le.Uint64(src[8*i:])))
		}
	case U8:
		for i := range dst {
			dst[i] = float32(src[i])
		}
	case U16:
		for i := range dst {
			dst[i] = float32(le.Uint16(src[2*i:]))
		}
	case U32:
		for i := range dst {
			dst[i] = float32(le.Uint32(src[4*i:]))
		}
	case U64:
		for i := range dst {
			dst[i] = float32(le.Uint64(src[8*i:]))
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		}
	case BOOL:
		for i := range dst {
			dst[i] = 0
			if src[i] != 0 {
				dst[i] = 1
			}
		}
	default:
		dequantize(dst, src, dt)
	}
}

// FromF32 converts src to elements of type dt in dst, whose length must be len(src) × dt.Size(); FromF32 panics when it
// is not, and when dt is block-quantized: Weir quantizes nothing. Integers are cut toward zero and clamped to their type's range, with 0 for NaN; a BOOL is 1 when the value is
// not 0.
func FromF32(dst []byte, src []float32, dt DType) {
	if dt.IsQuantized() {
		panic(fmt.Sprintf("dtype.FromF32: %v is block-quantized", dt))
	}
	checkLength("FromF32", len(src), len(dst), dt)
	if len(src) == 0 {
		return
	}
	le := binary.LittleEndian
	switch dt {
	case F32:
		copy(dst, BytesOf(src))
	case F16:
		for i, f := range src {
			le.PutUint16(dst[2*i:], F32ToF16(f))
		}
	case BF16:
		for i, f := range src {
			le.PutUint16(dst[2*i:], F32ToBF16(f))
		}
	case F8E4M3:
		for i, f := range src {
			dst[i] = F32ToF8E4M3(f)
		}
	case F8E5M2:
		for i, f := range src {
			dst[i] = F32ToF8E5M2(f)
		}
	case I8:
		for i, f := range src {
			dst[i] = uint8(truncate(f, math.MinInt8, math.MaxInt8))
		}
	case I16:
		for i, f := range src {
			le.PutUint16(dst[2*i:], uint16(truncate(f, math.MinInt16, math.MaxInt16)))
		}
	case I32:
		for i, f := range src {
			le.PutUint32(dst[4*i:], uint32(truncate(f, math.MinInt32, math.MaxInt32)))
		}
	case I64:
		for i, f := range src {
			le.PutUint64(dst[8*i:], uint64(truncate(f, math.MinInt64, math.MaxInt64)))
		}
	case U8:
		for i, f := range src {
			dst[i] = uint8(truncate(f, 0, math.MaxUint8))
		}
	case U16:
		for i, f := range src {
			le.PutUint16(dst[2*i:], uint16(truncate(f, 0, math.MaxUint16)))
		}
	case U32:
		for i, f := range src {
			le.PutUint32(dst[4*i:], uint32(truncate(f, 0, math.MaxUint32)))
		}
	case U64:
		for i, f := range src {
			le.PutUint64(dst[8*i:], truncateU64(f))
		}
	case F64:
		for i, f := range src {
			le.PutUint64(dst[8*i:], math.Float64bits(float64(f)))
		}
	case BOOL:
		for i, f := range src {
			dst[i] = 0
			if f != 0 {
				dst[i] = 1
			}
		}
	}
}

// ViewF32 returns the float32s that b holds without copying them, and false when b is not aligned to 4 bytes or is not
// a whole number of them. The view is valid as long as b is.
func ViewF32(b []byte) ([]float32, bool) {
	if len(b) == 0 {
		return nil, true
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if len(b)%4 != 0 || uintptr(p)%4 != 0 {
		return nil, false
	}
	return unsafe.Slice((*float32)(p), len(b)/4), true
}

func checkLength(function string, elements, bytes int, dt DType) {
	elems, size := dt.Block()
	if elems == 0 {
		panic(fmt.Sprintf("dtype.%s: %v is not a type", function, dt))
	}
	if elements%elems != 0 || bytes%size != 0 || bytes/size != elements/elems {
		panic(fmt.Sprintf("dtype.%s: %d elements of %v take %d bytes for each %d, got %d bytes", function, elements, dt, size, elems, bytes))
	}
}

// f16ToF32 takes four halves a turn. A group without zeros, subnormals, infinities and NaNs, as nearly all are in
// weights, needs only its exponents rebased.
func f16ToF32(dst []float32, src []byte) {
	const (
		lanes    = 0x0001_0001_0001_0001
		exponent = 0x7c00 * lanes
	)
	for len(dst) >= 4 {
		w := binary.LittleEndian.Uint64(src)
		// Adding 1 to an exponent, kept from its neighbours, gives 1 for 0 and 32 for 31, the two special ones: neither
		// has one of the bits 2, 4, 8 and 16 set, which every other has.
		e := ((w & exponent) >> 1) + 0x0200*lanes
		e = (e | e>>1 | e>>2 | e>>3) & (0x0400 * lanes)
		if e == 0x0400*lanes {
			dst[0] = rebase(uint16(w))
			dst[1] = rebase(uint16(w >> 16))
			dst[2] = rebase(uint16(w >> 32))
			dst[3] = rebase(uint16(w >> 48))
		} else {
			dst[0] = F16ToF32(uint16(w))
			dst[1] = F16ToF32(uint16(w >> 16))
			dst[2] = F16ToF32(uint16(w >> 32))
			dst[3] = F16ToF32(uint16(w >> 48))
		}
		dst, src = dst[4:], src[8:]
	}
	for i := range dst {
		dst[i] = F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

// rebase widens a half that is a normal number: the sign is spread over the bits that the wider exponent then takes.
func rebase(h uint16) float32 {
	return math.Float32frombits(uint32(int32(int16(h))<<13)&0x8fffffff + (127-15)<<23)
}

func fromTable(dst []float32, src []byte, table *[256]float32) {
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] = table[v]
	}
}

// BytesOf returns the memory of v, which is little-endian on every platform that Weir is built for.
func BytesOf[T float32 | int32](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// truncate cuts f toward zero and clamps it to lo..hi.
func truncate(f float32, lo, hi int64) int64 {
	switch {
	case f != f:
		return 0
	case f <= float32(lo):
		return lo
	case f >= float32(hi):
		return hi
	}
	return int64(f)
}

// truncateU64 cuts f toward zero and clamps it to 0..2⁶⁴-1.
func truncateU64(f float32) uint64 {
	switch {
	case !(f > 0):
		return 0
	case f >= 0x1p64:
		return math.MaxUint64
	}
	return uint64(f)
}
