package weights

import (
	"slices"
	"strings"
)

// A Packing is a way in which programs store quantized weights in safetensors
// files: the bits of a weight in one tensor, and in others what they mean.
type Packing struct {
	Name string // for people
	// suffixes end the names of tensors that this packing alone has.
	suffixes []string
	// metadata are keys of the file's metadata that tell of it.
	metadata []string
}

// packings are those that are known and that Weir does not read. The first that
// fits names a file: later ones have marks that earlier ones have too.
var packings = []Packing{
	{Name: "bitsandbytes in 4 bits (NF4 or FP4)", suffixes: []string{
		".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".bitsandbytes__nf4", ".bitsandbytes__fp4",
	}},
	{Name: "bitsandbytes in 8 bits (LLM.int8)", suffixes: []string{".SCB", ".weight_format"}},
	{Name: "SVDQuant (Nunchaku)", suffixes: []string{".wscales", ".wtscale", ".wcscales", ".wzeros", ".smooth_factor", ".smooth_factor_orig", ".proj_down"}},
	{Name: "GPTQ", suffixes: []string{".g_idx"}},
	{Name: "AWQ or GPTQ", suffixes: []string{".qweight", ".qzeros"}},
	{Name: "HQQ", suffixes: []string{".W_q", ".weight.W_q"}},
	{Name: "quanto", suffixes: []string{".weight._data", ".weight._scale", ".weight._shift"}},
	{Name: "compressed-tensors", suffixes: []string{".weight_packed", ".weight_zero_point", ".weight_g_idx", ".weight_global_scale"}},
	{Name: "NVFP4 without ComfyUI's marks (comfy_quant)", suffixes: []string{".weight_scale_2"}},
	{Name: "scaled FP8 (scale_weight) of which a tensor is missing", suffixes: []string{oldScale, oldInput}},
	{Name: "FP8 or integers with scales, without ComfyUI's marks (comfy_quant)", suffixes: []string{
		".weight_scale", ".weight_scale_inv", ".weight_scales", ".input_scale", ".pre_quant_scale", ".weight.scale", ".weight_qdata",
	}},
	{Name: "a quantization that its metadata describe", metadata: []string{"quantization_config"}},
}

// Packing returns how the weights of the set are packed and a tensor, or key of
// the metadata, that tells it. It returns nil if weights are tensors of their own,
// as they are in what [Set.Unpacked] returns.
func (s *Set) Packing() (p *Packing, mark string) {
	for i := range packings {
		p := &packings[i]
		for _, key := range p.metadata {
			if _, ok := s.metadata[key]; ok {
				return p, key
			}
		}
		j := slices.IndexFunc(s.names, func(name string) bool {
			name = "." + name // that of a part alone may be all of it
			return slices.ContainsFunc(p.suffixes, func(suffix string) bool { return strings.HasSuffix(name, suffix) })
		})
		if j >= 0 {
			return p, s.names[j]
		}
	}
	return nil, ""
}
