package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/weights"
)

const (
	toK    = "model.diffusion_model.input_blocks.3.1.transformer_blocks.0.attn2.to_k.weight"
	toV    = "model.diffusion_model.input_blocks.3.1.transformer_blocks.0.attn2.to_v.weight"
	ffIn   = "model.diffusion_model.input_blocks.3.1.transformer_blocks.0.ff.net.0.proj.weight"
	convIn = "model.diffusion_model.input_blocks.0.0.weight"
	biasIn = "model.diffusion_model.input_blocks.0.0.bias"
	qProj  = "cond_stage_model.transformer.text_model.encoder.layers.1.self_attn.q_proj.weight"

	kohyaToK   = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k."
	kohyaToV   = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_v."
	kohyaFfIn  = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_ff_net_0_proj."
	lycoConvIn = "lycoris_conv_in."
	peftQProj  = "text_encoder.text_model.encoder.layers.1.self_attn.q_proj."
)

// A hand makes LoRA files and merges what is in them by hand.
type hand struct {
	t      *testing.T
	r      *rand.Rand
	dir    string
	base   *weights.File
	merged map[string][]float64
	files  map[string][]weights.Tensor
}

func newHand(t *testing.T) *hand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	base, err := weights.Open(t.Context(), emoji)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	return &hand{t, rand.New(rand.NewPCG(seed, 0)), t.TempDir(), base, map[string][]float64{}, map[string][]weights.Tensor{}}
}

// weight returns a weight as far as it is merged, and the elements of a row.
func (h *hand) weight(name string) (w []float64, columns int) {
	h.t.Helper()
	ref, ok := h.base.Lookup(name)
	if !ok {
		h.t.Fatalf("the checkpoint has no %s", name)
	}
	if h.merged[name] == nil {
		v, err := ref.ReadF32(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		for _, x := range v {
			h.merged[name] = append(h.merged[name], float64(x))
		}
	}
	return h.merged[name], len(h.merged[name]) / ref.Shape[0]
}

// tensor puts a random tensor in a file and returns it as a matrix.
func (h *hand) tensor(file, name string, scale float64, shape ...int) [][]float64 {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	out := make([][]float64, shape[0])
	for i := range v {
		v[i] = float32(h.r.NormFloat64() * scale)
		row := i / (n / shape[0])
		out[row] = append(out[row], float64(v[i]))
	}
	h.files[file] = append(h.files[file], weights.F32(name, dtype.F32, shape, v))
	return out
}

// number puts a number in a file.
func (h *hand) number(file, name string, v float32) {
	h.files[file] = append(h.files[file], weights.F32(name, dtype.F32, nil, []float32{v}))
}

func product(a, b [][]float64, i, j int) (sum float64) {
	for k := range b {
		sum += a[i][k] * b[k][j]
	}
	return sum
}

// add merges s times what delta returns of each row and column.
func (h *hand) add(name string, s float64, delta func(i, j int) float64) {
	w, columns := h.weight(name)
	for at := range w {
		w[at] += s * delta(at/columns, at%columns)
	}
}

// dora merges the part s of what a DoRA makes of a weight, whose lengths are
// divided by those of the rows before the change or after it.
func (h *hand) dora(name string, s float64, before bool, lengths [][]float64, delta func(i, j int) float64) {
	w, columns := h.weight(name)
	for i := range len(w) / columns {
		var square float64
		for j := range columns {
			x := w[i*columns+j]
			if !before {
				x += delta(i, j)
			}
			square += x * x
		}
		for j := range columns {
			x := &w[i*columns+j]
			*x += s * (lengths[i][0]/math.Sqrt(square)*(*x+delta(i, j)) - *x)
		}
	}
}

// forms writes the file of a LoRA of every form that is merged, at a strength.
func (h *hand) forms(s float64) {
	const file = "forms"
	up, down := h.tensor(file, kohyaToK+"lora_up.weight", 0.3, 128, 4), h.tensor(file, kohyaToK+"lora_down.weight", 0.3, 4, 96)
	h.number(file, kohyaToK+"alpha", 2)
	h.dora(toK, s, true, h.tensor(file, kohyaToK+"dora_scale", 2, 128, 1), func(i, j int) float64 { return product(up, down, i, j) * 2 / 4 })

	a1, b1 := h.tensor(file, kohyaFfIn+"hada_w1_a", 0.5, 1024, 2), h.tensor(file, kohyaFfIn+"hada_w1_b", 0.5, 2, 128)
	a2, b2 := h.tensor(file, kohyaFfIn+"hada_w2_a", 0.5, 1024, 2), h.tensor(file, kohyaFfIn+"hada_w2_b", 0.5, 2, 128)
	h.number(file, kohyaFfIn+"alpha", 1)
	h.add(ffIn, s, func(i, j int) float64 { return product(a1, b1, i, j) * product(a2, b2, i, j) / 2 })

	w1, w2 := h.tensor(file, lycoConvIn+"lokr_w1", 0.4, 4, 2), h.tensor(file, lycoConvIn+"lokr_w2", 0.4, 16, 2, 3, 3)
	h.add(convIn, s, func(i, j int) float64 { return w1[i/16][j/18] * w2[i%16][j%18] })
	d := h.tensor(file, lycoConvIn+"diff_b", 0.4, 64)
	h.add(biasIn, s, func(i, _ int) float64 { return d[i][0] })

	b, a := h.tensor(file, peftQProj+"lora_B.weight", 0.3, 96, 3), h.tensor(file, peftQProj+"lora_A.weight", 0.3, 3, 96)
	h.dora(qProj, s, false, h.tensor(file, peftQProj+"lora_magnitude_vector", 1, 96), func(i, j int) float64 { return product(b, a, i, j) })
}

// plain writes the file of a LoRA of low rank, at a strength.
func (h *hand) plain(s float64) {
	const file = "plain"
	for name, weight := range map[string]string{kohyaToK: toK, kohyaToV: toV} {
		up, down := h.tensor(file, name+"lora_up.weight", 0.3, 128, 4), h.tensor(file, name+"lora_down.weight", 0.3, 4, 96)
		h.add(weight, s, func(i, j int) float64 { return product(up, down, i, j) })
	}
}

// write writes the files and the checkpoint with all of them merged, in the
// dtype of the base.
func (h *hand) write() (merged string, paths map[string]string) {
	h.t.Helper()
	paths = map[string]string{}
	for file, tensors := range h.files {
		paths[file] = filepath.Join(h.dir, file+".safetensors")
		if err := weights.Write(h.t.Context(), paths[file], nil, tensors); err != nil {
			h.t.Fatal(err)
		}
	}
	rounded := map[string][]float32{}
	for name, w := range h.merged {
		ref, _ := h.base.Lookup(name)
		v := make([]float32, len(w))
		for i, x := range w {
			v[i] = float32(x)
		}
		raw := make([]byte, ref.Length)
		dtype.FromF32(raw, v, ref.DType)
		dtype.ToF32(v, raw, ref.DType)
		rounded[name] = v
	}
	merged = filepath.Join(h.dir, "merged.safetensors")
	writeMerged(h.t, merged, h.base, rounded)
	return merged, paths
}

// apply puts LoRAs on the checkpoint.
func apply(t *testing.T, e *Engine, c *Checkpoint, path string, strength float64) *Checkpoint {
	t.Helper()
	l, err := e.LoRA(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	with := &Checkpoint{VAE: c.VAE}
	if with.Model, with.CLIP, err = l.On(c.Model, c.CLIP, strength, strength); err != nil {
		t.Fatal(err)
	}
	return with
}

var small = latent.Picture(1, 4, 16, 16)

// TestMergedEqualsMergedByHand has LoRAs of every form, with a plain one
// beneath a DoRA: they predict what a checkpoint does into which they were
// merged by hand, and the same bits whatever the memory.
func TestMergedEqualsMergedByHand(t *testing.T) {
	const forms, plain = 0.7, 0.6
	h := newHand(t)
	h.plain(plain)
	h.forms(forms)
	merged, paths := h.write()

	e := newEngine(t, Options{})
	byHand := open(t, e, merged)
	wantText := encode(t, byHand, "red apple")
	wantNoise := predict(t, byHand, small, wantText)[0]
	without := predict(t, open(t, e, emoji), small, wantText)[0]

	var text *model.Cond
	var noise []float32
	for _, o := range []Options{{}, {VRAM: 8 << 20}, {RAM: 8 << 20}} {
		e := newEngine(t, o)
		c := apply(t, e, open(t, e, emoji), paths["plain"], plain)
		c = apply(t, e, c, paths["forms"], forms)
		gotText := encode(t, c, "red apple")
		for pass := range 2 {
			gotNoise := predict(t, c, small, gotText)[0]
			if text == nil {
				text, noise = gotText, gotNoise
				golden.Check(t, "prompt", text.Embed, wantText.Embed, 1e-4)
				golden.Check(t, "prediction", predict(t, c, small, wantText)[0], wantNoise, 5e-4)
				if e, err := golden.RelativeError(without, wantNoise); err != nil || e < 0.05 {
					t.Errorf("without the LoRAs the error is %.3g (%v): this test shows nothing", e, err)
				}
			}
			if !slices.Equal(gotText.Embed, text.Embed) || !slices.Equal(gotNoise, noise) {
				t.Errorf("with %+v in pass %d, the bits are others", o, pass)
			}
		}
		s := e.Stats()
		if s.Top().Peak > s.Top().Budget {
			t.Errorf("%d of %d bytes were taken", s.Top().Peak, s.Top().Budget)
		}
		if (o.VRAM > 0 || o.RAM > 0) && s.Top().Evictions == 0 {
			t.Errorf("with %+v nothing was evicted: the test is not what it says", o)
		}
	}
}

// TestStrengthMovesMergedExtents changes the strength of a merged LoRA: what
// it is merged into is brought in again, and nothing else; going back to the
// strength before moves nothing, and no strength plans anything.
func TestStrengthMovesMergedExtents(t *testing.T) {
	h := newHand(t)
	h.forms(1)
	_, paths := h.write()
	for _, o := range []Options{{RAM: 1 << 30}, {VRAM: 1 << 30, RAM: 1 << 30}} {
		e := newEngine(t, o)
		e.maxExtent = 256 << 10
		base := open(t, e, emoji)
		text := encode(t, base, "red apple")
		moved := func(c *Checkpoint) ([]float32, int64) {
			before := e.Stats().Top().Moved
			out := predict(t, c, small, text)[0]
			return out, e.Stats().Top().Moved - before
		}
		plain, all := moved(base)
		strong := apply(t, e, base, paths["forms"], 0.7)
		want, first := moved(strong)
		changed := mergedBytes(e, strong.Model.part)
		if first != changed || changed == 0 || changed > all/2 {
			t.Errorf("with a LoRA %d bytes moved, want the %d that something is merged into of %d", first, changed, all)
		}
		weak, second := moved(apply(t, e, base, paths["forms"], 0.3))
		if second != changed || slices.Equal(weak, want) {
			t.Errorf("another strength moved %d bytes, want %d", second, changed)
		}
		again, third := moved(apply(t, e, base, paths["forms"], 0.7))
		if third != 0 || !slices.Equal(again, want) {
			t.Errorf("the strength before moved %d bytes, want none", third)
		}
		if got, fourth := moved(base); fourth != 0 || !slices.Equal(got, plain) {
			t.Errorf("without the LoRA %d bytes moved, want none", fourth)
		}
		programs := map[*plan.Program]bool{}
		for key, p := range e.programs.bound {
			if strings.Contains(key, "UNet") {
				programs[p.Program()] = true
			}
		}
		if len(programs) != 1 {
			t.Errorf("%d programs were planned", len(programs))
		}
	}
}

// mergedBytes returns the bytes of the extents that something is merged into.
func mergedBytes(e *Engine, p part) (n int64) {
	for key, bound := range e.programs.bound {
		if !strings.HasSuffix(key, p.merges()) {
			continue
		}
		for _, x := range bound.Program().Extents {
			if slices.ContainsFunc(x.Parts, func(part plan.Part) bool { return len(p.merged(part.Weight)) > 0 }) {
				n += x.Bytes
			}
		}
	}
	return n
}

// TestMemoryOfMerging has exactly the memory that a program with merged weights
// needs, and a byte less: the room to merge in counts, in RAM wherever the weights
// are.
func TestMemoryOfMerging(t *testing.T) {
	h := newHand(t)
	h.forms(1)
	_, paths := h.write()
	const threads, plenty = 2, 1 << 30
	bound := func(o Options) (*run.Model, part) {
		o.Threads = threads
		o.Planned = func(*run.Model, int) {} // whatever memory there is
		e := newEngine(t, o)
		e.maxExtent, e.mergeRoom = 1<<20, 1<<20
		c := apply(t, e, open(t, e, emoji), paths["forms"], 0.7)
		key, b := c.Model.network(1, model.Shape{Shape: small, Tokens: 77})
		m, release, err := c.Model.bound(key, b, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
		return m, c.Model.part
	}
	m, p := bound(Options{RAM: plenty})
	var most int64 // of an extent's largest part and merging into one of its weights
	for _, x := range m.Program().Extents {
		var bytes, scratch int64
		for _, part := range x.Parts {
			bytes = max(bytes, part.Bytes)
			if w := (tensors{p}).Merged(part.Weight); w != nil {
				scratch = max(scratch, w.Scratch())
			}
		}
		if scratch > 0 {
			most = max(most, bytes+scratch)
		}
	}
	if m.Scratch() != most || most == 0 {
		t.Fatalf("merging takes %d bytes, want %d", m.Scratch(), most)
	}
	need := m.Program().Arena + streaming(m.Program())
	for _, c := range []struct {
		exact, less Options
	}{
		{Options{RAM: need + most}, Options{RAM: need + most - 1}},
		{Options{VRAM: plenty, RAM: most}, Options{VRAM: plenty, RAM: most - 1}},
	} {
		if m, p := bound(c.exact); !p.engine.fits(m) {
			t.Errorf("with %+v there is room for %d bytes, and it does not fit", c.exact, m.Room())
		}
		m, p := bound(c.less)
		if p.engine.fits(m) {
			t.Errorf("with %+v there is room for %d bytes, and it fits", c.less, m.Room())
		}
		if err := p.engine.errNotFit("UNet", m); !strings.Contains(err.Error(), fmt.Sprintf("beside %.2f MiB of RAM to merge LoRAs into weights", float64(most)/(1<<20))) || !strings.Contains(err.Error(), "RAM has ") {
			t.Errorf("the error is %v", err)
		}
	}
}

// TestMergedFailures cancels a run, and truncates the LoRA's file while one is
// under way that is to merge its last extent yet.
func TestMergedFailures(t *testing.T) {
	h := newHand(t)
	h.tensor("last", "lora_unet_conv_out.diff", 0.1, 4, 64, 3, 3)
	_, paths := h.write()
	path := paths["last"]
	e := newEngine(t, Options{VRAM: 8 << 20})
	base := open(t, e, emoji)
	text := encode(t, base, "red apple")
	whole := predict(t, apply(t, e, base, path, 1), small, text)[0]
	in := run.Inputs{"x": make([]float32, small.Elems()), "t": []float32{1}, "context": text.Embed}
	// after runs the model at a strength that it never had, so that nothing that
	// is merged is resident, and does something after the second operation.
	after := func(strength float64, do func(cancel func())) error {
		m := apply(t, e, base, path, strength).Model
		key, b := m.network(1, model.Shape{Shape: small, Tokens: text.Tokens})
		bound, release, err := m.bound(key, b, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err = bound.Run(ctx, in, func(done, _ int) {
			if done == 2 {
				do(cancel)
			}
		})
		return err
	}
	if err := after(0.5, func(cancel func()) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if runtime.GOOS == "windows" {
		return // a file that is mapped cannot be truncated there
	}
	bytes, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	err = after(0.4, func(func()) {
		if err := os.Truncate(path, int64(len(bytes)/2)); err != nil {
			t.Error(err)
		}
	})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "lora_unet_conv_out.diff") || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("truncated while it was read: %v", err)
	}
	// The engine is usable, and the file is good again.
	if err := os.WriteFile(path, bytes, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if got := predict(t, apply(t, e, base, path, 1), small, text)[0]; !slices.Equal(got, whole) {
		t.Error("after the failures the prediction is another")
	}
}
