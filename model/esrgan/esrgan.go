// Package esrgan builds the upscalers of the ESRGAN family: the residual
// dense network of ESRGAN and Real-ESRGAN (RRDBNet), and the compact network
// of Real-ESRGAN's video models (SRVGG).
package esrgan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/nn"
)

// A Config is an upscaler. Everything comes from the names and shapes of its
// weights.
type Config struct {
	// Scale is how many times larger the output is.
	Scale int
	// In and Out are the numbers of channels of the images.
	In, Out int
	// Compact says that the network is an SRVGG, a plain stack of
	// convolutions; otherwise it is an RRDBNet.
	Compact bool
	// Convs is the number of convolutions of an SRVGG.
	Convs int
	// Blocks is the number of RRDB blocks.
	Blocks int
	// Unshuffle is the factor by which an RRDBNet folds pixels into channels
	// before its first convolution.
	Unshuffle int
	// Features is the number of channels between convolutions, Growth that of an
	// RRDBNet's dense blocks.
	Features, Growth int

	prefix string // of all names
	names  names
}

// prefixes are what trainers put before every name of a checkpoint.
var prefixes = []string{"", "params_ema.", "params.", "model.params_ema.", "model.params.", "module.", "_orig_mod.", "netG.", "net_g."}

// Detect reads the configuration of the upscaler in a source, and checks every
// weight against it.
func Detect(src nn.Tensors) (Config, error) {
	all := nn.Names(src.Names())
	for _, prefix := range prefixes {
		for _, n := range []names{firstNames(all, prefix), middleNames(prefix), newNames(prefix)} {
			if all.Has(n.blocks) && (all.Has(n.first+".") || all.Has(n.trunk+".")) {
				return detectRRDB(src, all, prefix, n)
			}
		}
		if all.Has(prefix+"body.0.weight") || all.Has(prefix+"body.0.bias") {
			return detectCompact(src, all, prefix)
		}
	}
	return Config{}, fmt.Errorf("not an upscaler that is supported: there is neither body.0.weight (Real-ESRGAN compact) nor conv_first.weight or model.0.weight with RDB blocks (ESRGAN, Real-ESRGAN); its tensors begin with %s", all.Beginnings(8))
}

// Check compares the weights of the upscaler with those of a source.
func (c Config) Check(src nn.Source) *nn.Audit {
	return nn.Check(src, func(s nn.Scope) { Upscale(s, c, 1, max(c.Unshuffle, 1), max(c.Unshuffle, 1)) })
}

// Others returns the beginnings of the names of further networks that trainers
// save in the same file, such as that before averaging.
func (c Config) Others() []string {
	return slices.DeleteFunc(slices.Clone(prefixes), func(p string) bool { return p == "" || p == c.prefix })
}

// maxScale is the largest enlargement: published upscalers enlarge up to 16
// times.
const maxScale = 32

func detectCompact(src nn.Source, all nn.Names, prefix string) (Config, error) {
	c := Config{Compact: true, Unshuffle: 1, prefix: prefix}
	c.names.body = func(i int) string { return fmt.Sprintf("%sbody.%d", prefix, i) }
	numbers := all.Numbers(prefix + "body.")
	layers := numbers[len(numbers)-1] + 1
	if layers < 3 || layers%2 == 0 || layers > 2*len(numbers) {
		return c, fmt.Errorf("the compact upscaler has %d layers (%sbody...), expected convolutions and between each two of them a PReLU", layers, prefix)
	}
	c.Convs = layers/2 + 1
	var features []nn.Axis
	for i := range layers - 1 {
		features = append(features, nn.Axis{Name: c.names.body(i) + ".weight"})
	}
	c.Features = nn.Agreed(src, "", features...)
	c.In = nn.Agreed(src, "", nn.Axis{Name: c.names.body(0) + ".weight", I: 1})
	c.Out = c.In
	last := c.names.body(layers - 1)
	folded := nn.Agreed(src, "", nn.Axis{Name: last + ".weight"}, nn.Axis{Name: last + ".bias"})
	c.Scale = intSqrt(folded / max(c.Out, 1))
	if c.Scale < 1 || c.Scale > maxScale || c.Scale*c.Scale*c.Out != folded {
		return c, fmt.Errorf("the compact upscaler reads %d channels (%s.weight) and ends in %d channels after %d convolutions (%s.weight), expected %d times a square up to %d²",
			c.In, c.names.body(0), folded, c.Convs, last, c.Out, maxScale)
	}
	return c, c.Check(src).Err()
}

func detectRRDB(src nn.Source, all nn.Names, prefix string, n names) (Config, error) {
	c := Config{prefix: prefix, names: n, Unshuffle: 1}
	blocks := all.Under(n.blocks)
	var err error
	if c.Blocks, err = blocks.Count(n.blocks); err != nil {
		return c, err
	}
	if n.trunkInBlocks {
		c.Blocks-- // the trunk has the number after the last block
	}
	if c.Blocks < 1 || len(n.ups) == 0 && n.last == "" {
		return c, fmt.Errorf("the upscaler has %d blocks (%s...) and %d convolutions that enlarge, expected at least one block and the convolutions after them", c.Blocks, n.blocks, len(n.ups))
	}
	if i := slices.IndexFunc(blocks, func(name string) bool { return strings.Contains(name, ".conv1x1.") }); i >= 0 {
		return c, fmt.Errorf("this is an upscaler of ESRGAN+, whose dense blocks have another convolution, which is not supported yet (it has the tensor %s)", fault.Name(blocks[i]))
	}
	var features, growth []nn.Axis
	for i := range c.Blocks {
		for dense := 1; dense <= 3; dense++ {
			growth = append(growth, nn.Axis{Name: n.conv(i, dense, 1) + ".weight"}, nn.Axis{Name: n.conv(i, dense, 1) + ".bias"})
			features = append(features, nn.Axis{Name: n.conv(i, dense, 5) + ".weight"}, nn.Axis{Name: n.conv(i, dense, 5) + ".bias"})
		}
	}
	c.Features, c.Growth = nn.Agreed(src, "", features...), nn.Agreed(src, "", growth...)
	c.In = nn.Agreed(src, "", nn.Axis{Name: n.first + ".weight", I: 1})
	c.Out = nn.Agreed(src, "", nn.Axis{Name: n.last + ".weight"}, nn.Axis{Name: n.last + ".bias"})
	c.Scale = 1 << len(n.ups)
	if c.In != c.Out && c.Out > 0 {
		// Real-ESRGAN's x2 and x1 networks are the x4 one on folded pixels.
		c.Unshuffle = intSqrt(c.In / c.Out)
		if c.Unshuffle < 1 || c.Unshuffle*c.Unshuffle*c.Out != c.In || c.Scale%c.Unshuffle != 0 {
			return c, fmt.Errorf("the upscaler reads %d channels (%s.weight) and writes %d (%s.weight), expected a square multiple that divides %d×%d", c.In, n.first, c.Out, n.last, c.Scale, c.Scale)
		}
		c.In, c.Scale = c.Out, c.Scale/c.Unshuffle
	}
	if c.Scale > maxScale {
		return c, fmt.Errorf("the upscaler enlarges %d times (%s and those before it), expected at most %d times", c.Scale, n.ups[len(n.ups)-1], maxScale)
	}
	return c, c.Check(src).Err()
}

func intSqrt(n int) int {
	r := 0
	for (r+1)*(r+1) <= n {
		r++
	}
	return r
}

// names are the tensors of an upscaler, which has been published under three
// sets of names.
type names struct {
	body func(i int) string // of SRVGG

	first, trunk, hr, last string
	ups                    []string
	blocks                 string // before the numbers of the blocks
	trunkInBlocks          bool   // trunk is numbered as a block is
	conv                   func(block, dense, conv int) string
}

// newNames are those of Real-ESRGAN.
func newNames(prefix string) names {
	return names{
		first: prefix + "conv_first", trunk: prefix + "conv_body", hr: prefix + "conv_hr", last: prefix + "conv_last",
		ups:    []string{prefix + "conv_up1", prefix + "conv_up2"},
		blocks: prefix + "body.",
		conv: func(block, dense, conv int) string {
			return fmt.Sprintf("%sbody.%d.rdb%d.conv%d", prefix, block, dense, conv)
		},
	}
}

// middleNames are those of ESRGAN's second release.
func middleNames(prefix string) names {
	return names{
		first: prefix + "conv_first", trunk: prefix + "trunk_conv", hr: prefix + "HRconv", last: prefix + "conv_last",
		ups:    []string{prefix + "upconv1", prefix + "upconv2"},
		blocks: prefix + "RRDB_trunk.",
		conv: func(block, dense, conv int) string {
			return fmt.Sprintf("%sRRDB_trunk.%d.RDB%d.conv%d", prefix, block, dense, conv)
		},
	}
}

// firstNames are those of ESRGAN's first release, whose layers are numbered:
// 0 is the first convolution, 1 the blocks, then an upsampling convolution at
// every third number, and two convolutions with an activation between them.
func firstNames(all nn.Names, prefix string) names {
	blocks := prefix + "model.1.sub."
	layer := func(i int) string { return prefix + "model." + strconv.Itoa(i) }
	n := names{
		first: layer(0), blocks: blocks, trunkInBlocks: true,
		conv: func(block, dense, conv int) string {
			return fmt.Sprintf("%s%d.RDB%d.conv%d.0", blocks, block, dense, conv)
		},
	}
	count, _ := all.Count(blocks) // detection tells what is wrong with them
	n.trunk = fmt.Sprintf("%s%d", blocks, count-1)
	var layers []int
	for i := 2; i < 32; i++ {
		if all.Has(layer(i) + ".") {
			layers = append(layers, i)
		}
	}
	if len(layers) < 2 {
		return n
	}
	for _, i := range layers[:len(layers)-2] {
		n.ups = append(n.ups, layer(i))
	}
	n.hr, n.last = layer(layers[len(layers)-2]), layer(layers[len(layers)-1])
	return n
}

// Upscale builds the network for images x[batch,In,height,width] with values
// from 0 to 1. The output y is Scale times as high and wide.
func Upscale(s nn.Scope, c Config, batch, height, width int) {
	g := s.Graph()
	x := g.Input("x", dtype.F32, batch, c.In, height, width)
	if c.Compact {
		g.Output("y", compact(s, c, x))
		return
	}
	g.Output("y", rrdbNet(s, c, x))
}

// compact is SRVGGNetCompact: convolutions with PReLUs between them, whose
// result is folded out to pixels and added to the enlarged image.
func compact(s nn.Scope, c Config, x ir.Value) ir.Value {
	g := s.Graph()
	h := x
	for i := range c.Convs {
		n := c.Features
		if i == c.Convs-1 {
			n = c.Out * c.Scale * c.Scale
		}
		h = s.Conv(c.names.body(2*i), h, n, 3, same)
		if i < c.Convs-1 {
			slopes := s.Weight(c.names.body(2*i+1)+".weight", n)
			h = g.Binary(ir.PReLU, h, g.Reshape(slopes, 1, -1, 1, 1))
		}
	}
	h = pixelShuffle(g, h, c.Scale)
	size := g.Shape(h)
	return g.Add(h, g.Resample(x, ir.Nearest, size[2], size[3]))
}

// rrdbNet is the residual-in-residual dense network.
func rrdbNet(s nn.Scope, c Config, x ir.Value) ir.Value {
	g := s.Graph()
	n := c.Features
	x = s.Conv(c.names.first, pixelUnshuffle(g, x, c.Unshuffle), n, 3, same)
	h := x
	for i := range c.Blocks {
		block := h
		for dense := 1; dense <= 3; dense++ {
			block = denseBlock(s, c, i, dense, block)
		}
		h = g.Add(g.Affine(block, 0.2, 0), h)
	}
	h = g.Add(s.Conv(c.names.trunk, h, n, 3, same), x)
	for _, up := range c.names.ups {
		size := g.Shape(h)
		h = lrelu(g, s.Conv(up, g.Resample(h, ir.Nearest, 2*size[2], 2*size[3]), n, 3, same))
	}
	h = lrelu(g, s.Conv(c.names.hr, h, n, 3, same))
	return s.Conv(c.names.last, h, c.Out, 3, same)
}

// denseBlock is five convolutions, each of which sees the results of all
// before it.
func denseBlock(s nn.Scope, c Config, block, dense int, x ir.Value) ir.Value {
	g := s.Graph()
	seen := []ir.Value{x}
	for conv := 1; conv <= 4; conv++ {
		h := s.Conv(c.names.conv(block, dense, conv), concat(g, seen), c.Growth, 3, same)
		seen = append(seen, lrelu(g, h))
	}
	h := s.Conv(c.names.conv(block, dense, 5), concat(g, seen), c.Features, 3, same)
	return g.Add(g.Affine(h, 0.2, 0), x)
}

// same keeps the size of the image under a 3×3 convolution.
var same = ir.ConvOptions{Pad: []int{1}}

func concat(g *ir.Graph, xs []ir.Value) ir.Value {
	if len(xs) == 1 {
		return xs[0]
	}
	return g.Concat(1, xs...)
}

func lrelu(g *ir.Graph, x ir.Value) ir.Value { return g.Unary(ir.LeakyReLU, x, 0.2) }

// pixelShuffle turns r² channels into r×r pixels.
func pixelShuffle(g *ir.Graph, x ir.Value, r int) ir.Value {
	n, c, h, w := dims(g, x)
	x = g.Reshape(x, n, c/r/r, r, r, h, w)
	x = g.Permute(x, 0, 1, 4, 2, 5, 3)
	return g.Reshape(x, n, c/r/r, h*r, w*r)
}

// pixelUnshuffle turns r×r pixels into r² channels. The image must be a
// multiple of r.
func pixelUnshuffle(g *ir.Graph, x ir.Value, r int) ir.Value {
	if r == 1 {
		return x
	}
	n, c, h, w := dims(g, x)
	x = g.Reshape(x, n, c, h/r, r, w/r, r)
	x = g.Permute(x, 0, 1, 3, 5, 2, 4)
	return g.Reshape(x, n, c*r*r, h/r, w/r)
}

func dims(g *ir.Graph, x ir.Value) (n, c, h, w int) {
	s := g.Shape(x)
	return s[0], s[1], s[2], s[3]
}

// Describe says what the network is, for people.
func (c Config) Describe() string {
	kind := fmt.Sprintf("ESRGAN with %d blocks", c.Blocks)
	if c.Compact {
		kind = fmt.Sprintf("Real-ESRGAN compact with %d convolutions", c.Convs)
	}
	return strings.TrimSpace(fmt.Sprintf("%s ×%d", kind, c.Scale))
}
