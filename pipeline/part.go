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
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/weights"
)

// A part is a network of a checkpoint, such as its UNet, with the LoRAs on it.
// It is a value that is never changed.
type part struct {
	engine *Engine
	name   string // for errors, such as "UNet of flower.safetensors"
	set    *weights.Set
	layout layout // of the names in set; the zero value where they are the file's
	loras  []application
}

// build declares a graph.
type build func(s nn.Scope)

// plan builds and plans a graph of the part, with an arena of at most limit
// bytes if that is possible; 0 is no limit.
func (p part) plan(b build, limit int64) (*plan.Program, error) {
	g := ir.New(p.name)
	b(nn.NewScope(g, source{p}))
	program, err := plan.Compile(g, plan.Options{MaxExtent: p.engine.maxExtent, Arena: limit, Group: fileOf})
	if err == nil {
		slog.Debug("planned", "network", p.name, "operations", len(program.Ops), "activations", program.Arena, "weights", program.WeightBytes(), "limit", limit)
	}
	return program, err
}

// bound returns the program of a graph, which is planned once for each key and
// limit of the arena and bound once for each of those and what is merged into
// the weights, and the function to let go of it.
func (p part) bound(key string, b build, limit int64) (*run.Model, func(), error) {
	graph := p.graph(key)
	if limit > 0 {
		graph += fmt.Sprintf(" in %d", limit)
	}
	return p.engine.programs.get(graph, graph+p.merges(),
		func() (*plan.Program, error) { return p.plan(b, limit) },
		func(program *plan.Program) (*run.Model, error) { return run.Bind(program, tensors{p}, p.engine.pager) })
}

// graph returns what tells a graph of the part from others: the files, and
// which LoRAs are side paths in it or are merged into weights that get another
// dtype by it. Their strengths are inputs.
func (p part) graph(key string) string {
	var id strings.Builder
	fmt.Fprintf(&id, "%s/%s", p.name, key)
	for _, f := range p.set.Files() {
		fmt.Fprintf(&id, "/%d", f.ID())
	}
	if slices.ContainsFunc(p.loras, func(a application) bool { return len(a.Adapters) > 0 || a.widens }) {
		for _, a := range p.loras {
			fmt.Fprintf(&id, "+%d", a.lora.set.Files()[0].ID())
			if a.strength == 0 {
				id.WriteString(" at 0") // without side paths
			}
		}
	}
	return id.String()
}

// fitting returns the program of a graph that fits in the memory there is now:
// as it is or, if it does not fit, tiled. When that does not fit either, it is
// the smallest program there is.
func (p part) fitting(key string, b build) (m *run.Model, release func(), fits bool, err error) {
	m, release, err = p.bound(key, b, 0)
	if err != nil {
		return nil, nil, false, err
	}
	if p.engine.fits(m) {
		return m, release, true, nil
	}
	for _, limit := range p.engine.arenasFor(m) {
		release()
		if m, release, err = p.bound(key, b, limit); err != nil {
			return nil, nil, false, err
		}
		if p.engine.fits(m) {
			return m, release, true, nil
		}
	}
	return m, release, false, nil
}

// run runs a graph of the part, tiled if it does not fit in the memory there is
// otherwise.
func (p part) run(ctx context.Context, key string, b build, in run.Inputs) (run.Outputs, error) {
	m, release, _, err := p.fitting(key, b)
	if err != nil {
		return nil, err
	}
	defer release()
	if p.engine.classic {
		for _, s := range p.sets() {
			if err := hold(ctx, s); err != nil {
				return nil, err
			}
		}
	}
	for i, a := range p.loras {
		in[strengthName(i)] = []float32{a.strength}
	}
	out, err := m.Run(ctx, in, nil)
	top, ram := m.Split()
	p.engine.mu.Lock()
	p.engine.residency = Residency{Program: p.name, Kept: top.Kept, Streamed: top.Streamed, Read: ram.Streamed}
	p.engine.mu.Unlock()
	return out, err
}

// planned reports a graph of the part that would run so many times.
func (p part) planned(ctx context.Context, key string, b build, runs int) error {
	m, release, _, err := p.fitting(key, b)
	if err != nil {
		return err
	}
	defer release()
	p.engine.planned(m, runs)
	return ctx.Err()
}

// prefetch tells that a graph of the part will run next: its first weights are
// brought in while what runs now finishes. A graph that is wrong says so when it
// runs.
func (p part) prefetch(key string, b build) {
	if p.engine.planned != nil || p.engine.classic {
		return
	}
	m, release, err := p.bound(key, b, 0) // its extents are those of every limit
	if err != nil {
		return
	}
	m.Prefetch()
	release()
}

// sets returns the files of the part and of its LoRAs.
func (p part) sets() []*weights.Set {
	all := []*weights.Set{p.set}
	for _, a := range p.loras {
		all = append(all, a.lora.set)
	}
	return all
}

// fits is for graphs that can do with less memory in another way: it
// reports whether the program fits as it is, before anything runs.
func (p part) fits(key string, b build) (bool, error) {
	m, release, err := p.bound(key, b, 0)
	if err != nil {
		return false, err
	}
	defer release()
	return p.engine.fits(m), nil
}

// fitsTiled is for graphs that have no other way left: it returns an error
// that names the numbers if the program does not fit even when it is tiled.
func (p part) fitsTiled(key string, b build) error {
	m, release, fits, err := p.fitting(key, b)
	if err == nil && !fits {
		release()
		p.engine.reclaim()
		m, release, fits, err = p.fitting(key, b)
	}
	if err != nil {
		return err
	}
	defer release()
	if !fits {
		return p.engine.errNotFit(p.name, m)
	}
	return nil
}

// The weights of LoRA number i are known under its prefix.
func loraPrefix(i int) string   { return fmt.Sprintf("lora %d: ", i) }
func strengthName(i int) string { return fmt.Sprintf("strength of lora %d", i) }

// fileOf returns which of a part's files a weight is from: the prefix of a
// LoRA, or "" for the checkpoint.
func fileOf(weight string) string {
	if prefix, _, ok := strings.Cut(weight, ": "); ok && strings.HasPrefix(prefix, "lora ") {
		return prefix
	}
	return ""
}

// tensors finds the weights of a part and of its LoRAs.
type tensors struct{ part }

// Lookup returns the tensor of a name.
func (t tensors) Lookup(name string) (weights.Ref, bool) {
	if strings.HasPrefix(name, "lora ") {
		for i, a := range t.loras {
			if rest, ok := strings.CutPrefix(name, loraPrefix(i)); ok {
				return a.lora.set.Lookup(rest)
			}
		}
	}
	return t.set.Lookup(name)
}

// Merged returns a weight with what is merged into it, or nil.
func (t tensors) Merged(name string) run.Merged {
	changes := t.merged(name)
	if len(changes) == 0 {
		return nil
	}
	ref, ok := t.Lookup(name)
	if !ok {
		return nil
	}
	return merge.New(ref, changes, t.engine.threads, t.engine.mergeRoom)
}

// source shows a part's weights to the packages that build models.
type source struct{ part }

// Lookup returns the dtype and shape of a weight, with what is merged into it.
func (s source) Lookup(name string) (dtype.DType, ir.Shape, bool) {
	ref, ok := tensors(s).Lookup(name)
	if dt := merge.DType(ref); len(s.loras) > 0 && dt != ref.DType && len(s.merged(name)) > 0 {
		return dt, ref.Shape, ok
	}
	return ref.DType, ref.Shape, ok
}

// Packing returns how a quantized weight is stored, unless something is merged
// into it.
func (s source) Packing(name string) (nn.Packing, bool) {
	ref, ok := tensors(s).Lookup(name)
	if !ok || ref.Quant == nil || len(s.loras) > 0 && len(s.merged(name)) > 0 {
		return nn.Packing{}, false
	}
	p := nn.Packing{Rotation: ref.Quant.Rotation, Padded: ref.Quant.Padded}
	if ref.Quant.Scale != nil {
		p.Scale = weights.ScaleOf(name)
	}
	if ref.Quant.Smooth != nil {
		p.Smooth = weights.SmoothOf(name)
	}
	return p, true
}

// InFile returns the name that the part's file has for a weight, for errors.
func (s source) InFile(name string) string { return s.layout.inFile(name) }

// Names returns the names of the part's weights, in lexical order.
func (s source) Names() []string { return s.set.Names() }

// Adapters returns the LoRAs that are side paths of a weight.
func (s source) Adapters(weight string) []nn.Adapter {
	var out []nn.Adapter
	for i, a := range s.loras {
		if i < s.beneath(weight) {
			continue
		}
		for _, adapter := range a.Adapters[weight] {
			adapter.Down, adapter.Up = loraPrefix(i)+adapter.Down, loraPrefix(i)+adapter.Up
			if adapter.Mid != "" {
				adapter.Mid = loraPrefix(i) + adapter.Mid
			}
			adapter.Strength = strengthName(i)
			out = append(out, adapter)
		}
	}
	return out
}
