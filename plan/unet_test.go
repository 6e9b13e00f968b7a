package plan

import (
	"fmt"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
)

// A unet builds a denoiser of the structure of Stable Diffusion 1.5, under
// names of its own.
type unet struct {
	*ir.Graph
	groups, heads int
	lora          bool // whether projections to queries and gates have a side path
	emb, context  ir.Value
	skips         []ir.Value
	n             int // blocks
}

// unetGraph returns the denoiser of Stable Diffusion 1.5, with the operations
// and sizes of the model, for a batch of latents of the given height and width.
func unetGraph(batch, height, width int) *ir.Graph {
	u := &unet{Graph: ir.New("unet"), groups: 32, heads: 8}
	x := u.Input("x", dtype.F32, batch, 4, height, width)
	t := u.Input("t", dtype.F32, batch)
	u.context = u.Input("context", dtype.F32, batch, 77, 768)
	u.emb = u.SiLU(u.linear("time.2", u.SiLU(u.linear("time.0", u.Sinusoid(t, 320, 10000), 1280)), 1280))

	x = u.conv("in", x, 320, 3, 1)
	u.skips = []ir.Value{x}
	widths := []int{320, 640, 1280, 1280}
	for level, c := range widths {
		for range 2 {
			x = u.stage(x, c, level < 3)
			u.skips = append(u.skips, x)
		}
		if level < 3 {
			x = u.conv(fmt.Sprint("down", level), x, c, 3, 2)
			u.skips = append(u.skips, x)
		}
	}
	x = u.resBlock("middle.0", x, 1280)
	x = u.transformer("middle.1", x)
	x = u.resBlock("middle.2", x, 1280)
	for level := 3; level >= 0; level-- {
		for range 3 {
			last := len(u.skips) - 1
			x = u.stage(u.Concat(1, x, u.skips[last]), widths[level], level < 3)
			u.skips = u.skips[:last]
		}
		if level > 0 {
			s := u.Shape(x)
			x = u.conv(fmt.Sprint("up", level), u.Resample(x, ir.Nearest, s[2]*2, s[3]*2), s[1], 3, 1)
		}
	}
	u.Output("eps", u.conv("out", u.SiLU(u.norm("out.norm", x)), 4, 3, 1))
	return u.Graph
}

// tinyGraph returns a denoiser of two resolutions and a few features, for a
// latent that is not square, with a LoRA and an operation that nothing needs.
func tinyGraph() *ir.Graph {
	u := &unet{Graph: ir.New("tiny"), groups: 4, heads: 2, lora: true}
	x := u.Input("x", dtype.F32, 1, 4, 6, 4)
	t := u.Input("t", dtype.F32, 1)
	u.context = u.Input("context", dtype.F32, 1, 5, 12)
	u.emb = u.SiLU(u.linear("time", u.Sinusoid(t, 8, 10000), 16))
	x = u.conv("in", x, 8, 3, 1)
	skip := u.stage(x, 8, false)
	x = u.conv("down", skip, 8, 3, 2)
	x = u.stage(x, 16, true)
	u.linear("unused", u.Reduce(x, ir.Mean, 2, 3), 4)
	s := u.Shape(skip)
	x = u.conv("up", u.Resample(x, ir.Nearest, s[2], s[3]), 8, 3, 1)
	x = u.stage(u.Concat(1, x, skip), 8, false)
	u.Output("eps", u.conv("out", u.SiLU(u.norm("out.norm", x)), 4, 3, 1))
	return u.Graph
}

func (u *unet) stage(x ir.Value, c int, attend bool) ir.Value {
	u.n++
	x = u.resBlock(fmt.Sprintf("block%d.0", u.n), x, c)
	if attend {
		x = u.transformer(fmt.Sprintf("block%d.1", u.n), x)
	}
	return x
}

func (u *unet) resBlock(name string, x ir.Value, c int) ir.Value {
	in := x
	if u.Shape(x)[1] != c { // first, so that the norm can write over the input
		x = u.conv(name+".skip", x, c, 1, 1)
	}
	h := u.conv(name+".conv1", u.SiLU(u.norm(name+".norm1", in)), c, 3, 1)
	emb := u.linear(name+".emb", u.emb, c)
	h = u.Add(h, u.Reshape(emb, u.Shape(emb)[0], c, 1, 1))
	h = u.conv(name+".conv2", u.SiLU(u.norm(name+".norm2", h)), c, 3, 1)
	return u.Add(h, x)
}

func (u *unet) transformer(name string, x ir.Value) ir.Value {
	s := u.Shape(x)
	b, c := s[0], s[1]
	h := u.Permute(u.Reshape(u.norm(name+".norm", x), b, c, -1), 0, 2, 1)
	h = u.linear(name+".in", h, c)
	y := u.layerNorm(name+".norm1", h)
	h = u.Add(u.attention(name+".attn1", y, y), h)
	h = u.Add(u.attention(name+".attn2", u.layerNorm(name+".norm2", h), u.context), h)
	p := u.Split(u.adapted(name+".ff1", u.layerNorm(name+".norm3", h), 8*c), -1, 2)
	h = u.Add(u.linear(name+".ff2", u.Mul(p[0], u.GELU(p[1])), c), h)
	h = u.Permute(u.linear(name+".out", h, c), 0, 2, 1)
	return u.Add(u.Reshape(h, s...), x)
}

func (u *unet) attention(name string, x, context ir.Value) ir.Value {
	c := u.Shape(x)[2]
	q, k, v := u.adapted(name+".q", x, c), u.linear(name+".k", context, c), u.linear(name+".v", context, c)
	return u.linear(name+".out", u.Attention(q, k, v, ir.AttentionOptions{Heads: u.heads}), c)
}

func (u *unet) weight(name string, shape ...int) ir.Value {
	return u.Weight(name, dtype.F16, shape...)
}

func (u *unet) conv(name string, x ir.Value, c, k, stride int) ir.Value {
	return u.Conv(x, u.weight(name+".weight", c, u.Shape(x)[1], k, k), u.weight(name+".bias", c),
		ir.ConvOptions{Stride: []int{stride}, Pad: []int{k / 2}})
}

func (u *unet) linear(name string, x ir.Value, n int) ir.Value {
	s := u.Shape(x)
	return u.Linear(x, u.weight(name+".weight", n, s[len(s)-1]), u.weight(name+".bias", n))
}

// adapted returns a linear layer, with the side path of a LoRA of rank 2 if the
// model has one: xWᵀ + s·(xAᵀ)Bᵀ, where s is an input.
func (u *unet) adapted(name string, x ir.Value, n int) ir.Value {
	y := u.linear(name, x, n)
	if !u.lora {
		return y
	}
	s := u.Shape(x)
	side := u.Linear(x, u.weight("lora:"+name+".a", 2, s[len(s)-1]), ir.None)
	side = u.Linear(side, u.weight("lora:"+name+".b", n, 2), ir.None)
	return u.Add(y, u.Mul(side, u.Input("strength", dtype.F32, 1)))
}

func (u *unet) norm(name string, x ir.Value) ir.Value {
	c := u.Shape(x)[1]
	return u.GroupNorm(x, u.weight(name+".weight", c), u.weight(name+".bias", c), u.groups, 1e-5)
}

func (u *unet) layerNorm(name string, x ir.Value) ir.Value {
	c := u.Shape(x)[2]
	return u.LayerNorm(x, u.weight(name+".weight", c), u.weight(name+".bias", c), 1e-5)
}

// TestArenaOfUNet holds the planner to its bar for activations: at most 1.15
// times what no plan can do without.
func TestArenaOfUNet(t *testing.T) {
	for _, size := range [][3]int{{2, 64, 64}, {1, 64, 64}, {2, 96, 64}, {4, 32, 32}} {
		p := compile(t, unetGraph(size[0], size[1], size[2]), Options{})
		t.Logf("%v: arena %s, lower bound %s, ratio %.3f", size, mib(p.Arena), mib(p.LowerBound), float64(p.Arena)/float64(p.LowerBound))
		if float64(p.Arena) > 1.15*float64(p.LowerBound) {
			t.Errorf("%v: the arena of %d bytes is more than 1.15 times the lower bound %d", size, p.Arena, p.LowerBound)
		}
	}
}

// TestArenaOfUNetWithin plans with less and less memory: a batch of two, and a
// single latent. What remains at the end is the joined input of a residual
// block with the values that the skip connections keep.
func TestArenaOfUNetWithin(t *testing.T) {
	for _, test := range []struct {
		batch int
		limit int64 // MiB
	}{{2, 120}, {2, 100}, {2, 90}, {1, 60}, {1, 50}, {1, 45}, {1, 43}} {
		p := compile(t, unetGraph(test.batch, 64, 64), Options{Arena: test.limit << 20})
		t.Logf("batch %d within %d MiB: arena %s, lower bound %s, %d regions in up to %d pieces, %d operations",
			test.batch, test.limit, mib(p.Arena), mib(p.LowerBound), p.Regions, p.Pieces, len(p.Ops))
		if p.Arena > test.limit<<20 || p.Regions == 0 {
			t.Errorf("batch %d: the arena is %s in %d regions, the limit %d MiB", test.batch, mib(p.Arena), p.Regions, test.limit)
		}
	}
	// What is enough as it is stays as it is.
	whole := compile(t, unetGraph(1, 64, 64), Options{})
	if p := compile(t, unetGraph(1, 64, 64), Options{Arena: whole.Arena}); p.Regions != 0 || len(p.Ops) != len(whole.Ops) {
		t.Errorf("%d regions are cut although all fits", p.Regions)
	}
}

// compile plans a graph and checks the program.
func compile(t testing.TB, g *ir.Graph, o Options) *Program {
	t.Helper()
	p, err := Compile(g, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	return p
}
