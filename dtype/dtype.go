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

	// What follows are block-quantized types, those of GGUF first: so many neighbouring elements share a scale, and have no bytes of
	// their own. The digit is how many bits an element has; those with a K are blocks of 256 elements with scales of
	// 16 or 32 of them, the others blocks of 32.
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q8_0
	Q2_K
	Q3_K
	Q4_K
	Q5_K
	Q6_K
	// Points of grids, uneven steps, three values, and floats of 4 bits with a common exponent.
	IQ1_S
	IQ1_M
	IQ2_XXS
	IQ2_XS
	IQ2_S
	IQ3_XXS
	IQ3_S
	IQ4_NL
	IQ4_XS
	TQ1_0
	TQ2_0
	MXFP4

	// What follows are the types of ComfyUI's quantized layers. In a checkpoint
	// the scales of NVFP4, MXFP8 and W4A8 are tensors of their own; here a
	// block begins with its scale.
	NVFP4 // 16 elements of 4 bits, E2M1, with a scale F8_E4M3
	MXFP8 // 32 elements F8_E4M3 with a scale that is a power of two
	W4A8  // 16 elements of 4 bits, from a table, with a scale F8_E4M3, rounded to integers
	I4    // integers of 4 bits from -8 to 7
	count
)

var names = [count]string{
	F32: "F32", F16: "F16", BF16: "BF16", F8E4M3: "F8_E4M3", F8E5M2: "F8_E5M2",
	I8: "I8", I16: "I16", I32: "I32", I64: "I64",
	U8: "U8", U16: "U16", U32: "U32", U64: "U64", F64: "F64", BOOL: "BOOL",
	Q4_0: "Q4_0", Q4_1: "Q4_1", Q5_0: "Q5_0", Q5_1: "Q5_1", Q8_0: "Q8_0",
	Q2_K: "Q2_K", Q3_K: "Q3_K", Q4_K: "Q4_K", Q5_K: "Q5_K", Q6_K: "Q6_K",
	IQ1_S: "IQ1_S", IQ1_M: "IQ1_M", IQ2_XXS: "IQ2_XXS", IQ2_XS: "IQ2_XS", IQ2_S: "IQ2_S", IQ3_XXS: "IQ3_XXS", IQ3_S: "IQ3_S",
	IQ4_NL: "IQ4_NL", IQ4_XS: "IQ4_XS", TQ1_0: "TQ1_0", TQ2_0: "TQ2_0", MXFP4: "MXFP4",
	NVFP4: "NVFP4", MXFP8: "MXFP8", W4A8: "W4A8", I4: "I4",
}

// blocks are the elements and the bytes of the pieces that each type is stored in.
var blocks = [count]struct{ elems, bytes uint16 }{
	F32: {1, 4}, F16: {1, 2}, BF16: {1, 2}, F8E4M3: {1, 1}, F8E5M2: {1, 1},
	I8: {1, 1}, I16: {1, 2}, I32: {1, 4}, I64: {1, 8},
	U8: {1, 1}, U16: {1, 2}, U32: {1, 4}, U64: {1, 8}, F64: {1, 8}, BOOL: {1, 1},
	Q4_0: {32, 18}, Q4_1: {32, 20}, Q5_0: {32, 22}, Q5_1: {32, 24}, Q8_0: {32, 34},
	Q2_K: {256, 84}, Q3_K: {256, 110}, Q4_K: {256, 144}, Q5_K: {256, 176}, Q6_K: {256, 210},
	IQ1_S: {256, 50}, IQ1_M: {256, 56}, IQ2_XXS: {256, 66}, IQ2_XS: {256, 74}, IQ2_S: {256, 82}, IQ3_XXS: {256, 98}, IQ3_S: {256, 110},
	IQ4_NL: {32, 18}, IQ4_XS: {256, 136}, TQ1_0: {256, 54}, TQ2_0: {256, 66}, MXFP4: {32, 17},
	NVFP4: {16, 9}, MXFP8: {32, 33}, W4A8: {16, 9}, I4: {32, 16},
}

// MaxBlock is the largest number of elements in a block of any type.
const MaxBlock = 256

// String returns the name that safetensors or, of block-quantized types, GGUF uses, such as "F32", "F8_E4M3" or "Q4_K".
func (d DType) String() string {
	if d >= count {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return names[d]
}

// Size returns the number of bytes of one element, and 0 for a value that is no type of this package. It is 0 for
// block-quantized types too, whose elements have no bytes of their own: see [DType.Bytes].
func (d DType) Size() int {
	if elems, bytes := d.Block(); elems == 1 {
		return bytes
	}
	return 0
}

// Block returns how many neighbouring elements are stored together, in how many bytes: 1 in Size bytes unless d is
// block-quantized. Both are 0 for a value that is no type of this package.
func (d DType) Block() (elems, bytes int) {
	if d >= count {
		return 0, 0
	}
	return int(blocks[d].elems), int(blocks[d].bytes)
}

// Bytes returns the number of bytes of the blocks that n elements take, and 0 for a value that is no type of this
// package.
func (d DType) Bytes(n int64) int64 {
	elems, bytes := d.Block()
	if elems <= 1 {
		return n * int64(bytes)
	}
	return (n + int64(elems) - 1) / int64(elems) * int64(bytes)
}

// IsQuantized reports whether d is block-quantized.
func (d DType) IsQuantized() bool { return d >= Q4_0 && d < count }

// IsFloat reports whether d is a floating-point type or block-quantized, so that its elements may be fractions.
func (d DType) IsFloat() bool {
	return d <= F8E5M2 || d == F64 || d.IsQuantized()
}

// Parse returns the type that safetensors calls name, which is its String. Block-quantized types have no name there.
func Parse(name string) (DType, error) {
	for d, n := range names[:Q4_0] {
		if n == name {
			return DType(d), nil
		}
	}
	return 0, fmt.Errorf("unknown dtype %.40q: known are %v", name, names[:Q4_0])
}
