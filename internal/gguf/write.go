// Package gguf makes GGUF files for tests.
package gguf

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/weir-run/weir/dtype"
)

// A Tensor is a tensor of a file. Its Shape has the slowest dimension first.
type Tensor struct {
	Name  string
	DType dtype.DType
	Shape []int
	Data  []byte
}

// Alignment is that of the tensors in files that do not say another.
const Alignment = 32

// ids are ggml's numbers of the types.
var ids = map[dtype.DType]uint32{
	dtype.F32: 0, dtype.F16: 1, dtype.Q4_0: 2, dtype.Q4_1: 3, dtype.Q5_0: 6, dtype.Q5_1: 7, dtype.Q8_0: 8,
	dtype.Q2_K: 10, dtype.Q3_K: 11, dtype.Q4_K: 12, dtype.Q5_K: 13, dtype.Q6_K: 14,
	dtype.IQ2_XXS: 16, dtype.IQ2_XS: 17, dtype.IQ3_XXS: 18, dtype.IQ1_S: 19, dtype.IQ4_NL: 20, dtype.IQ3_S: 21, dtype.IQ2_S: 22,
	dtype.IQ4_XS: 23, dtype.IQ1_M: 29, dtype.TQ1_0: 34, dtype.TQ2_0: 35, dtype.MXFP4: 39,
	dtype.I8: 24, dtype.I16: 25, dtype.I32: 26, dtype.I64: 27, dtype.F64: 28, dtype.BF16: 30,
}

// Encode returns a file of version 3 with metadata that are strings, bool, uint32, int32, float32 or slices of bytes,
// int32, float32 and strings.
func Encode(metadata map[string]any, tensors []Tensor) []byte {
	le := binary.LittleEndian
	b := append([]byte("GGUF"), 3, 0, 0, 0)
	b = le.AppendUint64(b, uint64(len(tensors)))
	b = le.AppendUint64(b, uint64(len(metadata)))
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		b = appendValue(appendText(b, key), metadata[key])
	}
	offset := 0
	for _, t := range tensors {
		b = le.AppendUint32(appendText(b, t.Name), uint32(len(t.Shape)))
		for _, n := range slices.Backward(t.Shape) {
			b = le.AppendUint64(b, uint64(n))
		}
		id, ok := ids[t.DType]
		if !ok {
			panic(fmt.Sprintf("GGUF has no type %v", t.DType))
		}
		b = le.AppendUint64(le.AppendUint32(b, id), uint64(offset))
		offset += (len(t.Data) + Alignment - 1) / Alignment * Alignment
	}
	for _, t := range tensors {
		b = append(pad(b), t.Data...)
	}
	return pad(b)
}

func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&(Alignment-1))...) }

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

func appendValue(b []byte, value any) []byte {
	le := binary.LittleEndian
	switch v := value.(type) {
	case uint32:
		return le.AppendUint32(le.AppendUint32(b, 4), v)
	case int32:
		return le.AppendUint32(le.AppendUint32(b, 5), uint32(v))
	case float32:
		return le.AppendUint32(le.AppendUint32(b, 6), math.Float32bits(v))
	case bool:
		b = append(le.AppendUint32(b, 7), 0)
		if v {
			b[len(b)-1] = 1
		}
		return b
	case string:
		return appendText(le.AppendUint32(b, 8), v)
	case []int32:
		b = le.AppendUint64(le.AppendUint32(le.AppendUint32(b, 9), 5), uint64(len(v)))
		for _, x := range v {
			b = le.AppendUint32(b, uint32(x))
		}
		return b
	case []float32:
		b = le.AppendUint64(le.AppendUint32(le.AppendUint32(b, 9), 6), uint64(len(v)))
		for _, x := range v {
			b = le.AppendUint32(b, math.Float32bits(x))
		}
		return b
	case []byte:
		return append(le.AppendUint64(le.AppendUint32(le.AppendUint32(b, 9), 0), uint64(len(v))), v...)
	case []string:
		b = le.AppendUint64(le.AppendUint32(le.AppendUint32(b, 9), 8), uint64(len(v)))
		for _, x := range v {
			b = appendText(b, x)
		}
		return b
	}
	panic(fmt.Sprintf("metadata of type %T", value))
}
