package cpu

import (
	"math"

	"github.com/weir-run/weir/ir"
)

// applyUnary replaces each x by f(x).
func applyUnary(f ir.Func, a, b float32, x []float32) {
	switch f {
	case ir.Affine:
		for i, v := range x {
			x[i] = a*v + b
		}
	case ir.SiLU:
		for i, v := range x {
			x[i] = v / (1 + exp(-v))
		}
	case ir.GELU:
		for i, v := range x {
			x[i] = gelu(v)
		}
	case ir.GELUTanh:
		for i, v := range x {
			// (1 + tanh(u))/2 is sigmoid(2u), which loses nothing where tanh is
			// near -1.
			u := 2 * sqrt2OverPi * (v + 0.044715*v*v*v)
			x[i] = v * sigmoid(u)
		}
	case ir.QuickGELU:
		for i, v := range x {
			x[i] = v / (1 + exp(-1.702*v))
		}
	case ir.Sigmoid:
		for i, v := range x {
			x[i] = sigmoid(v)
		}
	case ir.Tanh:
		for i, v := range x {
			x[i] = tanh(v)
		}
	case ir.Exp:
		for i, v := range x {
			x[i] = exp(v)
		}
	case ir.Sin:
		for i, v := range x {
			x[i] = float32(math.Sin(float64(v)))
		}
	case ir.Cos:
		for i, v := range x {
			x[i] = float32(math.Cos(float64(v)))
		}
	case ir.Sqrt:
		for i, v := range x {
			x[i] = float32(math.Sqrt(float64(v)))
		}
	case ir.ReLU:
		for i, v := range x {
			x[i] = max(v, 0)
		}
	case ir.LeakyReLU:
		for i, v := range x {
			if v < 0 {
				x[i] = a * v
			}
		}
	case ir.Clamp:
		for i, v := range x {
			x[i] = min(max(v, a), b)
		}
	}
}

// applyBinary replaces each x by f(x, y).
func applyBinary(f ir.Func, x, y []float32) {
	y = y[:len(x)]
	switch f {
	case ir.Add:
		for i, v := range y {
			x[i] += v
		}
	case ir.Sub:
		for i, v := range y {
			x[i] -= v
		}
	case ir.Mul:
		for i, v := range y {
			x[i] *= v
		}
	case ir.Div:
		for i, v := range y {
			x[i] /= v
		}
	case ir.Max:
		for i, v := range y {
			x[i] = max(x[i], v)
		}
	case ir.Min:
		for i, v := range y {
			x[i] = min(x[i], v)
		}
	case ir.PReLU:
		for i, v := range y {
			if x[i] < 0 {
				x[i] *= v
			}
		}
	}
}

// applyScalar replaces each x by f(x, y).
func applyScalar(f ir.Func, x []float32, y float32) {
	switch f {
	case ir.Add:
		for i := range x {
			x[i] += y
		}
	case ir.Sub:
		for i := range x {
			x[i] -= y
		}
	case ir.Mul:
		for i := range x {
			x[i] *= y
		}
	case ir.Div:
		for i := range x {
			x[i] /= y
		}
	case ir.Max:
		for i := range x {
			x[i] = max(x[i], y)
		}
	case ir.Min:
		for i := range x {
			x[i] = min(x[i], y)
		}
	case ir.PReLU:
		for i := range x {
			if x[i] < 0 {
				x[i] *= y
			}
		}
	}
}

const (
	sqrt2OverPi = 0.7978845608028654 // √(2/π)
	log2e       = 1.4426950408889634
	// ln2High has so few bits that its product with an exponent is exact.
	ln2High = 0.693359375
	ln2Low  = -2.12194440054690583e-4
	// roundTo pushes the bits below 1 out of a float32.
	roundTo = 3 << 22
)

// exp returns eˣ with an error of at most 2 units in the last place: x is
// split into n·ln 2 + r, and the polynomial of r is that of expf in the
// Cephes library. The conversions keep the compiler from fusing what the
// splitting needs rounded.
func exp(x float32) float32 {
	if !(x < 88.72284) {
		if x != x {
			return x
		}
		return float32(math.Inf(1))
	}
	if x < -103.97208 {
		return 0
	}
	n := float32(float32(x*log2e)+roundTo) - roundTo
	r := float32(x-float32(n*ln2High)) - float32(n*ln2Low)
	p := ((((1.9875691500e-4*r+1.3981999507e-3)*r+8.3334519073e-3)*r+4.1665795894e-2)*r+1.6666665459e-1)*r + 5.0000001201e-1
	p = p*r*r + r + 1
	e := int32(n)
	if e < -126 { // the result is subnormal
		return p * math.Float32frombits(uint32(e+64+127)<<23) * 0x1p-64
	}
	if e > 127 {
		return p * 2 * math.Float32frombits(uint32(e-1+127)<<23)
	}
	return p * math.Float32frombits(uint32(e+127)<<23)
}

func sigmoid(x float32) float32 { return 1 / (1 + exp(-x)) }

// tanh uses the polynomial of Cephes near 0, where the quotient would lose
// digits.
func tanh(x float32) float32 {
	if x > -0.625 && x < 0.625 {
		z := x * x
		p := (((-5.70498872745e-3*z+2.06390887954e-2)*z-5.37397155531e-2)*z+1.33314422036e-1)*z - 3.33332819422e-1
		return p*z*x + x
	}
	return 1 - 2/(1+exp(2*x))
}

// gelu returns x·Φ(x) with the rational approximations of erf and erfc of
// Cephes. Where Φ is small it is computed as such and not as 1 - something.
func gelu(x float32) float32 {
	z := x * float32(math.Sqrt2/2)
	if z > -1 && z < 1 {
		return 0.5 * x * (1 + erfSmall(z))
	}
	if z > 0 {
		return 0.5 * x * (2 - erfcLarge(z))
	}
	if z < 0 {
		return 0.5 * x * erfcLarge(-z)
	}
	return x // NaN
}

// erfSmall returns erf(x) for |x| ≤ 1.
func erfSmall(x float32) float32 {
	z := x * x
	return x * ((((((7.853861353153693e-5*z-8.010193625184903e-4)*z+5.188327685732524e-3)*z-
		2.685381193529856e-2)*z+1.128358514861418e-1)*z-3.761262582423300e-1)*z + 1.128379165726710)
}

// erfcLarge returns 1 - erf(x) for x ≥ 1.
func erfcLarge(x float32) float32 {
	if x > 10.1 { // below the smallest float32
		return 0
	}
	q := 1 / x
	y := q * q
	var p float32
	if x < 2 {
		p = (((((((2.326819970068386e-2*y-1.387039388740657e-1)*y+3.687424674597105e-1)*y-5.824733027278666e-1)*y+
			6.210004621745983e-1)*y-4.944515323274145e-1)*y+3.404879937665872e-1)*y-2.741127028184656e-1)*y + 5.638259427386472e-1
	} else {
		p = ((((((-1.047766399936249e+1*y+1.297719955372516e+1)*y-7.495518717768503)*y+2.921019019210786)*y-
			1.015265279202700)*y+4.218463358204948e-1)*y-2.820767439740514e-1)*y + 5.641895067754075e-1
	}
	return exp(-x*x) * q * p
}
