package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// Programs put different prefixes before the names of a network's tensors: none,
// that of a checkpoint, "module.", "text_encoders.clip_l.transformer." and more. The
// names after the prefix tell the network, so that any prefix is recognised.

// A kind is a network that a file may have.
type kind struct {
	what string
	// marks begin names of tensors that the network alone has.
	marks []string
	// not are ends of prefixes before marks that belong to another network.
	not []string
	// modules are the first parts of all names, in the original and in those of
	// diffusers and transformers.
	modules []string
}

var (
	unetKind = kind{"UNet", []string{"input_blocks.", "down_blocks."}, []string{"encoder.", "control_model."}, []string{
		"input_blocks", "middle_block", "output_blocks", "time_embed", "label_emb", "out",
		"conv_in", "down_blocks", "mid_block", "up_blocks", "conv_norm_out", "conv_out", "time_embedding", "add_embedding", "class_embedding",
		"controlnet_cond_embedding", "input_hint_block", "zero_convs",
	}}
	vaeKind  = kind{"VAE", []string{"decoder.mid.", "decoder.mid_block."}, nil, []string{"encoder", "decoder", "quant_conv", "post_quant_conv", "loss"}}
	textKind = kind{"text encoder", []string{"text_model.encoder.layers.", "encoder.layers.", "transformer.resblocks."}, []string{"text_model.", "vision_model.", "visual."}, []string{
		"text_model", "text_projection", "embeddings", "encoder", "final_layer_norm", "vision_model", "visual_projection",
		"transformer", "token_embedding", "positional_embedding", "ln_final", "logit_scale", "visual", "attn_mask",
	}}
)

// prefixes returns what stands before the kind's marks in the names.
func (k kind) prefixes(names []string) []string {
	found := map[string]bool{}
	for _, name := range names {
		for _, mark := range k.marks {
			prefix, ok := before(name, mark)
			if ok && !slices.ContainsFunc(k.not, func(end string) bool { return strings.HasSuffix(prefix, end) }) {
				found[prefix] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// before returns what stands before the first mark in a name that begins a part
// of it.
func before(name, mark string) (string, bool) {
	if strings.HasPrefix(name, mark) {
		return "", true
	}
	i := strings.Index(name, "."+mark)
	return name[:i+1], i >= 0
}

// A move is the prefix of a network in a file, and the one that it has in a
// checkpoint.
type move struct {
	kind
	from, to string
}

// name returns the name that a tensor is moved to, if it is one of the network.
func (m move) name(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, m.from)
	module, _, _ := strings.Cut(rest, ".")
	if !ok || !slices.Contains(m.modules, module) {
		return "", false
	}
	return m.to + rest, true
}

// A layout is how the names of a file were changed.
type layout struct {
	moves  []move
	layers map[string]sd.Renaming // of diffusers, by the prefix in a checkpoint
}

// inFile returns the name that the file has, or would have, for a tensor that a
// checkpoint has under a name.
func (l layout) inFile(name string) string {
	for prefix, layers := range l.layers {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if diffusers, ok := layers.Diffusers(rest); ok {
				name = prefix + diffusers
			}
		}
	}
	for _, m := range l.moves {
		if rest, ok := strings.CutPrefix(name, m.to); ok {
			return m.from + rest
		}
	}
	return name
}

// arrange returns the tensors of a file under the names that they have in an
// original checkpoint, whatever prefixes the file has and whether diffusers wrote
// it. What belongs to no UNet, autoencoder or text encoder stays as it is.
func arrange(set *weights.Set) (*weights.Set, layout, error) {
	moves := textMoves(set)
	for _, m := range []move{{kind: unetKind, to: sd.UNetPrefix}, {kind: vaeKind, to: sd.VAEPrefix}} {
		found := m.prefixes(set.Names())
		switch {
		case len(found) == 0 || slices.Contains(found, m.to):
		case len(found) == 1 || found[0] == "":
			m.from = found[0]
			moves = append(moves, m)
		default:
			return nil, layout{}, fmt.Errorf("there are several networks that may be the %s, whose tensors begin with %s: expected one, or one that begins with %s", m.what, fault.List(named(found), 8), m.to)
		}
	}
	if len(moves) > 0 {
		// The longest prefix first: "" is one of all.
		slices.SortStableFunc(moves, func(a, b move) int { return len(b.from) - len(a.from) })
		var err error
		if set, err = set.Renamed(func(name string) string {
			for _, m := range moves {
				if to, ok := m.name(name); ok {
					return to
				}
			}
			return name
		}); err != nil {
			return nil, layout{}, err
		}
	}
	l := layout{moves, map[string]sd.Renaming{}}
	set, err := fromDiffusers(set, l.layers)
	return set, l, err
}

// textPrefixes are those of the text encoders in checkpoints, and of two kinds
// that are not supported.
var textPrefixes = []string{sd.ClipLSD1, sd.ClipLSDXL, sd.ClipG, sd.ClipGConverted, "cond_stage_model.model.", "conditioner.embedders.0.model."}

// textMoves returns the moves of the text encoders, if it is clear which they are.
func textMoves(set *weights.Set) []move {
	found := textKind.prefixes(set.Names())
	if slices.ContainsFunc(found, func(prefix string) bool { return slices.Contains(textPrefixes, prefix) }) {
		return nil
	}
	openCLIP := func(prefix string) bool { return set.HasPrefix(prefix + "transformer.resblocks.") }
	switch {
	case len(found) == 1 && !openCLIP(found[0]):
		return []move{{textKind, found[0], sd.ClipLSD1}}
	case len(found) == 1:
		return []move{{textKind, found[0], sd.ClipG}}
	case len(found) != 2:
		return nil
	}
	l, g := found[0], found[1]
	if second(l) && !second(g) || openCLIP(l) && !openCLIP(g) {
		l, g = g, l
	}
	if openCLIP(g) {
		return []move{{textKind, l, sd.ClipLSDXL}, {textKind, g, sd.ClipG}}
	}
	return []move{{textKind, l, sd.ClipLSD1}, {textKind, g, sd.ClipGConverted}}
}

// second reports whether a prefix is known to be that of SDXL's second text
// encoder.
func second(prefix string) bool {
	return slices.ContainsFunc([]string{"clip_g.", "text_encoder_2.", "embedders.1."}, func(mark string) bool { return strings.Contains(prefix, mark) })
}

// fromDiffusers gives a UNet and an autoencoder that diffusers has written their
// original names, and remembers which layers those are.
func fromDiffusers(set *weights.Set, renamed map[string]sd.Renaming) (*weights.Set, error) {
	names := nn.Names(set.Names())
	for _, network := range []struct {
		prefix, mark string
		layers       func(nn.Names) (sd.Renaming, error)
	}{
		{sd.UNetPrefix, "down_blocks.", sd.FromDiffusersUNet},
		{sd.VAEPrefix, "decoder.mid_block.", sd.FromDiffusersVAE},
	} {
		if !names.Has(network.prefix + network.mark) {
			continue
		}
		layers, err := network.layers(nn.Names(set.Sub(network.prefix).Names()))
		if err != nil {
			return nil, err
		}
		renamed[network.prefix] = layers
		if set, err = set.Renamed(func(name string) string {
			if rest, ok := strings.CutPrefix(name, network.prefix); ok {
				if original, ok := layers.Original(rest); ok {
					return network.prefix + original
				}
			}
			return name
		}); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// named shows prefixes, of which one may be empty.
func named(prefixes []string) []string {
	var out []string
	for _, p := range prefixes {
		out = append(out, fault.Name(p))
	}
	return out
}
