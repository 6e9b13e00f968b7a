package dit

import "github.com/weir-run/weir/model"

// Add collects the layers of a network for [model.Config.Layers].
type Add struct{ yield func(model.Layer) }

// Layers calls list with an Add and passes what is added on to yield, until that
// is false.
func Layers(yield func(model.Layer) bool, list func(Add)) {
	more := true
	list(Add{func(l model.Layer) { more = more && yield(l) }})
}

// Layer adds the linear layer of OWN.weight with its names elsewhere.
func (a Add) Layer(own string, elsewhere ...string) {
	a.yield(model.Layer{Weight: own + ".weight", Own: own, Elsewhere: append([]string{own}, elsewhere...), Side: true})
}

// Norm adds the norm of OWN.weight, on which no LoRA can be a side path.
func (a Add) Norm(own string, elsewhere ...string) { a.NormOf(own, own+".weight", elsewhere...) }

// NormOf is Norm for a weight whose name does not end in ".weight".
func (a Add) NormOf(own, weight string, elsewhere ...string) {
	a.yield(model.Layer{Weight: weight, Own: own, Elsewhere: append([]string{own}, elsewhere...)})
}

// Rows adds the layer of OWN.weight, and runs of n of its rows that are layers
// of their own elsewhere.
func (a Add) Rows(own string, n int, elsewhere ...string) {
	a.Layer(own)
	for i, name := range elsewhere {
		a.Part(own, i*n, n, name)
	}
}

// Part adds n rows of the layer of OWN.weight that are a layer elsewhere.
func (a Add) Part(own string, from, n int, elsewhere string) {
	a.yield(model.Layer{Weight: own + ".weight", Elsewhere: []string{elsewhere}, From: from, Rows: n, Side: true})
}
