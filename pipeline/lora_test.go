package pipeline

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/weights"
)

// loraFile writes tensors as a LoRA.
func loraFile(t *testing.T, e *Engine, tensors ...weights.Tensor) *LoRA {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lora.safetensors")
	if err := weights.Write(t.Context(), path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	l, err := e.LoRA(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ramp returns a tensor of small numbers that differ.
func ramp(name string, by float32, shape ...int) weights.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = by * (float32(i%7)/7 - 0.4)
	}
	return weights.F32(name, dtype.F32, shape, v)
}

// The layers of the demo that these tests put LoRAs on: [128,96] and [96,384].
const (
	attention = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v"
	textLayer = "lora_te_text_model_encoder_layers_0_mlp_fc2"
)

func unetPair(by float32) []weights.Tensor {
	return []weights.Tensor{ramp(attention+".lora_down.weight", by, 2, 96), ramp(attention+".lora_up.weight", 1, 128, 2)}
}

func textPair() []weights.Tensor {
	return []weights.Tensor{ramp(textLayer+".lora_down.weight", 1, 2, 384), ramp(textLayer+".lora_up.weight", 1, 96, 2)}
}

// TestLoRAInPart has files of which the parts at hand take everything, some or
// nothing: what is left out is warned of, with the file, how many tensors and
// some of their names, and it is an error if nobody takes anything.
func TestLoRAInPart(t *testing.T) {
	e := newEngine(t, Options{})
	whole := open(t, e, emoji)
	alone, err := e.UNet(t.Context(), emoji)
	if err != nil {
		t.Fatal(err)
	}
	strange := []weights.Tensor{ramp("lora_unet_nowhere.lora_down.weight", 1, 2, 2), ramp("lora_unet_nowhere.lora_up.weight", 1, 2, 2)}
	half := []weights.Tensor{ramp("lora_unet_conv_in.lora_down.weight", 1, 2, 4, 3, 3)}
	clipOf := map[bool]*CLIP{true: whole.CLIP}
	log := warnings(t)
	for _, tt := range []struct {
		name    string
		model   *Model
		clip    bool
		tensors []weights.Tensor
		warning string
		err     string
	}{
		{"everything", whole.Model, true, slices.Concat(unetPair(1), textPair()), "", ""},
		{"a checkpoint's UNet, for the text encoder alone", whole.Model, false, textPair(), "tensors=2 of=2", ""},
		{"a UNet alone, for the text encoder alone", alone, false, textPair(), "tensors=2 of=2", ""},
		{"a UNet alone, for both", alone, false, slices.Concat(unetPair(1), textPair()), "tensors=2 of=4 names=\"" + textLayer, ""},
		{"a UNet and text encoders, for the text encoder alone", alone, true, textPair(), "", ""},
		{"a UNet and text encoders, for the UNet alone", whole.Model, true, unetPair(1), "", ""},
		{"some for nobody", whole.Model, true, slices.Concat(unetPair(1), strange), "tensors=2 of=4 names=\"lora_unet_nowhere.lora_down.weight", ""},
		{"all for nobody", whole.Model, true, strange, "", "no tensor of the LoRA belongs to a layer of this model: found lora_unet_nowhere"},
		{"all for nobody, on a UNet", alone, false, strange, "", "no tensor of the LoRA belongs"},
		{"half a pair", whole.Model, true, slices.Concat(unetPair(1), half), "layers=1 tensors=1", ""},
		{"half a pair alone", whole.Model, true, half, "", "lora_unet_conv_in.lora_down.weight but not lora_up"},
	} {
		l := loraFile(t, e, tt.tensors...)
		log.Reset()
		_, _, err := l.On(tt.model, clipOf[tt.clip], 1, 1)
		switch log := log.String(); {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), l.path) || fault.Of(err) != fault.Model {
				t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.err)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.warning == "" && log != "":
			t.Errorf("%s: %s", tt.name, log)
		case !strings.Contains(log, tt.warning) || tt.warning != "" && !strings.Contains(log, "file="+l.path):
			t.Errorf("%s: %s, want %s", tt.name, log, tt.warning)
		}
	}
}

// TestStrengths puts a LoRA on with strengths of every kind.
func TestStrengths(t *testing.T) {
	e := newEngine(t, Options{})
	base := open(t, e, emoji)
	text := encode(t, base, "red apple")
	l := loraFile(t, e, unetPair(1)...)
	for _, s := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e39} {
		for _, strengths := range [][2]float64{{s, 1}, {1, s}} {
			if _, _, err := l.On(base.Model, base.CLIP, strengths[0], strengths[1]); err == nil || fault.Of(err) != fault.Workflow || !strings.Contains(err.Error(), l.path) {
				t.Errorf("%v: %v", strengths, err)
			}
		}
	}
	run := func(l *LoRA, strengths ...float64) []float32 {
		t.Helper()
		c := *base
		for _, s := range strengths {
			var err error
			if c.Model, _, err = l.On(c.Model, nil, s, 0); err != nil {
				t.Fatal(err)
			}
		}
		return predict(t, &c, small, text)[0]
	}
	plain := run(l)
	if !slices.Equal(run(l, 0), plain) {
		t.Error("a strength of 0 changes something")
	}
	if e, err := golden.RelativeError(run(l, 0.7, -0.7), plain); err != nil || e > 1e-4 {
		t.Errorf("a strength and its negative: %v, %v", e, err)
	}
	if out := run(l, 1e3); slices.Equal(out, plain) || slices.ContainsFunc(out, func(v float32) bool { return v != v }) {
		t.Error("a strength of 1000 gives nothing or no numbers")
	}
	// The same file twice adds up, as a side path and merged.
	for name, tensors := range map[string][]weights.Tensor{
		"LoRA": unetPair(8), "difference": {ramp(attention+".diff", 0.3, 128, 96)},
	} {
		l := loraFile(t, e, tensors...)
		once := run(l, 0.8)
		if e, err := golden.RelativeError(run(l, 0.3, 0.5), once); err != nil || e > 1e-3 {
			t.Errorf("a %s twice: %v, %v", name, e, err)
		}
		if e, err := golden.RelativeError(run(l, 0.3), once); err != nil || e < 1e-3 {
			t.Errorf("a %s once is a %s twice: %v, %v", name, name, e, err)
		}
	}
	// What takes the place of a weight does so at any strength, also above others.
	set := loraFile(t, e, ramp(attention+".set_weight", 1, 128, 96))
	if one := run(set, 1); !slices.Equal(run(set, 0), one) || !slices.Equal(run(set, -3), one) || slices.Equal(one, plain) {
		t.Error("a weight that is set depends on the strength")
	}
	const other = "lora_unet_conv_in"
	mixed := loraFile(t, e, ramp(attention+".set_weight", 1, 128, 96), ramp(other+".lora_down.weight", 1, 2, 4, 3, 3), ramp(other+".lora_up.weight", 1, 64, 2))
	stack := func(strength float64) []float32 {
		c := *base
		for i, l := range []*LoRA{l, mixed} {
			var err error
			if c.Model, _, err = l.On(c.Model, nil, []float64{0.5, strength}[i], 0); err != nil {
				t.Fatal(err)
			}
		}
		return predict(t, &c, small, text)[0]
	}
	one, zero := stack(1), stack(0)
	if slices.Equal(one, zero) || !slices.Equal(stack(1), one) || !slices.Equal(zero, run(set, 1)) {
		t.Error("above another, a LoRA at 0 is what it is at 1, or more than the weights that it sets")
	}
}

// TestLoRAOrder stacks files of which the later depend on what the earlier have
// made of a weight: the order matters, for results and for what is kept.
func TestLoRAOrder(t *testing.T) {
	e := newEngine(t, Options{})
	base := open(t, e, emoji)
	text := encode(t, base, "red apple")
	plain := loraFile(t, e, unetPair(1)...)
	for name, tensors := range map[string][]weights.Tensor{
		"DoRA":        append(unetPair(-0.7), ramp(attention+".dora_scale", 3, 128, 1)),
		"GLoRA":       {ramp(attention+".a1.weight", 0.3, 96, 2), ramp(attention+".a2.weight", 0.3, 2, 96), ramp(attention+".b1.weight", 0.3, 128, 2), ramp(attention+".b2.weight", 0.3, 2, 96)},
		"OFT":         {ramp(attention+".oft_blocks", 0.5, 16, 8, 8)},
		"replacement": {ramp(attention+".set_weight", 1, 128, 96)},
	} {
		other := loraFile(t, e, tensors...)
		run := func(files ...*LoRA) []float32 {
			c := *base
			for _, l := range files {
				var err error
				if c.Model, _, err = l.On(c.Model, nil, 0.9, 0); err != nil {
					t.Fatal(err)
				}
			}
			return predict(t, &c, small, text)[0]
		}
		above, below, alone := run(plain, other), run(other, plain), run(other)
		if slices.Equal(above, below) || slices.Equal(below, alone) {
			t.Errorf("%s: the order, or the LoRA above it, does not matter", name)
		}
		if replaced := slices.Equal(above, alone); replaced != (name == "replacement") {
			t.Errorf("%s above a LoRA is the %s alone: %v", name, name, replaced)
		}
		if !slices.Equal(run(plain, other), above) {
			t.Errorf("%s: the same stack gives other bits", name)
		}
	}
}

// TestLoRAsOfOneName puts on two files of one name in two folders: they are two.
func TestLoRAsOfOneName(t *testing.T) {
	e := newEngine(t, Options{})
	base := open(t, e, emoji)
	text := encode(t, base, "red apple")
	dir := t.TempDir()
	var files [2]*LoRA
	for i, by := range []float32{1, -2} {
		path := filepath.Join(dir, fmt.Sprint(i), "style.safetensors")
		if err := os.Mkdir(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := weights.Write(t.Context(), path, nil, unetPair(by)); err != nil {
			t.Fatal(err)
		}
		var err error
		if files[i], err = e.LoRA(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string][]int{}
	for _, order := range [][]int{{}, {0}, {1}, {0, 0}, {1, 1}, {0, 1}} {
		c := *base
		for _, i := range order {
			var err error
			if c.Model, _, err = files[i].On(c.Model, nil, 0.5, 0); err != nil {
				t.Fatal(err)
			}
		}
		key := fmt.Sprint(predict(t, &c, small, text)[0][:8])
		if other, ok := seen[key]; ok {
			t.Errorf("the files %v give what %v give", order, other)
		}
		seen[key] = order
	}
}

// TestMergedIntoQuantized merges files of every kind into a GGUF file, and into
// the numbers that it dequantizes to: the results are the same but for the
// rounding to 16 bits, whatever the memory. Nothing else is widened.
func TestMergedIntoQuantized(t *testing.T) {
	h := newHand(t)
	h.plain(0.6)
	h.forms(0.7)
	_, paths := h.write()
	quantized, plain := quantize(t, openSet(t, emoji))
	e := newEngine(t, Options{})
	with := func(e *Engine, file string) *Checkpoint {
		return apply(t, e, apply(t, e, open(t, e, file), paths["plain"], 0.6), paths["forms"], 0.7)
	}
	wide := with(e, plain)
	text := encode(t, wide, "red apple")
	want := predict(t, wide, small, text)[0]
	without := predict(t, open(t, e, quantized), small, text)[0]

	var bits []float32
	for _, o := range []Options{{}, {VRAM: 3 << 20}, {RAM: 3 << 20}} {
		e := newEngine(t, o)
		c := with(e, quantized)
		golden.Check(t, "prompt", encode(t, c, "red apple").Embed, text.Embed, 2e-3)
		for range 2 {
			got := predict(t, c, small, text)[0]
			if bits == nil {
				bits = got
				golden.Check(t, "prediction", got, want, 2e-3)
				if e, err := golden.RelativeError(without, want); err != nil || e < 0.05 {
					t.Errorf("without the LoRAs the error is %v, %v: this test shows nothing", e, err)
				}
			}
			if !slices.Equal(got, bits) {
				t.Errorf("with %+v the bits are others", o)
			}
		}
		if s := e.Stats(); s.Top().Peak > s.Top().Budget || o.VRAM+o.RAM > 0 && s.Top().Evictions == 0 {
			t.Errorf("with %+v: %d of %d bytes were taken, %d extents evicted", o, s.Top().Peak, s.Top().Budget, s.Top().Evictions)
		}
	}

	// Each weight that something is merged into has 2 bytes an element, the
	// others those that they have in the file.
	c := with(newEngine(t, Options{}), quantized)
	set := openSet(t, quantized)
	program, err := c.Model.plan(func() build { _, b := c.Model.network(1, model.Shape{Shape: small, Tokens: text.Tokens}); return b }(), 0)
	if err != nil {
		t.Fatal(err)
	}
	size := map[string]int64{}
	for _, x := range program.Extents {
		for _, p := range x.Parts {
			size[p.Weight] += p.Bytes
		}
	}
	widened := 0
	for name, n := range size {
		ref, ok := set.Lookup(name)
		if !ok {
			continue // the LoRA's own
		}
		want := ref.Length
		if ref.DType.IsQuantized() && len(c.Model.merged(name)) > 0 {
			want = 2 * ref.Elements()
			widened++
		}
		if n != want {
			t.Errorf("%s has %d bytes, want %d", name, n, want)
		}
	}
	if widened < 3 {
		t.Errorf("%d weights are widened: this test shows nothing", widened)
	}

	// A plain LoRA alone is a side path and widens nothing.
	c = apply(t, e, open(t, e, quantized), paths["plain"], 0.6)
	if id := c.Model.merges(); id != "" || c.Model.loras[0].widens {
		t.Errorf("a plain LoRA is merged: %q", id)
	}
}
