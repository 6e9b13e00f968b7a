package flux

import (
	"fmt"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/dit"
)

// A method says where reference pictures are, as the node
// FluxKontextMultiReferenceLatentMethod has it.
type method string

// The methods.
const (
	offset       method = ""                    // beside each other, one after the picture on the first axis
	index        method = "index"               // in the picture's place, each further on the first axis
	uxo          method = "uxo"                 // beyond the picture's lower right corner, one after another
	timestepZero method = "index_timestep_zero" // as index, and without noise to the modulations
)

// methods are all by their number in a conditioning.
var methods = []method{offset, index, uxo, timestepZero}

// referenceName is the input that a reference is given in.
func referenceName(i int) string { return fmt.Sprintf("reference%d", i) }

// more and variant are what a graph depends on besides sizes, as the text of
// [model.Shape.More]: the method of references, and whether the guidance is taken
// out.
func more(m method, unguided bool) string {
	if unguided {
		return string(m) + takenOut
	}
	return string(m)
}

func variant(more string) (m method, unguided bool) {
	text, unguided := strings.CutSuffix(more, takenOut)
	return method(text), unguided
}

const takenOut = " unguided"

// refer puts the references of a conditioning into a shape and returns where
// they are. Chroma reads none.
func (c *Config) refer(in *model.Shape, cond *model.Cond) (method, error) {
	references := cond.Latents[model.References]
	if len(references) == 0 || c.Kind == Chroma {
		return offset, nil
	}
	if c.In > c.Channels {
		return offset, fault.New(fault.Workflow, "%s follows no reference pictures: take the node ReferenceLatent out", c.Family())
	}
	for _, r := range references {
		if r.Channels != c.Channels {
			return offset, fault.New(fault.Workflow, "a reference has latents of %d channels, and %s reads %d: encode it with the VAE of %s", r.Channels, c.Family(), c.Channels, c.Kind)
		}
		in.References = append(in.References, r.Shape)
	}
	m := offset
	if c.Kind == Flux2 {
		m = index
	}
	if v := cond.Numbers[model.ReferenceMethod]; len(v) > 0 {
		if !(v[0] >= 0 && int(v[0]) < len(methods)) {
			return offset, fault.New(fault.Workflow, "there is no way number %v of placing reference pictures", v[0])
		}
		m = methods[int(v[0])]
	}
	if m == timestepZero && c.Kind != Flux2 {
		return offset, fault.New(fault.Workflow, "%s places no reference pictures by index_timestep_zero: choose another method in FluxKontextMultiReferenceLatentMethod", c.Family())
	}
	return m, nil
}

// positions returns the position of every token: of the text, of the picture and
// of the references.
func (c *Config) positions(in model.Shape) []dit.Position {
	at := make([]dit.Position, in.Tokens)
	if c.Kind == Flux2 {
		at = dit.Line(dit.Position{}, 3, in.Tokens)
	}
	p := c.patch()
	rows, columns := p.Grid(in.Height, in.Width)
	at = append(at, dit.Grid(dit.Position{}, rows, columns)...)
	step, first := 1, 0
	if c.Kind == Flux2 {
		step = 10
	}
	m, _ := variant(in.More)
	height, width := 0, 0 // that the references take up so far
	for _, r := range in.References {
		y, x := 0, 0
		switch m {
		case index, timestepZero:
			first += step
		case uxo:
			first, y, x = 0, rows*p.Size+height, columns*p.Size+width
			height, width = height+r.Height, width+r.Width
		default:
			first = 1
			if r.Height+height > r.Width+width {
				x = width
			} else {
				y = height
			}
			height, width = max(height, r.Height+y), max(width, r.Width+x)
		}
		start := dit.Position{float64(first), float64((y + p.Size/2) / p.Size), float64((x + p.Size/2) / p.Size)}
		rows, columns := p.Grid(r.Height, r.Width)
		at = append(at, dit.Grid(start, rows, columns)...)
	}
	return at
}
