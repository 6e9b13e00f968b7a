// Package dtype names the element types that checkpoints store, tells their sizes and converts them to and from
// float32.
//
// Stored elements are little endian, as in safetensors and GGUF, and so are the machines Weir runs on. All conversions
// are exact where the target can hold the value and round to nearest, ties to even, where it cannot; they agree with
// PyTorch's Tensor.to.
package dtype

import "fmt"

// DType is the type of a tensor's elements.
type DType uint8

// The element types. F8E4M3 is the variant without infinities (float8_e4m3fn in PyTorch, F8_E4M3 in safetensors).
const (
	F32 DType = iota
	F16
	BF16
	F8E4M3
	F8E5M2
	I8
	I16
	I32
	I64
	U8
	U16
	U32
	U64
	F64
	BOOL
	count
)

var names = [count]string{
	F32: "F32", F16: "F16", BF16: "BF16", F8E4M3: "F8_E4M3", F8E5M2: "F8_E5M2",
	I8: "I8", I16: "I16", I32: "I32", I64: "I64",
	U8: "U8", U16: "U16", U32: "U32", U64: "U64", F64: "F64", BOOL: "BOOL",
}

var sizes = [count]uint8{
	F32: 4, F16: 2, BF16: 2, F8E4M3: 1, F8E5M2: 1,
	I8: 1, I16: 2, I32: 4, I64: 8,
	U8: 1, U16: 2, U32: 4, U64: 8, F64: 8, BOOL: 1,
}

// String returns the name that safetensors uses, such as "F32" or "F8_E4M3".
func (d DType) String() string {
	if d >= count {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return names[d]
}

// Size returns the number of bytes of one element, and 0 for a value that is no type of this package.
func (d DType) Size() int {
	if d >= count {
		return 0
	}
	return int(sizes[d])
}

// IsFloat reports whether d is a floating-point type.
func (d DType) IsFloat() bool {
	return d <= F8E5M2 || d == F64
}

// Parse returns the type whose String is name. It knows the names above and no others.
func Parse(name string) (DType, error) {
	for d, n := range names {
		if n == name {
			return DType(d), nil
		}
	}
	return 0, fmt.Errorf("unknown dtype %q: known are %v", name, names)
}
