package families

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
)

// Programs put different prefixes before the names of a network's tensors: none,
// that of a checkpoint, "module.", "text_encoders.clip_l.transformer." and more. The
// names after the prefix tell the network, so that any prefix is recognised.

// A Move is the prefix of a network in a file, and the one that it has in a
// checkpoint.
type Move struct {
	model.Names
	From, To string
}

// Name returns the name that a tensor is moved to, if it is one of the network.
func (m Move) Name(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, m.From)
	module, _, _ := strings.Cut(rest, ".")
	if !ok || !slices.Contains(m.Modules, module) {
		return "", false
	}
	return m.To + rest, true
}

// Networks returns the denoisers and autoencoders of all families, with the
// prefixes that they have in checkpoints.
func Networks() (all []Move) {
	for _, f := range All {
		all = append(all, Move{Names: f.Names, To: model.DenoiserPrefix})
	}
	for _, f := range Autoencoders {
		all = append(all, Move{Names: f.Names, To: model.AutoencoderPrefix})
	}
	return all
}

// Moves returns how the networks of a file, by its names, come under the prefixes
// of checkpoints, those with the longest prefix first: "" is one of all.
func Moves(names nn.Names) ([]Move, error) {
	moves := textMoves(names)
	for _, n := range Networks() {
		found := n.Prefixes(names)
		switch {
		case len(found) == 0 || slices.Contains(found, n.To):
		case len(found) == 1 || found[0] == "":
			n.From = found[0]
			moves = append(moves, n)
		default:
			return nil, fmt.Errorf("there are several networks that may be the %s, whose tensors begin with %s: expected one, or one that begins with %s", n.What, fault.List(named(found), 8), n.To)
		}
	}
	slices.SortStableFunc(moves, func(a, b Move) int { return len(b.From) - len(a.From) })
	return moves, nil
}

// TextPrefixes returns those of all text encoders in checkpoints.
func TextPrefixes() (all []string) {
	for _, t := range Texts {
		for _, slot := range t.Slots {
			for _, prefix := range slot.Prefixes {
				if !slices.Contains(all, prefix) {
					all = append(all, prefix)
				}
			}
		}
	}
	return all
}

// foreign are prefixes of text encoders that are not supported.
var foreign = []string{"cond_stage_model.model.", "conditioner.embedders.0.model."}

// placed reports whether the text encoders of a file have the prefixes that they
// have in checkpoints: those of Stable Diffusion, or all of another way of encoding
// prompts.
func placed(names nn.Names, found []string) bool {
	known := slices.Clone(foreign)
	for _, t := range Texts {
		for i := range t.Slots[0].Prefixes {
			whole := true
			for _, slot := range t.Slots {
				whole = whole && names.Has(slot.Prefixes[i])
			}
			for _, slot := range t.Slots {
				if whole || t == &sd.TextSD1 || t == &sd.TextSDXL {
					known = append(known, slot.Prefixes[i])
				}
			}
		}
	}
	return slices.ContainsFunc(found, func(prefix string) bool { return slices.Contains(known, prefix) })
}

// textMoves returns the moves of one or two encoders of CLIP, if it is clear which
// they are. Other encoders keep their prefixes.
func textMoves(names nn.Names) []Move {
	found := clip.Names.Prefixes(names)
	if placed(names, found) {
		return nil
	}
	openCLIP := func(prefix string) bool { return names.Has(prefix + "transformer.resblocks.") }
	switch {
	case len(found) == 1 && !openCLIP(found[0]):
		return []Move{{clip.Names, found[0], sd.ClipLSD1}}
	case len(found) == 1:
		return []Move{{clip.Names, found[0], sd.ClipG}}
	case len(found) != 2:
		return nil
	}
	l, g := found[0], found[1]
	if second(l) && !second(g) || openCLIP(l) && !openCLIP(g) {
		l, g = g, l
	}
	if openCLIP(g) {
		return []Move{{clip.Names, l, sd.ClipLSDXL}, {clip.Names, g, sd.ClipG}}
	}
	return []Move{{clip.Names, l, sd.ClipLSD1}, {clip.Names, g, sd.ClipGConverted}}
}

// second reports whether a prefix is known to be that of SDXL's second text
// encoder.
func second(prefix string) bool {
	return slices.ContainsFunc([]string{"clip_g.", "text_encoder_2.", "embedders.1."}, func(mark string) bool { return strings.Contains(prefix, mark) })
}

// named shows prefixes, of which one may be empty.
func named(prefixes []string) []string {
	var out []string
	for _, p := range prefixes {
		out = append(out, fault.Name(p))
	}
	return out
}
