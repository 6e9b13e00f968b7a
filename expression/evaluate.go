package expression

import (
	"math"
	"math/big"
)

// Evaluate computes a formula. Names are those of its inputs; values may be int64,
// uint64, float64 and bool, and lists of those. The result is a bool, a *big.Int or
// a finite float64.
func Evaluate(text string, names map[string]any) (any, error) {
	t, err := parse(text)
	if err != nil {
		return nil, err
	}
	known := map[string]any{}
	for n, v := range names {
		known[n] = given(v)
	}
	v, err := t.value(known)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case float64:
		return finite(v)
	case []any:
		return nil, wrong("the result is a list, expected a number")
	}
	return v, nil
}

// given turns a value of a workflow into one of a formula.
func given(v any) any {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v)
	case uint64:
		return new(big.Int).SetUint64(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = given(v[i])
		}
		return out
	}
	return v
}

type constant struct{ v any }

func (c constant) value(map[string]any) (any, error) { return c.v, nil }

type name string

func (n name) value(names map[string]any) (any, error) {
	v, ok := names[string(n)]
	if !ok {
		return nil, wrong("the name %.40q is not defined", string(n))
	}
	return v, nil
}

type ifElse struct{ on, then, other term }

func (e ifElse) value(names map[string]any) (any, error) {
	on, err := e.on.value(names)
	if err != nil {
		return nil, err
	}
	if truth(on) {
		return e.then.value(names)
	}
	return e.other.value(names)
}

type either struct {
	op   string
	a, b term
}

func (e either) value(names map[string]any) (any, error) {
	v, err := e.a.value(names)
	if err != nil || truth(v) == (e.op == "or") {
		return v, err
	}
	return e.b.value(names)
}

type compare struct {
	first term
	ops   []string
	rest  []term
}

func (c compare) value(names map[string]any) (any, error) {
	a, err := c.first.value(names)
	if err != nil {
		return nil, err
	}
	for i, op := range c.ops {
		b, err := c.rest[i].value(names)
		if err != nil {
			return nil, err
		}
		ok, err := holds(op, a, b)
		if err != nil || !ok {
			return false, err
		}
		a = b
	}
	return true, nil
}

func holds(op string, a, b any) (bool, error) {
	if op == "in" || op == "not in" {
		list, ok := b.([]any)
		if !ok {
			return false, wrong("%s: expected a list, such as values", op)
		}
		for _, v := range list {
			if _, equal, err := order(a, v); err != nil || equal {
				return op == "in", err
			}
		}
		return op == "not in", nil
	}
	less, equal, err := order(a, b)
	switch op {
	case "<":
		return less, err
	case "<=":
		return less || equal, err
	case ">":
		more, _, err := order(b, a)
		return more, err
	case ">=":
		more, _, err := order(b, a)
		return more || equal, err
	case "!=":
		return !equal, err
	}
	return equal, err
}

type index struct{ list, at term }

func (e index) value(names map[string]any) (any, error) {
	v, err := e.list.value(names)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, wrong("only lists, such as values, have an index")
	}
	at, err := e.at.value(names)
	if err != nil {
		return nil, err
	}
	i, err := integer(at)
	if err != nil {
		return nil, err
	}
	n := int64(len(list))
	if !i.IsInt64() || i.Int64() >= n || i.Int64() < -n {
		return nil, wrong("the index %v is beyond a list of %d", i, n)
	}
	return list[(i.Int64()+n)%n], nil
}

type unary struct {
	op string
	a  term
}

func (u unary) value(names map[string]any) (any, error) {
	v, err := u.a.value(names)
	if err != nil {
		return nil, err
	}
	switch u.op {
	case "not":
		return !truth(v), nil
	case "~":
		i, err := integer(v)
		if err != nil {
			return nil, err
		}
		return new(big.Int).Not(i), nil
	}
	if v, err = numeric(v); err != nil || u.op == "+" {
		return v, err
	}
	if i, ok := v.(*big.Int); ok {
		return new(big.Int).Neg(i), nil
	}
	return -v.(float64), nil
}

type binary struct {
	op   string
	a, b term
}

func (e binary) value(names map[string]any) (any, error) {
	a, err := e.a.value(names)
	if err != nil {
		return nil, err
	}
	b, err := e.b.value(names)
	if err != nil {
		return nil, err
	}
	if a, err = numeric(a); err != nil {
		return nil, err
	}
	if b, err = numeric(b); err != nil {
		return nil, err
	}
	x, isInt := a.(*big.Int)
	y, both := b.(*big.Int)
	if isInt && both {
		return ofIntegers(e.op, x, y)
	}
	f, err := real(a)
	if err != nil {
		return nil, err
	}
	g, err := real(b)
	if err != nil {
		return nil, err
	}
	return ofFloats(e.op, f, g)
}

// ofIntegers computes as Python does: quotients and remainders are rounded down.
func ofIntegers(op string, a, b *big.Int) (any, error) {
	out := new(big.Int)
	switch op {
	case "+":
		return bounded(out.Add(a, b))
	case "-":
		return bounded(out.Sub(a, b))
	case "*":
		if a.BitLen()+b.BitLen() > maxBits+1 {
			return nil, wrong("an integer has more than %d bits", maxBits)
		}
		return bounded(out.Mul(a, b))
	case "|":
		return out.Or(a, b), nil
	case "&":
		return out.And(a, b), nil
	case "^":
		return out.Xor(a, b), nil
	case "**":
		return power(a, b)
	case "<<", ">>":
		if !b.IsInt64() || b.Sign() < 0 || b.Int64() > 10_000 {
			return nil, wrong("cannot shift by %.40v bits, the most are 10000", b)
		}
		if op == ">>" {
			return out.Rsh(a, uint(b.Int64())), nil
		}
		return bounded(out.Lsh(a, uint(b.Int64())))
	}
	if b.Sign() == 0 {
		return nil, wrong("division by zero")
	}
	switch op {
	case "/":
		f, _ := new(big.Rat).SetFrac(a, b).Float64()
		return finite(f)
	case "//":
		q, _ := floorDiv(a, b)
		return q, nil
	default: // %
		_, r := floorDiv(a, b)
		return r, nil
	}
}

// floorDiv returns the quotient rounded down, and what remains.
func floorDiv(a, b *big.Int) (q, r *big.Int) {
	q, r = new(big.Int).QuoRem(a, b, new(big.Int))
	if r.Sign() != 0 && r.Sign() != b.Sign() {
		q.Sub(q, big.NewInt(1))
		r.Add(r, b)
	}
	return q, r
}

// power returns a to the power of b, a float where b is negative.
func power(a, b *big.Int) (any, error) {
	if b.Sign() < 0 {
		f, err := real(a)
		if err != nil {
			return nil, err
		}
		g, err := real(b)
		if err != nil {
			return nil, err
		}
		return ofFloats("**", f, g)
	}
	switch {
	case b.Sign() == 0 || a.IsInt64() && a.Int64() == 1 || a.IsInt64() && a.Int64() == -1 && b.Bit(0) == 0:
		return big.NewInt(1), nil
	case a.CmpAbs(big.NewInt(1)) <= 0: // 0, or -1 to an odd power
		return a, nil
	}
	if !b.IsInt64() || b.Int64() > maxBits || int64(a.BitLen()-1)*b.Int64() > maxBits {
		return nil, wrong("a power has more than %d bits", maxBits)
	}
	return bounded(new(big.Int).Exp(a, b, nil))
}

func ofFloats(op string, a, b float64) (any, error) {
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "**":
		if a == 0 && b < 0 {
			return nil, wrong("zero to a negative power")
		}
		v := math.Pow(a, b)
		if math.IsNaN(v) && !math.IsNaN(a) && !math.IsNaN(b) {
			return nil, wrong("%v to the power of %v is no real number", a, b)
		}
		if math.IsInf(v, 0) && !math.IsInf(a, 0) && !math.IsInf(b, 0) {
			return nil, wrong("a result is too large")
		}
		return v, nil
	case "/", "//", "%":
		if b == 0 {
			return nil, wrong("division by zero")
		}
	default:
		return nil, wrong("%s: expected integers, found %v and %v", op, a, b)
	}
	if op == "/" {
		return a / b, nil
	}
	// As in CPython, whose remainder has the sign of the divisor.
	r := math.Mod(a, b)
	q := (a - r) / b
	if r != 0 && (r < 0) != (b < 0) {
		r += b
		q--
	} else if r == 0 {
		r = math.Copysign(0, b)
	}
	if op == "%" {
		return r, nil
	}
	if q == 0 {
		return math.Copysign(0, a/b), nil
	}
	down := math.Floor(q)
	if q-down > 0.5 {
		down++
	}
	return down, nil
}
