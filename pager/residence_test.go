package pager

import "testing"

// TestResidence acquires two of four extents that fit, and asks where they are.
func TestResidence(t *testing.T) {
	for _, unified := range []bool{false, true} {
		d := &fake{total: 1000, ram: 1000, unified: unified}
		p := d.pager(t, Options{Mode: MMap}) // nothing is brought in ahead
		m, _ := manifest("m", sizes(4, 100)...)
		s := model(t, p, m, [][]int{{2}, {0}})
		if err := run(t, d, s, 0); err != nil {
			t.Fatal(err)
		}
		for i, got := range s.space.Residence() {
			used := i == 0 || i == 2
			if want := (Residence{RAM: used, VRAM: used && !unified}); got != want {
				t.Errorf("unified %v: extent %d is at %+v, want %+v", unified, i, got, want)
			}
		}
	}
}

// TestKeeps compares the extents that a pass keeps with the bytes of its split.
func TestKeeps(t *testing.T) {
	for _, total := range []int64{400, 1000, 2000} {
		d := &fake{total: total}
		p := d.pager(t, Options{})
		m, _ := manifest("m", sizes(20, 100)...)
		s := model(t, p, m, scan(20))
		pass, err := p.Begin(t.Context(), s, 0)
		if err != nil {
			t.Fatal(err)
		}
		var kept int64
		for i := range 20 {
			if pass.Keeps(i) {
				kept += 100
			}
		}
		pass.End()
		if split, _ := s.Split(); kept != split.Kept {
			t.Errorf("with %d bytes for 2000 the extents that are kept have %d bytes, the split says %d", total, kept, split.Kept)
		}
	}
}
