package weights

import "github.com/weir-run/weir/dtype"

// scaledFP8 stands for the format that files of 2024 mark by scale_weight
// alone, which ComfyUI has no name for.
const scaledFP8 = "scaled_fp8"

// formats are those that ComfyUI stores layers in. Each sets what a weight's
// stored numbers mean, and takes the tensors that say so out of the names.
var formats = map[string]func(l layer, weight *Ref) error{
	scaledFP8:         readScaledFP8,
	"float8_e4m3fn":   readFP8,
	"float8_e5m2":     readFP8,
	"int8_tensorwise": readInt8,
}

// readScaledFP8 is W = q·s, with q of any floating-point type.
func readScaledFP8(l layer, weight *Ref) (err error) {
	if err := l.stored(*weight, 0, dtype.F8E4M3, dtype.F8E5M2, dtype.F16, dtype.BF16, dtype.F32); err != nil {
		return err
	}
	l.drop(oldInput[1:])
	weight.Quant.Scale, err = l.factors(*weight, oldScale[1:], 1, weight.Shape[0])
	return err
}

// readFP8 is W = q·s.
func readFP8(l layer, weight *Ref) (err error) {
	if err := l.stored(*weight, 0, dtype.F8E4M3, dtype.F8E5M2); err != nil {
		return err
	}
	weight.Quant.Scale, err = l.factors(*weight, "weight_scale", 1, weight.Shape[0])
	return err
}

// readInt8 is W = q·s, rotated if the layer is marked with convrot.
func readInt8(l layer, weight *Ref) (err error) {
	rotated := l.is("convrot")
	dims := 0
	if rotated {
		dims = 2
	}
	if err := l.stored(*weight, dims, dtype.I8); err != nil {
		return err
	}
	if weight.Quant.Scale, err = l.factors(*weight, "weight_scale", 1, weight.Shape[0]); err != nil || !rotated {
		return err
	}
	return l.rotation(weight)
}
