package clip

import (
	"fmt"
	"math"
	"strconv"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// A VisionConfig is an encoder of pictures: CLIP's, OpenCLIP's or SigLIP's. All
// of it comes from the names and shapes of its weights.
type VisionConfig struct {
	Layers int
	Width  int
	Inner  int // features of the feed-forward
	Patch  int // pixels of a patch's sides
	Side   int // patches in a row and in a column of a picture
	// Class says that a token stands before the patches whose last state is that of
	// the whole picture. CLIP has one, SigLIP none.
	Class bool
	// Projected is the size of the projected state, 0 without a projection.
	Projected int

	names visionNames
}

// visionHeads is the number of heads of every published encoder.
const visionHeads = 16

// Size returns the width and height of the pictures that it reads.
func (c VisionConfig) Size() int { return c.Side * c.Patch }

// Tokens returns the number of states of a picture.
func (c VisionConfig) Tokens() int {
	if c.Class {
		return c.Side*c.Side + 1
	}
	return c.Side * c.Side
}

// Normal returns the mean and the standard deviation of each channel of the
// pictures that it was trained on, of values from 0 to 1.
func (c VisionConfig) Normal() (mean, deviation [3]float32) {
	if !c.Class {
		return [3]float32{0.5, 0.5, 0.5}, [3]float32{0.5, 0.5, 0.5}
	}
	return [3]float32{0.48145466, 0.4578275, 0.40821073}, [3]float32{0.26862954, 0.26130258, 0.27577711}
}

// Describe returns kind and sizes, for people.
func (c VisionConfig) Describe() string {
	return fmt.Sprintf("%s of pictures with %d layers of %d features, reads %d×%d pixels", c.kind(), c.Layers, c.Width, c.Size(), c.Size())
}

func (c VisionConfig) kind() string {
	switch c.activation() {
	case ir.GELUTanh:
		return "SigLIP"
	case ir.GELU:
		return "OpenCLIP"
	}
	return "CLIP"
}

// activation tells OpenCLIP's encoders from CLIP's by their width: ViT-L, at
// 1024, is CLIP's, and what is larger OpenCLIP's.
func (c VisionConfig) activation() ir.Func {
	switch {
	case !c.Class:
		return ir.GELUTanh
	case c.Width > 1024:
		return ir.GELU
	}
	return ir.QuickGELU
}

// visionNames are the tensors of an encoder as its files call them.
type visionNames struct {
	class, patches, positions string
	firstNorm, lastNorm       string
	projection                string
	transposed                bool // the projection is stored as width×projected
	layers                    string
	layer                     func(l string) layerNames
}

// transformersVision are the names of transformers and of ComfyUI's files.
var transformersVision = visionNames{
	class: "vision_model.embeddings.class_embedding", patches: "vision_model.embeddings.patch_embedding", positions: "vision_model.embeddings.position_embedding.weight",
	firstNorm: "vision_model.pre_layrnorm", lastNorm: "vision_model.post_layernorm", // without the e
	projection: "visual_projection.weight", layers: "vision_model.encoder.layers.", layer: transformersLayer,
}

// openCLIPVision are the names of open_clip and of CLIP's first files.
var openCLIPVision = visionNames{
	class: "visual.class_embedding", patches: "visual.conv1", positions: "visual.positional_embedding",
	firstNorm: "visual.ln_pre", lastNorm: "visual.ln_post",
	projection: "visual.proj", transposed: true, layers: "visual.transformer.resblocks.", layer: openCLIPLayer,
}

// DetectVision reads the configuration of the encoder of pictures whose weights
// the source has under prefix, and checks every weight against it.
func DetectVision(src nn.Tensors, prefix string) (VisionConfig, error) {
	all := nn.Names(src.Names())
	c := VisionConfig{}
	switch {
	case all.Has(prefix + transformersVision.layers):
		c.names = transformersVision
	case all.Has(prefix + openCLIPVision.layers):
		c.names = openCLIPVision
	case all.Has(prefix + "encoder.layer.0.layer_scale1"), all.Has(prefix + "layer.0.layer_scale1"):
		return c, fmt.Errorf("this is an encoder of pictures of DINO, which is not supported: expected CLIP's or SigLIP's")
	default:
		return c, fmt.Errorf("not an encoder of pictures (CLIP, SigLIP): there are no tensors %s%s0...; its tensors begin with %s", prefix, transformersVision.layers, all.Under(prefix).Beginnings(8))
	}
	var err error
	if c.Layers, err = all.Count(prefix + c.names.layers); err != nil {
		return c, err
	}
	c.Class = all.Has(prefix+c.names.class) || all.Has(prefix+c.names.firstNorm)
	if err := c.measure(src, prefix, all.Has(prefix+c.names.projection)); err != nil {
		return c, err
	}
	return c, c.Check(src, prefix).Err()
}

// measure reads each dimension from several tensors.
func (c *VisionConfig) measure(src nn.Source, prefix string, projection bool) error {
	first := c.layer(0)
	c.Width = nn.Agreed(src, prefix, nn.Axis{Name: c.names.lastNorm + ".weight"}, nn.Axis{Name: first.norm1 + ".weight"}, nn.Axis{Name: first.norm2 + ".weight"},
		nn.Axis{Name: c.names.positions, I: 1}, nn.Axis{Name: c.names.patches + ".weight"})
	c.Inner = nn.Agreed(src, prefix, nn.Axis{Name: first.up + ".weight"}, nn.Axis{Name: first.up + ".bias"}, nn.Axis{Name: first.down + ".weight", I: 1})
	c.Patch = nn.Agreed(src, prefix, nn.Axis{Name: c.names.patches + ".weight", I: 2}, nn.Axis{Name: c.names.patches + ".weight", I: 3})
	switch _, shape, ok := src.Lookup(prefix + c.names.patches + ".weight"); {
	case ok && len(shape) == 2:
		return fmt.Errorf("tensor %s has the shape %v: this is an encoder for pictures of any shape (SigLIP 2 NaFlex), which is not supported", prefix+c.names.patches+".weight", shape)
	case c.Patch == 0:
		return fmt.Errorf("there is no tensor %s, or it is not as large as a patch in its last dimensions: its shape is %v", prefix+c.names.patches+".weight", shape)
	}
	positions := nn.Agreed(src, prefix, nn.Axis{Name: c.names.positions})
	if c.Class {
		positions--
	}
	c.Side = int(math.Sqrt(float64(max(positions, 0))))
	if c.Side == 0 || c.Side*c.Side != positions {
		return fmt.Errorf("%d patches have positions (%s), which make no square", positions, prefix+c.names.positions)
	}
	if c.Width%visionHeads != 0 {
		return fmt.Errorf("an encoder of pictures of width %d (%s.weight) cannot have %d heads", c.Width, prefix+c.names.lastNorm, visionHeads)
	}
	if projection {
		axis := 0
		if c.names.transposed {
			axis = 1
		}
		if c.Projected = nn.Agreed(src, prefix, nn.Axis{Name: c.names.projection, I: axis}); c.Projected == 0 {
			return fmt.Errorf("tensor %s is no matrix", prefix+c.names.projection)
		}
	}
	return nil
}

func (c VisionConfig) layer(i int) layerNames {
	return c.names.layer(c.names.layers + strconv.Itoa(i) + ".")
}

// Check compares the weights of the encoder with those of a source.
func (c VisionConfig) Check(src nn.Source, prefix string) *nn.Audit {
	return nn.Check(src, func(s nn.Scope) { Vision(s.Sub(prefix), c, 1) })
}

// Vision builds the encoder ("An Image is Worth 16x16 Words", Dosovitskiy et al.
// 2021). Its input is the pictures pixels[batch, 3, Size, Size], normalized.
// Its outputs are the states last and penultimate[batch, Tokens, Width], and the
// state of the whole picture, embeds[batch, Projected or Width]. SigLIP's last
// states are normalized and are its embeds.
func Vision(s nn.Scope, c VisionConfig, batch int) {
	g := s.Graph()
	x := c.patches(s, g.Input("pixels", dtype.F32, batch, 3, c.Size(), c.Size()), batch)
	if c.Class {
		x = s.LayerNorm(c.names.firstNorm, x, eps)
	}
	penultimate := x
	b := block{c.Width, visionHeads, c.Inner, c.activation(), false}
	for i := range c.Layers {
		penultimate, x = x, b.build(s, c.layer(i), x)
	}
	g.Output("penultimate", penultimate)
	if !c.Class {
		x = s.LayerNorm(c.names.lastNorm, x, eps)
		g.Output("last", x)
		g.Output("embeds", x)
		return
	}
	g.Output("last", x)
	whole := s.LayerNorm(c.names.lastNorm, g.Reshape(g.Slice(x, 1, 0, 1), batch, c.Width), eps)
	g.Output("embeds", c.project(s, whole))
}

// patches makes a token of each patch, and puts the token of the whole picture
// before them.
func (c VisionConfig) patches(s nn.Scope, pixels ir.Value, batch int) ir.Value {
	g := s.Graph()
	bias := ir.None
	if !c.Class {
		bias = s.Weight(c.names.patches+".bias", c.Width)
	}
	x := g.Conv(pixels, s.Weight(c.names.patches+".weight", c.Width, 3, c.Patch, c.Patch), bias, ir.ConvOptions{Stride: []int{c.Patch}})
	x = g.Permute(g.Reshape(x, batch, c.Width, c.Side*c.Side), 0, 2, 1)
	if c.Class {
		x = g.Concat(1, g.Expand(s.Weight(c.names.class, c.Width), batch, 1, c.Width), x)
	}
	return g.Add(x, s.Weight(c.names.positions, c.Tokens(), c.Width))
}

// project applies the projection, if there is one.
func (c VisionConfig) project(s nn.Scope, x ir.Value) ir.Value {
	switch {
	case c.Projected == 0:
		return x
	case c.names.transposed:
		g := s.Graph()
		return g.Linear(x, g.Permute(s.Weight(c.names.projection, c.Width, c.Projected), 1, 0), ir.None)
	}
	return s.LinearOf(c.names.projection, "", x, c.Projected)
}
