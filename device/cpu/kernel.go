package cpu

//go:generate go run ./asm -out multiply_amd64.s -stubs multiply_amd64.go -pkg cpu

// A microKernel adds the product of a panel of A, a[k][rows], and a panel of
// B, b[k][columns], to rows×columns elements of c, whose rows are ldc apart.
type microKernel struct {
	name          string
	rows, columns int
	run           func(a, b, c []float32, ldc int)
	// exponentials and maximum are those of attention's softmax, for slices
	// that are not empty: the first replaces each x by exp(x - peak), where no x
	// is above peak, and returns the sum.
	exponentials func(x []float32, peak float32) float32
	maximum      func(x []float32) float32
}

// kernel is the micro-kernel that products use: the fastest that the processor
// can run. Its panels divide blockM and blockN.
var kernel = microKernels()[0]

var portable = microKernel{"portable", 2, 4, multiply2x4, exponentials, maximum}

// multiply2x4 is the portable micro-kernel. Two rows and four columns are what
// the registers hold without spilling; four turns of the loop in one hide what
// moving along the panels costs.
func multiply2x4(a, b, c []float32, ldc int) {
	var c00, c01, c02, c03, c10, c11, c12, c13 float32
	for len(a) >= 8 && len(b) >= 16 {
		x, y := (*[8]float32)(a), (*[16]float32)(b)
		a0, a1 := x[0], x[1]
		v := y[0]
		c00 += a0 * v
		c10 += a1 * v
		v = y[1]
		c01 += a0 * v
		c11 += a1 * v
		v = y[2]
		c02 += a0 * v
		c12 += a1 * v
		v = y[3]
		c03 += a0 * v
		c13 += a1 * v
		a0, a1 = x[2], x[3]
		v = y[4]
		c00 += a0 * v
		c10 += a1 * v
		v = y[5]
		c01 += a0 * v
		c11 += a1 * v
		v = y[6]
		c02 += a0 * v
		c12 += a1 * v
		v = y[7]
		c03 += a0 * v
		c13 += a1 * v
		a0, a1 = x[4], x[5]
		v = y[8]
		c00 += a0 * v
		c10 += a1 * v
		v = y[9]
		c01 += a0 * v
		c11 += a1 * v
		v = y[10]
		c02 += a0 * v
		c12 += a1 * v
		v = y[11]
		c03 += a0 * v
		c13 += a1 * v
		a0, a1 = x[6], x[7]
		v = y[12]
		c00 += a0 * v
		c10 += a1 * v
		v = y[13]
		c01 += a0 * v
		c11 += a1 * v
		v = y[14]
		c02 += a0 * v
		c12 += a1 * v
		v = y[15]
		c03 += a0 * v
		c13 += a1 * v
		a, b = a[8:], b[16:]
	}
	for len(a) >= 2 && len(b) >= 4 {
		x, y := (*[2]float32)(a), (*[4]float32)(b)
		a0, a1 := x[0], x[1]
		c00 += a0 * y[0]
		c01 += a0 * y[1]
		c02 += a0 * y[2]
		c03 += a0 * y[3]
		c10 += a1 * y[0]
		c11 += a1 * y[1]
		c12 += a1 * y[2]
		c13 += a1 * y[3]
		a, b = a[2:], b[4:]
	}
	p, q := (*[4]float32)(c), (*[4]float32)(c[ldc:])
	p[0] += c00
	p[1] += c01
	p[2] += c02
	p[3] += c03
	q[0] += c10
	q[1] += c11
	q[2] += c12
	q[3] += c13
}
