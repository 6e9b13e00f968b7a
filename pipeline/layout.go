package pipeline

import (
	"strings"

	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/families"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/weights"
)

// A layout is how the names of a file were changed.
type layout struct {
	moves  []families.Move
	layers map[string]model.Renaming // of other programs, by the prefix in a checkpoint
}

// inFile returns the name that the file has, or would have, for a tensor that a
// checkpoint has under a name.
func (l layout) inFile(name string) string {
	for prefix, layers := range l.layers {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if elsewhere, ok := layers.Elsewhere(rest); ok {
				name = prefix + elsewhere
			}
		}
	}
	for _, m := range l.moves {
		if rest, ok := strings.CutPrefix(name, m.To); ok {
			return m.From + rest
		}
	}
	return name
}

// arrange returns the tensors of a file under the names that they have in an
// original checkpoint, whatever prefixes the file has and whether diffusers wrote
// it. What belongs to no UNet, autoencoder or text encoder stays as it is.
func arrange(set *weights.Set) (*weights.Set, layout, error) {
	moves, err := families.Moves(set.Names())
	if err != nil {
		return nil, layout{}, err
	}
	if len(moves) > 0 {
		if set, err = set.Renamed(func(name string) string {
			for _, m := range moves {
				if to, ok := m.Name(name); ok {
					return to
				}
			}
			return name
		}); err != nil {
			return nil, layout{}, err
		}
	}
	l := layout{moves, map[string]model.Renaming{}}
	set, err = original(set, l.layers)
	return set, l, err
}

// original gives the networks that another program has written, such as
// diffusers, their original names, and remembers which layers those are.
func original(set *weights.Set, renamed map[string]model.Renaming) (*weights.Set, error) {
	names := nn.Names(set.Names())
	for _, n := range families.Networks() {
		if n.Elsewhere == "" || !names.Has(n.To+n.Elsewhere) {
			continue
		}
		layers, err := n.Original(nn.Names(set.Sub(n.To).Names()))
		if err != nil {
			return nil, err
		}
		renamed[n.To] = layers
		if set, err = set.Renamed(func(name string) string {
			if rest, ok := strings.CutPrefix(name, n.To); ok {
				if original, ok := layers.Original(rest); ok {
					return n.To + original
				}
			}
			return name
		}); err != nil {
			return nil, err
		}
	}
	return set, nil
}
