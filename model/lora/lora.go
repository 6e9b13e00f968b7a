// Package lora finds the weights that a LoRA file belongs to. It reads names,
// shapes and the scalars "alpha". A plain LoRA becomes [nn.Adapter]s, side
// paths whose matrices are weights like any other. Every other kind becomes
// [Change]s, which must be merged into the weights.
package lora

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
)

// A Header is the names, dtypes and shapes of the tensors of a file.
type Header interface {
	Names() []string
	Lookup(name string) (dtype.DType, ir.Shape, bool)
}

// A Source is the tensors of a LoRA file.
type Source interface {
	Header
	// Scalar returns the value of a tensor of one element.
	Scalar(name string) (float32, error)
}

// A Base is what a LoRA is put on: a denoiser, text encoders or both.
type Base struct {
	Weights  nn.Source
	Denoiser Layered // nil of text encoders alone
	// Encoders are the text encoders. A denoiser alone has none.
	Encoders []Encoder
}

// A Layered network names its layers.
type Layered interface {
	Layers(yield func(model.Layer) bool)
}

// An Encoder is a text encoder with the prefix of its weights, and those that its
// layers have in LoRA files, in the order in which one gives way to the next.
type Encoder struct {
	Layered
	Prefix string
	Names  []string
	// Weights, when it is not nil, has the weights instead of the base's.
	Weights nn.Source
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
	// Skipped are the tensors that belong to a weight and are not applied to it,
	// with the reasons.
	Skipped []Skip
}

// A Skip is tensors of one layer that are not applied.
type Skip struct {
	Tensors []string
	Why     error
}

// An effect is what a layer of a LoRA does to one weight.
type effect struct {
	target
	rank     int // of the way the layer is called: the highest one counts
	adapter  *nn.Adapter
	change   *Change
	tensors  []string
	replaced []string // tensors of the layer that give way to these
}

// Map finds the weights that the tensors of a LoRA belong to. The layers may
// be called as kohya's trainer and LyCORIS, as diffusers and PEFT, or as the
// original checkpoints call them.
//
// A layer that is incomplete, or does not fit its weight, is skipped; so are
// all but one of several layers for one weight. It is an error when nothing is
// left, when the file is for another family of models, and when a tensor of it
// cannot be a LoRA's. A denoiser alone takes files that have tensors of text
// encoders only, and text encoders alone take any file.
func Map(l Source, base Base) (*Mapping, error) {
	layers, unmatched, err := collect(l)
	if err != nil {
		return nil, err
	}
	all := base.networks()
	if err := otherFamily(l, layers, all); err != nil {
		return nil, err
	}
	m := &Mapping{Adapters: map[string][]nn.Adapter{}, Changes: map[string][]Change{}, Unmatched: unmatched}
	var effects []effect
	text := false
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		got, skips, err := layers[name].on(l, all.find(name))
		if err != nil {
			return nil, err
		}
		effects, m.Skipped = append(effects, got...), append(m.Skipped, skips...)
		if len(got)+len(skips) == 0 {
			m.Unmatched = append(m.Unmatched, layers[name].tensors()...)
			text = text || ofText(name)
		}
	}
	slices.Sort(m.Unmatched)
	m.resolve(effects)
	if len(m.Adapters)+len(m.Changes) == 0 && base.Denoiser != nil && (!text || len(base.Encoders) > 0) {
		return nil, m.nothing(l)
	}
	return m, nil
}

// resolve takes, of the effects on one weight, the one of the highest rank, as
// ComfyUI does.
func (m *Mapping) resolve(effects []effect) {
	slices.SortStableFunc(effects, func(a, b effect) int {
		return cmp.Or(cmp.Compare(a.weight, b.weight), cmp.Compare(a.from, b.from), -cmp.Compare(a.rank, b.rank))
	})
	for i, e := range effects {
		if i > 0 && effects[i-1].weight == e.weight && effects[i-1].from == e.from {
			// The one that is taken is first, at the index that the next compare to.
			effects[i].tensors = effects[i-1].tensors
			m.skip(e.tensors, "%s is for the same weight, %s, and is applied in the place of %s", Names(effects[i-1].tensors), e.weight, Names(e.tensors))
			continue
		}
		if e.adapter != nil {
			m.Adapters[e.weight] = append(m.Adapters[e.weight], *e.adapter)
		} else {
			m.Changes[e.weight] = append(m.Changes[e.weight], *e.change)
		}
		if len(e.replaced) > 0 {
			m.skip(e.replaced, "%s is for the same weight, %s, and is applied in the place of %s", Names(e.tensors), e.weight, Names(e.replaced))
		}
	}
}

func (m *Mapping) skip(tensors []string, format string, args ...any) {
	m.Skipped = append(m.Skipped, Skip{tensors, fmt.Errorf(format, args...)})
}

// nothing is the error of a LoRA that does nothing to the base.
func (m *Mapping) nothing(l Source) error {
	if len(m.Skipped) > 0 {
		more := ""
		if n := len(m.Skipped) - 1; n > 0 {
			more = fmt.Sprintf(" (and %d more)", n)
		}
		return fault.New(fault.Model, "nothing of the LoRA, %s, can be applied: %w%s", looks(l), m.Skipped[0].Why, more)
	}
	if name, ok := Family(l); ok && name != "" && name != stable {
		return fault.New(fault.Model, "this looks like a LoRA for %s, and no tensor of it belongs to a layer of this model: found %s", name, Names(m.Unmatched))
	}
	return fault.New(fault.Model, "no tensor of the LoRA belongs to a layer of this model: found %s, %s; known are names such as "+
		"lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight or lora_te_text_model_... (kohya), "+
		"unet.down_blocks.1.attentions.0.proj_in.lora_A.weight or text_encoder.text_model... (diffusers, PEFT) and "+
		"diffusion_model.input_blocks.4.1.proj_in.lora_A.weight (original)", Names(m.Unmatched), looks(l))
}

// An unfit error is that of a layer which can be left out.
type unfit struct{ error }

// unfitf returns an unfit error.
func unfitf(format string, args ...any) error { return unfit{fmt.Errorf(format, args...)} }

// on returns what the layer does to the first of its targets that it fits. No
// effects and no skips say that it has no target.
func (x layer) on(l Source, targets []found) (effects []effect, skips []Skip, err error) {
	for _, f := range targets {
		got, more, err := x.effects(l, f)
		if err != nil {
			return nil, nil, err
		}
		if len(got) > 0 {
			return got, more, nil
		}
		if skips == nil {
			skips = more
		}
	}
	return nil, skips, nil
}

// effects returns what the layer does to a target and to its bias. Of several
// kinds of tensors for one weight, the last in the order of kinds is taken, as
// ComfyUI does.
func (x layer) effects(l Source, f found) (effects []effect, skips []Skip, err error) {
	try := func(t target, ok bool, tensors []string, build func() (effect, error)) (bool, error) {
		e, err := effect{}, error(unfitf("the model has no bias for %s", Names(tensors)))
		if ok {
			e, err = build()
		}
		if why := (unfit{}); errors.As(err, &why) {
			skips = append(skips, Skip{tensors, why.error})
			return false, nil
		} else if err != nil {
			return false, err
		}
		e.target, e.rank, e.tensors = t, f.rank, tensors
		effects = append(effects, e)
		return true, nil
	}
	taken := -1
	for _, k := range x.kinds() {
		tensors := x.of(k)
		if taken >= 0 {
			effects[taken].replaced = append(effects[taken].replaced, tensors...)
			continue
		}
		ok, err := try(f.target, true, tensors, func() (effect, error) { return x.effect(l, f.target, k) })
		if err != nil {
			return nil, nil, err
		}
		if ok {
			taken = len(effects) - 1
		}
	}
	if x[normBias] != "" && x[normWeight] == "" && x[biasDiff] == "" {
		skips = append(skips, Skip{[]string{x[normBias]}, fmt.Errorf("the LoRA has %s but not w_norm of the layer", show(x[normBias]))})
	}
	for _, r := range []role{biasDiff, normBias} {
		if x[r] == "" || r == normBias && (x[normWeight] == "" || x[biasDiff] != "") {
			continue
		}
		bias, ok := f.bias()
		_, err := try(bias, ok, []string{x[r]}, func() (effect, error) {
			if err := bias.mergeable(); err != nil {
				return effect{}, err
			}
			c, err := x.difference(l, bias, r)
			return effect{change: &c}, err
		})
		if err != nil {
			return nil, nil, err
		}
	}
	if len(effects)+len(skips) == 0 {
		skips = []Skip{{x.tensors(), fmt.Errorf("the LoRA has %s and nothing that it belongs to", Names(x.tensors()))}}
	}
	return effects, skips, nil
}

// effect returns what the tensors of a kind do to a weight.
func (x layer) effect(l Source, t target, k kind) (effect, error) {
	if k == plain && !x.decomposed() {
		a, exact, err := x.adapter(l, t)
		if err != nil || exact && t.side {
			return effect{adapter: &a}, err
		}
	}
	if err := t.mergeable(); err != nil {
		return effect{}, err
	}
	c, err := x.change(l, t, k)
	if err == nil {
		err = x.transpose(&c, t)
	}
	return effect{change: &c}, err
}

// mergeable returns an error if nothing can be merged into the weight.
func (t target) mergeable() error {
	if _, quantized := nn.PackingOf(t.weights, t.weight); quantized || t.dtype.IsFloat() {
		return nil
	}
	return fault.New(fault.Model, "the weight %s has dtype %v, into which nothing but a plain LoRA can be merged: use a checkpoint whose weights are F32, F16, BF16, F8 or quantized in a format that is read", show(t.weight), t.dtype)
}

// transpose makes a change one of a weight that is stored with its inputs as
// rows.
func (x layer) transpose(c *Change, t target) error {
	if !t.transposed {
		return nil
	}
	if c.Magnitude != "" || c.Product != Single && c.Product != Hadamard && c.Product != Kronecker && c.Product != Replacement {
		return unfitf("the weight %s is stored with its inputs as rows, onto which %s cannot be put", show(t.weight), Names(x.tensors()))
	}
	c.Transposed = true
	return nil
}
