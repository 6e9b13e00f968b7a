package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model/lora"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/run"
)

// A Model is a denoiser with its LoRAs. It is immutable and safe for
// concurrent use.
type Model struct {
	part
	config   *sd.Checkpoint
	base     lora.Base // the checkpoint that the model came with
	sampling sampling
}

// Checkpoint returns what the model's checkpoint was recognised as.
func (m *Model) Checkpoint() *sd.Checkpoint { return m.config }

// A Cond is what a denoiser is told to show.
type Cond struct {
	Embed         []float32 // [Tokens, Width]
	Tokens, Width int
	// Pooled is the summary of the text and Sizes the sizes in pixels that SDXL
	// is told: height, width, crop top, crop left, target height and width.
	Pooled []float32
	Sizes  [6]float32
}

// Predict returns, for each of the conditions, what the network predicts of
// the latents x, which are scaled to its liking, at timestep t. Conditions run as one batch when the
// memory allows it, otherwise in as many runs as it takes, and each run in tiles
// if one latent is too much; the results are the same.
func (m *Model) Predict(ctx context.Context, x latent.Tensor, t float32, conds []*Cond) ([][]float32, error) {
	for _, c := range conds {
		if err := m.check(c); err != nil {
			return nil, err
		}
	}
	out := make([][]float32, len(conds))
	for from := 0; from < len(conds); {
		to := from + 1
		for to < len(conds) && conds[to].Tokens == conds[from].Tokens {
			to++
		}
		got, err := m.predict(ctx, x, t, conds[from:to])
		if err != nil {
			return nil, err
		}
		copy(out[from:], got)
		from = to
	}
	return out, nil
}

func (m *Model) check(c *Cond) error {
	u := m.config.UNet
	if c.Width != u.Context {
		return fmt.Errorf("%s reads text of %d features, and the prompt was encoded with %d: use the text encoder of the same checkpoint", m.name, u.Context, c.Width)
	}
	if u.Vector > 0 && len(c.Pooled) != u.Pooled() {
		return fmt.Errorf("%s reads a pooled text of %d features, and the prompt has %d: use the text encoder of the same checkpoint", m.name, u.Pooled(), len(c.Pooled))
	}
	return nil
}

// predict runs conditions of the same number of tokens, in the largest batches
// that fit: all, those of one condition, or one latent at a time, which is tiled
// if it does not fit either.
func (m *Model) predict(ctx context.Context, x latent.Tensor, t float32, conds []*Cond) ([][]float32, error) {
	batch, tokens := x.Batch, conds[0].Tokens
	n := batch * len(conds)
	for _, size := range []int{n, batch, 1} {
		n = size
		fits, err := m.fits(m.network(n, x.Shape, tokens))
		if err != nil {
			return nil, err
		}
		if fits {
			break
		}
	}
	if err := m.fitsTiled(m.network(n, x.Shape, tokens)); err != nil {
		return nil, err
	}
	if m.engine.Planning() {
		key, b := m.network(n, x.Shape, tokens)
		if err := m.planned(ctx, key, b, batch*len(conds)/n); err != nil {
			return nil, err
		}
		return slices.Repeat([][]float32{make([]float32, len(x.Data))}, len(conds)), nil
	}
	item := x.Item()
	out := make([]float32, 0, len(conds)*batch*item)
	for from := 0; from < batch*len(conds); from += n {
		in := run.Inputs{}
		var ts, pooled, sizes []float32
		xs, contexts := make([]float32, 0, n*item), make([]float32, 0, n*tokens*conds[0].Width)
		for i := from; i < from+n; i++ {
			c := conds[i/batch]
			xs = append(xs, x.At(i%batch).Data...)
			ts = append(ts, t)
			contexts = append(contexts, c.Embed...)
			pooled = append(pooled, c.Pooled...)
			sizes = append(sizes, c.Sizes[:]...)
		}
		in["x"], in["t"], in["context"], in["pooled"], in["sizes"] = xs, ts, contexts, pooled, sizes
		key, b := m.network(n, x.Shape, tokens)
		y, err := m.run(ctx, key, b, in)
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

// Prefetch tells that Predict will be called next, for latents of about this
// shape and conditions of about so many tokens.
func (m *Model) Prefetch(shape latent.Shape, tokens int) {
	m.prefetch(m.network(2*shape.Batch, shape, tokens))
}

func (m *Model) network(n int, shape latent.Shape, tokens int) (string, build) {
	return fmt.Sprint("unet ", n, shape.Height, shape.Width, tokens), func(s nn.Scope) {
		sd.UNet(s.Sub(sd.UNetPrefix), m.config.UNet, n, shape.Height, shape.Width, tokens)
	}
}

// Format returns the latents that the model works on.
func (m *Model) Format() latent.Format {
	return latent.Square(string(m.config.Family), m.config.UNet.In, m.config.Factor, m.config.Scale, m.config.Shift)
}
