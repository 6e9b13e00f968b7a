// Package dit builds what diffusion transformers have in common: patches of a
// latent as tokens, positions and their angles, attention over several streams.
package dit

import "github.com/weir-run/weir/ir"

// A Patch says how a latent[B,C,H,W] is cut into squares, a token each.
type Patch struct {
	Size int // rows and columns of a square
	// ChannelsLast orders the features of a token by row, column and channel.
	// Otherwise they are ordered by channel, row and column.
	ChannelsLast bool
}

// Grid returns the rows and columns of tokens of a latent. Squares at the end
// may reach beyond it.
func (p Patch) Grid(height, width int) (rows, columns int) {
	return (height + p.Size - 1) / p.Size, (width + p.Size - 1) / p.Size
}

// Whole returns a latent whose height and width are multiples of Size. It is
// continued with its first rows and columns, as ComfyUI pads latents.
func (p Patch) Whole(g *ir.Graph, x ir.Value) ir.Value {
	shape := g.Shape(x)
	rows, columns := p.Grid(shape[2], shape[3])
	return wrap(g, wrap(g, x, 2, rows*p.Size), 3, columns*p.Size)
}

// Cut returns the tokens[B,rows·columns,C·Size·Size] of a latent, made whole.
func (p Patch) Cut(g *ir.Graph, x ir.Value) ir.Value {
	shape := g.Shape(x)
	rows, columns := p.Grid(shape[2], shape[3])
	x = g.Reshape(p.Whole(g, x), shape[0], shape[1], rows, p.Size, columns, p.Size)
	if p.ChannelsLast {
		x = g.Permute(x, 0, 2, 4, 3, 5, 1)
	} else {
		x = g.Permute(x, 0, 2, 4, 1, 3, 5)
	}
	return g.Reshape(x, shape[0], rows*columns, -1)
}

// wrap continues a dimension of x with its first elements up to length n.
func wrap(g *ir.Graph, x ir.Value, axis, n int) ir.Value {
	for g.Shape(x)[axis] < n {
		length := g.Shape(x)[axis]
		x = g.Concat(axis, x, g.Slice(x, axis, 0, min(length, n-length)))
	}
	return x
}

// Join returns the latent[B,C,height,width] of tokens[B,rows·columns,C·Size·Size].
// It leaves out what squares have beyond the latent.
func (p Patch) Join(g *ir.Graph, tokens ir.Value, height, width int) ir.Value {
	shape := g.Shape(tokens)
	rows, columns := p.Grid(height, width)
	channels := shape[2] / (p.Size * p.Size)
	x := tokens
	if p.ChannelsLast {
		x = g.Permute(g.Reshape(x, shape[0], rows, columns, p.Size, p.Size, channels), 0, 5, 1, 3, 2, 4)
	} else {
		x = g.Permute(g.Reshape(x, shape[0], rows, columns, channels, p.Size, p.Size), 0, 3, 1, 4, 2, 5)
	}
	x = g.Reshape(x, shape[0], channels, rows*p.Size, columns*p.Size)
	return g.Slice(g.Slice(x, 2, 0, height), 3, 0, width)
}
