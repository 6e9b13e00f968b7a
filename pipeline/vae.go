package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/families"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/run"
	"github.com/weir-run/weir/tile"
)

// A VAE turns latents into pictures and back. It is immutable and safe for
// concurrent use.
type VAE struct {
	part
	model.Autoencoder
}

// VAE opens an autoencoder that is a file of its own.
func (e *Engine) VAE(ctx context.Context, path string) (*VAE, error) {
	set, src, err := e.tensorsOf(ctx, path)
	if err != nil {
		return nil, err
	}
	v := &VAE{}
	if v.Autoencoder, err = families.Autoencoder(src, set.Metadata()); err != nil {
		return nil, inFile(path, err)
	}
	set = accounted(path, set, []*nn.Audit{v.Check(src)}, otherParts(model.AutoencoderPrefix)...)
	v.part = part{engine: e, name: "VAE " + filepath.Base(path), set: set}
	return v, nil
}

// Format returns the latents, which have no scale: that is a denoiser's.
func (v *VAE) Format() latent.Format {
	f := v.Latent()
	f.Name, f.Scale, f.Shift = v.name, nil, nil
	return f
}

// Factor returns how many pixels a value of the latent stands for in each
// direction.
func (v *VAE) Factor() int { return v.Latent().Stride.Height }

// Channels returns the channels of the latents.
func (v *VAE) Channels() int { return v.Latent().Channels }

// A Tiling says how large latents or pictures are cut, in pixels of the
// picture.
type Tiling struct{ Size, Overlap int }

// smallestTile is the size in latent pixels below which tiles are not cut.
const smallestTile = 16

// Decode turns latents into pictures. Those whose activations do not fit in
// the memory are decoded in tiles that do. done, if it is not nil, is called
// as parts are finished.
func (v *VAE) Decode(ctx context.Context, l latent.Tensor, done func(part, parts int)) (*media.Image, error) {
	if err := v.checkLatents(l); err != nil {
		return nil, err
	}
	grids, err := v.cut(l.Height, l.Width, v.decoder, func(size int) []tile.Grid { return v.grids(size, size/4) })
	if err != nil {
		return nil, err
	}
	return v.decode(ctx, l, grids, done)
}

// cut returns how what a network reads must be cut for the network to fit in
// the memory, nil for not at all: grids returns the grids for a size in latent
// pixels. The operations on the smallest tiles are themselves tiled if they do
// not fit.
func (v *VAE) cut(height, width int, network func(height, width int) (string, build), grids func(size int) []tile.Grid) ([]tile.Grid, error) {
	fits, err := v.fits(network(height, width))
	if err != nil || fits {
		return nil, err
	}
	for size := 64; ; size /= 2 {
		cut, fit := grids(size), true
		for _, g := range cut {
			key, b := network(min(g.Height, height), min(g.Width, width))
			if size/2 < smallestTile {
				err = v.fitsTiled(key, b)
			} else {
				fits, err = v.fits(key, b)
			}
			if err != nil {
				return nil, err
			}
			fit = fit && fits
		}
		if fit || size/2 < smallestTile {
			return cut, nil
		}
	}
}

// DecodeTiled turns latents into pictures in tiles. As in ComfyUI, three
// passes with tiles of different shapes are averaged, so that no seam shows.
func (v *VAE) DecodeTiled(ctx context.Context, l latent.Tensor, t Tiling, done func(part, parts int)) (*media.Image, error) {
	if err := v.checkLatents(l); err != nil {
		return nil, err
	}
	f := v.Factor()
	return v.decode(ctx, l, v.grids(t.Size/f, t.Overlap/f), done)
}

// grids returns the three ways that a latent is cut.
func (v *VAE) grids(size, overlap int) []tile.Grid {
	scale := float64(v.Factor())
	overlap = min(overlap, size/2-1)
	return []tile.Grid{
		{Height: size * 2, Width: size / 2, Overlap: overlap, Scale: scale},
		{Height: size / 2, Width: size * 2, Overlap: overlap, Scale: scale},
		{Height: size, Width: size, Overlap: overlap, Scale: scale},
	}
}

// decode decodes one latent after another, each as the average over the grids,
// or whole without any.
func (v *VAE) decode(ctx context.Context, l latent.Tensor, grids []tile.Grid, done func(part, parts int)) (*media.Image, error) {
	if v.engine.Planning() {
		err := v.plannedTiles(ctx, l.Batch, l.Height, l.Width, grids, v.decoder)
		return media.PlanImage(l.Batch, l.Height*v.Factor(), l.Width*v.Factor(), v.Pictures()), err
	}
	tiles := func() (n int) {
		for _, g := range grids {
			n += g.Tiles(l.Height, l.Width)
		}
		return max(n, 1) * l.Batch
	}()
	count := counter(tiles, done)
	out := media.NewImage(l.Batch, l.Height*v.Factor(), l.Width*v.Factor(), v.Pictures(), nil)
	for i := range l.Batch {
		picture, err := average(ctx, l.At(i), grids, v.decodeOne, count)
		if err != nil {
			return nil, err
		}
		for i, x := range picture.Data {
			picture.Data[i] = min(max((x+1)/2, 0), 1)
		}
		if err := out.SetPlanar(ctx, i, picture.Data); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// plannedTiles reports a network that would run on the tiles of a batch of
// pictures, or on each whole picture without any grid.
func (p part) plannedTiles(ctx context.Context, batch, height, width int, grids []tile.Grid, network func(height, width int) (string, build)) error {
	if len(grids) == 0 {
		key, b := network(height, width)
		return p.planned(ctx, key, b, batch)
	}
	for _, g := range grids {
		for _, tiles := range g.Sizes(height, width) {
			key, b := network(tiles.Height, tiles.Width)
			if err := p.planned(ctx, key, b, tiles.Count*batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// counter returns a function that counts parts for a callback.
func counter(parts int, done func(part, parts int)) func() {
	n := 0
	return func() {
		if n++; done != nil {
			done(n, parts)
		}
	}
}

// average runs f over every grid and returns the mean, or f of the whole.
func average(ctx context.Context, in latent.Tensor, grids []tile.Grid, f func(context.Context, latent.Tensor) (latent.Tensor, error), done func()) (latent.Tensor, error) {
	if len(grids) == 0 {
		out, err := f(ctx, in)
		if err == nil {
			done()
		}
		return out, err
	}
	var sum latent.Tensor
	for _, g := range grids {
		out, err := g.Run(ctx, in, f, done)
		if err != nil {
			return latent.Tensor{}, err
		}
		if sum.Data == nil {
			sum = out
			continue
		}
		for i, x := range out.Data {
			sum.Data[i] += x
		}
	}
	for i := range sum.Data {
		sum.Data[i] /= float32(len(grids))
	}
	return sum, nil
}

func (v *VAE) decoder(height, width int) (string, build) {
	return fmt.Sprint("decode ", height, width), func(s nn.Scope) {
		v.Autoencoder.Decode(s.Sub(model.AutoencoderPrefix), 1, height, width)
	}
}

// PrefetchDecoder tells that Decode will be called next.
func (v *VAE) PrefetchDecoder() { v.prefetch(v.decoder(smallestTile, smallestTile)) }

// PrefetchEncoder tells that Encode will be called next.
func (v *VAE) PrefetchEncoder() {
	if v.Encodes() {
		v.prefetch(v.encoder(smallestTile*v.Factor(), smallestTile*v.Factor()))
	}
}

func (v *VAE) decodeOne(ctx context.Context, z latent.Tensor) (latent.Tensor, error) {
	key, b := v.decoder(z.Height, z.Width)
	out, err := v.run(ctx, key, b, run.Inputs{"z": z.Data})
	if err != nil {
		return latent.Tensor{}, err
	}
	return latent.Tensor{Shape: latent.Picture(1, v.Pictures(), z.Height*v.Factor(), z.Width*v.Factor()), Data: out["y"]}, nil
}

func (v *VAE) checkLatents(l latent.Tensor) error {
	if l.Time != 1 {
		return fmt.Errorf("%s reads pictures, found latents of %d frames: the latent is of another kind of model", v.name, l.Time)
	}
	if l.Channels != v.Channels() {
		return fmt.Errorf("%s reads latents of %d channels, found %d: the latent is of another kind of model", v.name, v.Channels(), l.Channels)
	}
	return nil
}

// Encode turns pictures into latents. Edges that are no multiple of the
// factor are cut, equally at both sides. Pictures that do not fit in the
// memory are encoded in tiles.
func (v *VAE) Encode(ctx context.Context, m *media.Image, done func(part, parts int)) (latent.Tensor, error) {
	if !v.Encodes() {
		return latent.Tensor{}, errors.New(v.name + " has no encoder, only a decoder")
	}
	f := v.Factor()
	height, width := m.Height/f, m.Width/f
	if height == 0 || width == 0 {
		return latent.Tensor{}, fmt.Errorf("%s: a picture of %d×%d is smaller than one value of a latent, %d×%d", v.name, m.Width, m.Height, f, f)
	}
	grids, err := v.cut(height*f, width*f, v.encoder, func(size int) []tile.Grid {
		grids := v.grids(size*f, size*f/8)
		for i := range grids {
			grids[i].Scale = 1 / float64(f)
		}
		return grids
	})
	if err != nil {
		return latent.Tensor{}, err
	}
	l := latent.Tensor{Shape: latent.Picture(m.Batch, v.Channels(), height, width)}
	if v.engine.Planning() {
		return l, v.plannedTiles(ctx, m.Batch, height*f, width*f, grids, v.encoder)
	}
	tiles := 1
	for i, g := range grids {
		if i == 0 {
			tiles = 0
		}
		tiles += g.Tiles(height*f, width*f)
	}
	count := counter(tiles*m.Batch, done)
	for i := range m.Batch {
		pixels, err := v.pixels(ctx, m, i, height*f, width*f)
		if err != nil {
			return latent.Tensor{}, err
		}
		z, err := average(ctx, pixels, grids, v.encodeOne, count)
		if err != nil {
			return latent.Tensor{}, err
		}
		l.Data = append(l.Data, z.Data...)
	}
	return l, nil
}

// pixels returns the middle of picture b as the encoder reads it, from -1 to 1.
func (v *VAE) pixels(ctx context.Context, m *media.Image, b, height, width int) (latent.Tensor, error) {
	top, left := (m.Height-height)/2, (m.Width-width)/2
	out := latent.New(latent.Picture(1, v.Pictures(), height, width))
	row := make([]float32, m.Width*m.Channels)
	for y := range height {
		if err := ctx.Err(); err != nil {
			return latent.Tensor{}, err
		}
		m.Row(row, b, top+y)
		for x := range width {
			for c := range v.Pictures() {
				out.Data[(c*height+y)*width+x] = row[(left+x)*m.Channels+c]*2 - 1
			}
		}
	}
	return out, nil
}

func (v *VAE) encoder(height, width int) (string, build) {
	return fmt.Sprint("encode ", height, width), func(s nn.Scope) {
		v.Autoencoder.Encode(s.Sub(model.AutoencoderPrefix), 1, height, width)
	}
}

func (v *VAE) encodeOne(ctx context.Context, x latent.Tensor) (latent.Tensor, error) {
	key, b := v.encoder(x.Height, x.Width)
	out, err := v.run(ctx, key, b, run.Inputs{"x": x.Data})
	if err != nil {
		return latent.Tensor{}, err
	}
	f := v.Factor()
	return latent.Tensor{Shape: latent.Picture(1, v.Channels(), x.Height/f, x.Width/f), Data: out["z"]}, nil
}
