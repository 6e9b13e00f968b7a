package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/tokenizer"
)

// A Model is a denoiser with its LoRAs. It is immutable and safe for
// concurrent use.
type Model struct {
	part
	config   model.Config
	base     lora.Base // the checkpoint that the model came with
	sampling sampling
}

// Config returns what the denoiser was recognised as.
func (m *Model) Config() model.Config { return m.config }

// Predict returns, for each of the conditions, what the network predicts of
// the latents x, which are scaled to its liking, at timestep t. Conditions run as one batch when the
// memory allows it, otherwise in as many runs as it takes, and each run in tiles
// if one latent is too much; the results are the same.
func (m *Model) Predict(ctx context.Context, x latent.Tensor, t float32, conds []*model.Cond) ([][]float32, error) {
	shapes := make([]model.Shape, len(conds))
	for i, c := range conds {
		var err error
		if shapes[i], err = m.config.Shape(x.Shape, c); err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	out := make([][]float32, len(conds))
	for from := 0; from < len(conds); {
		to := from + 1
		for to < len(conds) && shapes[to].Equal(shapes[from]) {
			to++
		}
		got, err := m.predict(ctx, x, t, shapes[from], conds[from:to])
		if err != nil {
			return nil, err
		}
		copy(out[from:], got)
		from = to
	}
	return out, nil
}

// predict runs conditions that lead to the same shape, in the largest batches
// that fit: all, those of one condition, or one latent at a time, which is tiled
// if it does not fit either.
func (m *Model) predict(ctx context.Context, x latent.Tensor, t float32, shape model.Shape, conds []*model.Cond) ([][]float32, error) {
	batch := x.Batch
	n := batch * len(conds)
	for _, size := range []int{n, batch, 1} {
		n = size
		fits, err := m.fits(m.network(n, shape))
		if err != nil {
			return nil, err
		}
		if fits {
			break
		}
	}
	if err := m.fitsTiled(m.network(n, shape)); err != nil {
		return nil, err
	}
	key, b := m.network(n, shape)
	if m.engine.Planning() {
		if err := m.planned(ctx, key, b, batch*len(conds)/n); err != nil {
			return nil, err
		}
		return slices.Repeat([][]float32{make([]float32, len(x.Data))}, len(conds)), nil
	}
	item := x.Item()
	out := make([]float32, 0, len(conds)*batch*item)
	for from := 0; from < batch*len(conds); from += n {
		y, err := m.run(ctx, key, b, m.inputs(x, t, shape, conds, from, from+n))
		if err != nil {
			return nil, err
		}
		out = append(out, y["y"]...)
	}
	results := make([][]float32, len(conds))
	for i := range results {
		results[i] = out[i*batch*item : (i+1)*batch*item]
	}
	return results, nil
}

// inputs returns what the graph is given for a range of the latents under one
// condition after another.
func (m *Model) inputs(x latent.Tensor, t float32, shape model.Shape, conds []*model.Cond, from, to int) run.Inputs {
	shape.Batch = to - from
	in := run.Inputs{"t": slices.Repeat([]float32{t}, to-from)}
	each := func(of func(i int) []float32) []float32 {
		var all []float32
		for i := from; i < to; i++ {
			v := of(i)
			if all == nil {
				all = make([]float32, 0, (to-from)*len(v))
			}
			all = append(all, v...)
		}
		return all
	}
	in["x"] = each(func(i int) []float32 { return x.At(i % x.Batch).Data })
	for _, input := range m.config.Inputs(shape) {
		switch {
		case input.Index != nil:
			in[input.Name] = input.Index()
		case input.Table != nil:
			in[input.Name] = input.Table()
		default:
			in[input.Name] = each(func(i int) []float32 { return input.Of(conds[i/x.Batch]) })
		}
	}
	return in
}

// Prefetch tells that Predict will be called next, for latents of about this
// shape under about this condition, which may be nil. Extents are the same for
// all shapes.
func (m *Model) Prefetch(x latent.Shape, c *model.Cond) {
	shape := model.Shape{Shape: x, Tokens: tokenizer.ChunkLength}
	if c != nil {
		var err error
		if shape, err = m.config.Shape(x, c); err != nil {
			return
		}
	}
	m.prefetch(m.network(2*x.Batch, shape))
}

// network is the denoiser for a batch of n latents.
func (m *Model) network(n int, shape model.Shape) (string, build) {
	shape.Batch = n
	return fmt.Sprint("denoiser ", shape.Key()), func(s nn.Scope) { m.config.Denoiser(s.Sub(model.DenoiserPrefix), shape) }
}

// Format returns the latents that the model works on.
func (m *Model) Format() latent.Format { return m.config.Latent() }
