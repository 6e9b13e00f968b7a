// Package esrgan builds the upscalers of the ESRGAN family: the residual
// dense network of ESRGAN and Real-ESRGAN (RRDBNet), and the compact network
// of Real-ESRGAN's video models (SRVGG).
package esrgan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-run/weir/dtype"
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

	names names
}

// prefixes are what trainers put before every name of a checkpoint.
var prefixes = []string{"", "params_ema.", "params.", "model.params_ema.", "module."}

// Detect reads the configuration of the upscaler in a source.
func Detect(src nn.Source) (Config, error) {
	for _, prefix := range prefixes {
		if weight(src, prefix+"body.0.weight") != nil {
			return detectCompact(src, prefix)
		}
		for _, n := range []names{firstNames(src, prefix), middleNames(prefix), newNames(prefix)} {
			if weight(src, n.first+".weight") != nil && weight(src, n.conv(0, 1, 1)+".weight") != nil {
				return detectRRDB(src, n)
			}
		}
	}
	return Config{}, fmt.Errorf("not an upscaler that is supported: there is neither body.0.weight (Real-ESRGAN compact) nor conv_first.weight or model.0.weight with RDB blocks (ESRGAN, Real-ESRGAN)")
}

// weight returns the shape of a convolution's weight, or nil.
func weight(src nn.Source, name string) ir.Shape {
	if _, shape, ok := src.Lookup(name); ok && len(shape) == 4 {
		return shape
	}
	return nil
}

func detectCompact(src nn.Source, prefix string) (Config, error) {
	c := Config{Compact: true, Unshuffle: 1}
	c.names.body = func(i int) string { return fmt.Sprintf("%sbody.%d", prefix, i) }
	first := weight(src, c.names.body(0)+".weight")
	last := first
	for {
		w := weight(src, c.names.body(2*c.Convs)+".weight")
		if w == nil {
			break
		}
		last = w
		c.Convs++
	}
	c.In, c.Out = first[1], first[1]
	c.Scale = intSqrt(last[0] / c.Out)
	if c.Convs < 2 || c.Scale*c.Scale*c.Out != last[0] {
		return c, fmt.Errorf("the compact upscaler ends in %d channels after %d convolutions, expected %d times a square", last[0], c.Convs, c.Out)
	}
	return c, nil
}

func detectRRDB(src nn.Source, n names) (Config, error) {
	c := Config{names: n, Unshuffle: 1}
	for weight(src, n.conv(c.Blocks, 1, 1)+".weight") != nil {
		c.Blocks++
	}
	last := weight(src, n.last+".weight")
	if last == nil {
		return c, fmt.Errorf("the upscaler has no tensor %s.weight", n.last)
	}
	c.In, c.Out = weight(src, n.first+".weight")[1], last[0]
	c.Scale = 1 << len(n.ups)
	if c.In != c.Out {
		// Real-ESRGAN's x2 and x1 networks are the x4 one on folded pixels.
		c.Unshuffle = intSqrt(c.In / c.Out)
		if c.Unshuffle*c.Unshuffle*c.Out != c.In || c.Scale%max(c.Unshuffle, 1) != 0 {
			return c, fmt.Errorf("the upscaler reads %d channels and writes %d, expected a square multiple", c.In, c.Out)
		}
		c.In, c.Scale = c.Out, c.Scale/c.Unshuffle
	}
	return c, nil
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
	conv                   func(block, dense, conv int) string
}

// newNames are those of Real-ESRGAN.
func newNames(prefix string) names {
	return names{
		first: prefix + "conv_first", trunk: prefix + "conv_body", hr: prefix + "conv_hr", last: prefix + "conv_last",
		ups: []string{prefix + "conv_up1", prefix + "conv_up2"},
		conv: func(block, dense, conv int) string {
			return fmt.Sprintf("%sbody.%d.rdb%d.conv%d", prefix, block, dense, conv)
		},
	}
}

// middleNames are those of ESRGAN's second release.
func middleNames(prefix string) names {
	return names{
		first: prefix + "conv_first", trunk: prefix + "trunk_conv", hr: prefix + "HRconv", last: prefix + "conv_last",
		ups: []string{prefix + "upconv1", prefix + "upconv2"},
		conv: func(block, dense, conv int) string {
			return fmt.Sprintf("%sRRDB_trunk.%d.RDB%d.conv%d", prefix, block, dense, conv)
		},
	}
}

// firstNames are those of ESRGAN's first release, whose layers are numbered:
// 0 is the first convolution, 1 the blocks, then an upsampling convolution at
// every third number, and two convolutions with an activation between them.
func firstNames(src nn.Source, prefix string) names {
	layers := map[int]bool{}
	blocks := 0
	for i := range 32 {
		if weight(src, fmt.Sprintf("%smodel.%d.weight", prefix, i)) != nil {
			layers[i] = true
		}
	}
	for weight(src, fmt.Sprintf("%smodel.1.sub.%d.RDB1.conv1.0.weight", prefix, blocks)) != nil {
		blocks++
	}
	layer := func(i int) string { return prefix + "model." + strconv.Itoa(i) }
	n := names{
		first: layer(0), trunk: fmt.Sprintf("%smodel.1.sub.%d", prefix, blocks),
		conv: func(block, dense, conv int) string {
			return fmt.Sprintf("%smodel.1.sub.%d.RDB%d.conv%d.0", prefix, block, dense, conv)
		},
	}
	numbers := slices.Sorted(maps.Keys(layers))
	if len(numbers) < 3 {
		return n
	}
	for _, i := range numbers[1 : len(numbers)-2] {
		n.ups = append(n.ups, layer(i))
	}
	n.hr, n.last = layer(numbers[len(numbers)-2]), layer(numbers[len(numbers)-1])
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
		h = s.Conv(c.names.body(2*i), h, same)
		if i < c.Convs-1 {
			slopes := s.Weight(c.names.body(2*i+1) + ".weight")
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
	x = s.Conv(c.names.first, pixelUnshuffle(g, x, c.Unshuffle), same)
	h := x
	for i := range c.Blocks {
		block := h
		for dense := 1; dense <= 3; dense++ {
			block = denseBlock(s, c, i, dense, block)
		}
		h = g.Add(g.Affine(block, 0.2, 0), h)
	}
	h = g.Add(s.Conv(c.names.trunk, h, same), x)
	for _, up := range c.names.ups {
		size := g.Shape(h)
		h = lrelu(g, s.Conv(up, g.Resample(h, ir.Nearest, 2*size[2], 2*size[3]), same))
	}
	h = lrelu(g, s.Conv(c.names.hr, h, same))
	return s.Conv(c.names.last, h, same)
}

// denseBlock is five convolutions, each of which sees the results of all
// before it.
func denseBlock(s nn.Scope, c Config, block, dense int, x ir.Value) ir.Value {
	g := s.Graph()
	seen := []ir.Value{x}
	for conv := 1; conv <= 4; conv++ {
		h := s.Conv(c.names.conv(block, dense, conv), concat(g, seen), same)
		seen = append(seen, lrelu(g, h))
	}
	h := s.Conv(c.names.conv(block, dense, 5), concat(g, seen), same)
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
