package ir

import "fmt"

// A Kind names an operation.
type Kind uint8

// The operations. In the shapes below B is a batch, K and N are features, C
// and O are channels, S is a sequence and "..." is any number of dimensions.
const (
	// Elementwise starts from In[0], broadcast to the shape of Out, and
	// applies Steps in order.
	Elementwise Kind = iota
	// Linear is y[...,N] = x[...,K]·W[N,K]ᵀ (+ bias[N]). In = x, W, bias?.
	// Out is all N columns even when Rows selects some of them.
	Linear
	// Conv is a cross-correlation over 1 to 3 spatial dimensions:
	// x[B,C,...], W[O,C/Groups,...], bias[O]?. In = x, W, bias?. PadBefore and
	// PadAfter are zeros added at each end of a spatial dimension.
	Conv
	// Attention is softmax(q·kᵀ·Scale + mask)·v for each head. q[B,Sq,H·D],
	// k[B,Sk,G·D], v[B,Sk,G·Dv], mask broadcast to [B,H,Sq,Sk], out
	// [B,Sq,H·Dv]; head h reads group h·G/H of k and v. With Causal, query i
	// sees keys 0..i. In = q, k, v, mask?.
	Attention
	// LayerNorm normalizes the last dimension to mean 0 and variance 1, then
	// multiplies by weight[K]? and adds bias[K]?. In = x, weight?, bias?.
	LayerNorm
	// RMSNorm divides the last dimension by its root mean square and
	// multiplies by weight[K]?. In = x, weight?.
	RMSNorm
	// GroupNorm normalizes Groups of channels of x[B,C,...] over their spatial
	// extent, then multiplies by weight[C]? and adds bias[C]?.
	// In = x, weight?, bias?.
	GroupNorm
	// Embedding gathers rows: out[...,K] = table[ids[...],K]. In = ids
	// (int32), table (a weight or an activation).
	Embedding
	// Rope rotates pairs of features of x[B,S,H·D] by angles whose cosines
	// and sines are given as cos, sin[S,D/2] or [B,S,D/2]. With Interleaved the
	// pairs are (2i, 2i+1), otherwise (i, i+D/2). In = x, cos, sin.
	Rope
	// Softmax normalizes the exponentials of the last dimension.
	Softmax
	// Sinusoid is the timestep embedding of "Attention Is All You Need" as
	// diffusion models use it: for t[B] and i < Dim/2 the angle is
	// t·exp(-ln(MaxPeriod)·i/(Dim/2)); out[B,Dim] holds all cosines, then all
	// sines. In = t.
	Sinusoid
	// Concat joins its inputs along Axis.
	Concat
	// Pad extends each dimension by Before and After elements, by PadMode.
	Pad
	// Resample resizes the last len(Size) dimensions to Size by Mode.
	Resample
	// Reduce combines the dimensions Axes by Reduction, leaving them as 1.
	Reduce
	// Rotate multiplies each group of Dim neighbours of the last dimension by
	// the Hadamard matrix of package hadamard. Out has the shape of In[0].
	Rotate

	// Reshape, Permute, Slice and Expand are views of In[0].

	// Reshape keeps the elements in order under a new shape.
	Reshape
	// Permute makes dimension i of Out the dimension Axes[i] of In[0].
	Permute
	// Slice takes elements From..To of dimension Axis.
	Slice
	// Expand repeats dimensions of length 1.
	Expand
	numKinds
)

var kindNames = [numKinds]string{
	"elementwise", "linear", "conv", "attention", "layernorm", "rmsnorm", "groupnorm", "embedding",
	"rope", "softmax", "sinusoid", "concat", "pad", "resample", "reduce", "rotate",
	"reshape", "permute", "slice", "expand",
}

// String returns the name of the operation in lower case.
func (k Kind) String() string { return name(kindNames[:], int(k), "Kind") }

// MarshalText returns the name, so that plans are readable as JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// IsView reports whether the operation only looks at its input differently.
func (k Kind) IsView() bool { return k >= Reshape && k <= Expand }

// A Layout says how an operation can read an operand.
type Layout uint8

const (
	// Contiguous operands are dense in row-major order.
	Contiguous Layout = iota
	// Rows are operands whose last dimension is dense; the others have any
	// stride.
	Rows
	// Strided operands have any stride in every dimension, zero included.
	Strided
)

// InputLayout returns the layouts in which operand i of an operation may be
// given. A planner copies operands that come in another one. Operands of
// Steps are always Strided. Outputs are always Contiguous.
func (k Kind) InputLayout(i int) Layout {
	switch {
	case k == Elementwise, k == Concat, k.IsView(), k == Attention:
		return Strided
	case k == Linear && i == 0:
		return Strided
	case (k == LayerNorm || k == RMSNorm || k == Softmax || k == Rope || k == Rotate) && i == 0:
		return Rows
	}
	return Contiguous
}

// A Func is an elementwise function of a Step.
type Func uint8

// The functions. x is the running value, y the operand of a binary step, A
// and B are the constants of the step.
const (
	Affine    Func = iota // A·x + B
	SiLU                  // x·sigmoid(x)
	GELU                  // x·Φ(x), exact, by erf
	GELUTanh              // the tanh approximation of GELU
	QuickGELU             // x·sigmoid(1.702·x)
	Sigmoid               // 1/(1+exp(-x))
	Tanh                  // tanh(x)
	Exp                   // exp(x)
	Sin                   // sin(x)
	Cos                   // cos(x)
	Sqrt                  // sqrt(x)
	ReLU                  // max(x, 0)
	LeakyReLU             // x for x ≥ 0, A·x below
	Clamp                 // min(max(x, A), B)

	Add   // x + y
	Sub   // x - y
	Mul   // x·y
	Div   // x / y
	Max   // max(x, y)
	Min   // min(x, y)
	PReLU // x for x ≥ 0, y·x below
	numFuncs
)

var funcNames = [numFuncs]string{
	"affine", "silu", "gelu", "gelu_tanh", "quick_gelu", "sigmoid", "tanh", "exp", "sin", "cos", "sqrt",
	"relu", "leaky_relu", "clamp", "add", "sub", "mul", "div", "max", "min", "prelu",
}

// String returns the name of the function in lower case.
func (f Func) String() string { return name(funcNames[:], int(f), "Func") }

// MarshalText returns the name, so that plans are readable as JSON.
func (f Func) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// Binary reports whether the function has a second operand.
func (f Func) Binary() bool { return f >= Add && f < numFuncs }

// A Step is one elementwise function applied to a running value.
type Step struct {
	Func Func
	A, B float32 `json:",omitzero"`
	// Operand is the index in In of the second operand of a binary function,
	// which is broadcast to the shape of the output. It is 0 for unary ones.
	Operand int `json:",omitzero"`
}

// A PadMode says what Pad puts around a tensor.
type PadMode uint8

// The pad modes, as in torch.nn.functional.pad.
const (
	PadZero PadMode = iota
	PadEdge
	PadReflect
)

var padNames = []string{"zero", "edge", "reflect"}

// String returns the name of the mode.
func (m PadMode) String() string { return name(padNames, int(m), "PadMode") }

// MarshalText returns the name, so that plans are readable as JSON.
func (m PadMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// A ResampleMode is an interpolation, as in torch.nn.functional.interpolate
// with align_corners=False and antialias=False.
type ResampleMode uint8

// The resample modes.
const (
	Nearest ResampleMode = iota
	NearestExact
	Bilinear
	Bicubic
)

var resampleNames = []string{"nearest", "nearest-exact", "bilinear", "bicubic"}

// String returns the name of the mode.
func (m ResampleMode) String() string { return name(resampleNames, int(m), "ResampleMode") }

// MarshalText returns the name, so that plans are readable as JSON.
func (m ResampleMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// A Reduction says how Reduce combines elements.
type Reduction uint8

// The reductions.
const (
	Sum Reduction = iota
	Mean
	Maximum
)

var reductionNames = []string{"sum", "mean", "max"}

// String returns the name of the reduction.
func (r Reduction) String() string { return name(reductionNames, int(r), "Reduction") }

// MarshalText returns the name, so that plans are readable as JSON.
func (r Reduction) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Attrs are the constants of an operation. Each operation reads those that
// its description in [Kind] names; the others are zero.
type Attrs struct {
	Heads, KVHeads int     `json:",omitzero"` // Attention; Rope reads Heads
	Scale          float32 `json:",omitzero"` // Attention
	Causal         bool    `json:",omitzero"` // Attention

	Groups  int     `json:",omitzero"` // Conv, GroupNorm
	Epsilon float32 `json:",omitzero"` // LayerNorm, RMSNorm, GroupNorm

	Stride, Dilation    []int `json:",omitzero"` // Conv, a number a spatial dimension
	PadBefore, PadAfter []int `json:",omitzero"` // Conv: a number a spatial dimension; Pad: a number a dimension

	Interleaved bool    `json:",omitzero"` // Rope
	Dim         int     `json:",omitzero"` // Sinusoid, Rotate
	MaxPeriod   float32 `json:",omitzero"` // Sinusoid

	Axis     int   `json:",omitzero"` // Concat, Slice
	Axes     []int `json:",omitzero"` // Permute, Reduce
	From, To int   `json:",omitzero"` // Slice

	Size      []int        `json:",omitzero"` // Resample
	Mode      ResampleMode `json:",omitzero"` // Resample
	PadMode   PadMode      `json:",omitzero"` // Pad
	Reduction Reduction    `json:",omitzero"` // Reduce

	// HasBias says that the operand after the weight is a bias, and HasWeight
	// that a norm has a weight; HasMask that In[3] of Attention is a mask.
	// Operands beyond these belong to Steps.
	HasWeight, HasBias, HasMask bool `json:",omitzero"`

	// RowFrom and RowTo, when RowTo > 0, restrict Linear, Conv and Embedding to
	// the rows RowFrom..RowTo of the weight, which is all of it that is given:
	// Linear writes those columns of the output, Conv those channels, and
	// Embedding the tokens with those ids, leaving the rest of the output
	// alone. The planner cuts weights that are larger than an extent this way.
	// Bias and step operands are always whole.
	RowFrom, RowTo int `json:",omitzero"`
}

// An Op is one operation of a graph.
type Op struct {
	Kind  Kind
	Name  string // where in the model it is, for people
	In    []Value
	Out   Value
	Attrs Attrs
	// Steps are applied to each element of the result, in order, before it is
	// stored.
	Steps []Step
}

func name(names []string, i int, kind string) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("%s(%d)", kind, i)
	}
	return names[i]
}
