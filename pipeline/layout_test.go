package pipeline

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// toDiffusers returns the names that diffusers gives the layers of a model of
// the goldens, by their original names.
func toDiffusers(t *testing.T, model string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(golden.Dir(), "diffusers_names.txt"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); f[0] == model {
			out[f[2]] = f[1]
		}
	}
	return out
}

// namedBy writes the tensors of a set under other names; "" leaves one out.
func namedBy(t *testing.T, set *weights.Set, f func(name string) string) string {
	t.Helper()
	var tensors []weights.Tensor
	for _, name := range set.Names() {
		to := f(name)
		if to == "" {
			continue
		}
		ref, _ := set.Lookup(name)
		raw := make([]byte, ref.Length)
		if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, weights.Tensor{Name: to, DType: ref.DType, Shape: ref.Shape, Write: weights.Bytes(raw)})
	}
	metadata := set.Metadata()
	metadata[sd.MetadataFactor] = "4"
	return writeTensors(t, metadata, tensors...)
}

func writeTensors(t *testing.T, metadata map[string]string, tensors ...weights.Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := weights.Write(t.Context(), path, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

// diffusersNames is the function that gives the demo's tensors diffusers' names.
func diffusersNames(t *testing.T) func(string) string {
	unet, vae := toDiffusers(t, "unet emoji"), toDiffusers(t, "vae emoji")
	return func(name string) string {
		for prefix, layers := range map[string]map[string]string{sd.UNetPrefix: unet, sd.VAEPrefix: vae} {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				i := strings.LastIndexByte(rest, '.')
				return prefix + layers[rest[:i]] + rest[i:]
			}
		}
		return name
	}
}

// warnings collects what is logged while a test runs.
func warnings(t *testing.T) *bytes.Buffer {
	t.Helper()
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &log
}

// TestPrefixes opens the parts of the demo under the prefixes that people's files
// have, in original names and in those of diffusers: every bit is the same.
func TestPrefixes(t *testing.T) {
	log := warnings(t)
	set := openSet(t, emoji)
	e := newEngine(t, Options{})
	want := everything(t, open(t, e, emoji))
	original, diffusers := func(name string) string { return name }, diffusersNames(t)
	part := func(names func(string) string, from, to string) string {
		return namedBy(t, set, func(name string) string {
			if rest, ok := strings.CutPrefix(names(name), from); ok {
				return to + rest
			}
			return ""
		})
	}
	runs := 0
	check := func(what, unet, text, vae string) {
		t.Helper()
		m, err := e.UNet(t.Context(), unet)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		clip, err := e.CLIP(t.Context(), "stable_diffusion", text)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		v, err := e.VAE(t.Context(), vae)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, p := range []placed{{m.part, sd.UNetPrefix}, {clip.encoders[0].part, sd.ClipLSD1}, {v.part, sd.VAEPrefix}} {
			if got, all := p.set.Sub(p.prefix).Names(), set.Sub(p.prefix).Names(); !slices.Equal(got, all) && (p.prefix != sd.ClipLSD1 || len(got) != len(all)) {
				t.Errorf("%s: %d names, want %d, the first %s", what, len(got), len(all), got[0])
			}
		}
		if runs++; runs <= 3 {
			same(t, what, everything(t, &Checkpoint{Model: m, CLIP: clip, VAE: v}), want)
		}
	}
	for _, prefixes := range [][3]string{
		{"", "", ""}, {"model.", "text_encoder.", "vae."}, {"diffusion_model.", "text_encoders.clip_l.transformer.", "module."}, {"net.", "clip_l.", "first_stage_model."},
		{"transformer.", "transformer.", "_orig_mod."}, {"module.", "model.", "model."}, {"_orig_mod.", "module.", "net."},
		{"model.diffusion_model.", "cond_stage_model.transformer.", "module._orig_mod."}, {"unet.", "a.b.c.", "x."},
	} {
		text := part(original, sd.ClipLSD1, prefixes[1])
		check("original "+prefixes[0], part(original, sd.UNetPrefix, prefixes[0]), text, part(original, sd.VAEPrefix, prefixes[2]))
		check("diffusers "+prefixes[0], part(diffusers, sd.UNetPrefix, prefixes[0]), text, part(diffusers, sd.VAEPrefix, prefixes[2]))
	}
	check("without text_model", part(original, sd.UNetPrefix, ""), part(original, sd.ClipLSD1+"text_model.", "x."), part(original, sd.VAEPrefix, ""))
	// All in one file, by whatever names.
	for _, to := range []*strings.Replacer{
		strings.NewReplacer(sd.UNetPrefix, "unet.", sd.VAEPrefix, "vae.", sd.ClipLSD1, "text_encoder."),
		strings.NewReplacer(sd.UNetPrefix, "module.model.diffusion_model.", sd.VAEPrefix, "module.first_stage_model.", sd.ClipLSD1, "module.cond_stage_model.transformer."),
		strings.NewReplacer(sd.UNetPrefix, "", sd.VAEPrefix, "vae.", sd.ClipLSD1, "text_encoders.clip_l.transformer."),
	} {
		same(t, "a whole checkpoint", everything(t, open(t, e, namedBy(t, set, func(name string) string { return to.Replace(diffusers(name)) }))), want)
	}
	if log.Len() > 0 {
		t.Errorf("nothing is to be warned of: %s", log.String())
	}
}

type placed struct {
	part
	prefix string
}

// TestMissingInFile names what is missing as the file would.
func TestMissingInFile(t *testing.T) {
	set := openSet(t, emoji)
	diffusers := diffusersNames(t)
	e := newEngine(t, Options{})
	for _, missing := range []string{
		"unet.down_blocks.1.resnets.0.time_emb_proj.bias", "unet.mid_block.attentions.0.proj_in.weight", "unet.up_blocks.1.upsamplers.0.conv.weight",
		"vae.decoder.up_blocks.2.resnets.0.conv_shortcut.weight", "vae.encoder.mid_block.attentions.0.to_out.0.bias", "text_encoder.text_model.encoder.layers.0.layer_norm1.bias",
	} {
		seen := false
		rename := strings.NewReplacer(sd.UNetPrefix, "unet.", sd.VAEPrefix, "vae.", sd.ClipLSD1, "text_encoder.")
		path := namedBy(t, set, func(name string) string {
			if name = rename.Replace(diffusers(name)); name == missing {
				seen = true
				return ""
			}
			return name
		})
		if _, err := e.Checkpoint(t.Context(), path); !seen || err == nil || !strings.Contains(err.Error(), "there is no tensor "+missing+";") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

// TestEarlyDiffusers has the names that diffusers gave an autoencoder's attention
// at first.
func TestEarlyDiffusers(t *testing.T) {
	set := openSet(t, emoji)
	diffusers := diffusersNames(t)
	early := strings.NewReplacer("attentions.0.to_q", "attentions.0.query", "attentions.0.to_k", "attentions.0.key", "attentions.0.to_v", "attentions.0.value", "attentions.0.to_out.0", "attentions.0.proj_attn")
	v, err := newEngine(t, Options{}).VAE(t.Context(), namedBy(t, set, func(name string) string {
		if rest, ok := strings.CutPrefix(diffusers(name), sd.VAEPrefix); ok {
			return early.Replace(rest)
		}
		return ""
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := v.set.Names(), set.Sub(sd.VAEPrefix).Under(sd.VAEPrefix).Names(); !slices.Equal(got, want) {
		t.Errorf("the names are %v, want %v", got, want)
	}
}

// TestTwoUNets names what was found where it is not clear which is meant.
func TestTwoUNets(t *testing.T) {
	var tensors []weights.Tensor
	for _, prefix := range []string{"a.", "b."} {
		tensors = append(tensors, weights.F32(prefix+"input_blocks.0.0.weight", dtype.F32, []int{1}, []float32{1}))
	}
	if _, err := newEngine(t, Options{}).UNet(t.Context(), writeTensors(t, nil, tensors...)); err == nil || !strings.Contains(err.Error(), "begin with a., b.: expected one") {
		t.Errorf("got %v", err)
	}
}

// TestTwoEncoders tells SDXL's text encoders apart in one file, by their prefixes
// or by the names of OpenCLIP.
func TestTwoEncoders(t *testing.T) {
	const transformers, openCLIP = "text_model.encoder.layers.0.mlp.fc1.bias", "transformer.resblocks.0.mlp.c_fc.bias"
	for _, tt := range []struct{ l, g, toL, toG string }{
		{"text_encoder." + transformers, "text_encoder_2." + transformers, sd.ClipLSD1 + transformers, sd.ClipGConverted + transformers},
		{"text_encoders.clip_l.transformer." + transformers, "text_encoders.clip_g.transformer." + transformers, sd.ClipLSD1 + transformers, sd.ClipGConverted + transformers},
		{"x." + transformers, "a." + openCLIP, sd.ClipLSDXL + transformers, sd.ClipG + openCLIP},
		{"module." + sd.ClipLSDXL + transformers, "module." + sd.ClipG + openCLIP, sd.ClipLSDXL + transformers, sd.ClipG + openCLIP},
		{sd.ClipLSDXL + transformers, sd.ClipG + openCLIP, sd.ClipLSDXL + transformers, sd.ClipG + openCLIP},
	} {
		path := writeTensors(t, nil, weights.F32(tt.l, dtype.F32, []int{1}, []float32{1}), weights.F32(tt.g, dtype.F32, []int{1}, []float32{2}))
		set, l, err := arrange(openSet(t, path))
		if err != nil {
			t.Fatal(err)
		}
		for from, to := range map[string]string{tt.l: tt.toL, tt.g: tt.toG} {
			if ref, ok := set.Lookup(to); !ok || ref.Name != from || l.inFile(to) != from {
				t.Errorf("%s is not at %s: the names are %v, back %s", from, to, set.Names(), l.inFile(to))
			}
		}
	}
}
