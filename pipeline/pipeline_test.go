package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/weights"
)

const emoji = "../models/checkpoints/emoji.safetensors"

func newEngine(t *testing.T, o Options) *Engine {
	t.Helper()
	e := New(o)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func open(t *testing.T, e *Engine, path string) *Checkpoint {
	t.Helper()
	c, err := e.Checkpoint(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encode(t *testing.T, c *Checkpoint, prompt string) *model.Cond {
	t.Helper()
	text, err := c.CLIP.Encode(t.Context(), prompt, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &model.Cond{Embed: text.Embed, Tokens: text.Tokens, Width: text.Width, Pooled: text.Pooled}
}

func predict(t *testing.T, c *Checkpoint, shape latent.Shape, conds ...*model.Cond) [][]float32 {
	t.Helper()
	out, err := c.Model.Predict(t.Context(), latent.Tensor{Shape: shape, Data: diffusion.Randn(5, shape.Elems())}, 500, conds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBatchesAreTheSame predicts two conditions of two latents in one batch,
// and in as many runs as little memory asks for.
func TestBatchesAreTheSame(t *testing.T) {
	shape := latent.Picture(2, 4, 16, 16)
	large := open(t, newEngine(t, Options{}), emoji)
	a, b := encode(t, large, "red apple"), encode(t, large, "")
	want := predict(t, large, shape, a, b)
	// One latent takes about half a mebibyte of activations.
	for _, vram := range []int64{1400 << 10, 2 << 20, 64 << 20} {
		e := newEngine(t, Options{VRAM: vram})
		got := predict(t, open(t, e, emoji), shape, a, b)
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Errorf("with %d KiB, condition %d is predicted otherwise", vram>>10, i)
			}
		}
		if s := e.Stats().VRAM; s.Peak > vram {
			t.Errorf("%d of %d bytes were taken", s.Peak, vram)
		}
	}
	// Texts of different lengths cannot run together.
	long := encode(t, large, strings.Repeat("a red apple and a green pear ", 20))
	if long.Tokens <= 77 {
		t.Fatalf("the long prompt has %d tokens", long.Tokens)
	}
	if got := predict(t, large, shape, a, long); !slices.Equal(got[0], want[0]) {
		t.Error("a condition is predicted otherwise beside a longer one")
	}
}

// TestPrefetch announces each part of a checkpoint before it runs: its weights
// come in meanwhile, and none comes twice.
func TestPrefetch(t *testing.T) {
	for _, vram := range []int64{0, 64 << 20} {
		e := newEngine(t, Options{VRAM: vram})
		c := open(t, e, emoji)
		moved := func() int64 { return e.Stats().Top().Moved }
		arrives := func(what string, prefetch func()) {
			t.Helper()
			before := moved()
			prefetch()
			for deadline := time.Now().Add(20 * time.Second); moved() == before; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("nothing of the %s was brought in", what)
				}
			}
		}
		arrives("text encoder", c.CLIP.Prefetch)
		cond := encode(t, c, "red apple")
		shape := latent.Picture(1, 4, 8, 8)
		arrives("denoiser", func() { c.Model.Prefetch(shape, cond) })
		predict(t, c, shape, cond)
		arrives("decoder", c.VAE.PrefetchDecoder)
		l := latent.New(latent.Picture(1, 4, 8, 8))
		m, err := c.VAE.Decode(t.Context(), l, nil)
		if err != nil {
			t.Fatal(err)
		}
		arrives("encoder", c.VAE.PrefetchEncoder)
		if _, err := c.VAE.Encode(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
		once := moved()
		encode(t, c, "red apple")
		predict(t, c, shape, cond)
		if got := moved() - once; got != 0 {
			t.Errorf("VRAM %d: %d bytes were moved again", vram, got)
		}
		if s, err := os.Stat(emoji); err != nil || once > s.Size()+s.Size()/50 {
			t.Errorf("VRAM %d: %d bytes were moved of a file of %d, %v", vram, once, s.Size(), err)
		}
	}
}

// TestTiledPrograms predicts one latent in just too little memory for its
// program as it is, and is refused in just too little for any tiling of it.
func TestTiledPrograms(t *testing.T) {
	shape := latent.Picture(1, 4, 32, 32)
	// program plans with the extents that an engine has with so much memory.
	program := func(vram, limit int64) *plan.Program {
		m := open(t, newEngine(t, Options{VRAM: vram}), emoji).Model
		_, b := m.network(1, model.Shape{Shape: shape, Tokens: 77})
		p, err := m.plan(b, limit)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const step = 16 << 10
	vram := int64(4 << 20)
	whole := program(vram, 0)
	for ; whole.Arena+streaming(whole) <= vram; whole = program(vram, 0) {
		vram -= step
	}
	tooLittle := vram
	for least := program(tooLittle, 1); least.LowerBound+streaming(least) <= tooLittle; least = program(tooLittle, 1) {
		tooLittle -= step
	}
	t.Logf("tiled with %d KiB, %d KiB are too little", vram>>10, tooLittle>>10)

	plenty := open(t, newEngine(t, Options{}), emoji)
	text := encode(t, plenty, "red apple")
	want := predict(t, plenty, shape, text)
	e := newEngine(t, Options{VRAM: vram})
	if got := predict(t, open(t, e, emoji), shape, text); !slices.Equal(got[0], want[0]) {
		t.Error("the tiled program is not the same bits")
	}
	if s := e.Stats().VRAM; s.Peak > vram || s.Activations == 0 || s.Activations >= whole.Arena {
		t.Errorf("%d of %d bytes were taken, %d of them for activations of %d as they are", s.Peak, vram, s.Activations, whole.Arena)
	}

	e = newEngine(t, Options{VRAM: tooLittle})
	_, err := open(t, e, emoji).Model.Predict(t.Context(), latent.New(shape), 500, []*model.Cond{text})
	named := regexp.MustCompile(`^UNet of emoji.safetensors needs \d\.\d\d MiB, \d\.\d\d MiB for activations even in tiles .*, and VRAM has \d\.\d\d MiB: `)
	if !errors.Is(err, device.ErrNoMemory) || !named.MatchString(err.Error()) {
		t.Errorf("got %v", err)
	}
	if s := e.Stats(); s.RAM.Moved+s.VRAM.Moved > 0 {
		t.Errorf("%d bytes were moved before the refusal", s.RAM.Moved+s.VRAM.Moved)
	}
}

// TestTiledTextEncoder encodes a long prompt in less memory than its chunks need
// as one batch.
func TestTiledTextEncoder(t *testing.T) {
	prompt := strings.Repeat("a red apple and a green pear ", 60)
	plenty := newEngine(t, Options{})
	want := encode(t, open(t, plenty, emoji), prompt)
	var whole *plan.Program
	planning := newEngine(t, Options{VRAM: 1 << 20, Planned: func(m *run.Model, _ int) { whole = m.Program() }})
	encode(t, open(t, planning, emoji), prompt)
	if whole.Regions == 0 {
		t.Fatal("the text encoder fits as it is")
	}
	e := newEngine(t, Options{VRAM: 1 << 20})
	if got := encode(t, open(t, e, emoji), prompt); !slices.Equal(got.Embed, want.Embed) {
		t.Error("the tiled text encoder is not the same bits")
	}
	if s := e.Stats().VRAM; s.Activations != whole.Arena {
		t.Errorf("the activations took %d bytes, planned were %d", s.Activations, whole.Arena)
	}
}

func TestTooLittleMemoryIsRefused(t *testing.T) {
	c := open(t, newEngine(t, Options{VRAM: 300 << 10}), emoji)
	_, err := c.Model.Predict(t.Context(), latent.New(latent.Picture(1, 4, 32, 32)), 1, []*model.Cond{{Embed: make([]float32, 77*96), Tokens: 77, Width: 96}})
	if err == nil || !strings.Contains(err.Error(), "UNet of emoji.safetensors needs 1.") {
		t.Errorf("got %v", err)
	}
}

func TestCondErrors(t *testing.T) {
	c := open(t, newEngine(t, Options{}), emoji)
	_, err := c.Model.Predict(t.Context(), latent.New(latent.Picture(1, 4, 1, 1)), 1, []*model.Cond{{Embed: make([]float32, 77*768), Tokens: 77, Width: 768}})
	if err == nil || !strings.Contains(err.Error(), "reads text of 96 features, and the prompt was encoded with 768") {
		t.Errorf("got %v", err)
	}
}

// TestPromptIsTheReferences compares an encoded prompt.
func TestPromptIsTheReferences(t *testing.T) {
	c := open(t, newEngine(t, Options{}), emoji)
	golden.Check(t, "prompt", encode(t, c, "red apple").Embed, golden.Open(t, "pipeline_emoji").F32("positive"), 1e-4)
}

// TestWeights checks that a weight of 1 changes nothing and another one moves
// the prompt along the line from the empty one.
func TestWeights(t *testing.T) {
	c := open(t, newEngine(t, Options{}), emoji)
	plain, one, more := encode(t, c, "red apple"), encode(t, c, "(red apple:1.0)"), encode(t, c, "(red apple:1.5)")
	empty := encode(t, c, "")
	if !slices.Equal(plain.Embed, one.Embed) {
		t.Error("a weight of 1 changes the prompt")
	}
	w := plain.Width
	for i := w; i < 3*w; i++ { // the two words
		want := empty.Embed[i] + 1.5*(plain.Embed[i]-empty.Embed[i])
		if d := more.Embed[i] - want; d > 1e-4 || d < -1e-4 {
			t.Fatalf("value %d is %v, want %v", i, more.Embed[i], want)
		}
	}
	if !slices.Equal(more.Embed[:w], plain.Embed[:w]) {
		t.Error("the start token has no weight and has changed")
	}
}

// TestVAETiles decodes and encodes a picture in tiles: it is nearly the same,
// and the same whatever the reason for the tiles.
func TestVAETiles(t *testing.T) {
	c := open(t, newEngine(t, Options{}), emoji)
	m := media.NewImage(1, 128, 160, 3, nil)
	for i := range m.Pix() {
		m.Pix()[i] = 0.5 + 0.4*float32((i/3/40)%2)
	}
	l, err := c.VAE.Encode(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if l.Height != 32 || l.Width != 40 || l.Channels != 4 {
		t.Fatalf("the latents are %d×%d with %d channels", l.Width, l.Height, l.Channels)
	}
	whole, err := c.VAE.Decode(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	parts := 0
	tiled, err := c.VAE.DecodeTiled(t.Context(), l, Tiling{Size: 96, Overlap: 32}, func(part, all int) {
		if parts++; part != parts || all < parts {
			t.Errorf("tile %d was reported as %d of %d", parts, part, all)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := golden.RelativeError(tiled.Pix(), whole.Pix())
	if err != nil || e > 0.1 || e == 0 || parts < 10 {
		t.Errorf("in %d tiles the picture is off by %v, %v", parts, e, err)
	}
	// 4 MiB are too little for the whole picture.
	small := open(t, newEngine(t, Options{VRAM: 4 << 20}), emoji)
	forced, err := small.VAE.Decode(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := golden.RelativeError(forced.Pix(), whole.Pix()); err != nil || e > 0.1 || e == 0 {
		t.Errorf("with little memory the picture is off by %v, %v", e, err)
	}
	latents, err := small.VAE.Encode(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := golden.RelativeError(latents.Data, l.Data); err != nil || e > 0.3 || e == 0 {
		t.Errorf("with little memory the latents are off by %v, %v", e, err)
	}
}

// TestLoRAIsMerging writes a LoRA and a checkpoint with its weights merged in:
// both predict the same.
func TestLoRAIsMerging(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	random := func(n int, scale float64) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(r.NormFloat64() * scale)
		}
		return out
	}
	base, err := weights.Open(t.Context(), emoji)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	const rank, strength, alpha = 4, 0.7, 2.0
	targets := map[string]string{ // names of kohya's trainer, and of the checkpoint
		"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k": "model.diffusion_model.input_blocks.3.1.transformer_blocks.0.attn2.to_k.weight",
		"lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj":  "model.diffusion_model.middle_block.1.transformer_blocks.0.ff.net.0.proj.weight",
		"lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_2":       "model.diffusion_model.middle_block.1.transformer_blocks.0.ff.net.2.weight",
		"lora_te_text_model_encoder_layers_1_self_attn_q_proj":                 "cond_stage_model.transformer.text_model.encoder.layers.1.self_attn.q_proj.weight",
	}
	merged := map[string][]float32{}
	var lora []weights.Tensor
	for name, target := range targets {
		ref, ok := base.Lookup(target)
		if !ok {
			t.Fatalf("the checkpoint has no %s", target)
		}
		w, err := ref.ReadF32(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n, k := ref.Shape[0], ref.Shape[1]
		down, up := random(rank*k, 0.3), random(n*rank, 0.3)
		lora = append(lora, weights.F32(name+".lora_down.weight", dtype.F32, []int{rank, k}, down),
			weights.F32(name+".lora_up.weight", dtype.F32, []int{n, rank}, up),
			weights.F32(name+".alpha", dtype.F32, nil, []float32{alpha}))
		for i := range n {
			for j := range k {
				for q := range rank {
					w[i*k+j] += strength * alpha / rank * up[i*rank+q] * down[q*k+j]
				}
			}
		}
		merged[target] = w
	}
	dir := t.TempDir()
	loraPath, mergedPath := filepath.Join(dir, "lora.safetensors"), filepath.Join(dir, "merged.safetensors")
	if err := weights.Write(t.Context(), loraPath, nil, lora); err != nil {
		t.Fatal(err)
	}
	writeMerged(t, mergedPath, base, merged)

	e := newEngine(t, Options{})
	shape := latent.Picture(1, 4, 16, 16)
	want := open(t, e, mergedPath)
	wantText := encode(t, want, "red apple")
	wantNoise := predict(t, want, shape, wantText)[0]

	c := open(t, e, emoji)
	l, err := e.LoRA(t.Context(), loraPath)
	if err != nil {
		t.Fatal(err)
	}
	plain := encode(t, c, "red apple")
	with := &Checkpoint{VAE: c.VAE}
	if with.Model, with.CLIP, err = l.On(c.Model, c.CLIP, strength, strength); err != nil {
		t.Fatal(err)
	}
	text := encode(t, with, "red apple")
	golden.Check(t, "prompt", text.Embed, wantText.Embed, 1e-4)
	golden.Check(t, "prediction", predict(t, with, shape, text)[0], wantNoise, 1e-4)
	if slices.Equal(plain.Embed, text.Embed) {
		t.Error("the LoRA has changed nothing")
	}
	// Without it, everything is as before; another strength plans nothing.
	if again := encode(t, c, "red apple"); !slices.Equal(plain.Embed, again.Embed) {
		t.Error("the LoRA has changed the base")
	}
	programs := len(e.programs.bound)
	if _, with.CLIP, err = l.On(nil, c.CLIP, 0, 0.2); err != nil {
		t.Fatal(err)
	}
	if other := encode(t, with, "red apple"); slices.Equal(other.Embed, text.Embed) {
		t.Error("another strength gives the same")
	}
	if len(e.programs.bound) != programs {
		t.Error("another strength was planned anew")
	}
	loraMovesItselfAlone(t, loraPath)

	// The classic way merges into the weights, in their own dtype.
	classic := newEngine(t, Options{Memory: pager.Classic})
	old := open(t, classic, emoji)
	if l, err = classic.LoRA(t.Context(), loraPath); err != nil {
		t.Fatal(err)
	}
	if old.Model, _, err = l.On(old.Model, nil, strength, 0); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "prediction, merged", predict(t, old, shape, wantText)[0], wantNoise, 2e-3)
	for key := range classic.programs.bound {
		if model := classic.programs.bound[key]; slices.ContainsFunc(model.Program().Inputs, func(b plan.Binding) bool { return b.Name == strengthName(0) }) {
			t.Errorf("the classic way has a side path: %s", key)
		}
	}
}

// loraMovesItselfAlone adds a LoRA to a model whose weights are in memory, and
// changes its strength and takes it away again: nothing but the LoRA's own
// weights is moved, to the host's memory or to a device.
func loraMovesItselfAlone(t *testing.T, path string) {
	t.Helper()
	file, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, vram := range []int64{0, 64 << 20} {
		e := newEngine(t, Options{VRAM: vram})
		c := open(t, e, emoji)
		text := encode(t, c, "red apple")
		l, err := e.LoRA(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		moves := func(what string, strength float64, most int64) {
			t.Helper()
			before := e.Stats()
			with := *c
			if with.Model, _, err = l.On(c.Model, nil, strength, 0); err != nil {
				t.Fatal(err)
			}
			predict(t, &with, latent.Picture(1, 4, 8, 8), text)
			after := e.Stats()
			for tier, moved := range map[string]int64{"RAM": after.RAM.Moved - before.RAM.Moved, "VRAM": after.VRAM.Moved - before.VRAM.Moved} {
				if moved > most || most > 0 && moved == 0 && (tier == "RAM" || vram > 0) {
					t.Errorf("VRAM %d, %s: %d bytes were moved to %s, want at most %d", vram, what, moved, tier, most)
				}
			}
		}
		moves("no LoRA", 0, 64<<20)
		moves("a LoRA", 0.7, file.Size())
		moves("another strength", 0.3, 0)
		moves("no LoRA again", 0, 0)
	}
}

func writeMerged(t *testing.T, path string, base *weights.File, merged map[string][]float32) {
	t.Helper()
	var tensors []weights.Tensor
	for _, ref := range base.Refs() {
		if w, ok := merged[ref.Name]; ok {
			tensors = append(tensors, weights.F32(ref.Name, dtype.F32, ref.Shape, w))
			continue
		}
		raw := make([]byte, ref.Length)
		if err := ref.ReadAt(t.Context(), raw, 0); err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, weights.Tensor{Name: ref.Name, DType: ref.DType, Shape: ref.Shape, Write: weights.Bytes(raw)})
	}
	if err := weights.Write(t.Context(), path, base.Metadata(), tensors); err != nil {
		t.Fatal(err)
	}
}

// TestReplacedCheckpoint opens a checkpoint, puts another one in its place and
// opens it again: the new one counts.
func TestReplacedCheckpoint(t *testing.T) {
	data, err := os.ReadFile(emoji)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, Options{VRAM: 64 << 20})
	old := open(t, e, path)
	before := encode(t, old, "red apple")

	base, err := weights.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	const name = "cond_stage_model.transformer.text_model.final_layer_norm.bias"
	ref, _ := base.Lookup(name)
	bias := make([]float32, ref.Elements())
	bias[0] = 1000
	writeMerged(t, path, base, map[string][]float32{name: bias})

	if _, err := old.CLIP.Encode(t.Context(), "red apple", nil); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("the old checkpoint still runs: %v", err)
	}
	after := encode(t, open(t, e, path), "red apple")
	if before.Embed[0] > 500 || after.Embed[0] < 500 {
		t.Errorf("the first value was %v and is %v", before.Embed[0], after.Embed[0])
	}
}

func TestCancel(t *testing.T) {
	c := open(t, newEngine(t, Options{}), emoji)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.CLIP.Encode(ctx, "x", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := c.VAE.Encode(ctx, media.NewImage(1, 64, 64, 3, nil), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWrongFiles(t *testing.T) {
	e := newEngine(t, Options{})
	upscaler := "../models/upscale_models/realesr-animevideov3-x4.safetensors"
	for what, open := range map[string]func() error{
		"not a checkpoint that is known": func() error { _, err := e.Checkpoint(t.Context(), upscaler); return err },
		"no autoencoder":                 func() error { _, err := e.VAE(t.Context(), upscaler); return err },
		"not an upscaler":                func() error { _, err := e.Upscaler(t.Context(), emoji); return err },
		"nowhere.safetensors":            func() error { _, err := e.LoRA(t.Context(), "nowhere.safetensors"); return err },
	} {
		if err := open(); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), ".safetensors") {
			t.Errorf("%v, want an error with the file and %q", err, what)
		}
	}
}
