package pager

import "fmt"

// A Space is the page table of a model.
type Space struct {
	pager   *Pager
	name    string
	extents []*extent
	index   map[*extent]int // the first of each
}

// Reserve returns a space for the extents of a manifest. It reads and
// allocates nothing. What is resident already under the same key and signature
// is shared.
func (p *Pager) Reserve(m Manifest) (*Space, error) {
	for _, e := range m.Extents {
		for _, part := range e.Parts {
			if part.At < 0 || part.Bytes < 0 || part.Bytes > e.Bytes || part.At > e.Bytes-part.Bytes {
				return nil, fmt.Errorf("%s: a part of %d bytes at %d does not fit in the extent of %d bytes", m.Name, part.Bytes, part.At, e.Bytes)
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &Space{pager: p, name: m.Name, index: map[*extent]int{}}
	for _, e := range m.Extents {
		id := identity{e.Key, e.Signature, e.Bytes}
		x := p.table[id]
		if x == nil {
			x = &extent{id: id}
			p.table[id] = x
		}
		if x.spaces == 0 {
			// The newest sources are the ones whose files are open.
			x.Extent, x.mapped = e, mapped(e)
		}
		x.spaces++
		if _, ok := s.index[x]; !ok {
			s.index[x] = len(s.extents)
		}
		s.extents = append(s.extents, x)
	}
	return s, nil
}

// mapped reports whether an extent can be used where it is.
func mapped(e Extent) bool {
	for _, part := range e.Parts {
		if _, ok := part.Source.(Mapped); !ok {
			return false
		}
	}
	return true
}

// Release gives the space back. Extents that no other space refers to stay
// resident for a later one until their memory is needed. No pass may be under
// way.
func (s *Space) Release() {
	p := s.pager
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.coming != nil && p.coming.space == s {
		p.coming = nil
	}
	for _, e := range s.extents {
		e.spaces--
		p.forgetLocked(e)
	}
	s.extents, s.index = nil, nil
}

// forgetLocked takes an extent that nobody refers to and that is nowhere
// resident out of the table.
func (p *Pager) forgetLocked(e *extent) {
	if e.spaces > 0 {
		return
	}
	for _, s := range e.on {
		if s.resident || s.loading != nil {
			return
		}
	}
	if p.table[e.id] == e {
		delete(p.table, e.id)
	}
}
