package workflow

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// nodeID reads the id of a node in a link: a string, or a number as the user
// interface writes it.
func nodeID(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// smallInt reads a number that counts something.
func smallInt(v any) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(n.String(), 10, 32)
	return int(i), err == nil && i >= 0
}

// typed converts the JSON value of an input as leniently as ComfyUI does (3.0,
// "3" and true are the INT 3) and checks its limits or options. INT values are
// int64, those above math.MaxInt64 uint64.
func (in *Input) typed(v any) (any, error) {
	value, err := in.convert(v)
	if err != nil {
		return nil, err
	}
	if err := in.checkRange(value); err != nil {
		return nil, err
	}
	if in.Check != nil {
		return value, in.Check(value)
	}
	if in.Type == TypeCombo {
		return in.option(value.(string))
	}
	return value, nil
}

func (in *Input) convert(v any) (any, error) {
	text, isScalar := scalarText(v)
	wrong := fmt.Errorf("expected a value of type %s, found %s", in.Type, kind(v))
	if !isScalar {
		return nil, wrong
	}
	switch in.Type {
	case TypeInt:
		if b, ok := v.(bool); ok {
			return map[bool]int64{false: 0, true: 1}[b], nil
		}
		i, ok := parseInteger(text)
		if f, err := strconv.ParseFloat(strings.TrimSpace(text), 64); !ok && err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return nil, fmt.Errorf("%s is no integer of 64 bits", clip(text))
		}
		if !ok {
			return nil, wrong
		}
		return i, nil
	case TypeFloat:
		if b, ok := v.(bool); ok {
			return map[bool]float64{false: 0, true: 1}[b], nil
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, wrong
		}
		return f, nil
	case TypeBool:
		switch v := v.(type) {
		case bool:
			return v, nil
		case string:
			b, err := strconv.ParseBool(strings.ToLower(v))
			if err != nil {
				return nil, wrong
			}
			return b, nil
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, wrong
		}
		return f != 0, nil
	case TypeString, TypeCombo:
		return text, nil
	}
	return nil, wrong
}

// scalarText returns a string, number or truth value as text.
func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return map[bool]string{false: "False", true: "True"}[v], true
	}
	return "", false
}

// parseInteger reads an integer of up to 64 bits exactly, and a number with a
// fraction by cutting that off.
func parseInteger(text string) (any, bool) {
	text = strings.TrimSpace(text)
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, true
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return u, true
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsNaN(f):
	case math.Abs(f) < 1<<63:
		return int64(f), true
	case f > 0 && f < 1<<64:
		return uint64(f), true
	}
	return nil, false
}

func (in *Input) checkRange(value any) error {
	if in.Min != nil && compare(value, in.Min) < 0 {
		return fmt.Errorf("%v is below the smallest value allowed, %v", value, in.Min)
	}
	if in.Max != nil && compare(value, in.Max) > 0 {
		return fmt.Errorf("%v is above the largest value allowed, %v", value, in.Max)
	}
	return nil
}

// compare orders numbers of the types int64, uint64 and float64 exactly.
func compare(a, b any) int { return exact(a).Cmp(exact(b)) }

func exact(v any) *big.Float {
	f := new(big.Float).SetPrec(64)
	switch v := v.(type) {
	case int64:
		return f.SetInt64(v)
	case uint64:
		return f.SetUint64(v)
	case float64:
		return f.SetFloat64(v)
	}
	panic(fmt.Sprintf("workflow: limit %v of type %T", v, v))
}

// option returns the choice of a COMBO that the value names. Paths written on
// Windows name files elsewhere too.
func (in *Input) option(value string) (any, error) {
	options, err := in.Options()
	if err != nil {
		return nil, fmt.Errorf("cannot list what %q may be: %w", in.Name, err)
	}
	slashes := func(s string) string { return strings.ReplaceAll(s, `\`, "/") }
	for _, o := range options {
		if slashes(o) == slashes(value) {
			return o, nil
		}
	}
	return nil, &unavailable{value, options}
}

// unavailable is the error of a choice that a COMBO does not have. It looks for
// the nearest only when it is told.
type unavailable struct {
	value   string
	options []string
}

func (e *unavailable) Error() string {
	return fmt.Sprintf("%s is not available; %s", quote(e.value), near(e.value, e.options))
}

// linked checks a value that came over a link into an input that could also be
// written in the file.
func (in *Input) linked(v any) (any, error) {
	switch given := v.(type) {
	case int64, uint64, float64:
		v = json.Number(fmt.Sprint(given))
	case string, bool:
	case error: // why there is no value
		return nil, given
	default:
		return nil, fmt.Errorf("expected a value of type %s, the linked node gave %T", in.Type, v)
	}
	return in.typed(v)
}
