//go:build linux

package membench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/device/cpu"
	"github.com/weir-run/weir/device/link"
	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/families"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/plan"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/weights"
)

// A Network is a program that is run again and again by itself, as a sampler
// does.
type Network struct {
	// Kind is transformer, OpenCLIP ViT-bigG's text encoder, whose 32 layers are
	// alike as those of most new denoisers are, or unet.
	Kind, File string
	Size       int // texts at once, or pixels of a square picture
	Runs       int
	// Copies is how many bytes a second another goroutine copies meanwhile, 0 for
	// none: on the processor a link is played by a core that computing could use.
	Copies float64
	// Work is how many seconds a run computes when nothing is copied, for the
	// prediction.
	Work float64
}

// tensors shows a file to the packages that build models.
type tensors struct{ *weights.File }

func (t tensors) Lookup(name string) (dtype.DType, ir.Shape, bool) {
	r, ok := t.File.Lookup(name)
	return r.DType, r.Shape, ok
}
func (t tensors) Adapters(string) []nn.Adapter { return nil }

// graph builds the network, and makes up what it is given.
func (n Network) graph(f *weights.File) (*ir.Graph, run.Inputs, error) {
	g := ir.New(n.Kind)
	scope, src := nn.NewScope(g, tensors{f}), tensors{f}
	switch n.Kind {
	case "transformer":
		text, prefix, err := families.TextEncoder(src, f.Metadata())
		if err != nil || text == nil {
			return nil, nil, cmp.Or(err, errors.New("the file has no text encoder"))
		}
		text.Build(scope.Sub(prefix), model.TextShape{Batch: n.Size, Tokens: tokens, States: model.States{Layers: []int{-1}, Norm: true, Pooled: true}})
	case "unet":
		c, err := families.Denoiser(src, f.Metadata())
		if err != nil {
			return nil, nil, err
		}
		c.Denoiser(scope.Sub(model.DenoiserPrefix), model.Shape{Shape: c.Latent().Of(2, 1, n.Size, n.Size), Tokens: tokens})
	default:
		return nil, nil, fmt.Errorf("%q is no network to measure", n.Kind)
	}
	return g, inputs(g), nil
}

// tokens is the length of the texts.
const tokens = 77

// inputs makes up what a graph is given: random numbers, a timestep in the middle
// and the first word of a vocabulary.
func inputs(g *ir.Graph) run.Inputs {
	in := run.Inputs{}
	for i, v := range g.Values {
		switch {
		case v.Kind != ir.Input:
		case v.DType == dtype.I32:
			in[v.Name] = make([]int32, v.Shape.Elems())
		case v.Name == "t":
			in[v.Name] = slices.Repeat([]float32{500}, v.Shape.Elems())
		default:
			in[v.Name] = diffusion.Randn(uint64(i), v.Shape.Elems())
		}
	}
	return in
}

// network runs the network of a spec.
func network(ctx context.Context, s Spec) (all []Measure, err error) {
	n := s.Network
	f, err := weights.Open(ctx, n.File)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	g, in, err := n.graph(f)
	if err != nil {
		return nil, err
	}
	var dev device.Device = cpu.New(cpu.Options{VRAM: s.VRAM})
	defer func() { err = errors.Join(err, dev.Close()) }()
	if s.Link > 0 {
		dev = link.New(dev, s.Link)
	}
	pg := pager.New(dev, pager.Options{VRAM: s.VRAM, RAM: s.RAM, Mode: s.Memory})
	defer pg.Close()
	p, err := plan.Compile(g, plan.Options{MaxExtent: min(64<<20, pg.Budget()/16)})
	if err != nil {
		return nil, err
	}
	m, err := run.Bind(p, f, pg)
	if err != nil {
		return nil, err
	}
	defer m.Release()
	if n.Copies > 0 {
		stop, err := copies(ctx, f, n.Copies)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	for range n.Runs {
		stats, start := pg.Stats(), time.Now()
		if _, err := m.Run(ctx, in, nil); err != nil {
			return nil, err
		}
		took, now := time.Since(start).Seconds(), pg.Stats()
		x := Measure{Op: "step", Seconds: took, MovedVRAM: now.VRAM.Moved - stats.VRAM.Moved, Bytes: p.Arena}
		top, _ := m.Split()
		x.Residency.Kept, x.Residency.Streamed = top.Kept, top.Streamed
		all = append(all, x)
	}
	if s.Link > 0 && n.Work > 0 {
		all[len(all)-1].Predicted = n.predict(m, s.Link)
	}
	return all, nil
}

// predict asks what the policy should reach with as much work as measured,
// spread over the uses as they were, and a disk that is no limit.
func (n Network) predict(m *run.Model, rate float64) pager.Prediction {
	times := m.Times()
	var sum float64
	for _, t := range times {
		sum += t
	}
	for i := range times {
		times[i] *= n.Work / sum
	}
	return m.PredictTimes(times, pager.Rates{Disk: math.MaxFloat64, Link: rate})
}

// copies copies the bytes of a file to the memory of another device, at a
// rate, until stop is called.
func copies(ctx context.Context, f *weights.File, rate float64) (stop func(), err error) {
	all, err := f.Map()
	if err != nil {
		return nil, err
	}
	const piece = 16 << 20
	inner := cpu.New(cpu.Options{VRAM: piece, Threads: 1})
	dev := link.New(inner, rate)
	b, err := dev.Alloc(piece)
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for off := 0; ctx.Err() == nil; off = (off + piece) % (len(all) - piece) {
			// It ends with the context's error.
			_ = dev.Upload(ctx, b, 0, all[off:off+piece]).Wait(ctx)
		}
	}()
	return func() {
		cancel()
		<-done
		dev.Free(b)
		_ = inner.Close()
	}, nil
}
