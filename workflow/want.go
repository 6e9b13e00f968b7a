package workflow

import (
	"container/heap"
	"maps"

	"github.com/weir-run/weir/fault"
)

// steps are the numbers of steps that are to run, the first on top. A step's
// number is higher than those of the steps that it uses.
type steps []int

func (s steps) Len() int           { return len(s) }
func (s steps) Less(i, j int) bool { return s[i] < s[j] }
func (s steps) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *steps) Push(v any)        { *s = append(*s, v.(int)) }

func (s *steps) Pop() any {
	last := len(*s) - 1
	v := (*s)[last]
	*s = (*s)[:last]
	return v
}

// links returns the links of a step that count. The lazy ones do from when the
// step has chosen them.
func (r *run) links(s *step) map[string]Reference {
	if s.schema.Lazy == nil {
		return s.links
	}
	links, known := r.chosen[s]
	if !known {
		links = maps.Clone(s.links)
		for _, in := range s.inputs {
			if in.Lazy {
				delete(links, in.Name)
			}
		}
		r.chosen[s] = links
	}
	return links
}

// want finds the nodes whose results are needed and not known, output nodes and
// those that such nodes are linked to, and how long each result may be needed.
func (r *run) want() {
	r.wanted, r.last, r.index = map[string]bool{}, map[string]int{}, map[string]int{}
	// Steps that only lazy inputs lead to may run as late as these do.
	until := map[string]int{}
	for i := len(r.job.steps) - 1; i >= 0; i-- {
		s := r.job.steps[i]
		id := s.node.ID
		r.index[id] = i
		if s.schema.Output {
			r.wanted[id] = true
		}
		_, cached := r.x.cache[r.signatures[id]]
		if cached || r.wanted[id] {
			r.todo = append(r.todo, i)
		}
		last, late := until[id]
		if cached || r.failures[id] || !r.wanted[id] && !late {
			continue
		}
		certain := r.links(s)
		for name, ref := range s.links {
			r.last[ref.Node] = max(r.last[ref.Node], i, last)
			if _, ok := certain[name]; ok && r.wanted[id] {
				r.wanted[ref.Node] = true
			} else {
				until[ref.Node] = max(until[ref.Node], i, last)
			}
		}
	}
	heap.Init(&r.todo)
}

// chooses lets step number i choose which lazy links it needs. It reports true
// when that must wait for what they lead to, which is then to run before it.
func (r *run) chooses(i int) bool {
	s := r.job.steps[i]
	if s.schema.Lazy == nil || r.decided[s] {
		return false
	}
	r.decided[s] = true
	values, err := r.inputs(s)
	if err != nil {
		return false // said when it runs
	}
	var names []string
	if err := fault.Guard(func() error { names = s.schema.Lazy(r.call(s, values)); return nil }); err != nil {
		return false // as well
	}
	links := r.links(s)
	before := len(r.todo)
	for _, name := range names {
		if ref, ok := s.links[name]; ok {
			links[name] = ref
			r.demand(ref.Node)
		}
	}
	if len(r.todo) == before {
		return false
	}
	heap.Push(&r.todo, i)
	return true
}

// demand has a node run, and those that it is linked to, unless they are wanted
// already.
func (r *run) demand(node string) {
	nodes := []string{node}
	for len(nodes) > 0 {
		id := nodes[len(nodes)-1]
		nodes = nodes[:len(nodes)-1]
		if _, done := r.results[id]; done || r.wanted[id] {
			continue
		}
		r.wanted[id] = true
		heap.Push(&r.todo, r.index[id])
		for _, ref := range r.links(r.job.steps[r.index[id]]) {
			nodes = append(nodes, ref.Node)
		}
	}
}
