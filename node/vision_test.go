package node

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// seeing has the golden encoders of pictures and the style model among the models,
// a picture, and a text of 24 features.
func seeing(t *testing.T, o pipeline.Options) *wiring {
	t.Helper()
	b := newBench(t, o)
	more := t.TempDir()
	for name, folder := range map[string]string{"siglip": "clip_vision", "clip_vision": "clip_vision", "redux": "style_models"} {
		data, err := os.ReadFile(filepath.Join(golden.Dir(), name+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(more, "models", folder)
		if err := os.MkdirAll(at, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, name+".safetensors"), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	b.addRoot(more)
	w := b.wiring()
	w.reg.Register(workflow.Schema{
		Class: "Words", Outputs: workflow.Outputs(workflow.TypeConditioning),
		Run: func(context.Context, *workflow.Call) ([]any, error) {
			return []any{Conditioning{NewCond(slices.Repeat([]float32{1}, 2*24), 2, 24, nil)}}, nil
		},
	})
	w.node("words", &classed{"Words", nil})
	w.node("mask", &classed{"SolidMask", map[string]any{"value": 0.3, "width": 60, "height": 50}})
	w.node("grey", &classed{"MaskToImage", nil}, "mask=mask")
	w.node("picture", &classed{"RepeatImageBatch", map[string]any{"amount": 2}}, "image=grey")
	w.node("siglip", &classed{"CLIPVisionLoader", map[string]any{"clip_name": "siglip.safetensors"}})
	w.node("redux", &classed{"StyleModelLoader", map[string]any{"style_model_name": "redux.safetensors"}})
	return w
}

// TestVision goes from pictures to a text with what a style model makes of them.
func TestVision(t *testing.T) {
	w := seeing(t, pipeline.Options{})
	apply := func(id string, strength float64, kind string) Conditioning {
		w.node(id, &classed{"StyleModelApply", map[string]any{"strength": strength, "strength_type": kind}}, "conditioning=words", "style_model=redux", "clip_vision_output=seen")
		return takenOf[Conditioning](w, id)
	}
	w.node("seen", &classed{"CLIPVisionEncode", map[string]any{"crop": "center"}}, "clip_vision=siglip", "image=picture")
	whole, half := apply("whole", 1, "attn_bias")[0], apply("half", 0.5, "multiply")[0]
	if whole.Tokens != 2+2*9 || len(whole.Embed) != whole.Tokens*24 || whole.Embed[47] != 1 {
		t.Errorf("%d tokens, %d features", whole.Tokens, len(whole.Embed))
	}
	for i := 48; i < len(whole.Embed); i++ {
		if half.Embed[i] != whole.Embed[i]/2 {
			t.Fatalf("value %d is %v with half the strength, %v with all", i, half.Embed[i], whole.Embed[i])
		}
	}
	if n := len(whole.Embed[48:]) / 2; !slices.Equal(whole.Embed[48:48+n], whole.Embed[48+n:]) {
		t.Error("two equal pictures become different texts")
	}
	if text := takenOf[Conditioning](w, "words")[0]; text.Tokens != 2 || len(text.Embed) != 48 {
		t.Error("the text that was given is another one")
	}
	w.node("seen", &classed{"CLIPVisionEncode", map[string]any{"crop": "none"}}, "clip_vision=siglip", "image=picture")
	if sight := takenOf[*pipeline.Sight](w, "seen"); sight.Batch != 2 || sight.Size() != 4*3*2*9*64 {
		t.Errorf("%d pictures, %d bytes", sight.Batch, sight.Size())
	}
}

// TestVisionErrors gives nodes what does not belong together.
func TestVisionErrors(t *testing.T) {
	for want, change := range map[string]func(w *wiring){
		"strength_type attn_bias is supported with strength 1 alone": func(w *wiring) {
			w.node("out", &classed{"StyleModelApply", map[string]any{"strength": 0.5, "strength_type": "attn_bias"}}, "conditioning=words", "style_model=redux", "clip_vision_output=seen")
		},
		"makes text of 24 features, and the prompt was encoded with 1": func(w *wiring) {
			w.node("number", &classed{"Number", map[string]any{"v": 1}})
			w.node("out", &classed{"StyleModelApply", map[string]any{"strength": 1, "strength_type": "multiply"}}, "conditioning=number", "style_model=redux", "clip_vision_output=seen")
		},
	} {
		w := seeing(t, pipeline.Options{})
		w.node("seen", &classed{"CLIPVisionEncode", map[string]any{"crop": "center"}}, "clip_vision=siglip", "image=picture")
		change(w)
		w.node("take", &classed{"Take", map[string]any{"name": "out"}}, "v=out")
		if err := w.execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
