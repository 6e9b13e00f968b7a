package node

import (
	"context"
	"maps"
	"slices"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// An encoding is a node that encodes prompts with what a kind of model takes
// beside them.
type encoding struct {
	class, name, category, about string
	// texts are the inputs with prompts by the keys of the encoders that read them.
	texts  map[string]string
	inputs []workflow.Input // after the encoders
	extras func(c *workflow.Call) map[string][]float32
	// omits says that the encoders of empty texts are told nothing.
	omits func(c *workflow.Call) bool
}

// encodings are the nodes with a prompt for each text encoder.
func encodings() []encoding {
	size := func(name string, def int64) workflow.Input { return workflow.Int(name, def, 0, maxResolution) }
	text := func(name string) workflow.Input { return choices(workflow.Text(name)) }
	return []encoding{
		{
			class: "CLIPTextEncodeSDXL", name: "CLIP Text Encode (SDXL)", category: "model/conditioning/stable diffusion",
			about: "Encodes a prompt for each text encoder of SDXL, with the sizes of the picture that it is told of.",
			texts: map[string]string{"clip_g": "text_g", "clip_l": "text_l"},
			inputs: []workflow.Input{
				size("width", 1024), size("height", 1024), size("crop_w", 0), size("crop_h", 0), size("target_width", 1024), size("target_height", 1024),
				text("text_g"), text("text_l"),
			},
			extras: func(c *workflow.Call) map[string][]float32 {
				var sizes []float32
				for _, name := range []string{"height", "width", "crop_h", "crop_w", "target_height", "target_width"} {
					sizes = append(sizes, float32(c.Int(name)))
				}
				return map[string][]float32{model.Sizes: sizes}
			},
		},
		{
			class: "CLIPTextEncodeSDXLRefiner", name: "CLIP Text Encode (SDXL Refiner)", category: "model/conditioning/stable diffusion",
			about:  "Encodes a prompt for the refiner of SDXL, with the score and the size of the picture that it is told of.",
			texts:  map[string]string{"clip_g": "text"},
			inputs: []workflow.Input{workflow.Float("ascore", 6, 0, 1000, 0.01), size("width", 1024), size("height", 1024), text("text")},
			extras: func(c *workflow.Call) map[string][]float32 {
				h, w := float32(c.Int("height")), float32(c.Int("width"))
				return map[string][]float32{model.Sizes: {h, w, 0, 0, h, w}, model.Score: {float32(c.Float("ascore"))}}
			},
		},
		{
			class: "CLIPTextEncodeFlux", category: "model/conditioning/flux",
			about:  "Encodes a prompt for each text encoder of FLUX.1, with the strength of guidance that the model is told.",
			texts:  map[string]string{"clip_l": "clip_l", "t5xxl": "t5xxl"},
			inputs: []workflow.Input{text("clip_l"), text("t5xxl"), workflow.Float("guidance", 3.5, 0, 100, 0.1)},
			extras: func(c *workflow.Call) map[string][]float32 {
				return map[string][]float32{model.Guidance: {float32(c.Float("guidance"))}}
			},
		},
		{
			class: "CLIPTextEncodeSD3", name: "CLIP Text Encode (SD3)", category: "model/conditioning/stable diffusion",
			about: "Encodes a prompt for each text encoder of Stable Diffusion 3. Of empty ones, nothing is encoded or the empty prompt.",
			texts: map[string]string{"clip_l": "clip_l", "clip_g": "clip_g", "t5xxl": "t5xxl"},
			inputs: []workflow.Input{
				text("clip_l"), text("clip_g"), text("t5xxl"), workflow.Combo("empty_padding", "none", "empty_prompt"),
			},
			omits: func(c *workflow.Call) bool { return c.String("empty_padding") == "none" },
		},
	}
}

// registerEncode registers the nodes that encode prompts for some kinds of models.
func registerEncode(reg *workflow.Registry, env *Env) {
	for _, e := range encodings() {
		reg.Register(e.schema(env))
	}
	systems := luminaSystems()
	reg.Register(workflow.Schema{
		Class: "CLIPTextEncodeLumina2", Name: "CLIP Text Encode (Lumina 2)", Category: "model/conditioning/lumina",
		Description: "Encodes a prompt behind a system prompt of Lumina 2.",
		Inputs: []workflow.Input{
			workflow.Combo("system_prompt", "superior", "alignment"), choices(workflow.Text("user_prompt")), workflow.Link("clip", workflow.TypeClip),
		},
		Outputs: workflow.Outputs(workflow.TypeConditioning),
		Prepare: preparing("clip", (*pipeline.CLIP).Prefetch),
		Changed: env.embeddings("user_prompt"),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			return env.encode(ctx, c, systems[c.String("system_prompt")]+" <Prompt Start> "+c.String("user_prompt"))
		},
	})
}

// luminaSystems are the system prompts that Lumina 2 was trained with.
func luminaSystems() map[string]string {
	return map[string]string{
		"superior": "You are an assistant designed to generate superior images with the superior " +
			"degree of image-text alignment based on textual prompts or user prompts.",
		"alignment": "You are an assistant designed to generate high-quality images with the " +
			"highest degree of image-text alignment based on textual prompts.",
	}
}

// choices has the alternatives of an input's text, such as {a|b}, chosen.
func choices(in workflow.Input) workflow.Input {
	in.Choices = true
	return in
}

func (e encoding) schema(env *Env) workflow.Schema {
	return workflow.Schema{
		Class: e.class, Name: e.name, Category: e.category, Description: e.about,
		Inputs:  slices.Concat([]workflow.Input{workflow.Link("clip", workflow.TypeClip)}, e.inputs),
		Outputs: workflow.Outputs(workflow.TypeConditioning),
		Prepare: preparing("clip", (*pipeline.CLIP).Prefetch),
		Changed: env.embeddings(slices.Sorted(maps.Values(e.texts))...),
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			clip, err := Input[*pipeline.CLIP](c, "clip")
			if err != nil {
				return nil, err
			}
			c.Finishing()
			prompts, texts := map[string]*string{}, []string{}
			for key, name := range e.texts {
				text := c.String(name)
				prompts[key] = &text
				if text == "" && e.omits != nil && e.omits(c) {
					prompts[key] = nil
				}
				texts = append(texts, text)
			}
			if err := need(ctx, c, clip, texts...); err != nil {
				return nil, err
			}
			text, err := clip.EncodeEach(ctx, prompts, env.Folders.Embeddings())
			if err != nil {
				return nil, err
			}
			out := NewCond(text.Embed, text.Tokens, text.Width, text.Pooled)
			if e.extras != nil {
				out.Numbers = e.extras(c)
			}
			return []any{Conditioning{out}}, nil
		},
	}
}

// encode encodes a prompt with the linked text encoders.
func (e *Env) encode(ctx context.Context, c *workflow.Call, prompt string) ([]any, error) {
	clip, err := Input[*pipeline.CLIP](c, "clip")
	if err != nil {
		return nil, err
	}
	c.Finishing()
	if err := need(ctx, c, clip, prompt); err != nil {
		return nil, err
	}
	text, err := clip.Encode(ctx, prompt, e.Folders.Embeddings())
	if err != nil {
		return nil, err
	}
	return []any{Conditioning{NewCond(text.Embed, text.Tokens, text.Width, text.Pooled)}}, nil
}

// need has weights make way for the encoding of prompts.
func need(ctx context.Context, c *workflow.Call, clip *pipeline.CLIP, prompts ...string) error {
	var all int64
	for _, prompt := range prompts {
		memory, err := clip.Memory(ctx, prompt)
		if err != nil {
			return err
		}
		all += memory
	}
	return c.Need(ctx, all)
}
