package pipeline

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/model/esrgan"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/tile"
)

// An Upscaler enlarges pictures. It is immutable and safe for concurrent use.
type Upscaler struct {
	part
	config esrgan.Config
}

// Upscaler opens an upscaler.
func (e *Engine) Upscaler(ctx context.Context, path string) (*Upscaler, error) {
	set, err := e.open(ctx, path)
	if err != nil {
		return nil, err
	}
	if set, err = unpacked(ctx, set); err != nil {
		return nil, inFile(path, err)
	}
	u := &Upscaler{}
	src := source{part{set: set}}
	if u.config, err = esrgan.Detect(src); err != nil {
		return nil, inFile(path, err)
	}
	set = accounted(path, set, []*nn.Audit{u.config.Check(src)}, u.config.Others()...)
	u.part = part{engine: e, name: "upscaler " + filepath.Base(path), set: set}
	if u.config.In != 3 || u.config.Out != 3 {
		return nil, fault.New(fault.Model, "%s: the upscaler reads %d and writes %d channels, expected 3", path, u.config.In, u.config.Out)
	}
	return u, nil
}

// Scale returns how many times larger the pictures become.
func (u *Upscaler) Scale() int { return u.config.Scale }

const (
	upscaleTile, upscaleOverlap = 512, 32
	smallestUpscaleTile         = 64
)

// Upscale enlarges pictures, in tiles of 512 pixels that overlap by 32 or, if
// those do not fit in the memory, in smaller ones. done, if it is not nil, is
// called after each tile.
func (u *Upscaler) Upscale(ctx context.Context, m *media.Image, done func(part, parts int)) (*media.Image, error) {
	size := upscaleTile
	for {
		fits, err := u.fits(u.network(min(size, m.Height), min(size, m.Width)))
		if err != nil {
			return nil, err
		}
		if fits || size/2 < smallestUpscaleTile {
			break
		}
		size /= 2
	}
	if err := u.fitsTiled(u.network(min(size, m.Height), min(size, m.Width))); err != nil {
		return nil, err
	}
	grid := tile.Grid{Height: size, Width: size, Overlap: min(upscaleOverlap, size/4), Scale: float64(u.config.Scale)}
	if u.engine.Planning() {
		err := u.plannedTiles(ctx, m.Batch, m.Height, m.Width, []tile.Grid{grid}, u.network)
		return media.PlanImage(m.Batch, m.Height*u.config.Scale, m.Width*u.config.Scale, 3), err
	}
	count := counter(m.Batch*grid.Tiles(m.Height, m.Width), done)
	out := media.NewImage(m.Batch, m.Height*u.config.Scale, m.Width*u.config.Scale, 3, nil)
	for i := range m.Batch {
		pix, err := m.Planar(ctx, i, 3)
		if err != nil {
			return nil, err
		}
		in := latent.Tensor{Shape: latent.Picture(1, 3, m.Height, m.Width), Data: pix}
		large, err := grid.Run(ctx, in, u.upscaleOne, count)
		if err != nil {
			return nil, err
		}
		for i, x := range large.Data {
			large.Data[i] = min(max(x, 0), 1)
		}
		if err := out.SetPlanar(ctx, i, large.Data); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Prefetch tells that Upscale will be called next.
func (u *Upscaler) Prefetch() { u.prefetch(u.network(smallestUpscaleTile, smallestUpscaleTile)) }

func (u *Upscaler) network(height, width int) (string, build) {
	return fmt.Sprint("upscale ", height, width), func(s nn.Scope) { esrgan.Upscale(s, u.config, 1, height, width) }
}

func (u *Upscaler) upscaleOne(ctx context.Context, x latent.Tensor) (latent.Tensor, error) {
	key, b := u.network(x.Height, x.Width)
	out, err := u.run(ctx, key, b, run.Inputs{"x": x.Data})
	if err != nil {
		return latent.Tensor{}, err
	}
	return latent.Tensor{Shape: latent.Picture(1, 3, x.Height*u.config.Scale, x.Width*u.config.Scale), Data: out["y"]}, nil
}
