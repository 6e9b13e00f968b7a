package model_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/esrgan"
	"github.com/weir-run/weir/model/families"
	"github.com/weir-run/weir/model/llm"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/model/t5"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/weights"
)

// A file is one of the repository and the way it is recognised. Detect returns
// what its networks read.
type file struct {
	path   string
	detect func(src nn.Tensors, metadata map[string]string) (*nn.Audit, error)
}

var models = []file{
	{"../models/checkpoints/emoji.safetensors", checkpoint},
	{"../models/upscale_models/realesr-animevideov3-x4.safetensors", upscaler},
	{"unet_sd15", denoiser}, {"unet_sdxl", denoiser}, {"unet_sdxl_heads", denoiser},
	{"vae", vae}, {"vae_flux1", vae}, {"vae_flux2", vae},
	{"clip_l", encoder("cond_stage_model.transformer.")}, {"open_clip", encoder("conditioner.embedders.1.model.")},
	{"zimage", denoiser},
	{"flux1", denoiser}, {"flux1_fill", denoiser}, {"flux2", denoiser}, {"flux2_klein", denoiser}, {"chroma", denoiser},
	{"sd3", denoiser}, {"sd35", denoiser},
	{"clip_vision", pictures}, {"siglip", pictures},
	{"t5", t5Encoder}, {"t5_old", t5Encoder}, {"umt5", t5Encoder},
	{"llm_qwen3", languageModel}, {"llm_qwen25", languageModel}, {"llm_llama", languageModel}, {"llm_gemma2", languageModel}, {"llm_gemma3", languageModel},
	{"esrgan_x1", upscaler}, {"esrgan_x2", upscaler}, {"esrgan_x4", upscaler},
	{"realesrgan_x2", upscaler}, {"realesrgan_x4", upscaler}, {"srvgg_x2", upscaler}, {"srvgg_x4", upscaler},
}

func checkpoint(src nn.Tensors, metadata map[string]string) (*nn.Audit, error) {
	c, err := families.Detect(src, metadata)
	if err != nil {
		return nil, err
	}
	all := &nn.Audit{Reads: map[string]ir.Shape{}}
	if c.Denoiser != nil {
		maps.Copy(all.Reads, c.Denoiser.Check(src).Reads)
	}
	if c.Autoencoder != nil {
		maps.Copy(all.Reads, c.Autoencoder.Check(src).Reads)
	}
	for _, prefix := range c.Prefixes {
		text, err := encoder(prefix)(src, metadata)
		if err != nil {
			return nil, err
		}
		maps.Copy(all.Reads, text.Reads)
	}
	return all, nil
}

// denoiser recognises a denoiser of any family.
func denoiser(src nn.Tensors, metadata map[string]string) (*nn.Audit, error) {
	c, err := families.Denoiser(src, metadata)
	if err != nil {
		return nil, err
	}
	shape := model.Shape{Shape: c.Latent().Of(1, 1, 9*c.Latent().Stride.Height, 7*c.Latent().Stride.Width), Tokens: 3}
	return c.Check(src), compile(src, func(s nn.Scope) { c.Denoiser(s.Sub(model.DenoiserPrefix), shape) })
}

func vae(src nn.Tensors, _ map[string]string) (*nn.Audit, error) {
	c, err := sd.DetectVAE(src, sd.VAEPrefix)
	if err != nil {
		return nil, err
	}
	return c.Check(src, sd.VAEPrefix), compile(src, func(s nn.Scope) { sd.Decode(s.Sub(sd.VAEPrefix), c, 1, 3, 5) })
}

func encoder(prefix string) func(nn.Tensors, map[string]string) (*nn.Audit, error) {
	return func(src nn.Tensors, metadata map[string]string) (*nn.Audit, error) {
		c, err := clip.Detect(src, prefix, metadata)
		if err != nil {
			return nil, err
		}
		return c.Check(src, prefix), compile(src, func(s nn.Scope) { clip.Text(s.Sub(prefix), c, 2, clip.Output{Layer: -2}) })
	}
}

func pictures(src nn.Tensors, _ map[string]string) (*nn.Audit, error) {
	c, err := clip.DetectVision(src, "")
	if err != nil {
		return nil, err
	}
	return c.Check(src, ""), compile(src, func(s nn.Scope) { clip.Vision(s, c, 2) })
}

func t5Encoder(src nn.Tensors, _ map[string]string) (*nn.Audit, error) {
	c, err := t5.Detect(src, "")
	if err != nil {
		return nil, err
	}
	in := model.TextShape{Batch: 2, Tokens: 7, Masked: true, States: model.States{Norm: true}}
	return c.Check(src, ""), compile(src, func(s nn.Scope) { t5.Text(s, c, in) })
}

func languageModel(src nn.Tensors, _ map[string]string) (*nn.Audit, error) {
	c, err := llm.Detect(src, "")
	if err != nil {
		return nil, err
	}
	in := model.TextShape{Batch: 2, Tokens: 7, Masked: true}
	return c.Check(src, ""), compile(src, func(s nn.Scope) { llm.Text(s, c, in) })
}

func upscaler(src nn.Tensors, _ map[string]string) (*nn.Audit, error) {
	c, err := esrgan.Detect(src)
	if err != nil {
		return nil, err
	}
	return c.Check(src), compile(src, func(s nn.Scope) { esrgan.Upscale(s, c, 1, 8, 12) })
}

// compile plans a network that was recognised, which must be possible.
func compile(src nn.Source, network func(nn.Scope)) error {
	g := ir.New("network")
	network(nn.NewScope(g, src))
	if _, err := plan.Compile(g, plan.Options{}); err != nil {
		panic(err)
	}
	return nil
}

// claims returns the tensors of a file without their bytes.
func claims(t testing.TB, path string) (eval.Weights, map[string]string) {
	t.Helper()
	if !strings.Contains(path, "/") {
		path = filepath.Join(golden.Dir(), path+".safetensors")
	}
	f, err := weights.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := eval.Weights{}
	for _, ref := range f.Refs() {
		w[ref.Name] = eval.Weight{DType: ref.DType, Shape: ref.Shape}
	}
	return w, f.Metadata()
}

// sizes are the dimensions that any length of is another model, of which tensors
// alone cannot tell that it is wrong.
var sizes = map[string]int{
	"token_embedding.weight": 0, "position_embedding.weight": 0, "positional_embedding": 0,
	"text_projection.weight": 0, "text_projection": 1, "label_emb.0.0.weight": 1,
	"img_in.weight": 1, "txt_in.weight": 1, "vector_in.in_layer.weight": 1,
	"context_embedder.weight": 1, "y_embedder.mlp.0.weight": 1, "pos_embed": 1,
	"shared.weight": 0, "embed_tokens.weight": 0, "relative_attention_bias.weight": 1,
	"visual_projection.weight": 0,
}

// free reports whether a tensor of another shape is a tensor of another model.
func free(name string, was, is ir.Shape) bool {
	for end, axis := range sizes {
		if strings.HasSuffix("."+name, "."+end) && len(was) == len(is) && was[1-axis] == is[1-axis] {
			return true
		}
	}
	return false
}

// mutate changes one tensor and says how.
func mutate(r *rand.Rand, w eval.Weights, name string) string {
	x := w[name]
	shape := slices.Clone(x.Shape)
	i := r.IntN(max(len(shape), 1))
	switch k := r.IntN(10); {
	case k < 2 || len(shape) == 0:
		delete(w, name)
		return "dropped"
	case k == 2:
		x.DType = []dtype.DType{dtype.I8, dtype.U8, dtype.I32, dtype.BOOL}[r.IntN(4)]
	case k == 3:
		shape[i] = 0
	case k == 4:
		shape[i]++
	case k == 5:
		shape[i] = max(shape[i]-1, 0)
	case k == 6:
		shape[i] *= 2
	case k == 7:
		shape = append(shape, 1+r.IntN(3))
	case k == 8:
		shape = shape[:len(shape)-1]
	case k == 9:
		r.Shuffle(len(shape), func(i, j int) { shape[i], shape[j] = shape[j], shape[i] })
	}
	x.Shape = shape
	w[name] = x
	return fmt.Sprintf("made %v %v", x.DType, shape)
}

// TestMutations changes one tensor of a model after another at random: what is
// wrong is refused with the tensor's name, and what is not can be planned.
func TestMutations(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 7))
	for _, m := range models {
		w, metadata := claims(t, m.path)
		audit, err := m.detect(w, metadata)
		if err != nil {
			t.Fatalf("%s: %v", m.path, err)
		}
		names := w.Names()
		for range 1 + 1000/len(models) {
			try(t, r, m, maps.Clone(w), metadata, audit, names[r.IntN(len(names))])
		}
	}
}

// try changes one tensor.
func try(t *testing.T, r *rand.Rand, m file, w eval.Weights, metadata map[string]string, audit *nn.Audit, name string) {
	t.Helper()
	was := w[name]
	how := mutate(r, w, name)
	_, read := audit.Reads[name]
	_, err := m.detect(w, metadata)
	is, there := w[name]
	// CLIP has projections or not, and language models that are pruned lack the last norm.
	optional := strings.HasSuffix(name, ".text_projection.weight") || name == "visual_projection.weight" || name == "model.norm.weight"
	harmless := !read || !there && optional || there && is.DType.IsFloat() && (nn.Holds(is.Shape, was.Shape) || !slices.Contains(is.Shape, 0) && free(name, was.Shape, is.Shape))
	switch {
	case harmless && err != nil && !strings.Contains(err.Error(), name):
		t.Errorf("%s: %s was %v, %s: %v", m.path, name, was.Shape, how, err)
	case !harmless && err == nil:
		t.Errorf("%s: %s was %v, %s: no error", m.path, name, was.Shape, how)
	case !harmless && !strings.Contains(err.Error(), name):
		t.Errorf("%s: %s was %v, %s: not named by: %v", m.path, name, was.Shape, how, err)
	case err != nil && len(err.Error()) > 4000:
		t.Errorf("%s: an error of %d bytes", m.path, len(err.Error()))
	}
}

// claim is what a header says of a tensor.
type claim struct {
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
}

// FuzzDetect recognises whatever a header claims: it ends in time, with a network
// that can be planned or a short error.
func FuzzDetect(f *testing.F) {
	for _, m := range models {
		w, _ := claims(f, m.path)
		header := map[string]claim{}
		for name, x := range w {
			header[name] = claim{x.DType.String(), x.Shape}
		}
		text, err := json.Marshal(header)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var header map[string]claim
		if json.Unmarshal(text, &header) != nil {
			return
		}
		w := eval.Weights{}
		for name, x := range header {
			elements := 1
			for _, n := range x.Shape {
				if n < 0 || n > 1<<30 || elements > 1<<40 { // no file has as many
					return
				}
				elements *= n
			}
			dt, err := dtype.Parse(x.DType)
			if err != nil {
				return
			}
			w[name] = eval.Weight{DType: dt, Shape: x.Shape}
		}
		for _, detect := range []func(nn.Tensors, map[string]string) (*nn.Audit, error){
			checkpoint, denoiser, vae, upscaler, encoder(""), encoder(sd.ClipLSD1), encoder(sd.ClipLSDXL), encoder(sd.ClipG), encoder(sd.ClipGConverted),
		} {
			if _, err := detect(w, nil); err != nil && len(err.Error()) > 4000 {
				t.Errorf("an error of %d bytes: %.300s", len(err.Error()), err.Error())
			}
		}
	})
}
