package lora

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/internal/synth"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
)

// A file is a LoRA file in memory.
type file eval.Weights

func (f file) Names() []string { return slices.Sorted(maps.Keys(f)) }

func (f file) Lookup(name string) (dtype.DType, ir.Shape, bool) { return eval.Weights(f).Lookup(name) }

func (f file) Scalar(name string) (float32, error) {
	x, ok := f[name]
	if !ok || x.Shape.Elems() != 1 {
		return 0, fmt.Errorf("tensor %s is not one number", name)
	}
	var v [1]float32
	dtype.ToF32(v[:], x.Bytes, x.DType)
	return v[0], nil
}

// set puts a tensor of zeros into the file.
func (f file) set(name string, shape ...int) {
	f[name] = eval.Weight{DType: dtype.F32, Shape: shape, Bytes: make([]byte, 4*ir.Shape(shape).Elems())}
}

// goldenFile returns the LoRA of that label in the golden, under PEFT's names.
func goldenFile(t *testing.T, label string) file {
	t.Helper()
	f := file{}
	for name, x := range eval.Read(t, golden.Open(t, "lora").File) {
		if name, ok := strings.CutPrefix(name, label+"/"); ok {
			f[name] = x
		}
	}
	if len(f) == 0 {
		t.Fatalf("the golden has no LoRA %s", label)
	}
	return f
}

// tiny returns the weights of the goldens put together to a checkpoint of a
// family, and what a LoRA is put on.
func tiny(t testing.TB, family string) (eval.Weights, Base) {
	t.Helper()
	w := eval.Weights{}
	add := func(file, prefix, to string) {
		for name, x := range eval.Read(t, golden.Open(t, file).File) {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				w[to+rest] = x
			}
		}
	}
	unet, metadata := "unet_sd15", map[string]string{clip.MetadataHeads: "4"}
	prefixes := []string{sd.ClipLSD1}
	if family == sd.SDXL {
		unet, metadata[sd.MetadataHeads] = "unet_sdxl", "2"
		prefixes = []string{sd.ClipLSDXL, sd.ClipG}
		add("open_clip", sd.ClipG, sd.ClipG)
	}
	add(unet, sd.UNetPrefix, sd.UNetPrefix)
	add("vae", sd.VAEPrefix, sd.VAEPrefix)
	add("clip_l", sd.ClipLSD1, prefixes[0])
	return w, newBase(t, w, metadata, prefixes...)
}

func newBase(t testing.TB, w eval.Weights, metadata map[string]string, prefixes ...string) Base {
	t.Helper()
	c, err := sd.Detect(w, metadata)
	if err != nil {
		t.Fatal(err)
	}
	b := Base{Weights: w, Denoiser: c}
	slots := sd.TextSDXL.Slots
	for i, prefix := range prefixes {
		config, err := clip.Detect(w, prefix, metadata)
		if err != nil {
			t.Fatal(err)
		}
		b.Encoders = append(b.Encoders, Encoder{Layered: clip.Encoder{Config: config}, Prefix: prefix, Names: slots[i].LoRA})
	}
	return b
}

// A form is a way of naming the tensors of a LoRA, made from PEFT's.
type form struct {
	name   string
	module func(module string) string
	parts  map[string]string // by PEFT's suffix
}

// forms returns the ways of naming. original has the UNet's modules.
func forms(original map[string]string) []form {
	kohya := map[string]string{".lora_A.weight": ".lora_down.weight", ".lora_B.weight": ".lora_up.weight"}
	older := map[string]string{".lora_A.weight": ".lora.down.weight", ".lora_B.weight": ".lora.up.weight"}
	under := map[string]string{".lora_A.weight": "_lora.down.weight", ".lora_B.weight": "_lora.up.weight"}
	flat := func(unet, te1 string, path func(string) string) func(string) string {
		return func(module string) string {
			if rest, ok := strings.CutPrefix(module, "unet."); ok {
				return unet + strings.ReplaceAll(path(rest), ".", "_")
			}
			if rest, ok := strings.CutPrefix(module, "text_encoder."); ok {
				return te1 + strings.ReplaceAll(rest, ".", "_")
			}
			return "lora_te2_" + strings.ReplaceAll(strings.TrimPrefix(module, "text_encoder_2."), ".", "_")
		}
	}
	same := func(module string) string { return module }
	return []form{
		{"PEFT", same, nil},
		{"PEFT with the adapter's name", same, map[string]string{".lora_A.weight": ".lora_A.default.weight", ".lora_B.weight": ".lora_B.default.weight"}},
		{"PEFT with a name of the user's", same, map[string]string{".lora_A.weight": ".lora_A.my_style.weight", ".lora_B.weight": ".lora_B.my_style.weight"}},
		{"PEFT without what the matrices are", same, map[string]string{".lora_A.weight": ".lora_A", ".lora_B.weight": ".lora_B"}},
		{"wrapped", func(module string) string { return "base_model.model." + module }, nil},
		{"wrapped within", func(module string) string {
			network, path, _ := strings.Cut(module, ".")
			return network + ".base_model.model." + path
		}, nil},
		{"compiled and trained in parallel", func(module string) string {
			network, path, _ := strings.Cut(module, ".")
			return "module." + network + "._orig_mod." + path
		}, nil},
		{"without text_model", func(module string) string { return strings.Replace(module, ".text_model.", ".", 1) }, nil},
		{"a transformer", func(module string) string { return strings.Replace(module, "unet.", "transformer.", 1) }, nil},
		{"diffusers", same, older},
		{"diffusers, linear layers", same, map[string]string{".lora_A.weight": ".lora_linear_layer.down.weight", ".lora_B.weight": ".lora_linear_layer.up.weight"}},
		{"processors", func(module string) string {
			for _, at := range []string{".attn1.to_", ".attn2.to_"} {
				module = strings.Replace(module, at, at[:7]+"processor.to_", 1)
			}
			if strings.Contains(module, ".processor.") {
				module = strings.TrimSuffix(module, ".0")
			}
			return module
		}, under},
		{"a UNet alone", func(module string) string { return strings.TrimPrefix(module, "unet.") }, nil},
		{"kohya", flat("lora_unet_", "lora_te_", func(s string) string { return s }), kohya},
		{"kohya with the original blocks", flat("lora_unet_", "lora_te1_", func(s string) string { return original[s] }), kohya},
		{"LyCORIS", flat("lycoris_", "lycoris_te_", func(s string) string { return s }), kohya},
		{"original", func(module string) string {
			if rest, ok := strings.CutPrefix(module, "unet."); ok {
				return "diffusion_model." + original[rest]
			}
			for part, to := range map[string]string{"text_encoder.": "text_encoders.clip_l.transformer.", "text_encoder_2.": "text_encoders.clip_g.transformer."} {
				module = strings.Replace(module, part, to, 1)
			}
			return module
		}, nil},
	}
}

// rename returns the file in a form, and the old names of its tensors.
func (f form) rename(src file) (out file, old map[string]string) {
	out, old = file{}, map[string]string{}
	for name, x := range src {
		for _, suffix := range []string{".lora_A.weight", ".lora_B.weight", ".lora_mid.weight", ".alpha"} {
			module, ok := strings.CutSuffix(name, suffix)
			if !ok {
				continue
			}
			to := suffix
			if s, ok := f.parts[suffix]; ok {
				to = s
			}
			renamed := f.module(module) + to
			out[renamed], old[renamed] = x, name
		}
	}
	return out, old
}

// originals returns the names of the modules of a full-size UNet, from
// diffusers to the original, as the golden's script found them.
func originals(t *testing.T, model string) map[string]string {
	t.Helper()
	var all map[string]map[string]string
	if err := json.Unmarshal([]byte(golden.Open(t, "lora").Metadata()["modules"]), &all); err != nil {
		t.Fatal(err)
	}
	m := all[model]
	if len(m) < 200 {
		t.Fatalf("%d modules of %s", len(m), model)
	}
	return m
}

// only returns the tensors whose names begin with a prefix.
func (f file) only(prefixes ...string) file {
	out := file{}
	for name, x := range f {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			out[name] = x
		}
	}
	return out
}

// TestForms gives the same LoRA names of every kind: the mapping is the same.
func TestForms(t *testing.T) {
	_, sd1 := tiny(t, sd.SD1)
	_, xl := tiny(t, sd.SDXL)
	for _, label := range []string{"one", "two"} {
		all := goldenFile(t, label)
		cases := []struct {
			name string
			base Base
			src  file
		}{
			{"1.x", sd1, all.only("unet.", "text_encoder.")},
			{"text encoders of SDXL", xl, all.only("text_encoder.", "text_encoder_2.")},
		}
		for _, c := range cases {
			want, err := Map(c.src, c.base)
			if err != nil {
				t.Fatal(err)
			}
			if len(want.Unmatched) > 0 {
				t.Errorf("%s: unmatched: %v", c.name, want.Unmatched)
			}
			for _, form := range forms(originals(t, "sd15")) {
				src, old := form.rename(c.src)
				got, err := Map(src, c.base)
				if err != nil {
					t.Errorf("%s, %s: %v", c.name, form.name, err)
					continue
				}
				for _, list := range got.Adapters {
					for i := range list {
						a := &list[i]
						a.Down, a.Up, a.Mid = old[a.Down], old[a.Up], old[a.Mid]
					}
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s, %s: the mapping differs from that of PEFT's names:\n%s", c.name, form.name, d)
				}
			}
		}
	}
}

// TestFullSize maps a LoRA on every layer of the full-size UNets, under the
// names that diffusers' own modules have.
func TestFullSize(t *testing.T) {
	for model, c := range map[string]struct {
		tensors  []synth.Tensor
		prefixes []string
	}{
		"sd15": {synth.SD15(), []string{sd.ClipLSD1}},
		"sdxl": {synth.SDXL(), []string{sd.ClipLSDXL, sd.ClipG}},
	} {
		t.Run(model, func(t *testing.T) {
			w := eval.Weights{}
			for _, x := range c.tensors {
				w[x.Name] = eval.Weight{DType: dtype.F16, Shape: x.Shape}
			}
			base := newBase(t, w, nil, c.prefixes...)
			src, want := file{}, map[string]string{}
			for module, original := range originals(t, model) {
				weight := sd.UNetPrefix + original + ".weight"
				shape := w[weight].Shape
				if shape == nil {
					t.Fatalf("no tensor %s for %s", weight, module)
				}
				name := "lora_unet_" + strings.ReplaceAll(module, ".", "_")
				src[name+".lora_down.weight"] = eval.Weight{DType: dtype.F16, Shape: append(ir.Shape{4}, shape[1:]...)}
				src[name+".lora_up.weight"] = eval.Weight{DType: dtype.F16, Shape: ir.Shape{shape[0], 4}}
				want[weight] = name + ".lora_down.weight"
			}
			m, err := Map(src, base)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for weight, list := range m.Adapters {
				got[weight] = list[0].Down
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if len(m.Unmatched) > 0 {
				t.Errorf("unmatched: %v", m.Unmatched)
			}
		})
	}
}

// A stack is weights with LoRAs on them, each under the prefix of its label.
type stack struct {
	eval.Weights
	adapters map[string][]nn.Adapter
}

func (s stack) Adapters(weight string) []nn.Adapter { return s.adapters[weight] }

// put adds a LoRA to the stack.
func (s stack) put(t *testing.T, label string, base Base) {
	t.Helper()
	src := goldenFile(t, label)
	m, err := Map(src, base)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range src {
		s.Weights[label+"/"+name] = x
	}
	for weight, list := range m.Adapters {
		for _, a := range list {
			a.Down, a.Up, a.Strength = label+"/"+a.Down, label+"/"+a.Up, "strength of "+label
			if a.Mid != "" {
				a.Mid = label + "/" + a.Mid
			}
			s.adapters[weight] = append(s.adapters[weight], a)
		}
	}
}

// TestSidePath compares the results with those of PyTorch on weights that the
// LoRAs were merged into: at two strengths, and two LoRAs at once.
func TestSidePath(t *testing.T) {
	f := golden.Open(t, "lora")
	clipInputs := func(file string, length int) map[string]any {
		tokens := golden.Open(t, file).I32("tokens")
		ends := make([]int32, len(tokens)/length)
		return map[string]any{"tokens": tokens, "ends": ends} // the pooled output is not looked at
	}
	sd1Weights, sd1 := tiny(t, sd.SD1)
	xlWeights, xl := tiny(t, sd.SDXL)
	xl.Denoiser = nil // the LoRA's UNet is that of 1.x
	last := clip.Output{Layer: -1, Norm: true}
	tests := []struct {
		name, golden, output string
		weights              eval.Weights
		base                 Base
		inputs               map[string]any
		build                func(nn.Scope)
	}{
		{"UNet", "unet.y.", "y", sd1Weights, sd1, map[string]any{"x": f.F32("unet.x"), "t": f.F32("unet.t"), "context": f.F32("unet.context")},
			func(s nn.Scope) { sd.UNet(s.Sub(sd.UNetPrefix), sd1.Denoiser.(*sd.Config).UNet, 1, 16, 16, 77) }},
		{"CLIP-L", "clip_l.last.", "hidden", sd1Weights, sd1, clipInputs("clip_l", 77),
			func(s nn.Scope) {
				clip.Text(s.Sub(sd.ClipLSD1), sd1.Encoders[0].Layered.(clip.Encoder).Config, 3, last)
			}},
		{"CLIP-L of SDXL", "clip_l.last.", "hidden", xlWeights, xl, clipInputs("clip_l", 77),
			func(s nn.Scope) {
				clip.Text(s.Sub(sd.ClipLSDXL), xl.Encoders[0].Layered.(clip.Encoder).Config, 3, last)
			}},
		{"OpenCLIP", "open_clip.last.", "hidden", xlWeights, xl, clipInputs("open_clip", 77),
			func(s nn.Scope) { clip.Text(s.Sub(sd.ClipG), xl.Encoders[1].Layered.(clip.Encoder).Config, 3, last) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run := func(strengths map[string]float32) []float32 {
				s := stack{maps.Clone(tt.weights), map[string][]nn.Adapter{}}
				inputs := maps.Clone(tt.inputs)
				for _, label := range slices.Sorted(maps.Keys(strengths)) {
					s.put(t, label, tt.base)
					inputs["strength of "+label] = []float32{strengths[label]}
				}
				return eval.Build(t, s, s.Weights, inputs, tt.build)[tt.output]
			}
			plain := run(nil)
			for _, c := range []struct {
				golden    string
				strengths map[string]float32
			}{
				{"1,0", map[string]float32{"one": 1}},
				{"0.5,0", map[string]float32{"one": 0.5}},
				{"1,0", map[string]float32{"one": 1, "two": 0}},
				{"1,0.5", map[string]float32{"one": 1, "two": 0.5}},
			} {
				what := fmt.Sprint(c.strengths)
				want := f.F32(tt.golden + c.golden)
				golden.Check(t, what, run(c.strengths), want, 1e-4)
				if e, err := golden.RelativeError(plain, want); err != nil || e < 0.05 {
					t.Errorf("%s: without LoRA the error is %.3g (%v): this test shows nothing", what, e, err)
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	_, base := tiny(t, sd.SD1)
	const linear, conv = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", "lora_unet_down_blocks_0_resnets_0_conv1"
	tests := []struct {
		name string
		fill func(file)
		want string
	}{
		{"nothing", func(f file) { clear(f) }, "no tensor of the LoRA belongs to a layer of this model: found no tensors, which are not those of a LoRA"},
		{"another model", func(f file) {
			clear(f)
			f.set("transformer.single_blocks.0.attn.to_q.lora_A.weight", 2, 32)
			f.set("transformer.single_blocks.0.attn.to_q.lora_B.weight", 32, 2)
		}, "this looks like a LoRA for Flux or HunyuanVideo, and no tensor of it belongs to a layer of this model: found transformer.single_blocks.0.attn.to_q.lora_A.weight"},
		{"one half", func(f file) { delete(f, linear+".lora_up.weight") }, linear + ".lora_down.weight but not lora_up (lora_B) of the layer"},
		{"alpha alone", func(f file) { clear(f); f.set(conv+".alpha", 1) }, conv + ".alpha and nothing that it belongs to"},
		{"another width", func(f file) { f.set(linear+".lora_down.weight", 2, 48) }, "attn1_to_q.lora_down.weight of the LoRA has shape [2 48], and the weight model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight [32 32] needs [2 32]"},
		{"ranks that differ", func(f file) { f.set(linear+".lora_up.weight", 32, 3) }, "has shape [32 3]"},
		{"rank 0", func(f file) { f.set(linear+".lora_down.weight", 0, 32); f.set(linear+".lora_up.weight", 32, 0) }, "has shape [0 32]"},
		{"one dimension", func(f file) { f.set(linear+".lora_up.weight", 64) }, "has shape [64]"},
		{"no dimension", func(f file) { f.set(linear + ".lora_up.weight") }, "has shape []"},
		{"another kernel", func(f file) {
			clear(f)
			f.set(conv+".lora_down.weight", 2, 32, 5, 5)
			f.set(conv+".lora_up.weight", 32, 2, 1, 1)
		}, "has shape [2 32 5 5]"},
		{"alpha of two numbers", func(f file) { f.set(linear+".alpha", 2) }, "is not one number"},
		{"alpha that is no number", func(f file) {
			f[linear+".alpha"] = eval.Weight{DType: dtype.F32, Shape: ir.Shape{}, Bytes: []byte{0, 0, 0xc0, 0x7f}}
		}, linear + ".alpha of the LoRA is NaN"},
		{"integers", func(f file) { f[linear+".lora_up.weight"] = eval.Weight{DType: dtype.I8, Shape: ir.Shape{32, 2}} }, "dtype I8"},
		{"the same layer twice", func(f file) { f.set(linear+".lora_A.weight", 2, 32) }, "two tensors of the same kind for one layer"},
		{"two adapters", func(f file) {
			f.set("unet.conv_in.lora_A.one.weight", 2, 4, 3, 3)
			f.set("unet.conv_in.lora_B.two.weight", 32, 2, 1, 1)
		}, "two adapters of PEFT, one and two"},
		{"a name of a megabyte with control characters", func(f file) {
			f["lora_unet_conv_in"+strings.Repeat("\x1b[31m", 1<<18)+".lora_up.weight"] = eval.Weight{DType: dtype.I8, Shape: ir.Shape{32, 2}}
		}, `tensor "lora_unet_conv_in\x1b[31m\x1b[31m`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := file{}
			f.set(linear+".lora_down.weight", 2, 32)
			f.set(linear+".lora_up.weight", 32, 2)
			tt.fill(f)
			if m, err := Map(f, base); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v, want an error with %q", m, err, tt.want)
			} else if len(err.Error()) > 2000 || fault.Of(err) != fault.Model {
				t.Errorf("the error has %d bytes and the kind %q", len(err.Error()), fault.Of(err))
			}
		})
	}
}

// TestUnmatched has tensors that belong to nothing beside some that do.
func TestUnmatched(t *testing.T) {
	_, base := tiny(t, sd.SD1)
	f := file{}
	f.set("lora_unet_conv_in.lora_down.weight", 2, 4, 3, 3)
	f.set("lora_unet_conv_in.lora_up.weight", 32, 2, 1, 1)
	f.set("lora_unet_nowhere.lora_down.weight", 2, 4)
	f.set("lora_unet_nowhere.lora_up.weight", 4, 2)
	f.set("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", 1)
	f.set("strange", 1)
	m, err := Map(f, base)
	if err != nil {
		t.Fatal(err)
	}
	want := &Mapping{
		Adapters: map[string][]nn.Adapter{sd.UNetPrefix + "input_blocks.0.0.weight": {
			{Down: "lora_unet_conv_in.lora_down.weight", Up: "lora_unet_conv_in.lora_up.weight", Scale: 1},
		}},
		Changes:   map[string][]Change{},
		Unmatched: []string{"lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", "lora_unet_nowhere.lora_down.weight", "lora_unet_nowhere.lora_up.weight", "strange"},
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
}

// TestNamesOfComfyUI looks up every name that ComfyUI knows a layer by, of a
// UNet and of SDXL's text encoders: each stands for the same weight.
func TestNamesOfComfyUI(t *testing.T) {
	_, sd1 := tiny(t, sd.SD1)
	_, xl := tiny(t, sd.SDXL)
	metadata := golden.Open(t, "comfy_lora").Metadata()
	for kind, base := range map[string]Base{"unet": sd1, "text": xl} {
		var known map[string]string
		if err := json.Unmarshal([]byte(metadata[kind]), &known); err != nil || len(known) < 100 {
			t.Fatalf("%d names, %v", len(known), err)
		}
		all := base.networks()
		for name, want := range known {
			if kind == "text" && strings.Contains(name, "lora_prior_te") || strings.HasSuffix(want, ".position_ids") {
				continue
			}
			got := all.find(name)
			if len(got) == 0 {
				if _, _, ok := base.Weights.Lookup(want); ok || kind == "text" {
					t.Errorf("%s is unknown, want %s", name, want)
				}
				continue
			}
			best := got[0]
			for _, f := range got {
				if f.rank > best.rank {
					best = f
				}
			}
			if kind == "text" {
				want = best.comfyName(t, want)
			}
			if best.weight != want {
				t.Errorf("%s is %s, want %s", name, best.weight, want)
			}
		}
	}
}

// comfyName returns the weight that ComfyUI's name of a text encoder's stands
// for in a checkpoint of SDXL.
func (f found) comfyName(t *testing.T, name string) string {
	t.Helper()
	if rest, ok := strings.CutPrefix(name, "clip_l.transformer."); ok {
		return sd.ClipLSDXL + rest
	}
	rest := strings.TrimPrefix(name, "clip_g.transformer.text_model.")
	for i, part := range []string{"q_proj", "k_proj", "v_proj"} {
		if strings.Contains(rest, part) {
			if f.from != i*64 || f.rows != 64 {
				t.Errorf("%s has the rows %d+%d", name, f.from, f.rows)
			}
			rest = strings.Replace(rest, "self_attn."+part+".weight", "attn.in_proj_weight", 1)
		}
	}
	return sd.ClipG + strings.NewReplacer("encoder.layers.", "transformer.resblocks.", "layer_norm", "ln_", "mlp.fc1", "mlp.c_fc", "mlp.fc2", "mlp.c_proj",
		"self_attn.", "attn.", "embeddings.token_embedding", "token_embedding", "embeddings.position_embedding.weight", "positional_embedding",
		"final_layer_norm", "ln_final", "clip_g.transformer.text_projection.weight", "text_projection").Replace(rest)
}
