package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// A LoRA is a file of low-rank additions to the weights of a model. Its
// matrices are weights of their own: they are read when a layer needs them.
type LoRA struct {
	path string
	set  *weights.Set
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
	adapters, err := l.adapters(m.base)
	if err != nil {
		return nil, err
	}
	with := *m
	with.part = m.with(l, adapters, sd.UNetPrefix, strength)
	return &with, nil
}

// WithLoRA returns the text encoders with a LoRA on top of those they have.
func (c *CLIP) WithLoRA(l *LoRA, strength float64) (*CLIP, error) {
	adapters, err := l.adapters(c.base)
	if err != nil {
		return nil, err
	}
	out := &CLIP{base: c.base, layer: c.layer}
	for _, e := range c.encoders {
		with := *e
		with.part = e.with(l, adapters, e.prefix, strength)
		out.encoders = append(out.encoders, &with)
	}
	return out, nil
}

// with returns the part with those adapters of a LoRA that are on the weights
// under prefix; without any it is the part itself.
func (p part) with(l *LoRA, all adapters, prefix string, strength float64) part {
	a := application{lora: l, adapters: under(all, prefix), strength: float32(strength)}
	if len(a.adapters) > 0 && strength != 0 {
		p.loras = append(p.loras[:len(p.loras):len(p.loras)], a)
	}
	return p
}

// under returns the adapters on weights whose names begin with prefix.
func under(a adapters, prefix string) adapters {
	out := adapters{}
	for weight, on := range a {
		if strings.HasPrefix(weight, prefix) {
			out[weight] = on
		}
	}
	return out
}

// adapters finds the layers of a checkpoint that the LoRA is on.
func (l *LoRA) adapters(base lora.Base) (adapters, error) {
	m, err := lora.Map(loraTensors{l.set}, base)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.path, err)
	}
	if n := len(m.Unmatched); n > 0 && base.Whole() {
		slog.Warn("parts of the LoRA belong to no layer of the model and are left out", "file", l.path, "tensors", n, "first", m.Unmatched[0])
	}
	return m.Adapters, nil
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
