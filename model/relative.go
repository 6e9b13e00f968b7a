package model

import (
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model/nn"
)

// A Relative is a network that is like a known one and is not supported.
type Relative struct {
	// Name begins the name of a tensor that it has.
	Name string
	// What it is, for people, and what to do.
	What string
}

// Refuse returns an error that names the first of the relatives whose tensor is
// in the names, behind one of the prefixes. Without any it is nil.
func Refuse(names nn.Names, relatives []Relative, prefixes ...string) error {
	for _, r := range relatives {
		for _, prefix := range prefixes {
			if under := names.Under(prefix + r.Name); len(under) > 0 {
				return fault.New(fault.Model, "this is %s (it has the tensor %s)", r.What, fault.Name(under[0]))
			}
		}
	}
	return nil
}
