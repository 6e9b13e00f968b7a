package synth

import (
	"context"
	"hash/crc32"
	"maps"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/gguf"
	"github.com/weir-run/weir/weights"
)

// Quantized returns the tensors of a set as a GGUF file, and the same numbers
// as tensors in float32. Matrices and kernels become Q4_K or Q8_0, as the ends of
// their names decide, so that parts of a checkpoint become what the checkpoint
// does. Those whose rows are no whole blocks are stored as rows of 256 with their
// shape in the metadata, as city96's converter does. The rest is float32. The
// file has the set's metadata besides those given.
func Quantized(ctx context.Context, set *weights.Set, metadata map[string]any) (file []byte, same []weights.Tensor, err error) {
	all := map[string]any{"general.architecture": "sd1"}
	maps.Copy(all, metadata)
	for key, value := range set.Metadata() {
		all[key] = value
	}
	var tensors []gguf.Tensor
	for _, name := range set.Names() {
		ref, _ := set.Lookup(name)
		values, err := ref.ReadF32(ctx)
		if err != nil {
			return nil, nil, err
		}
		t := gguf.Tensor{Name: name, Shape: ref.Shape}
		if t.DType = quantizable(name, ref.Shape); t.DType == dtype.F32 {
			t.Data = append(t.Data, dtype.BytesOf(values)...)
		} else {
			t.Data = gguf.Quantize(t.DType, values)
			dtype.ToF32(values, t.Data, t.DType)
			if block, _ := t.DType.Block(); ref.Shape[len(ref.Shape)-1]%block != 0 {
				shape := make([]int32, len(ref.Shape))
				for j, n := range ref.Shape {
					shape[j] = int32(n)
				}
				all["comfy.gguf.orig_shape."+name] = shape
				t.Shape = []int{len(values) / dtype.MaxBlock, dtype.MaxBlock}
			}
		}
		tensors = append(tensors, t)
		same = append(same, weights.F32(name, dtype.F32, ref.Shape, values))
	}
	return gguf.Encode(all, tensors), same, nil
}

// quantizable returns the type that a tensor is stored as.
func quantizable(name string, shape []int) dtype.DType {
	n := 1
	for _, d := range shape {
		n *= d
	}
	if len(shape) < 2 || n%dtype.MaxBlock != 0 {
		return dtype.F32
	}
	parts := strings.Split(name, ".")
	end := strings.Join(parts[max(len(parts)-2, 0):], ".")
	return []dtype.DType{dtype.Q4_K, dtype.Q8_0}[crc32.ChecksumIEEE([]byte(end))%2]
}
