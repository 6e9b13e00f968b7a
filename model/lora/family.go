package lora

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
)

// contexts are the families of UNets by the features of the text that their
// cross-attention reads.
var contexts = map[int]string{
	768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 1280: "the refiner of SDXL", 2048: "SDXL",
}

// reads names the family of UNets that read text of so many features.
func reads(context int) string {
	if name, ok := contexts[context]; ok {
		return fmt.Sprintf("%s (text of %d features)", name, context)
	}
	return fmt.Sprintf("a UNet that reads text of %d features", context)
}

// otherFamily returns an error when the file has layers that read the text, and
// none reads as many features as the base does.
func otherFamily(l Source, layers map[string]layer, all networks) error {
	other, of, context := 0, "", 0
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		for _, f := range all.find(name) {
			if !f.text {
				continue
			}
			_, context, _ = f.dims()
			if n := layers[name].inputs(l); n == context {
				return nil
			} else if n > 0 && of == "" {
				other, of = n, name
			}
		}
	}
	if of == "" {
		return nil
	}
	return fault.New(fault.Model, "this is a LoRA for %s, by its layer %s, and the model is %s", reads(other), show(of), reads(context))
}

// inputs returns how many inputs the layer of the base has, as far as its
// tensors tell it, or 0.
func (x layer) inputs(l Header) int {
	// columns is the largest second dimension of tensors, of which a GLoRA has the
	// rank too.
	columns := func(roles ...role) (n int) {
		for _, r := range roles {
			if _, shape, ok := l.Lookup(x[r]); ok && x[r] != "" && len(shape) > 1 {
				n = max(n, shape[1])
			}
		}
		return n
	}
	return cmp.Or(columns(down, hada1B, diff, setWeight), columns(gloraA1, gloraA2), columns(lokr1, lokr1B)*columns(lokr2, lokr2B))
}

// stable is what a UNet's names alone tell.
const stable = "Stable Diffusion 1.x, 2.x or SDXL"

// marks are parts of names that only the LoRAs of one family have, with
// underscores for dots, the rarer ones first.
var marks = []struct{ text, what string }{
	{"lora_prior_", "Stable Cascade"},
	{"temporal_transformer", "AnimateDiff (a motion module)"},
	{"motion_modules", "AnimateDiff (a motion module)"},
	{"to_k_ip", "an IP-Adapter"},
	{"control_model", "a ControlNet"},
	{"individual_token_refiner", "HunyuanVideo"},
	{"single_transformer_blocks", "Flux"},
	{"double_blocks", "Flux or HunyuanVideo"},
	{"single_blocks", "Flux or HunyuanVideo"},
	{"joint_transformer_blocks", "AuraFlow"},
	{"double_layers", "AuraFlow"},
	{"joint_blocks", "Stable Diffusion 3"},
	{"context_refiner", "Lumina 2"},
	{"caption_projection", "PixArt or LTX-Video"},
	{"adaln_single", "PixArt or LTX-Video"},
	{"txt_mlp", "Qwen-Image"},
	{"attn_add_q_proj", "Stable Diffusion 3, Flux or Qwen-Image"},
	{"cross_attn", "Wan or HunyuanDiT"},
	{"self_attn_norm_q", "Wan"},
	{"encoder_block_", "a text encoder T5"},
	{"input_blocks", stable},
	{"down_blocks", stable},
	{"mid_block", stable},
	{"lora_te2_", "SDXL"},
	{"text_model", "text encoders of Stable Diffusion"},
	{"blocks_", "a transformer that Weir does not know"},
	{"layers_", "a transformer that Weir does not know"},
}

// looks tells which family of models the LoRA seems to be for, for an error.
func looks(l Header) string {
	switch name, ok := Family(l); {
	case !ok && stranger(l) != "":
		return "which are those of " + stranger(l) + ", and neither Weir nor ComfyUI knows them"
	case !ok:
		return "which are not those of a LoRA"
	case name == "":
		return "which are those of a LoRA for an unknown family"
	default:
		return "which looks like a LoRA for " + name
	}
}

// Family tells which family of models a LoRA seems to be for, by its names and
// shapes, or "" if nothing tells. A file that is no LoRA is not ok.
func Family(l Header) (name string, ok bool) {
	best := len(marks)
	for _, tensor := range l.Names() {
		layerName, role, _ := split(tensor)
		if role == "" {
			continue
		}
		ok = ok || ofKind(role) != ""
		path := canonical(layerName)
		if strings.HasSuffix(path, "attn2_to_k") || strings.HasSuffix(path, "attn2_to_v") {
			if n := (layer{role: tensor}).inputs(l); contexts[n] != "" && strings.Contains(path, "_block") {
				return contexts[n], true
			}
		}
		for i, m := range marks[:best] {
			if strings.Contains(path, m.text) {
				best = i
				break
			}
		}
	}
	if ok && best < len(marks) {
		name = marks[best].what
	}
	return name, ok
}

// Describe tells how many weights a LoRA changes, in which ways and in which
// ranks, and for which family of models. Of a file that is no LoRA it is "".
func Describe(l Header) string {
	var ranks []int
	counts := map[string]int{}
	for _, tensor := range l.Names() {
		_, role, _ := split(tensor)
		_, shape, _ := l.Lookup(tensor)
		switch {
		case role == down && len(shape) > 0:
			ranks = append(ranks, shape[0])
		case role == blocks && len(shape) == 4:
			counts["BOFT"]++
		default:
			counts[described[role]]++
		}
	}
	var what []string
	if len(ranks) > 0 {
		low, high := slices.Min(ranks), slices.Max(ranks)
		of := fmt.Sprintf("rank %d", low)
		if low != high {
			of = fmt.Sprintf("ranks %d to %d", low, high)
		}
		what = append(what, fmt.Sprintf("LoRA of %s for %d weights", of, len(ranks)))
	}
	for _, name := range []string{"DoRA", "LoHa", "LoKr", "GLoRA", "OFT", "BOFT"} {
		if n := counts[name]; n > 0 {
			what = append(what, fmt.Sprintf("%s for %d weights", name, n))
		}
	}
	for _, name := range []string{"differences", "replacements"} {
		if n := counts[name]; n > 0 {
			what = append(what, fmt.Sprintf("%s of %d weights", name, n))
		}
	}
	name, ok := Family(l)
	switch {
	case !ok && stranger(l) != "":
		return "not supported: " + stranger(l)
	case !ok && slices.ContainsFunc(l.Names(), called):
		return "LoRA whose names Weir does not know"
	case !ok:
		return ""
	case len(what) == 0:
		what = []string{"LoRA of halves that do not belong together"}
	}
	if name != "" {
		what = append(what, "for "+name)
	}
	return strings.Join(what, ", ")
}

// called reports whether the name of a tensor says that it is a LoRA's.
func called(tensor string) bool {
	tensor = strings.ToLower(tensor)
	return strings.Contains(tensor, "lora") || strings.Contains(tensor, "lycoris")
}

// strangers are parts of the names of adapters that are not supported.
var strangers = []struct{ text, what string }{
	{"lora_controlnet", "a Control-LoRA"},
	{".oft_diag", "LyCORIS's first OFT"},
	{".oft_r", "PEFT's OFT"},
	{".oft_R", "PEFT's OFT"},
	{".boft_R", "PEFT's BOFT"},
	{".boft_s", "PEFT's BOFT"},
	{".hra_u", "PEFT's HRA"},
	{".ia3_l", "PEFT's IA3"},
	{".on_input", "LyCORIS's IA3"},
	{".vera_lambda_", "PEFT's VeRA"},
	{".randlora_", "PEFT's RandLoRA"},
	{".fourierft_spectrum", "PEFT's FourierFT"},
	{".vblora_", "PEFT's VB-LoRA"},
	{".bone_block", "PEFT's Bone"},
	{".road_theta", "PEFT's RoAd"},
	{".lora_embedding_", "PEFT's LoRA of an embedding"},
}

// stranger returns which adapter that is not supported the file has, or "".
func stranger(l Header) string {
	for _, tensor := range l.Names() {
		for _, s := range strangers {
			if strings.Contains(tensor, s.text) {
				return s.what
			}
		}
	}
	return ""
}

// described are the kinds that weights are counted by, of the tensor that each
// of them has once.
var described = map[role]string{
	scale: "DoRA", magnitude: "DoRA", hada1A: "LoHa", lokr2: "LoKr", lokr2A: "LoKr", gloraA1: "GLoRA", blocks: "OFT",
	diff: "differences", biasDiff: "differences", normWeight: "differences", normBias: "differences", setWeight: "replacements",
}
