package pipeline

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/model/clip"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/redux"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/run"
)

// A Vision is an encoder of pictures. It is immutable and safe for concurrent
// use.
type Vision struct {
	part
	config clip.VisionConfig
}

// A Sight is what an encoder makes of a batch of pictures.
type Sight struct {
	Batch, Tokens, Width int
	Last, Penultimate    []float32 // the states [Batch, Tokens, Width]
	Embeds               []float32 // of whole pictures [Batch, ...]
}

// Size returns the bytes of memory that it holds.
func (s *Sight) Size() int64 { return 4 * int64(len(s.Last)+len(s.Penultimate)+len(s.Embeds)) }

// otherHalf begins names of the text encoder in files of whole CLIP models and of
// language models that see.
var otherHalf = []string{"model.", "text_model.", "text_projection", "transformer.", "token_embedding.", "positional_embedding", "ln_final."}

// Vision opens an encoder of pictures. It reads the header of the file alone.
func (e *Engine) Vision(ctx context.Context, path string) (*Vision, error) {
	set, err := e.open(ctx, path)
	if err != nil {
		return nil, err
	}
	if set, err = unpacked(ctx, set); err != nil {
		return nil, inFile(path, err)
	}
	v := &Vision{}
	src := source{part{set: set}}
	if v.config, err = clip.DetectVision(src, ""); err != nil {
		return nil, inFile(path, err)
	}
	set = accounted(path, set, []*nn.Audit{v.config.Check(src, "")}, otherHalf...)
	v.part = part{engine: e, name: "encoder of pictures " + filepath.Base(path), set: set}
	return v, nil
}

// Memory returns the bytes of memory that Encode takes for pictures.
func (v *Vision) Memory(m *media.Image) int64 {
	size, channels := int64(v.config.Size()), int64(3)
	states := int64(v.config.Tokens()) * int64(v.config.Width)
	return 4 * (channels*(int64(m.Height)*int64(m.Width)+3*size*size) + 3*int64(m.Batch+1)*states)
}

// Encode encodes pictures one by one. With crop their middle is cut out,
// otherwise they are squeezed into a square.
func (v *Vision) Encode(ctx context.Context, m *media.Image, crop bool) (*Sight, error) {
	key, b := v.network()
	out := &Sight{Batch: m.Batch, Tokens: v.config.Tokens(), Width: v.config.Width}
	if v.engine.Planning() {
		n := m.Batch * out.Tokens * out.Width
		out.Last, out.Penultimate = make([]float32, n), make([]float32, n)
		return out, v.planned(ctx, key, b, m.Batch)
	}
	for i := range m.Batch {
		pixels, err := v.pixels(ctx, m, i, crop)
		if err != nil {
			return nil, err
		}
		states, err := v.run(ctx, key, b, run.Inputs{"pixels": pixels})
		if err != nil {
			return nil, err
		}
		out.Last = append(out.Last, states["last"]...)
		out.Penultimate = append(out.Penultimate, states["penultimate"]...)
		out.Embeds = append(out.Embeds, states["embeds"]...)
	}
	return out, nil
}

// Prefetch tells that Encode will be called next.
func (v *Vision) Prefetch() { v.prefetch(v.network()) }

func (v *Vision) network() (string, build) {
	return "vision", func(s nn.Scope) { clip.Vision(s, v.config, 1) }
}

// pixels returns a picture as the encoder reads it: resized so that the shorter
// side fits and its middle cut out, or squeezed, then as bytes, then normalized.
func (v *Vision) pixels(ctx context.Context, m *media.Image, i int, crop bool) ([]float32, error) {
	pix, err := m.Planar(ctx, i, 3)
	if err != nil {
		return nil, err
	}
	size, h, w := v.config.Size(), m.Height, m.Width
	if h != size || w != size {
		h, w = size, size
		if crop {
			scale := float64(size) / float64(min(m.Height, m.Width))
			h, w = int(math.RoundToEven(scale*float64(m.Height))), int(math.RoundToEven(scale*float64(m.Width)))
		}
		if pix, err = resample.Resize(ctx, pix, 3, m.Height, m.Width, h, w, resample.Smooth); err != nil {
			return nil, err
		}
	}
	mean, deviation := v.config.Normal()
	top, left := (h-size)/2, (w-size)/2
	out := make([]float32, 0, 3*size*size)
	for c := range 3 {
		for y := range size {
			for _, x := range pix[(c*h+top+y)*w+left:][:size] {
				x = float32(math.RoundToEven(float64(min(max(255*x, 0), 255)))) / 255
				out = append(out, (x-mean[c])/deviation[c])
			}
		}
	}
	return out, nil
}

// A Style is a network that makes a text of what an encoder of pictures sees, such
// as FLUX.1 Redux. It is immutable and safe for concurrent use.
type Style struct {
	part
	config redux.Config
}

// Style opens a style model. It reads the header of the file alone.
func (e *Engine) Style(ctx context.Context, path string) (*Style, error) {
	set, err := e.open(ctx, path)
	if err != nil {
		return nil, err
	}
	if set, err = unpacked(ctx, set); err != nil {
		return nil, inFile(path, err)
	}
	s := &Style{}
	src := source{part{set: set}}
	if s.config, err = redux.Detect(src); err != nil {
		return nil, inFile(path, err)
	}
	set = accounted(path, set, []*nn.Audit{s.config.Check(src)})
	s.part = part{engine: e, name: "style model " + filepath.Base(path), set: set}
	return s, nil
}

// Text returns the text that a batch of pictures becomes, all tokens in one row.
func (s *Style) Text(ctx context.Context, in *Sight) (Text, error) {
	if in.Width != s.config.Seen {
		return Text{}, fault.New(fault.Workflow, "%s reads pictures of %d features, and they were encoded with %d: load the encoder of pictures that belongs to it (SigLIP for FLUX.1 Redux)", s.name, s.config.Seen, in.Width)
	}
	tokens := in.Batch * in.Tokens
	key, b := fmt.Sprint("redux ", tokens), func(scope nn.Scope) { redux.Text(scope, s.config, tokens) }
	out := Text{Tokens: tokens, Width: s.config.Width}
	if s.engine.Planning() {
		out.Embed = make([]float32, tokens*out.Width)
		return out, s.planned(ctx, key, b, 1)
	}
	result, err := s.run(ctx, key, b, run.Inputs{"x": in.Last})
	if err != nil {
		return Text{}, err
	}
	out.Embed = result["y"]
	return out, nil
}
