package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/merge"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/lora"
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
	// widens says that weights get another dtype by what is merged into them.
	widens bool
}

// LoRA opens a LoRA. It reads the header of the file alone.
func (e *Engine) LoRA(ctx context.Context, path string) (*LoRA, error) {
	set, err := e.open(ctx, path)
	if err != nil {
		return nil, err
	}
	return &LoRA{path, set}, nil
}

// On returns a model and text encoders, of which one may be nil, with the LoRA
// on top of those they have. Nothing of their weights is read or changed. What
// the LoRA has for neither is left out with a warning; it is an error if that
// is everything, unless it is for the one that is nil.
func (l *LoRA) On(m *Model, c *CLIP, modelStrength, clipStrength float64) (*Model, *CLIP, error) {
	for _, s := range []float64{modelStrength, clipStrength} {
		if f := float64(float32(s)); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, nil, fault.New(fault.Workflow, "%s: the strength of the LoRA is %v, expected a number", l.path, s)
		}
	}
	base := lora.Base{}
	if m != nil {
		base.Weights, base.Denoiser = m.base.Weights, m.base.Denoiser
	}
	if c != nil {
		for _, e := range c.base.Encoders {
			e.Weights = c.base.Weights
			base.Encoders = append(base.Encoders, e)
		}
	}
	mapping, err := lora.Map(loraTensors{l.set}, base)
	if err != nil {
		return nil, nil, fault.Mark(fault.Model, fmt.Errorf("%s: %w", l.path, err))
	}
	l.warn(mapping)
	return m.with(l, mapping, modelStrength), c.with(l, mapping, clipStrength), nil
}

// warn tells what of the LoRA is left out.
func (l *LoRA) warn(m *lora.Mapping) {
	if n := len(m.Unmatched); n > 0 {
		slog.Warn("tensors of the LoRA belong to no layer of the model that it is put on and are left out",
			"file", l.path, "tensors", n, "of", l.set.Len(), "names", lora.Names(m.Unmatched))
	}
	if n := len(m.Skipped); n > 0 {
		tensors := 0
		for _, s := range m.Skipped {
			tensors += len(s.Tensors)
		}
		slog.Warn("layers of the LoRA cannot be applied and are left out",
			"file", l.path, "layers", n, "tensors", tensors, "reason", m.Skipped[0].Why)
	}
}

func (m *Model) with(l *LoRA, mapping *lora.Mapping, strength float64) *Model {
	if m == nil {
		return nil
	}
	with := *m
	with.part = m.part.with(l, mapping, model.DenoiserPrefix, strength)
	return &with
}

func (c *CLIP) with(l *LoRA, mapping *lora.Mapping, strength float64) *CLIP {
	if c == nil {
		return nil
	}
	out := &CLIP{text: c.text, base: c.base, layer: c.layer}
	for _, e := range c.encoders {
		with := *e
		with.part = e.part.with(l, mapping, e.prefix, strength)
		out.encoders = append(out.encoders, &with)
	}
	return out
}

// with returns the part with what a LoRA does to the weights under prefix; if
// that is nothing it is the part itself. At a strength of 0 a LoRA still puts
// its own weights in the place of others, as in ComfyUI.
func (p part) with(l *LoRA, all *lora.Mapping, prefix string, strength float64) part {
	a := application{Mapping: &lora.Mapping{Adapters: under(all.Adapters, prefix), Changes: under(all.Changes, prefix)}, lora: l, strength: float32(strength)}
	if strength == 0 {
		a.Adapters = nil
		for weight, changes := range a.Changes {
			if !slices.ContainsFunc(changes, func(c lora.Change) bool { return c.Product == lora.Replacement }) {
				delete(a.Changes, weight)
			}
		}
	}
	if len(a.Adapters)+len(a.Changes) == 0 {
		return p
	}
	p.loras = append(p.loras[:len(p.loras):len(p.loras)], a)
	for weight := range a.Changes {
		if ref, ok := p.set.Lookup(weight); ok && merge.DType(ref) != ref.DType {
			p.loras[len(p.loras)-1].widens = true
		}
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

// beneath returns how many of the part's first LoRAs are merged into a weight
// whatever their form: those beneath the last change of it that depends on what
// they have made of it, and all where memory is managed the classic way.
func (p part) beneath(weight string) int {
	if p.engine.classic {
		ref, ok := (tensors{p}).Lookup(weight)
		if ok && ref.DType.IsFloat() && merge.DType(ref) == ref.DType {
			return len(p.loras)
		}
	}
	for i := len(p.loras) - 1; i > 0; i-- {
		if slices.ContainsFunc(p.loras[i].Changes[weight], lora.Change.DependsOnWeight) {
			return i
		}
	}
	return 0
}

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
