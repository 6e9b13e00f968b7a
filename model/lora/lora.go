// Package lora finds the weights that a LoRA file belongs to. It reads names,
// shapes and the scalars "alpha". A plain LoRA becomes [nn.Adapter]s, side
// paths whose matrices are weights like any other; a DoRA, LoHa, LoKr or full
// difference becomes [Change]s, which must be merged into the weights.
package lora

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
)

// A Source is the tensors of a LoRA file.
type Source interface {
	Names() []string
	Lookup(name string) (dtype.DType, ir.Shape, bool)
	// Scalar returns the value of a tensor of one element.
	Scalar(name string) (float32, error)
}

// A Base is what LoRAs are put on.
type Base struct {
	Weights nn.Source
	UNet    sd.UNetConfig // the zero value of text encoders alone
	// Encoders are the text encoders: CLIP-L, and in SDXL OpenCLIP-G. A UNet
	// alone has none.
	Encoders []Encoder
}

// Whole reports whether the base has a UNet and text encoders, so that all of
// a LoRA should belong to it.
func (b Base) Whole() bool { return b.hasUNet() && len(b.Encoders) > 0 }

func (b Base) hasUNet() bool { return len(b.UNet.Input) > 0 }

// An Encoder is a text encoder of a checkpoint with the prefix of its weights.
type Encoder struct {
	Prefix string
	Config clip.Config
}

// A Mapping is what a LoRA does to a base.
type Mapping struct {
	// Adapters are those on each weight of the base. The names in them are the
	// LoRA file's own and Strength is empty: the caller knows under which names
	// it has the file's tensors and gives the strengths.
	Adapters map[string][]nn.Adapter
	// Changes are those on each weight of the base.
	Changes map[string][]Change
	// Unmatched are the tensors that belong to no weight of the base, sorted.
	Unmatched []string
}

// Map finds the weights that the tensors of a LoRA belong to. The layers may
// be called as kohya's trainer and LyCORIS, as diffusers and PEFT, or as the
// original checkpoints call them. Tensors without a weight are reported in the
// mapping; it is an error when no tensor has one, when the shapes do not fit
// and when the file holds another kind of addition than the package knows. Text
// encoders alone take LoRAs that have nothing for them: many are on the UNet
// only.
func Map(l Source, base Base) (*Mapping, error) {
	layers, unmatched, err := collect(l)
	if err != nil {
		return nil, err
	}
	targets := base.targets()
	m := &Mapping{Adapters: map[string][]nn.Adapter{}, Changes: map[string][]Change{}, Unmatched: unmatched}
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		layer := layers[name]
		t, ok := targets.find(name)
		if !ok {
			m.Unmatched = append(m.Unmatched, layer.tensors()...)
			continue
		}
		if err := m.add(l, base, layer, t); err != nil {
			return nil, err
		}
	}
	slices.Sort(m.Unmatched)
	if len(m.Adapters)+len(m.Changes) == 0 && base.hasUNet() {
		return nil, fmt.Errorf("no tensor of the LoRA belongs to a layer of this model: found %s; known are names such as "+
			"lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight or lora_te_text_model_... (kohya), "+
			"unet.down_blocks.1.attentions.0.proj_in.lora_A.weight or text_encoder.text_model... (diffusers, PEFT) and "+
			"diffusion_model.input_blocks.4.1.proj_in.lora_A.weight (original); the LoRA may be for another family of models", some(m.Unmatched))
	}
	return m, nil
}

// add adds what the tensors of one layer do to its weight and its bias.
func (m *Mapping) add(l Source, base Base, x layer, t target) error {
	of, err := x.kind()
	if err != nil {
		return err
	}
	if of == plain && x[scale] == "" && x[magnitude] == "" {
		a, err := x.adapter(l, t)
		if err != nil {
			return err
		}
		m.Adapters[t.weight] = append(m.Adapters[t.weight], a)
	} else if of != none {
		c, err := x.change(l, t, of)
		if err := m.merge(base, t, c, err); err != nil {
			return err
		}
	}
	if x[diff] != "" {
		c, err := x.difference(l, t, diff)
		if err := m.merge(base, t, c, err); err != nil {
			return err
		}
	}
	if x[diffBias] == "" {
		return nil
	}
	bias, ok := base.bias(t)
	if !ok {
		m.Unmatched = append(m.Unmatched, x[diffBias])
		return nil
	}
	c, err := x.difference(l, bias, diffBias)
	return m.merge(base, bias, c, err)
}

// merge adds a change to a weight that can be written in its own dtype.
func (m *Mapping) merge(base Base, t target, c Change, err error) error {
	if err != nil {
		return err
	}
	if dt, _, _ := base.Weights.Lookup(t.weight); !dt.IsFloat() || dt.IsQuantized() {
		return fmt.Errorf("the weight %s has dtype %v, into which no DoRA, LoHa, LoKr or difference can be merged: use a plain LoRA, or a checkpoint whose weights are F16, BF16, F8 or F32", t.weight, dt)
	}
	m.Changes[t.weight] = append(m.Changes[t.weight], c)
	return nil
}

// some returns the first few names.
func some(names []string) string {
	switch {
	case len(names) == 0:
		return "no tensors"
	case len(names) > 4:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:4], ", "), len(names)-4)
	}
	return strings.Join(names, ", ")
}

// A role is what a tensor is to its layer.
type role string

const (
	down      role = "lora_down (lora_A)"
	up        role = "lora_up (lora_B)"
	mid       role = "lora_mid"
	alpha     role = "alpha"
	scale     role = "dora_scale"
	magnitude role = "lora_magnitude_vector"
	hada1A    role = "hada_w1_a"
	hada1B    role = "hada_w1_b"
	hada1Core role = "hada_t1"
	hada2A    role = "hada_w2_a"
	hada2B    role = "hada_w2_b"
	hada2Core role = "hada_t2"
	lokr1     role = "lokr_w1"
	lokr1A    role = "lokr_w1_a"
	lokr1B    role = "lokr_w1_b"
	lokr2     role = "lokr_w2"
	lokr2A    role = "lokr_w2_a"
	lokr2B    role = "lokr_w2_b"
	lokr2Core role = "lokr_t2"
	diff      role = "diff"
	diffBias  role = "diff_b"
)

// A layer is the tensors of a LoRA on one layer of the base, by role.
type layer map[role]string

// suffixes are the ends of tensors' names, which say what each is.
var suffixes = []struct {
	text string
	role role
}{
	{".lora_down.weight", down},
	{".lora_up.weight", up},
	{".lora_A.weight", down},
	{".lora_B.weight", up},
	{".lora_A.default.weight", down},
	{".lora_B.default.weight", up},
	{".lora_linear_layer.down.weight", down},
	{".lora_linear_layer.up.weight", up},
	{".lora.down.weight", down},
	{".lora.up.weight", up},
	{"_lora.down.weight", down},
	{"_lora.up.weight", up},
	{".lora_mid.weight", mid},
	{".alpha", alpha},
	{".dora_scale", scale},
	{".lora_magnitude_vector", magnitude},
	{".lora_magnitude_vector.weight", magnitude},
	{".lora_magnitude_vector.default", magnitude},
	{".lora_magnitude_vector.default.weight", magnitude},
	{".hada_w1_a", hada1A},
	{".hada_w1_b", hada1B},
	{".hada_t1", hada1Core},
	{".hada_w2_a", hada2A},
	{".hada_w2_b", hada2B},
	{".hada_t2", hada2Core},
	{".lokr_w1", lokr1},
	{".lokr_w1_a", lokr1A},
	{".lokr_w1_b", lokr1B},
	{".lokr_w2", lokr2},
	{".lokr_w2_a", lokr2A},
	{".lokr_w2_b", lokr2B},
	{".lokr_t2", lokr2Core},
	{".diff", diff},
	{".diff_b", diffBias},
}

// foreign marks the tensors of other kinds of additions: a mark that ends in
// an underscore is part of their names, the others are the end.
var foreign = []struct{ mark, what string }{
	{".oft_", "an OFT"},
	{".a1.weight", "a GLoRA"},
	{".w_norm", "a full difference of a norm"},
	{".b_norm", "a full difference of a norm"},
	{".set_weight", "a replacement of a weight"},
}

// collect groups the tensors by layer. Those whose role is unknown are
// returned as unmatched.
func collect(l Source) (layers map[string]layer, unmatched []string, err error) {
	layers = map[string]layer{}
	for _, tensor := range l.Names() {
		for _, f := range foreign {
			if strings.HasSuffix(tensor, f.mark) || strings.HasSuffix(f.mark, "_") && strings.Contains(tensor, f.mark) {
				return nil, nil, fmt.Errorf("tensor %s is that of %s, which is not supported yet: use a LoRA, DoRA, LoHa or LoKr", tensor, f.what)
			}
		}
		name, role := split(tensor)
		if role == "" {
			unmatched = append(unmatched, tensor)
			continue
		}
		if layers[name] == nil {
			layers[name] = layer{}
		}
		if there, ok := layers[name][role]; ok {
			return nil, nil, fmt.Errorf("the LoRA has two tensors of the same kind for one layer: %s and %s", there, tensor)
		}
		layers[name][role] = tensor
	}
	return layers, unmatched, nil
}

// split returns the name of a tensor's layer, and what the tensor is to it.
func split(tensor string) (name string, r role) {
	for _, s := range suffixes {
		if name, ok := strings.CutSuffix(tensor, s.text); ok {
			return name, s.role
		}
	}
	return "", ""
}

// tensors returns the names of the layer's tensors, sorted.
func (x layer) tensors() []string { return slices.Sorted(maps.Values(x)) }

// adapter returns the layer as an adapter on a weight that it fits.
func (x layer) adapter(l Source, t target) (nn.Adapter, error) {
	a := nn.Adapter{Down: x[down], Up: x[up], Mid: x[mid], From: t.from, Rows: t.rows, Scale: 1}
	if a.Down == "" || a.Up == "" {
		return a, fmt.Errorf("the LoRA has %s but not both matrices of the layer, lora_down (lora_A) and lora_up (lora_B)", some(x.tensors()))
	}
	rank, err := x.check(l, t)
	if err != nil {
		return a, err
	}
	a.Scale, err = x.scale(l, rank)
	return a, err
}

// scale returns alpha over rank, or 1 without alpha.
func (x layer) scale(l Source, rank int) (float32, error) {
	name, ok := x[alpha]
	if !ok {
		return 1, nil
	}
	v, err := l.Scalar(name)
	if err != nil {
		return 0, err
	}
	s := v / float32(rank)
	if f := float64(s); math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("tensor %s of the LoRA is %v, expected a number", name, v)
	}
	return s, nil
}

// shape returns the shape of the layer's tensor of a role.
func (x layer) shape(l Source, r role) (ir.Shape, error) {
	name, ok := x[r]
	if !ok {
		return nil, fmt.Errorf("the LoRA has %s but not %s of the layer", some(x.tensors()), r)
	}
	dt, shape, ok := l.Lookup(name)
	switch {
	case !ok:
		return nil, fmt.Errorf("the LoRA has no tensor %s", name)
	case !dt.IsFloat() || dt.IsQuantized():
		return nil, fmt.Errorf("tensor %s of the LoRA has dtype %v, expected a floating-point type", name, dt)
	}
	return shape, nil
}

// misfit is the error of a tensor that is not for the weight.
func (x layer) misfit(r role, shape ir.Shape, t target, want any) error {
	return fmt.Errorf("tensor %s of the LoRA has shape %v, and the weight %s %v needs %v: the LoRA is for another model",
		x[r], shape, t.weight, t.shape, want)
}

// check returns the rank of a LoRA whose matrices fit its weight W[N,K,...]:
// down[rank,K,...] and up[N,rank], or down[rank,K], mid[rank,rank,...] and
// up[N,rank]. Matrices may have the two dimensions more of a 1×1 kernel.
func (x layer) check(l Source, t target) (rank int, err error) {
	shapes := map[role]ir.Shape{}
	for _, r := range []role{down, mid, up} {
		if _, ok := x[r]; ok {
			if shapes[r], err = x.shape(l, r); err != nil {
				return 0, err
			}
		}
	}
	n, k, kernel := t.dims()
	if x[mid] != "" && len(kernel) == 0 {
		return 0, fmt.Errorf("tensor %s of the LoRA is the middle of a convolution, and the weight %s %v is none", x[mid], t.weight, t.shape)
	}
	first, last := trim(shapes[down]), trim(shapes[up])
	rank = first[0]
	want := map[role]ir.Shape{down: append(ir.Shape{rank, k}, kernel...), up: {n, rank}}
	if x[mid] != "" {
		out := last[1]
		want[down], want[mid], want[up] = ir.Shape{rank, k}, append(ir.Shape{out, rank}, kernel...), ir.Shape{n, out}
	}
	for _, r := range []role{down, mid, up} {
		if x[r] != "" && !trim(shapes[r]).Equal(want[r]) || rank < 1 {
			return 0, x.misfit(r, shapes[r], t, want[r])
		}
	}
	return rank, nil
}

// trim returns a shape without the ones of a 1×1 kernel at its end, and with
// at least two dimensions.
func trim(s ir.Shape) ir.Shape {
	s = slices.Clone(s)
	for len(s) < 2 {
		s = append(s, 1)
	}
	for _, n := range s[2:] {
		if n != 1 {
			return s
		}
	}
	return s[:2]
}
