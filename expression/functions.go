package expression

import (
	"math"
	"math/big"
	"strconv"
)

type call struct {
	name string
	args []term
}

func (c call) value(names map[string]any) (any, error) {
	f, ok := functions[c.name]
	if !ok {
		return nil, wrong("there is no function %.40q", c.name)
	}
	if len(c.args) < f.least || len(c.args) > f.most {
		return nil, wrong("%s: %d arguments, expected %d to %d", c.name, len(c.args), f.least, f.most)
	}
	args := make([]any, len(c.args))
	for i, t := range c.args {
		var err error
		if args[i], err = t.value(names); err != nil {
			return nil, err
		}
	}
	v, err := f.of(args)
	if err != nil {
		return nil, wrong("%s: %w", c.name, err)
	}
	return v, nil
}

const many = maxLength

type function struct {
	least, most int
	of          func(args []any) (any, error)
}

// functions are those of ComfyUI's node.
var functions map[string]function

func init() {
	functions = map[string]function{
		"sum": {0, many, sum}, "min": {1, many, extreme(true)}, "max": {1, many, extreme(false)}, "abs": {1, 1, abs},
		"round": {1, 2, round}, "pow": {2, 2, pow}, "log": {1, 2, log}, "int": {1, 1, toInt}, "float": {1, 1, toFloat},
		"ceil": {1, 1, whole(math.Ceil)}, "floor": {1, 1, whole(math.Floor)},
		"sqrt": {1, 1, ofReal(math.Sqrt)}, "log2": {1, 1, ofReal(math.Log2)}, "log10": {1, 1, ofReal(math.Log10)},
		"sin": {1, 1, ofReal(math.Sin)}, "cos": {1, 1, ofReal(math.Cos)}, "tan": {1, 1, ofReal(math.Tan)},
	}
}

// listed returns the elements of a list that is the only argument, or the
// arguments.
func listed(args []any) []any {
	if len(args) == 1 {
		if list, ok := args[0].([]any); ok {
			return list
		}
	}
	return args
}

func sum(args []any) (any, error) {
	var total any = new(big.Int)
	for _, v := range listed(args) {
		var err error
		if total, err = (binary{"+", constant{total}, constant{v}}).value(nil); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func extreme(smallest bool) func([]any) (any, error) {
	return func(args []any) (any, error) {
		if _, isList := args[0].([]any); len(args) == 1 && !isList {
			return nil, wrong("one number, expected a list or several")
		}
		all := listed(args)
		if len(all) == 0 {
			return nil, wrong("the list is empty")
		}
		best := all[0]
		if _, err := numeric(best); err != nil {
			return nil, err
		}
		for _, v := range all[1:] {
			a, b := best, v
			if smallest {
				a, b = v, best
			}
			less, _, err := order(a, b)
			if err != nil {
				return nil, err
			}
			if less {
				best = v
			}
		}
		return best, nil
	}
}

func abs(args []any) (any, error) {
	v, err := numeric(args[0])
	if err != nil {
		return nil, err
	}
	if i, ok := v.(*big.Int); ok {
		return new(big.Int).Abs(i), nil
	}
	return math.Abs(v.(float64)), nil
}

// round rounds halves to even: to an integer, or to so many digits.
func round(args []any) (any, error) {
	v, err := numeric(args[0])
	if err != nil {
		return nil, err
	}
	if len(args) == 1 {
		return whole(math.RoundToEven)(args)
	}
	n, err := integer(args[1])
	if err != nil {
		return nil, err
	}
	if !n.IsInt64() || n.Int64() > 1000 || n.Int64() < -1000 {
		return nil, wrong("%.40v digits, the most are 1000", n)
	}
	digits := int(n.Int64())
	if i, ok := v.(*big.Int); ok {
		if digits >= 0 {
			return i, nil
		}
		return tens(i, -digits), nil
	}
	f := v.(float64)
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return f, nil
	}
	if digits >= 0 {
		return strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64)
	}
	// Only what is before the point matters, and whether something is behind it.
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-digits)), nil)
	q := new(big.Rat).Quo(exact(f), new(big.Rat).SetInt(unit))
	down, rest := floorDiv(q.Num(), q.Denom())
	switch twice := new(big.Int).Mul(rest, big.NewInt(2)); twice.Cmp(q.Denom()) {
	case 1:
		down.Add(down, big.NewInt(1))
	case 0:
		if down.Bit(0) == 1 {
			down.Add(down, big.NewInt(1))
		}
	}
	return float(down.Mul(down, unit)), nil
}

// tens rounds an integer to a multiple of a power of ten.
func tens(i *big.Int, zeros int) *big.Int {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(zeros)), nil)
	down, rest := floorDiv(i, unit)
	if c := new(big.Int).Mul(rest, big.NewInt(2)).Cmp(unit); c > 0 || c == 0 && down.Bit(0) == 1 {
		down.Add(down, big.NewInt(1))
	}
	return down.Mul(down, unit)
}

// pow is the operator with the smaller exponents that ComfyUI allows.
func pow(args []any) (any, error) {
	e, err := real(args[1])
	if err != nil {
		return nil, err
	}
	if math.Abs(e) > 4000 {
		return nil, wrong("the exponent %v is above 4000", e)
	}
	return binary{"**", constant{args[0]}, constant{args[1]}}.value(nil)
}

// log is the logarithm to the base e or another.
func log(args []any) (any, error) {
	v, err := ln(args[0])
	if err != nil || len(args) == 1 {
		return v, err
	}
	base, err := ln(args[1])
	if err != nil {
		return nil, err
	}
	if base == 0 {
		return nil, wrong("division by zero")
	}
	return v / base, nil
}

func ln(v any) (float64, error) {
	n, err := numeric(v)
	if err != nil {
		return 0, err
	}
	if i, ok := n.(*big.Int); ok && i.Sign() > 0 {
		mantissa := new(big.Float)
		exponent := new(big.Float).SetInt(i).MantExp(mantissa)
		m, _ := mantissa.Float64()
		if exponent < 1000 {
			return math.Log(float(i)), nil
		}
		return math.Log(m) + float64(exponent)*math.Ln2, nil
	}
	if f := float(n); f <= 0 || math.IsNaN(f) {
		return 0, wrong("%v has no logarithm", f)
	} else {
		return math.Log(f), nil
	}
}

// ofReal makes a function of one that has no result for some numbers.
func ofReal(f func(float64) float64) func([]any) (any, error) {
	return func(args []any) (any, error) {
		x, err := real(args[0])
		if err != nil {
			return nil, err
		}
		v := f(x)
		if (math.IsNaN(v) || math.IsInf(v, 0)) && !math.IsInf(x, 1) {
			return nil, wrong("%v is outside the domain", x)
		}
		return v, nil
	}
}

// whole makes a function that gives an integer.
func whole(f func(float64) float64) func([]any) (any, error) {
	return func(args []any) (any, error) {
		v, err := numeric(args[0])
		if err != nil {
			return nil, err
		}
		x, ok := v.(float64)
		if !ok {
			return v, nil
		}
		if math.IsInf(x, 0) || math.IsNaN(x) {
			return nil, wrong("%v is no integer", x)
		}
		i, _ := new(big.Float).SetFloat64(f(x)).Int(nil)
		return i, nil
	}
}

func toInt(args []any) (any, error) { return whole(math.Trunc)(args) }

func toFloat(args []any) (any, error) {
	f, err := real(args[0])
	return f, err
}
