package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/merge"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// A LoRA is a file of additions to the weights of a model. Where they are sums
// of low rank, its matrices are weights of their own beside those of the
// model; others are merged into the model's weights when those are brought
// into memory. Either is read when a layer needs it.
type LoRA struct {
	path string
	set  *weights.Set
}

// An application is a LoRA on a part, with what it does to the part's weights.
type application struct {
	*lora.Mapping
	lora     *LoRA
	strength float32
}

// LoRA opens a LoRA. It reads the header of the file alone.
func (e *Engine) LoRA(path string) (*LoRA, error) {
	set, err := e.open(path)
	if err != nil {
		return nil, err
	}
	return &LoRA{path, set}, nil
}

// WithLoRA returns the model with a LoRA on top of those it has. Nothing of
// the model's weights is read or changed.
func (m *Model) WithLoRA(l *LoRA, strength float64) (*Model, error) {
	mapping, err := l.mapping(m.base)
	if err != nil {
		return nil, err
	}
	with := *m
	with.part = m.with(l, mapping, sd.UNetPrefix, strength)
	return &with, nil
}

// WithLoRA returns the text encoders with a LoRA on top of those they have.
func (c *CLIP) WithLoRA(l *LoRA, strength float64) (*CLIP, error) {
	mapping, err := l.mapping(c.base)
	if err != nil {
		return nil, err
	}
	out := &CLIP{base: c.base, layer: c.layer}
	for _, e := range c.encoders {
		with := *e
		with.part = e.with(l, mapping, e.prefix, strength)
		out.encoders = append(out.encoders, &with)
	}
	return out, nil
}

// with returns the part with what a LoRA does to the weights under prefix; if
// that is nothing it is the part itself.
func (p part) with(l *LoRA, all *lora.Mapping, prefix string, strength float64) part {
	a := application{&lora.Mapping{Adapters: under(all.Adapters, prefix), Changes: under(all.Changes, prefix)}, l, float32(strength)}
	if len(a.Adapters)+len(a.Changes) > 0 && strength != 0 {
		p.loras = append(p.loras[:len(p.loras):len(p.loras)], a)
	}
	return p
}

// under returns what is on weights whose names begin with prefix.
func under[T any](all map[string]T, prefix string) map[string]T {
	out := map[string]T{}
	for weight, on := range all {
		if strings.HasPrefix(weight, prefix) {
			out[weight] = on
		}
	}
	return out
}

// mapping finds the layers of a checkpoint that the LoRA is on.
func (l *LoRA) mapping(base lora.Base) (*lora.Mapping, error) {
	m, err := lora.Map(loraTensors{l.set}, base)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.path, err)
	}
	if n := len(m.Unmatched); n > 0 && base.Whole() {
		slog.Warn("parts of the LoRA belong to no layer of the model and are left out", "file", l.path, "tensors", n, "first", m.Unmatched[0])
	}
	return m, nil
}

// beneath returns how many of the part's first LoRAs are merged into a weight
// whatever their form: those beneath the last DoRA on it, which scales what they
// have added, and all where memory is managed the classic way.
func (p part) beneath(weight string) int {
	if p.engine.classic {
		ref, ok := (tensors{p}).Lookup(weight)
		if ok && ref.DType.IsFloat() && !ref.DType.IsQuantized() {
			return len(p.loras)
		}
	}
	for i := len(p.loras) - 1; i > 0; i-- {
		if slices.ContainsFunc(p.loras[i].Changes[weight], isDoRA) {
			return i
		}
	}
	return 0
}

func isDoRA(c lora.Change) bool { return c.Magnitude != "" }

// merged returns the changes that are merged into a weight, in order.
func (p part) merged(weight string) []merge.Change {
	var out []merge.Change
	beneath := p.beneath(weight)
	for i, a := range p.loras {
		add := func(c lora.Change) {
			out = append(out, merge.Change{Change: c, Set: a.lora.set, Strength: a.strength})
		}
		if i < beneath {
			for _, adapter := range a.Adapters[weight] {
				add(lora.Merged(adapter))
			}
		}
		for _, c := range a.Changes[weight] {
			add(c)
		}
	}
	return out
}

// merges returns what tells the part's weights from those with other things
// merged into them: LoRAs and strengths, if any of the LoRAs is merged.
func (p part) merges() string {
	if !p.engine.classic && !slices.ContainsFunc(p.loras, func(a application) bool { return len(a.Changes) > 0 }) {
		return ""
	}
	var id strings.Builder
	for _, a := range p.loras {
		fmt.Fprintf(&id, "*%d %v", a.lora.set.Files()[0].ID(), a.strength)
	}
	return id.String()
}

// loraTensors shows a file to package lora.
type loraTensors struct{ set *weights.Set }

func (s loraTensors) Names() []string { return s.set.Names() }

func (s loraTensors) Lookup(name string) (dtype.DType, ir.Shape, bool) {
	ref, ok := s.set.Lookup(name)
	return ref.DType, ref.Shape, ok
}

func (s loraTensors) Scalar(name string) (float32, error) {
	ref, ok := s.set.Lookup(name)
	if !ok || ref.Elements() != 1 {
		return 0, fmt.Errorf("tensor %s: expected one number", name)
	}
	v, err := ref.ReadF32(context.Background())
	if err != nil {
		return 0, err
	}
	return v[0], nil
}
