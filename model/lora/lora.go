// Package lora finds the weights that a LoRA file belongs to. It reads names,
// shapes and the scalars "alpha", and makes nn.Adapters; the matrices
// themselves are weights like any other.
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
	// Unmatched are the tensors that belong to no weight of the base, sorted.
	Unmatched []string
}

// Map finds the weights that the tensors of a LoRA belong to. The layers may
// be called as kohya's trainer, as diffusers and PEFT, or as the original
// checkpoints call them. Tensors without a weight are reported in the mapping;
// it is an error when no tensor has one, when the shapes do not fit and when
// the file holds another kind of addition than LoRA. Text encoders alone take
// LoRAs that have nothing for them: many are on the UNet only.
func Map(l Source, base Base) (*Mapping, error) {
	layers, unmatched, err := collect(l)
	if err != nil {
		return nil, err
	}
	targets := base.targets()
	m := &Mapping{Adapters: map[string][]nn.Adapter{}, Unmatched: unmatched}
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		layer := layers[name]
		t, ok := targets.find(name)
		if !ok {
			m.Unmatched = append(m.Unmatched, layer.tensors()...)
			continue
		}
		a, err := layer.adapter(l, t)
		if err != nil {
			return nil, err
		}
		m.Adapters[t.weight] = append(m.Adapters[t.weight], a)
	}
	slices.Sort(m.Unmatched)
	if len(m.Adapters) == 0 && base.hasUNet() {
		return nil, fmt.Errorf("no tensor of the LoRA belongs to a layer of this model: found %s; known are names such as "+
			"lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight or lora_te_text_model_... (kohya), "+
			"unet.down_blocks.1.attentions.0.proj_in.lora_A.weight or text_encoder.text_model... (diffusers, PEFT) and "+
			"diffusion_model.input_blocks.4.1.proj_in.lora_A.weight (original); the LoRA may be for another family of models", some(m.Unmatched))
	}
	return m, nil
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

// A layer is the tensors of a LoRA on one layer of the base.
type layer struct{ down, up, mid, alpha string }

// suffixes are the ends of tensors' names, which say what each is.
var suffixes = []struct {
	text string
	role func(*layer) *string
}{
	{".lora_down.weight", (*layer).downName},
	{".lora_up.weight", (*layer).upName},
	{".lora_A.weight", (*layer).downName},
	{".lora_B.weight", (*layer).upName},
	{".lora_A.default.weight", (*layer).downName},
	{".lora_B.default.weight", (*layer).upName},
	{".lora_linear_layer.down.weight", (*layer).downName},
	{".lora_linear_layer.up.weight", (*layer).upName},
	{".lora.down.weight", (*layer).downName},
	{".lora.up.weight", (*layer).upName},
	{"_lora.down.weight", (*layer).downName},
	{"_lora.up.weight", (*layer).upName},
	{".lora_mid.weight", func(x *layer) *string { return &x.mid }},
	{".alpha", func(x *layer) *string { return &x.alpha }},
}

func (x *layer) downName() *string { return &x.down }
func (x *layer) upName() *string   { return &x.up }

// foreign marks the tensors of other kinds of additions: a mark that ends in
// an underscore is part of their names, the others are the end.
var foreign = []struct{ mark, what string }{
	{".dora_scale", "a DoRA"},
	{".lora_magnitude_vector", "a DoRA"},
	{".lora_magnitude_vector.weight", "a DoRA"},
	{".lokr_", "a LoKr"},
	{".hada_", "a LoHa"},
	{".oft_", "an OFT"},
	{".a1.weight", "a GLoRA"},
	{".diff", "a full difference of a weight"},
	{".diff_b", "a full difference of a bias"},
	{".w_norm", "a full difference of a norm"},
	{".b_norm", "a full difference of a norm"},
	{".set_weight", "a replacement of a weight"},
}

// collect groups the tensors by layer. Those whose role is unknown are
// returned as unmatched.
func collect(l Source) (layers map[string]*layer, unmatched []string, err error) {
	layers = map[string]*layer{}
	for _, tensor := range l.Names() {
		for _, f := range foreign {
			if strings.HasSuffix(tensor, f.mark) || strings.HasSuffix(f.mark, "_") && strings.Contains(tensor, f.mark) {
				return nil, nil, fmt.Errorf("tensor %s is that of %s, which is not supported yet: use a plain LoRA", tensor, f.what)
			}
		}
		name, role := split(tensor)
		if role == nil {
			unmatched = append(unmatched, tensor)
			continue
		}
		if layers[name] == nil {
			layers[name] = &layer{}
		}
		at := role(layers[name])
		if *at != "" {
			return nil, nil, fmt.Errorf("the LoRA has two tensors of the same kind for one layer: %s and %s", *at, tensor)
		}
		*at = tensor
	}
	return layers, unmatched, nil
}

// split returns the name of a tensor's layer, and where the tensor goes in it.
func split(tensor string) (name string, role func(*layer) *string) {
	for _, s := range suffixes {
		if name, ok := strings.CutSuffix(tensor, s.text); ok {
			return name, s.role
		}
	}
	return "", nil
}

// tensors returns the names of the layer's tensors.
func (x *layer) tensors() []string {
	return slices.DeleteFunc([]string{x.down, x.up, x.mid, x.alpha}, func(s string) bool { return s == "" })
}

// adapter returns the layer as an adapter on a weight that it fits.
func (x *layer) adapter(l Source, t target) (nn.Adapter, error) {
	a := nn.Adapter{Down: x.down, Up: x.up, Mid: x.mid, From: t.from, Rows: t.rows, Scale: 1}
	if x.down == "" || x.up == "" {
		return a, fmt.Errorf("the LoRA has %s but not both matrices of the layer, lora_down (lora_A) and lora_up (lora_B)", some(x.tensors()))
	}
	rank, err := x.check(l, t)
	if err != nil || x.alpha == "" {
		return a, err
	}
	alpha, err := l.Scalar(x.alpha)
	if err != nil {
		return a, err
	}
	a.Scale = alpha / float32(rank)
	if f := float64(a.Scale); math.IsNaN(f) || math.IsInf(f, 0) {
		return a, fmt.Errorf("tensor %s of the LoRA is %v, expected a number", x.alpha, alpha)
	}
	return a, nil
}

// check returns the rank of a LoRA whose matrices fit its weight W[N,K,...]:
// down[rank,K,...] and up[N,rank], or down[rank,K], mid[rank,rank,...] and
// up[N,rank]. Matrices may have the two dimensions more of a 1×1 kernel.
func (x *layer) check(l Source, t target) (rank int, err error) {
	shapes := map[string]ir.Shape{}
	for _, name := range x.tensors() {
		dt, shape, ok := l.Lookup(name)
		switch {
		case !ok:
			return 0, fmt.Errorf("the LoRA has no tensor %s", name)
		case !dt.IsFloat():
			return 0, fmt.Errorf("tensor %s of the LoRA has dtype %v, expected a floating-point type", name, dt)
		}
		shapes[name] = shape
	}
	base := trim(t.shape)
	n, k, kernel := base[0], base[1], base[2:]
	if t.rows > 0 {
		n = t.rows
	}
	if x.mid != "" && len(kernel) == 0 {
		return 0, fmt.Errorf("tensor %s of the LoRA is the middle of a convolution, and the weight %s %v is none", x.mid, t.weight, t.shape)
	}
	down, up := trim(shapes[x.down]), trim(shapes[x.up])
	rank = down[0]
	want := map[string]ir.Shape{x.down: append(ir.Shape{rank, k}, kernel...), x.up: {n, rank}}
	if x.mid != "" {
		out := up[1]
		want[x.down], want[x.mid], want[x.up] = ir.Shape{rank, k}, append(ir.Shape{out, rank}, kernel...), ir.Shape{n, out}
	}
	for _, name := range []string{x.down, x.mid, x.up} {
		if name != "" && !trim(shapes[name]).Equal(want[name]) || rank < 1 {
			return 0, fmt.Errorf("tensor %s of the LoRA has shape %v, and the weight %s %v needs %v: the LoRA is for another model",
				name, shapes[name], t.weight, t.shape, want[name])
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
