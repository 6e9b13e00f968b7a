package flux

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/internal/published"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/process"
)

// TestDenoiser compares tiny denoisers with ComfyUI's, for every case of the
// goldens. Their float16 weights are those that the reference computed with.
func TestDenoiser(t *testing.T) {
	tests := []struct {
		file  string
		want  Config
		cases int
	}{
		{"flux1", Config{Kind: Flux1, Channels: 4, In: 4, Width: 64, HeadDim: 32, Context: 24, Hidden: 128, Vector: 12, Guidance: true, Double: 2, Single: 2, Scale: true}, 7},
		{"flux1_fill", Config{Kind: Flux1, Channels: 4, In: 12, Width: 64, HeadDim: 32, Context: 24, Hidden: 128, Vector: 12, Double: 1, Single: 1}, 2},
		{"flux2", Config{Kind: Flux2, Channels: 16, In: 16, Width: 64, HeadDim: 32, Context: 24, Hidden: 96, Guidance: true, Double: 2, Single: 2, Scale: true}, 5},
		{"flux2_klein", Config{Kind: Flux2, Channels: 16, In: 16, Width: 64, HeadDim: 32, Context: 24, Hidden: 96, Double: 1, Single: 3, Scale: true}, 1},
		{"chroma", Config{Kind: Chroma, Channels: 4, In: 4, Width: 64, HeadDim: 32, Context: 24, Hidden: 128, Double: 2, Single: 2, Scale: true,
			Approximator: struct{ Width, Layers int }{48, 2}}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			f := golden.Open(t, tt.file)
			half := eval.Read(t, f.File)
			c, err := Detect(half)
			if err != nil || c == nil || *c != tt.want {
				t.Fatalf("detected %+v, %v, want %+v", c, err, tt.want)
			}
			full := half.F32()
			cases := nn.Names(half.Names()).Under("x.")
			if len(cases) != tt.cases {
				t.Errorf("%d cases, want %d", len(cases), tt.cases)
			}
			for _, x := range cases {
				name := strings.TrimPrefix(x, "x.")
				conds := condsOf(f, half, name)
				run := func(w eval.Weights) []float32 {
					return eval.Denoiser(t, c, w, w, f.F32(x), f.Shape(x), f.F32("t."+name), conds)
				}
				golden.Check(t, name+" in float32", run(full), f.F32("y."+name), 3e-5)
				golden.Check(t, name+" in float16", run(half), f.F32("y."+name), 1e-3)
			}
		})
	}
}

// condsOf returns the conditioning of each latent of a case.
func condsOf(f golden.File, w eval.Weights, name string) []*model.Cond {
	batch := f.Shape("x." + name)[0]
	conds := make([]*model.Cond, batch)
	for i := range conds {
		shape := f.Shape("context." + name)
		c := &model.Cond{Tokens: shape[1], Width: shape[2], Numbers: map[string][]float32{}, Latents: map[string][]latent.Tensor{}}
		conds[i] = c
		part := func(tensor string) []float32 {
			v := f.F32(tensor + "." + name)
			return v[i*len(v)/batch : (i+1)*len(v)/batch]
		}
		one := func(tensor string) latent.Tensor {
			s := f.Shape(tensor + "." + name)
			return latent.Tensor{Shape: latent.Picture(1, s[1], s[2], s[3]), Data: part(tensor)}
		}
		has := func(tensor string) bool { _, ok := w[tensor+"."+name]; return ok }
		c.Embed = part("context")
		if has("pooled") {
			c.Pooled = part("pooled")
		}
		c.Numbers[model.Guidance] = nil
		if has("guidance") {
			c.Numbers[model.Guidance] = part("guidance")
		}
		if has("concat") {
			// In two parts, as a picture and its mask are.
			l := one("concat")
			l.Channels /= 2
			n := len(l.Data) / 2
			c.Latents[model.Concat] = []latent.Tensor{l.With(l.Data[:n]), l.With(l.Data[n:])}
		}
		for r := 0; has(referenceName(r)); r++ {
			c.Latents[model.References] = append(c.Latents[model.References], one(referenceName(r)))
		}
		if i := slices.Index(methods, method(name)); i >= 0 {
			c.Numbers[model.ReferenceMethod] = []float32{float32(i)}
		}
		if name == "offset" {
			c.Numbers[model.ReferenceMethod] = []float32{0}
		}
	}
	return conds
}

// TestPublished reads every tensor of the published models.
func TestPublished(t *testing.T) {
	dev := Config{Kind: Flux1, Channels: 16, In: 16, Width: 3072, HeadDim: 128, Context: 4096, Hidden: 12288, Vector: 768, Guidance: true, Double: 19, Single: 38, Scale: true}
	schnell, fill, depth := dev, dev, dev
	schnell.Guidance, fill.In, depth.In = false, 96, 32
	dev2 := Config{Kind: Flux2, Channels: 128, In: 128, Width: 6144, HeadDim: 128, Context: 15360, Hidden: 18432, Guidance: true, Double: 8, Single: 48, Scale: true}
	klein4, klein9 := dev2, dev2
	klein4.Width, klein4.Context, klein4.Hidden, klein4.Guidance, klein4.Double, klein4.Single = 3072, 7680, 9216, false, 5, 20
	klein9.Width, klein9.Context, klein9.Hidden, klein9.Guidance, klein9.Double, klein9.Single = 4096, 12288, 12288, false, 8, 24
	chroma := dev
	chroma.Kind, chroma.Vector, chroma.Guidance = Chroma, 0, false
	chroma.Approximator.Width, chroma.Approximator.Layers = 5120, 5
	tests := []struct {
		name, family string
		want         Config
		mu           float64 // of the flow
	}{
		{"flux1-dev", "FLUX.1", dev, 1.15}, {"flux1-schnell", "FLUX.1 schnell", schnell, 0},
		{"flux1-fill-dev", "FLUX.1 Fill", fill, 1.15}, {"flux1-depth-dev", "FLUX.1 Canny or Depth", depth, 1.15},
		{"flux2-dev", "FLUX.2", dev2, 2.02}, {"flux2-klein-4b", "FLUX.2 klein", klein4, 2.02}, {"flux2-klein-9b", "FLUX.2 klein", klein9, 2.02},
		{"chroma1", "Chroma", chroma, 1.15},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := process.RectifiedExp(tt.mu)
			if tt.mu == 0 {
				want = process.Rectified(1, 1)
			}
			w := published.Tensors(t, tt.name, prefix)
			c, err := Detect(w)
			if err != nil || c == nil || *c != tt.want {
				t.Fatalf("detected %+v, %v, want %+v", c, err, tt.want)
			}
			if c.Family() != tt.family || c.Process() != want {
				t.Errorf("%s, %+v, want %s, %+v", c.Family(), c.Process(), tt.family, want)
			}
			published.Complete(t, w, c.Check(w))
			published.Layers(t, w, c.Layers)
		})
	}
}

// TestDetectErrors names what is wrong with a file.
func TestDetectErrors(t *testing.T) {
	set := func(name string, shape ...int) func(eval.Weights) {
		return func(w eval.Weights) {
			w[prefix+name] = eval.Weight{DType: w[prefix+"img_in.weight"].DType, Shape: shape}
		}
	}
	drop := func(name string) func(eval.Weights) {
		return func(w eval.Weights) {
			for _, name := range nn.Names(w.Names()).Under(prefix + name) {
				delete(w, name)
			}
		}
	}
	both := func(changes ...func(eval.Weights)) func(eval.Weights) {
		return func(w eval.Weights) {
			for _, change := range changes {
				change(w)
			}
		}
	}
	heads := func(w eval.Weights) {
		for _, name := range w.Names() {
			if strings.HasSuffix(name, "_norm.scale") {
				w[name] = eval.Weight{DType: w[name].DType, Shape: []int{24}}
			}
		}
	}
	tests := []struct {
		file   string
		change func(eval.Weights)
		want   string
	}{
		{"flux1", set("txt_in.individual_token_refiner.blocks.0.norm1.weight", 8), "HunyuanVideo"},
		{"flux1", set("double_blocks.0.img_mlp.gate_proj.weight", 8), "Ovis"},
		{"flux1", set("txt_norm.weight", 8), "normalizes its text"},
		{"flux1", set("controlnet_blocks.0.weight", 8, 8), "ControlNet"},
		{"flux1", both(drop("vector_in."), set("txt_in.weight", 64, longCat)), "LongCat-Image"},
		{"flux1", drop("single_blocks.0."), "none model.diffusion_model.single_blocks.0..."},
		{"flux1", drop("double_blocks.0."), "none model.diffusion_model.double_blocks.0..."},
		{"flux1", drop("txt_in.weight"), "sizes of the network cannot be told"},
		{"flux1", set("img_in.weight", 64, 18), "18 features"},
		{"flux1", set("img_in.weight", 64, 12), "the first no smaller"},
		{"flux1", heads, "heads 24"},
		{"flux1", drop("time_in.out_layer.bias"), "there is no tensor model.diffusion_model.time_in.out_layer.bias"},
		{"flux2", set("single_blocks.1.linear1.weight", 384, 60), "single_blocks.1.linear1.weight has the shape [384 60], expected [384 64]"},
		{"chroma", set("nerf_blocks.0.norm.scale", 8), "Chroma Radiance"},
		{"chroma", drop("distilled_guidance_layer.in_proj."), "distilled_guidance_layer.in_proj.weight"},
		{"chroma", func(w eval.Weights) {
			for i := range 120 {
				set("single_blocks."+strconv.Itoa(i)+".linear2.weight", 64, 192)(w)
			}
		}, "need 386 modulations"},
	}
	for _, tt := range tests {
		w := eval.Read(t, golden.Open(t, tt.file).File)
		tt.change(w)
		if c, err := Detect(w); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", tt.file, c, err, tt.want)
		}
	}
	if c, err := Detect(eval.Weights{}); c != nil || err != nil {
		t.Errorf("no tensors: got %v, %v, want neither", c, err)
	}
}

// TestShapeErrors names what of a conditioning does not fit.
func TestShapeErrors(t *testing.T) {
	dev := Config{Kind: Flux1, Channels: 16, In: 16, Width: 128, HeadDim: 32, Context: 24, Vector: 12, Guidance: true}
	fill, flux2, chroma := dev, dev, dev
	fill.In, flux2.Kind, chroma.Kind = 96, Flux2, Chroma
	latents := func(name string, shapes ...latent.Shape) map[string][]latent.Tensor {
		var all []latent.Tensor
		for _, s := range shapes {
			all = append(all, latent.Tensor{Shape: s})
		}
		return map[string][]latent.Tensor{name: all}
	}
	x := latent.Picture(1, 16, 4, 6)
	tests := []struct {
		config Config
		cond   model.Cond
		more   string
		want   string
	}{
		{dev, model.Cond{Width: 20}, "", "text of 24 features, and the prompt was encoded with 20"},
		{dev, model.Cond{Width: 24, Pooled: make([]float32, 8)}, "", "pooled text of 12 features, and the prompt has 8"},
		{dev, model.Cond{Width: 24, Latents: latents(model.References, latent.Picture(1, 4, 2, 2))}, "", "latents of 4 channels, and FLUX.1 reads 16"},
		{dev, model.Cond{Width: 24, Latents: latents(model.References, x), Numbers: map[string][]float32{model.ReferenceMethod: {4}}}, "", "no way number 4"},
		{dev, model.Cond{Width: 24, Latents: latents(model.References, x), Numbers: map[string][]float32{model.ReferenceMethod: {3}}}, "", "index_timestep_zero"},
		{fill, model.Cond{Width: 24, Latents: latents(model.References, x)}, "", "follows no reference pictures"},
		{fill, model.Cond{Width: 24, Latents: latents(model.Concat, x)}, "", "80 channels beside the latents, and the conditioning has 16"},
		{fill, model.Cond{Width: 24, Latents: latents(model.Concat, x, latent.Picture(1, 64, 4, 5))}, "", "latents of 5×4 beside those of 6×4"},
		{dev, model.Cond{Width: 24, Pooled: make([]float32, 13), Latents: latents(model.References, x)}, "", ""},
		{flux2, model.Cond{Width: 24, Latents: latents(model.References, x)}, "index", ""},
		{flux2, model.Cond{Width: 24, Latents: latents(model.References, x), Numbers: map[string][]float32{model.ReferenceMethod: {3}, model.Guidance: nil}}, "index_timestep_zero unguided", ""},
		{chroma, model.Cond{Width: 24, Latents: latents(model.References, x)}, "", ""},
	}
	for _, tt := range tests {
		in, err := tt.config.Shape(x, &tt.cond)
		if tt.want == "" && (err != nil || in.More != tt.more) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %+v, %v, want %q and an error with %q", tt.config.Kind, in, err, tt.more, tt.want)
		}
	}
}

// TestDefaults has what a conditioning that says nothing is taken to say.
func TestDefaults(t *testing.T) {
	c := Config{Kind: Flux1, Channels: 2, In: 6, Width: 128, HeadDim: 32, Context: 24, Vector: 3, Guidance: true}
	want := map[string][]float32{"guidance": {3.5}, "pooled": {0, 0, 0}, "concat": slices.Concat(slices.Repeat([]float32{-0.1159 * 0.3611}, 8), slices.Repeat([]float32{1}, 8))}
	for _, input := range c.Inputs(model.Shape{Shape: latent.Picture(1, 2, 2, 2), Tokens: 3}) {
		if values, ok := want[input.Name]; ok {
			if got := input.Of(&model.Cond{}); !slices.Equal(got, values) {
				t.Errorf("%s is %v, want %v", input.Name, got, values)
			}
			delete(want, input.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("there are no inputs %v", want)
	}
}
