package eval

import (
	"testing"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// A Network is the part of a [model.Config] that runs.
type Network interface {
	Shape(x latent.Shape, c *model.Cond) (model.Shape, error)
	Denoiser(s nn.Scope, in model.Shape)
	Inputs(in model.Shape) []model.Input
}

// Denoiser runs a denoiser on latents x of a shape [batch,channels,height,width]
// at timesteps t, a conditioning for each, and returns its output.
func Denoiser(t testing.TB, c Network, source nn.Source, w Weights, x []float32, shape []int, steps []float32, conds []*model.Cond) []float32 {
	t.Helper()
	var in model.Shape
	for i, cond := range conds {
		one, err := c.Shape(latent.Picture(len(conds), shape[1], shape[2], shape[3]), cond)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && !one.Equal(in) {
			t.Fatalf("conditionings of a batch have the shapes %+v and %+v", in, one)
		}
		in = one
	}
	inputs := map[string]any{"x": x, "t": steps}
	for _, input := range c.Inputs(in) {
		var all []float32
		switch {
		case input.Index != nil:
			inputs[input.Name] = input.Index()
			continue
		case input.Table != nil:
			all = input.Table()
		default:
			for _, cond := range conds {
				all = append(all, input.Of(cond)...)
			}
		}
		inputs[input.Name] = all
	}
	return Build(t, source, w, inputs, func(s nn.Scope) { c.Denoiser(s.Sub(model.DenoiserPrefix), in) })["y"]
}
