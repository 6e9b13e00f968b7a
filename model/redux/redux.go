// Package redux builds FLUX.1 Redux, a style model: it makes text of what an encoder
// of pictures sees.
package redux

import (
	"errors"
	"fmt"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/model/nn"
)

// A Config is the network, which reads the states of SigLIP.
type Config struct {
	Seen  int // features of the states
	Width int // features of the text
}

// Detect reads the configuration and checks every weight.
func Detect(src nn.Tensors) (Config, error) {
	names := nn.Names(src.Names())
	var c Config
	switch {
	case names.Has("style_embedding"):
		return c, errors.New("this is a style model of T2I-Adapter for Stable Diffusion 1.x, which is not supported: expected FLUX.1 Redux")
	case !names.Has("redux_"):
		return c, fmt.Errorf("not a style model (FLUX.1 Redux): there is no tensor redux_up.weight; its tensors begin with %s", names.Beginnings(8))
	}
	c.Seen = nn.Agreed(src, "", nn.Axis{Name: "redux_up.weight", I: 1})
	c.Width = nn.Agreed(src, "", nn.Axis{Name: "redux_down.weight"}, nn.Axis{Name: "redux_down.bias"})
	return c, c.Check(src).Err()
}

// Describe returns the sizes, for people.
func (c Config) Describe() string {
	return fmt.Sprintf("FLUX.1 Redux, makes text of %d features of pictures of %d", c.Width, c.Seen)
}

// Check compares the weights with those of a source.
func (c Config) Check(src nn.Source) *nn.Audit {
	return nn.Check(src, func(s nn.Scope) { Text(s, c, 1) })
}

// Text builds the network: its input is the states x[1, tokens, Seen], its output
// the text y[1, tokens, Width].
func Text(s nn.Scope, c Config, tokens int) {
	g := s.Graph()
	h := g.SiLU(s.Linear("redux_up", g.Input("x", dtype.F32, 1, tokens, c.Seen), 3*c.Width))
	g.Output("y", s.Linear("redux_down", h, c.Width))
}
