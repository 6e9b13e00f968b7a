package pager

// A Residence says in which memories an extent is. On a unified device none
// is in VRAM.
type Residence struct{ RAM, VRAM bool }

// Residence returns where each extent of the manifest is now. While passes
// run it changes all the time.
func (s *Space) Residence() []Residence {
	p := s.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Residence, len(s.extents))
	for i, e := range s.extents {
		out[i].RAM = p.ram.of(e).resident
		if p.vram != nil {
			out[i].VRAM = p.vram.of(e).resident
		}
	}
	return out
}

// Keeps reports whether the pass keeps an extent of the manifest where kernels
// read it. The others are streamed: each run brings them in again.
func (ps *Pass) Keeps(extent int) bool {
	p := ps.space.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	return ps.kept[p.top.index][extent]
}
