package expression

import (
	"math"
	"math/big"

	"github.com/weir-run/weir/fault"
)

// maxBits is the size of the largest integer.
const maxBits = 1 << 16

// A value is a bool, a *big.Int, a float64 or, of the name values, a list.

// truth returns whether Python takes a value for true.
func truth(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case *big.Int:
		return v.Sign() != 0
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	}
	return false
}

// number returns a value as a *big.Int or a float64.
func numeric(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		if v {
			return big.NewInt(1), nil
		}
		return new(big.Int), nil
	case *big.Int, float64:
		return v, nil
	}
	return nil, wrong("a list is no number")
}

// integer returns a value that is no fraction.
func integer(v any) (*big.Int, error) {
	v, err := numeric(v)
	if err != nil {
		return nil, err
	}
	if i, ok := v.(*big.Int); ok {
		return i, nil
	}
	return nil, wrong("expected an integer, found %v", v)
}

// real returns a value as a float64.
func real(v any) (float64, error) {
	v, err := numeric(v)
	if err != nil {
		return 0, err
	}
	if i, ok := v.(*big.Int); ok {
		f, _ := new(big.Float).SetInt(i).Float64()
		if math.IsInf(f, 0) {
			return 0, wrong("an integer of %d bits is too large", i.BitLen())
		}
		return f, nil
	}
	return v.(float64), nil
}

// exact returns a number that is finite as a fraction.
func exact(v any) *big.Rat {
	switch v := v.(type) {
	case *big.Int:
		return new(big.Rat).SetInt(v)
	case float64:
		return new(big.Rat).SetFloat64(v)
	}
	return nil
}

// less, and equal, order numbers exactly.
func order(a, b any) (less, equal bool, err error) {
	if a, err = numeric(a); err != nil {
		return false, false, err
	}
	if b, err = numeric(b); err != nil {
		return false, false, err
	}
	x, y := exact(a), exact(b)
	if x != nil && y != nil {
		c := x.Cmp(y)
		return c < 0, c == 0, nil
	}
	// Infinities compare as floats do, and so does what is no number.
	f, g := float(a), float(b)
	return f < g, f == g, nil
}

// float returns a number as a float64, which may be infinite.
func float(v any) float64 {
	if i, ok := v.(*big.Int); ok {
		f, _ := new(big.Float).SetInt(i).Float64()
		return f
	}
	return v.(float64)
}

// finite returns a result of floats, which must be one.
func finite(v float64) (any, error) {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil, wrong("a result is not finite")
	}
	return v, nil
}

// bounded returns an integer that is not too large.
func bounded(i *big.Int) (any, error) {
	if i.BitLen() > maxBits {
		return nil, fault.New(fault.Workflow, "an integer has more than %d bits", maxBits)
	}
	return i, nil
}
