package node

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// latentNode registers a class that gives latents and adds a node of it.
func (w *wiring) latentNode(id string, l *Latent) {
	w.reg.Register(workflow.Schema{
		Class: "Given " + id, Outputs: workflow.Outputs(workflow.TypeLatent),
		Run: func(context.Context, *workflow.Call) ([]any, error) { return []any{l}, nil },
	})
	w.node(id, &classed{"Given " + id, nil})
}

// shapeOf returns a shape of four or five dimensions.
func shapeOf(dims []int) latent.Shape {
	if len(dims) == 4 {
		return latent.Picture(dims[0], dims[1], dims[2], dims[3])
	}
	return latent.Shape{Batch: dims[0], Channels: dims[1], Time: dims[2], Height: dims[3], Width: dims[4]}
}

// TestLatentNodesAreComfyUIs compares what nodes make of latents with ComfyUI's
// results, and the sizes of planned ones with those.
func TestLatentNodesAreComfyUIs(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(golden.Dir(), "latent_nodes.json"))
	if err != nil {
		t.Fatal(err)
	}
	type made struct {
		Shape      []int
		BatchIndex []int `json:"batch_index"`
	}
	var cases struct {
		Latents map[string]made
		Nodes   map[string]struct {
			made
			Node *classed
		}
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	f := golden.Open(t, "latent_nodes")
	for _, planned := range []bool{false, true} {
		w := newBench(t, pipeline.Options{}).wiring()
		for id, l := range cases.Latents {
			given := &Latent{Tensor: latent.Tensor{Shape: shapeOf(l.Shape), Data: f.F32("latent." + id)}, BatchIndex: l.BatchIndex}
			if planned {
				given.Data = nil
			}
			w.latentNode(id, given)
		}
		for name, c := range cases.Nodes {
			n, links := &classed{c.Node.class, map[string]any{}}, []string(nil)
			for input, v := range c.Node.inputs {
				if from, ok := v.(string); ok && strings.HasPrefix(from, "@") {
					links = append(links, input+"="+from[1:])
				} else {
					n.inputs[input] = v
				}
			}
			id := strings.ReplaceAll(name, ".", " ")
			w.node(id, n, links...)
			got := takenOf[*Latent](w, id)
			if want := shapeOf(c.Shape); got.Shape != want || !slices.Equal(got.BatchIndex, c.BatchIndex) || got.planned() != planned {
				t.Errorf("%s: %v at %v, planned %v; want %v at %v", name, got.Shape, got.BatchIndex, got.planned(), want, c.BatchIndex)
			}
			if !planned {
				golden.Check(t, name, got.Data, f.F32("out."+name), 1e-5)
			}
		}
	}
}

// TestEmptyLatentNodes has nodes change latents that are empty: no memory is
// taken for them until they meet others, whose format they take.
func TestEmptyLatentNodes(t *testing.T) {
	w := newBench(t, pipeline.Options{}).wiring()
	w.latentNode("sd3", &Latent{Tensor: latent.New(latent.Picture(1, 16, 8, 16)), Stride: latent.SD3.Stride})
	w.node("e", &classed{"EmptyLatentImage", map[string]any{"width": 256, "height": 128, "batch_size": 4096}})
	for name, c := range map[string]struct {
		node  *classed
		links []string
		want  latent.Shape
		empty bool
	}{
		"repeat": {&classed{"RepeatLatentBatch", map[string]any{"amount": 4}}, []string{"samples=e"}, latent.Picture(16384, 4, 16, 32), true},
		"part":   {&classed{"LatentFromBatch", map[string]any{"batch_index": -2, "length": 9}}, []string{"samples=e"}, latent.Picture(2, 4, 16, 32), true},
		"turn":   {&classed{"LatentRotate", map[string]any{"rotation": "90 degrees"}}, []string{"samples=e"}, latent.Picture(4096, 4, 32, 16), true},
		"times":  {&classed{"LatentMultiply", map[string]any{"multiplier": 2}}, []string{"samples=e"}, latent.Picture(4096, 4, 16, 32), true},
		"add":    {&classed{"LatentAdd", nil}, []string{"samples1=sd3", "samples2=e"}, latent.Picture(1, 16, 8, 16), false},
	} {
		w.node(name, c.node, c.links...)
		got := takenOf[*Latent](w, name)
		if got.Shape != c.want || got.Empty != c.empty || got.Empty && got.Data != nil {
			t.Errorf("%s: %v, empty %v, %d values; want %v", name, got.Shape, got.Empty, len(got.Data), c.want)
		}
	}
}

// TestLatentFromBatchMasks takes latents out of a batch with masks of their own.
func TestLatentFromBatchMasks(t *testing.T) {
	w := newBench(t, pipeline.Options{}).wiring()
	l := &Latent{Tensor: latent.New(latent.Picture(5, 4, 8, 8)), NoiseMask: media.NewMask(2, 1, 2, []float32{1, 2, 3, 4})}
	w.latentNode("given", l)
	w.node("n", &classed{"LatentFromBatch", map[string]any{"batch_index": 1, "length": 3}}, "samples=given")
	if got := takenOf[*Latent](w, "n").NoiseMask; got.Batch != 3 || !slices.Equal(got.Pix(), []float32{3, 4, 1, 2, 3, 4}) {
		t.Errorf("the masks are %v", got.Pix())
	}
}

func TestLatentNodeErrors(t *testing.T) {
	w := newBench(t, pipeline.Options{}).wiring()
	for id, s := range map[string]latent.Shape{
		"four": latent.Picture(1, 4, 8, 8), "sixteen": latent.Picture(1, 16, 8, 8), "video": {Batch: 1, Channels: 4, Time: 3, Height: 8, Width: 8},
		"tiny": latent.Picture(1, 4, 4, 8), "many": latent.Picture(2000, 4, 1, 1), "wide": latent.Picture(1, 4, 8, 9), "three": latent.Picture(3, 4, 8, 8),
	} {
		w.latentNode(id, &Latent{Tensor: latent.New(s)})
	}
	at := map[string]any{"x": 0, "y": 0, "feather": 0}
	for want, c := range map[string]struct {
		node  *classed
		links []string
	}{
		"4 channels and of 16":               {&classed{"LatentAdd", nil}, []string{"samples1=four", "samples2=sixteen"}},
		"of 1 frames and of 3":               {&classed{"LatentSubtract", nil}, []string{"samples1=four", "samples2=video"}},
		"expected at least 8×8":              {&classed{"LatentCrop", map[string]any{"width": 64, "height": 64, "x": 0, "y": 0}}, []string{"samples=tiny"}},
		"a batch of 128000 latents":          {&classed{"RepeatLatentBatch", map[string]any{"amount": 64}}, []string{"samples=many"}},
		"do not fit beside those":            {&classed{"LatentConcat", map[string]any{"dim": "y"}}, []string{"samples1=four", "samples2=wide"}},
		"3 latents of 1 frames to put into":  {&classed{"LatentComposite", at}, []string{"samples_to=four", "samples_from=three"}},
		"1 latents of 3 frames to put into ": {&classed{"LatentComposite", at}, []string{"samples_to=four", "samples_from=video"}},
	} {
		w.nodes = map[string]any{}
		for id := range map[string]bool{"four": true, "sixteen": true, "video": true, "tiny": true, "many": true, "wide": true, "three": true} {
			w.node(id, &classed{"Given " + id, nil})
		}
		w.node("n", c.node, c.links...)
		w.node("take", &classed{"Take", map[string]any{"name": ""}}, "v=n")
		if err := w.execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
