package node

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/run"
)

// TestBesides compares what a model is given beside the latents with ComfyUI's.
func TestBesides(t *testing.T) {
	f := golden.Open(t, "concat")
	l := &Latent{Tensor: latent.New(latent.SD3.Of(2, 1, 32, 48))}
	for _, name := range []string{"fill", "fill_resized", "canny"} {
		var cond Cond
		var mask *media.Mask
		if _, ok := f.Lookup(name + ".mask"); ok {
			s := f.Shape(name + ".mask")
			mask = media.NewMask(1, s[2], s[3], f.F32(name+".mask"))
		}
		cond.beside(latent.Tensor{Shape: shapeOf(f.Shape(name + ".image")), Data: f.F32(name + ".image")}, mask)
		told, err := cond.told(t.Context(), latent.Flux, l)
		if err != nil {
			t.Fatal(err)
		}
		var got []float32
		for _, part := range told.Latents[model.Concat] {
			if part.Height != 4 || part.Width != 6 || part.Batch != 1 {
				t.Errorf("%s: %v", name, part.Shape)
			}
			got = append(got, part.Data...)
		}
		golden.Check(t, name, got, f.F32(name+".concat"), 1e-6)
	}
	cond := Cond{ConcatMask: media.NewMask(2, 1, 1, []float32{0, 1})}
	cond.beside(latent.New(latent.Picture(1, 16, 4, 6)), cond.ConcatMask)
	if _, err := cond.told(t.Context(), latent.Flux, l); err == nil || !strings.Contains(err.Error(), "a batch of 2 masks") {
		t.Errorf("two masks: %v", err)
	}
}

// TestInpaintNodes compares the latents of the nodes that give pictures with those
// of the nodes that encode them, for a picture whose edges are cut.
func TestInpaintNodes(t *testing.T) {
	for _, o := range []pipeline.Options{{}, {Planned: func(*run.Model, int) {}}} {
		b := newBench(t, o)
		b.draw("in.png", 39, 30, func(x, y int) uint8 { return uint8(6*x + y) })
		b.draw("mask.png", 39, 30, func(x, y int) uint8 { return uint8(255 * (x / 13 % 2)) })
		w := b.wiring()
		w.node("text", &classed{"Number", map[string]any{"v": 0.5}})
		w.node("image", &classed{"LoadImage", map[string]any{"image": "in.png"}})
		w.node("mask", &classed{"LoadImageMask", map[string]any{"image": "mask.png", "channel": "alpha"}})
		links := []string{"positive=text", "negative=text", "vae=m.2", "pixels=image"}
		w.node("inpaint", &classed{"InpaintModelConditioning", map[string]any{"noise_mask": true}}, append(links, "mask=mask")...)
		w.node("plain", &classed{"InpaintModelConditioning", map[string]any{"noise_mask": false}}, append(links, "mask=mask")...)
		w.node("follow", &classed{"InstructPixToPixConditioning", nil}, links...)
		w.node("encode", &classed{"VAEEncode", nil}, "vae=m.2", "pixels=image")
		w.node("grey", &classed{"VAEEncodeForInpaint", map[string]any{"grow_mask_by": 0}}, "vae=m.2", "pixels=image", "mask=mask")
		encoded, grey := takenOf[*Latent](w, "encode"), takenOf[*Latent](w, "grey")
		if planned := o.Planned != nil; encoded.planned() != planned {
			t.Fatalf("planned: %v", encoded.planned())
		}
		for _, c := range []struct {
			id          string
			concat      *Latent
			mask, noise bool
			start       []float32
			empty       bool
		}{
			{"inpaint", grey, true, true, encoded.Data, false},
			{"plain", grey, true, false, encoded.Data, false},
			{"follow", encoded, false, false, nil, true},
		} {
			start := takenOf[*Latent](w, c.id+".2")
			if start.Shape != encoded.Shape || start.Empty != c.empty || !slices.Equal(start.Data, c.start) || (start.NoiseMask != nil) != c.noise {
				t.Errorf("%s begins with %v, empty %v, mask %v", c.id, start.Shape, start.Empty, start.NoiseMask)
			}
			for _, output := range []string{"", ".1"} {
				got := takenOf[Conditioning](w, c.id+output)[0]
				if l := got.Latents[model.Concat]; len(l) != 1 || l[0].Shape != c.concat.Shape || !slices.Equal(l[0].Data, c.concat.Data) || (got.ConcatMask != nil) != c.mask {
					t.Errorf("%s%s: beside are %v, mask %v", c.id, output, l, got.ConcatMask)
				}
			}
		}
		if text := takenOf[Conditioning](w, "text")[0]; text.Latents != nil || text.ConcatMask != nil {
			t.Error("the conditioning that was given has changed")
		}
	}
}
