package lora

import "github.com/weir-run/weir/model/nn"

// A Change is anything done to a weight W[N,K,...] but the addition of a low
// rank beside it, so that it has to be merged into the weight. With the
// strength s that the user gives and the matrix D of the [Product], which has
// N×(K·...) elements, the weight becomes W + s·Scale·D.
//
// A DoRA (Liu et al. 2024) has a Magnitude: V = W + Scale·D, with its rows or
// columns scaled to those lengths, is where the weight goes the part s of the
// way to. W is what the changes before have made of the weight.
type Change struct {
	// From and Rows, when Rows > 0, say that the change is on the rows
	// From..From+Rows of W alone.
	From, Rows int
	// Transposed says that W is stored as [K,N], and D as computed here is of
	// the weight of the layer.
	Transposed    bool
	Product       Product
	First, Second Factor
	Scale         float32
	// Group is how many neighbouring rows a rotation mixes, and Constraint, when
	// it is above 0, the largest norm of what it is made from.
	Group      int
	Constraint float32
	// Magnitude, when it is not "", is the tensor of lengths: one for each row,
	// an output of the layer, or with Columns one for each input. It is divided
	// by the lengths of V or, with Before, by those of W.
	Magnitude       string
	Columns, Before bool
}

// DependsOnWeight reports whether the change depends on what the changes before it
// have made of the weight.
func (c Change) DependsOnWeight() bool {
	switch c.Product {
	case Generalized, Rotation, Butterfly, Replacement:
		return true
	}
	return c.Magnitude != ""
}

// A Product is how D is made of the two factors.
type Product string

const (
	// Single is that of changes with one factor alone.
	Single Product = ""
	// Hadamard multiplies element by element (LoHa, Hyeon-Woo et al. 2022).
	Hadamard Product = "hadamard"
	// Kronecker puts the second factor, times each element of the first, in
	// that element's place (LoKr, Yeh et al. 2024).
	Kronecker Product = "kronecker"
	// Generalized is First + W·Second, of which the second has the rows and
	// columns of the layer's inputs, or of a row of W (GLoRA, Chavan et al.
	// 2023).
	Generalized Product = "generalized"
	// Rotation is s·(Rᵀ-I)·W, where R is block-diagonal and orthogonal: the Cayley
	// transform (I+Q)(I-Q)⁻¹ of Q = B-Bᵀ for each block B[b,b] of First (OFT, Qiu
	// et al. 2023). The strength s counts twice, as in ComfyUI.
	Rotation Product = "rotation"
	// Butterfly is R·W - W, where R is the product of as many orthogonal matrices
	// as First has in its first dimension, which mix ever more distant rows, each
	// moved the part s of the way from I (BOFT, Liu et al. 2024). The rows of
	// R·W are multiplied by Second if there is one.
	Butterfly Product = "butterfly"
	// Replacement puts First in the place of W, whatever the strength.
	Replacement Product = "replacement"
)

// A Factor is a matrix, by the names of tensors in the LoRA's file: Whole, or
// the product A·B or, with a Core[r,q,...], the sum over r and q of A[N,r],
// Core[r,q,...] and B[q,K], which is N×(K·...). Transposed says that A is
// stored as [r,N]. The first dimension of every tensor is that of its rows, the
// others together are that of its columns.
type Factor struct {
	Whole      string
	A, B, Core string
	Transposed bool
}

// Merged returns the change that does to a weight what an adapter does beside
// it.
func Merged(a nn.Adapter) Change {
	return Change{From: a.From, Rows: a.Rows, First: Factor{A: a.Up, B: a.Down, Core: a.Mid}, Scale: a.Scale}
}
