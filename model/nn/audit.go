package nn

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
)

// An Audit compares the weights that networks read with those of a source.
type Audit struct {
	// Reads has the shape of every weight that the networks read, by name.
	Reads map[string]ir.Shape

	inFile func(name string) string // of a name in errors
	faults []misfit                 // in the order of the networks
	err    error                    // of the graphs
}

// A misfit is a weight that a network reads and cannot.
type misfit struct {
	name        string
	dtype       dtype.DType
	found, want ir.Shape
	missing     bool
	quantized   bool // where the network reads plain numbers
}

// InFile is a source whose names are not those in its file.
type InFile interface {
	// InFile returns the name that the file has, or would have, for a weight.
	InFile(name string) string
}

// Check builds networks on a source, for the sake of what they read.
func Check(src Source, networks ...func(Scope)) *Audit {
	a := &Audit{Reads: map[string]ir.Shape{}, inFile: func(name string) string { return name }}
	if file, ok := src.(InFile); ok {
		a.inFile = file.InFile
	}
	for _, network := range networks {
		g := ir.New("network")
		network(Scope{g: g, src: src, audit: a})
		for _, v := range g.Values {
			if v.Kind == ir.Weight {
				a.Reads[v.Name] = v.Shape
			}
		}
		if a.err == nil {
			a.err = g.Err()
		}
	}
	seen := map[string]bool{}
	a.faults = slices.DeleteFunc(a.faults, func(f misfit) bool {
		twice := seen[f.name]
		seen[f.name] = true
		return twice
	})
	return a
}

// Err returns an error that names the weights that are missing, have another
// shape than the networks state, or hold integers. It is nil when all fit.
func (a *Audit) Err() error {
	if len(a.faults) == 0 {
		return a.err
	}
	var missing, others []string
	for _, f := range a.faults {
		f.name = a.inFile(f.name)
		if f.missing {
			missing = append(missing, fault.Name(f.name))
		} else {
			others = append(others, f.Error())
		}
	}
	var text []string
	switch len(missing) {
	case 0:
	case 1:
		text = append(text, fmt.Sprintf("there is no tensor %s", missing[0]))
	default:
		text = append(text, fmt.Sprintf("%d of %d tensors are missing: %s", len(missing), len(a.Reads), fault.List(missing, 10)))
	}
	if len(others) > 0 {
		text = append(text, fault.List(others, 10))
	}
	if len(missing) > 0 {
		text = append(text, "the file is incomplete or of another kind")
	}
	return fault.New(fault.Model, "%s", strings.Join(text, "; "))
}

// faultOf compares a weight with what a network states of it, and returns nil
// when it fits.
func faultOf(name string, dt dtype.DType, found, want ir.Shape, ok, packed bool) *misfit {
	if ok && Holds(found, want) && (packed || dt.IsFloat()) {
		return nil
	}
	return &misfit{name: name, dtype: dt, found: found, want: slices.Clone(want), missing: !ok}
}

func (f misfit) Error() string {
	switch {
	case f.missing:
		return "there is no tensor " + fault.Name(f.name)
	case f.quantized:
		return fmt.Sprintf("tensor %s is quantized, which only the weights of linear layers, convolutions and embeddings may be", fault.Name(f.name))
	case slices.Contains(f.found, 0):
		return fmt.Sprintf("tensor %s is empty: its shape is %v", fault.Name(f.name), f.found)
	case !Holds(f.found, f.want):
		return fmt.Sprintf("tensor %s has the shape %v, expected %v", fault.Name(f.name), f.found, f.want)
	}
	return fmt.Sprintf("tensor %s has the dtype %v, expected floating-point numbers: integers stand for weights only in formats that are not supported", fault.Name(f.name), f.dtype)
}

// Holds reports whether a tensor that is stored in one shape holds the elements
// of another in their order. Dimensions of 1 at either end count for nothing, so
// that a matrix may be stored as a 1×1 convolution or as a batch of one. Neighbouring dimensions may
// be merged, as converters to GGUF do.
func Holds(stored, want ir.Shape) bool {
	if slices.Contains(stored, 0) || slices.Contains(want, 0) {
		return false
	}
	stored, want = trim(stored), trim(want)
	for len(stored) > 0 && stored[0] == 1 {
		stored = stored[1:]
	}
	for len(want) > 0 && want[0] == 1 {
		want = want[1:]
	}
	if slices.Equal(stored, want) {
		return true
	}
	if len(stored) >= len(want) {
		return false
	}
	for _, n := range stored {
		product := 1
		for product < n && len(want) > 0 {
			product, want = product*want[0], want[1:]
		}
		if product != n {
			return false
		}
	}
	return len(trim(want)) == 0
}

// Trimmed reports whether two shapes differ in dimensions of 1 at the end alone.
func Trimmed(a, b ir.Shape) bool { return slices.Equal(trim(a), trim(b)) }

// trim leaves out the dimensions of 1 at the end.
func trim(s ir.Shape) ir.Shape {
	for len(s) > 0 && s[len(s)-1] == 1 {
		s = s[:len(s)-1]
	}
	return s
}
