package merge

import (
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/weights"
)

// The parts that fuzzed files are made of: layers of the tiny UNet, ends of
// names, and dimensions that fit there or nearly do.
var (
	fuzzLayers = []string{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", "lora_unet_down_blocks_0_attentions_0_proj_in",
		"lora_unet_conv_in", "lora_unet_conv_out", "lora_unet_down_blocks_0_resnets_0_norm1"}
	fuzzEnds = []string{".lora_up.weight", ".lora_down.weight", ".lora_mid.weight", ".alpha", ".dora_scale", ".lora_magnitude_vector",
		".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b", ".hada_t1", ".hada_t2", ".lokr_w1", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_a",
		".lokr_w2_b", ".lokr_t2", ".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight", ".oft_blocks", ".rescale", ".diff", ".diff_b", ".w_norm",
		".b_norm", ".set_weight"}
	fuzzSizes = []int{32, 4, 3, 2, 1, 8, 36, 16, 0, 5, 288}
)

// indexed returns the byte of a value among those that bytes stand for.
func indexed[T comparable](all []T, v T) byte {
	for i, x := range all {
		if x == v {
			return byte(i)
		}
	}
	panic("not among them")
}

// FuzzMerge merges files of any tensors with any shapes: whatever the mapping
// takes can be merged, and nothing panics. Each tensor is a layer, an end of a
// name, a number of dimensions and those.
func FuzzMerge(f *testing.F) {
	files, _ := comfy(f)
	for _, file := range files {
		var b []byte
		for _, name := range file.Names() {
			for _, layer := range fuzzLayers {
				for _, end := range fuzzEnds {
					if name == layer+end {
						ref, _ := file.Lookup(name)
						b = append(b, indexed(fuzzLayers, layer), indexed(fuzzEnds, end), byte(len(ref.Shape)))
						for _, n := range ref.Shape {
							b = append(b, indexed(fuzzSizes, n))
						}
					}
				}
			}
		}
		if len(b) > 0 {
			f.Add(b, float32(0.5))
		}
	}
	base := unet(f, dtype.F16)
	on := newBase(f, base)
	f.Fuzz(func(t *testing.T, b []byte, strength float32) {
		tensors := map[string]weights.Tensor{}
		for len(b) >= 3 && len(tensors) < 40 {
			name := fuzzLayers[int(b[0])%len(fuzzLayers)] + fuzzEnds[int(b[1])%len(fuzzEnds)]
			n := min(int(b[2])%6, len(b)-3)
			shape := ir.Shape{}
			for _, i := range b[3:][:n] {
				shape = append(shape, fuzzSizes[int(i)%len(fuzzSizes)])
			}
			b = b[3+n:]
			if shape.Elems() > 1<<16 {
				continue
			}
			values := make([]float32, shape.Elems())
			for i := range values {
				values[i] = float32(i%5) - 1.5
			}
			tensors[name] = weights.F32(name, dtype.F32, shape, values)
		}
		var list []weights.Tensor
		for _, x := range tensors {
			list = append(list, x)
		}
		l := write(t, list...)
		m, err := lora.Map(source{l}, on)
		if err != nil {
			return
		}
		for weight, list := range m.Changes {
			for _, c := range list {
				read(t, base, weight, Change{c, l, strength})
			}
		}
		for weight, list := range m.Adapters {
			for _, a := range list {
				read(t, base, weight, Change{lora.Merged(a), l, strength})
			}
		}
	})
}
