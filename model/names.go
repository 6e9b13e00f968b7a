package model

import (
	"maps"
	"slices"
	"strings"

	"github.com/weir-run/weir/model/nn"
)

// Names tell a network by the names of its tensors, whatever prefix a file puts
// before them.
type Names struct {
	// What the network is called in errors, such as "UNet".
	What string
	// Marks begin names of tensors that the network alone has.
	Marks []string
	// Not are ends of prefixes before marks that belong to another network.
	Not []string
	// Modules are the first parts of all names, the original and those elsewhere.
	Modules []string
	// Elsewhere, if it is not "", begins names that other programs write, such as
	// diffusers, and Original returns the original names of their layers.
	Elsewhere string
	Original  func(nn.Names) (Renaming, error)
}

// Prefixes returns what stands before the network's marks in the names of a file.
func (n Names) Prefixes(names []string) []string {
	found := map[string]bool{}
	for _, name := range names {
		for _, mark := range n.Marks {
			prefix, ok := before(name, mark)
			if ok && !slices.ContainsFunc(n.Not, func(end string) bool { return strings.HasSuffix(prefix, end) }) {
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

// A Renaming has layers by the names that another program gives them, and their
// original names.
type Renaming map[string]string

// Original returns the original name of a tensor, without prefixes, if its layer
// is known.
func (r Renaming) Original(name string) (string, bool) {
	for end := len(name); end > 0; end = strings.LastIndexByte(name[:end], '.') {
		if to, ok := r[name[:end]]; ok {
			return to + name[end:], true
		}
	}
	return "", false
}

// Elsewhere returns the name that the other program gives a tensor of an original
// name, if its layer is known.
func (r Renaming) Elsewhere(name string) (string, bool) {
	for end := len(name); end > 0; end = strings.LastIndexByte(name[:end], '.') {
		for from, to := range r {
			if to == name[:end] {
				return from + name[end:], true
			}
		}
	}
	return "", false
}

// A Layer is a layer of a network, or some rows of its weight, with its names
// elsewhere.
type Layer struct {
	// Weight is the tensor, after the network's prefix, such as
	// "double_blocks.0.img_attn.qkv.weight".
	Weight string
	// Own is what checkpoints call the layer, mostly Weight without ".weight"; ""
	// where it is some rows of a weight that have no name there.
	Own string
	// Elsewhere are what other programs call it, such as
	// "transformer_blocks.0.attn.to_q". Dots and underscores are the same.
	Elsewhere []string
	// From and Rows, when Rows > 0, are the rows of the weight that the layer is.
	From, Rows int
	// Side says that a LoRA can be a side path of it, as of linear layers and
	// convolutions.
	Side bool
	// Transposed says that the weight is stored with the layer's inputs as rows.
	Transposed bool
	// Text says that the layer's inputs are the features of the text.
	Text bool
}
