package synth

import (
	"context"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/gguf"
	"github.com/weir-run/weir/weights"
)

// Quantized returns the tensors of a set as a GGUF file, and the same numbers
// as tensors in float32. Matrices and kernels become Q4_K and Q8_0 in turn, as
// city96's converter stores them: those whose rows are no whole blocks as rows
// of 256, with their shape in the metadata. The rest stays as it is.
func Quantized(ctx context.Context, set *weights.Set) (file []byte, same []weights.Tensor, err error) {
	metadata := map[string]any{"general.architecture": "sd1"}
	for key, value := range set.Metadata() {
		metadata[key] = value
	}
	var tensors []gguf.Tensor
	for i, name := range set.Names() {
		ref, _ := set.Lookup(name)
		values, err := ref.ReadF32(ctx)
		if err != nil {
			return nil, nil, err
		}
		t := gguf.Tensor{Name: name, Shape: ref.Shape}
		if t.DType = quantizable(ref.Shape, i); t.DType == dtype.F32 {
			t.Data = append(t.Data, dtype.BytesOf(values)...)
		} else {
			t.Data = gguf.Quantize(t.DType, values)
			dtype.ToF32(values, t.Data, t.DType)
			if block, _ := t.DType.Block(); ref.Shape[len(ref.Shape)-1]%block != 0 {
				shape := make([]int32, len(ref.Shape))
				for j, n := range ref.Shape {
					shape[j] = int32(n)
				}
				metadata["comfy.gguf.orig_shape."+name] = shape
				t.Shape = []int{len(values) / dtype.MaxBlock, dtype.MaxBlock}
			}
		}
		tensors = append(tensors, t)
		same = append(same, weights.F32(name, dtype.F32, ref.Shape, values))
	}
	return gguf.Encode(metadata, tensors), same, nil
}

// quantizable returns the type that tensor number i is stored as.
func quantizable(shape []int, i int) dtype.DType {
	n := 1
	for _, d := range shape {
		n *= d
	}
	if len(shape) < 2 || n%dtype.MaxBlock != 0 {
		return dtype.F32
	}
	return []dtype.DType{dtype.Q4_K, dtype.Q8_0}[i%2]
}
