package node

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// TestExtras chains the nodes that tell a model something besides the text: each
// changes its own conditioning and none before it.
func TestExtras(t *testing.T) {
	w := newBench(t, pipeline.Options{}).wiring()
	given := &Latent{Tensor: latent.Tensor{Shape: latent.Picture(1, 4, 1, 2), Data: []float32{1, 2, 3, 4, 5, 6, 7, 8}}}
	w.reg.Register(workflow.Schema{
		Class: "Given", Outputs: workflow.Outputs(workflow.TypeLatent),
		Run: func(context.Context, *workflow.Call) ([]any, error) { return []any{given}, nil },
	})
	w.node("given", &classed{"Given", nil})
	w.node("empty", &classed{"EmptySD3LatentImage", map[string]any{"width": 32, "height": 16, "batch_size": 1}})
	w.node("text", &classed{"Number", map[string]any{"v": 0.5}})
	last := "text"
	for _, n := range []struct {
		id, link string
		*classed
	}{
		{"guided", "", &classed{"FluxGuidance", map[string]any{"guidance": 2.5}}},
		{"first", "latent=given", &classed{"ReferenceLatent", nil}},
		{"second", "latent=empty", &classed{"ReferenceLatent", nil}},
		{"none", "", &classed{"ReferenceLatent", nil}},
		{"method", "", &classed{"FluxKontextMultiReferenceLatentMethod", map[string]any{"reference_latents_method": "uxo/uno"}}},
		{"off", "", &classed{"FluxDisableGuidance", nil}},
		{"zero", "", &classed{"ConditioningZeroOut", nil}},
	} {
		links := []string{"conditioning=" + last}
		if n.link != "" {
			links = append(links, n.link)
		}
		w.node(n.id, n.classed, links...)
		last = n.id
	}
	type numbers = map[string][]float32
	for _, test := range []struct {
		id         string
		numbers    numbers
		references int
		embed      float32
	}{
		{"text", nil, 0, 0.5},
		{"guided", numbers{model.Guidance: {2.5}}, 0, 0.5},
		{"first", numbers{model.Guidance: {2.5}}, 1, 0.5},
		{"second", numbers{model.Guidance: {2.5}}, 2, 0.5},
		{"none", numbers{model.Guidance: {2.5}}, 2, 0.5},
		{"method", numbers{model.Guidance: {2.5}, model.ReferenceMethod: {2}}, 2, 0.5},
		{"off", numbers{model.Guidance: nil, model.ReferenceMethod: {2}}, 2, 0.5},
		{"zero", numbers{model.Guidance: nil, model.ReferenceMethod: {2}}, 2, 0},
	} {
		got := takenOf[Conditioning](w, test.id)[0]
		if !reflect.DeepEqual(got.Numbers, test.numbers) || len(got.Latents[model.References]) != test.references || got.Embed[0] != test.embed {
			t.Errorf("%s: %v, %d references, text %v", test.id, got.Numbers, len(got.Latents[model.References]), got.Embed)
		}
	}

	// A model is told of references in its own scale, those of other models as they
	// are.
	cond := takenOf[Conditioning](w, "second")[0]
	format := latent.Square("", 4, 8, 2, 1)
	told, err := cond.told(t.Context(), format, given)
	if err != nil {
		t.Fatal(err)
	}
	if r := told.Latents[model.References]; !slices.Equal(r[0].Data, []float32{0, 2, 4, 6, 8, 10, 12, 14}) || r[1].Shape != latent.SD3.Of(1, 1, 16, 32) || len(r[1].Data) != r[1].Elems() || slices.Max(r[1].Data) != 0 {
		t.Errorf("the references are told as %v", r)
	}
	if given.Data[0] != 1 {
		t.Error("the latents that were given have changed")
	}
	cond.latents(model.References, []latent.Tensor{latent.New(latent.Picture(2, 4, 1, 1))})
	if _, err := cond.told(t.Context(), format, given); err == nil || !strings.Contains(err.Error(), "a batch of 2 pictures") {
		t.Errorf("a batch as a reference: %v", err)
	}
}
