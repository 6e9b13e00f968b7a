package sd

import (
	"errors"
	"fmt"

	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/tokenizer"
)

// The prefixes of the text encoders of a checkpoint.
const (
	ClipLSD1  = "cond_stage_model.transformer."
	ClipLSDXL = "conditioner.embedders.0.transformer."
	ClipG     = "conditioner.embedders.1.model."
	// ClipGRefiner is the text encoder of SDXL's refiner.
	ClipGRefiner = "conditioner.embedders.0.model."
	// ClipGConverted is SDXL's second text encoder in files of stable-diffusion.cpp, which names it as transformers does
	// and calls the first one as in Stable Diffusion 1.x.
	ClipGConverted = "cond_stage_model.1.transformer."
)

// chunk is the number of tokens that both text encoders read at once, and end
// the token that ends a text.
const chunk, end = 77, 49407

// loraL and loraG are put before the layers of the two text encoders in LoRA
// files.
var (
	loraL = []string{"text_encoders.clip_l.transformer.", "text_encoders.clip_h.transformer.", "text_encoders.clip_l.", "clip_l.transformer.", "clip_l.",
		"cond_stage_model.transformer.", "conditioner.embedders.0.transformer.",
		"lora_te_", "lora_te1_", "lycoris_te_", "lycoris_te1_", "lycoris_", "te.", "te1.", "", "text_encoder_1.", "text_encoder."}
	loraG = []string{"text_encoders.clip_g.transformer.", "text_encoders.clip_g.", "clip_g.transformer.", "clip_g.",
		"lora_te2_", "lycoris_te2_", "te2.", "", "text_encoder_2."}
)

// format is that of CLIP's chunks, which are filled up with pad.
func format(pad int32) tokenizer.Format {
	return tokenizer.Format{Start: []int32{tokenizer.CLIPStart}, End: []int32{end}, Pad: pad}
}

// TextSD1 is CLIP-L, whose last states are normalized.
var TextSD1 = model.Text{
	Name: SD1, Types: []string{"stable_diffusion"},
	Slots: []model.Slot{{
		Name: "CLIP-L", Key: "clip_l", Names: &clip.Names, Prefixes: []string{ClipLSD1}, LoRA: loraL, Match: matchL,
		Prompt: model.Prompt{Tokenizer: "clip", Chunk: chunk, Format: format(end)},
		States: model.States{Layers: []int{-1}, Norm: true, Pooled: true},
	}},
}

// TextSDXL is CLIP-L and OpenCLIP-G side by side. SDXL reads the states before
// the last layer, unnormalized (Podell et al. 2023), and OpenCLIP's prompts are
// filled up with zeros.
var TextSDXL = model.Text{
	Name: SDXL, Types: []string{"sdxl"},
	Slots: []model.Slot{
		{
			Name: "CLIP-L", Key: "clip_l", Names: &clip.Names, Prefixes: []string{ClipLSDXL, ClipLSD1}, LoRA: loraL, Match: matchL,
			Prompt: model.Prompt{Tokenizer: "clip", Chunk: chunk, Format: format(end)},
			States: model.States{Layers: []int{-2}, Pooled: true},
		},
		{
			Name: "CLIP-G", Key: "clip_g", Names: &clip.Names, Prefixes: []string{ClipG, ClipGConverted}, LoRA: loraG, Match: matchG,
			Prompt: model.Prompt{Tokenizer: "clip", Chunk: chunk, Format: format(0)},
			States: model.States{Layers: []int{-2}, Pooled: true},
		},
	},
}

// TextRefiner is OpenCLIP-G alone, read as SDXL's.
var TextRefiner = model.Text{
	Name: Refiner, Types: []string{"stable_diffusion"},
	Slots: []model.Slot{{
		Name: "CLIP-G", Key: "clip_g", Names: &clip.Names, Prefixes: []string{ClipGRefiner}, LoRA: loraG, Match: matchG,
		Prompt: model.Prompt{Tokenizer: "clip", Chunk: chunk, Format: format(0)},
		States: model.States{Layers: []int{-2}, Pooled: true},
	}},
}

// SlotsLater are the two encoders in later models, which read what CLIP-L knows
// of the whole text without a projection.
func SlotsLater() (l, g model.Slot) {
	l, g = TextSDXL.Slots[0], TextSDXL.Slots[1]
	l.Prefixes, g.Prefixes = []string{"text_encoders.clip_l.transformer."}, []string{"text_encoders.clip_g.transformer."}
	l.States.Unprojected = true
	return l, g
}

func match(src nn.Tensors, prefix string, metadata map[string]string) (clip.Encoder, error) {
	c, err := clip.Detect(src, prefix, metadata)
	if err == nil && c.Length != chunk {
		err = fmt.Errorf("the text encoder reads %d tokens at once (the positions at %s...), expected %d", c.Length, prefix, chunk)
	}
	return clip.Encoder{Config: c}, err
}

func matchL(src nn.Tensors, prefix string, metadata map[string]string) (model.Encoder, error) {
	e, err := match(src, prefix, metadata)
	if err == nil && e.Activation == ir.GELU {
		err = errors.New("this is a text encoder of OpenCLIP, expected CLIP-L; SDXL's two are loaded with DualCLIPLoader")
	}
	return e, err
}

// matchG takes an encoder under the names of transformers for OpenCLIP's too,
// which nothing tells from CLIP's.
func matchG(src nn.Tensors, prefix string, metadata map[string]string) (model.Encoder, error) {
	e, err := match(src, prefix, metadata)
	if err == nil && e.Projected == 0 {
		err = fmt.Errorf("CLIP-G has no projection: there is no tensor %stext_projection.weight", prefix)
	}
	e.Activation = ir.GELU
	return e, err
}
