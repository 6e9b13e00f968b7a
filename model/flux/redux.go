package flux

import (
	"errors"
	"fmt"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/model/nn"
)

// A ReduxConfig is FLUX.1 Redux, which makes text of the states of SigLIP.
type ReduxConfig struct {
	Seen  int // features of the states
	Width int // features of the text
}

// DetectRedux reads the configuration and checks every weight.
func DetectRedux(src nn.Tensors) (ReduxConfig, error) {
	names := nn.Names(src.Names())
	var c ReduxConfig
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

// Check compares the weights with those of a source.
func (c ReduxConfig) Check(src nn.Source) *nn.Audit {
	return nn.Check(src, func(s nn.Scope) { Redux(s, c, 1) })
}

// Redux builds the network: its input is the states x[1, tokens, Seen], its output
// the text y[1, tokens, Width].
func Redux(s nn.Scope, c ReduxConfig, tokens int) {
	g := s.Graph()
	h := g.SiLU(s.Linear("redux_up", g.Input("x", dtype.F32, 1, tokens, c.Seen), 3*c.Width))
	g.Output("y", s.Linear("redux_down", h, c.Width))
}
