package pager

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/trace"
)

// TestTransfersHaveTracks reads the timeline of a streamed model: every
// transfer is on it, those of one track follow each other, and evictions are
// marked.
func TestTransfersHaveTracks(t *testing.T) {
	var out bytes.Buffer
	recorder := trace.New(&out)
	d := &fake{total: 1000, ram: 1000}
	p := d.pager(t, Options{Trace: recorder})
	m, files := manifest("m", sizes(30, 100)...)
	for _, f := range files {
		f.delay = 200 * time.Microsecond
	}
	s := model(t, p, m, scan(30))
	runs(t, d, s, 10, 3)
	p.settle()
	stats := p.Stats()
	if err := recorder.Close(); err != nil {
		t.Fatal(err)
	}
	type event struct {
		Name, Ph string
		Ts, Dur  float64
		Tid      int
		Args     struct{ Name string }
	}
	var events []event
	if err := json.Unmarshal(out.Bytes(), &events); err != nil {
		t.Fatal(err)
	}
	names, spans := map[int]string{}, map[string][]event{}
	marks := 0
	for _, e := range events {
		switch e.Ph {
		case "M":
			names[e.Tid] = e.Args.Name
		case "X":
			spans[names[e.Tid]] = append(spans[names[e.Tid]], e)
		case "i":
			marks++
		}
	}
	var ram, vram int64
	for name, list := range spans {
		tier := &ram
		switch {
		case strings.HasPrefix(name, "VRAM"):
			tier = &vram
		case !strings.HasPrefix(name, "RAM"):
			continue
		}
		*tier += 100 * int64(len(list))
		slices.SortFunc(list, func(a, b event) int { return int(a.Ts*1e3 - b.Ts*1e3) })
		for i := 1; i < len(list); i++ {
			if before := list[i-1]; before.Ts+before.Dur > list[i].Ts+0.01 {
				t.Errorf("%s: %s begins before %s has ended", name, list[i].Name, before.Name)
			}
		}
	}
	if ram != stats.RAM.Moved || vram != stats.VRAM.Moved || len(spans["wait"]) == 0 {
		t.Errorf("the timeline has %d bytes to RAM and %d to VRAM, the counters say %d and %d; %d waits", ram, vram, stats.RAM.Moved, stats.VRAM.Moved, len(spans["wait"]))
	}
	if want := stats.RAM.Evictions + stats.VRAM.Evictions; int64(marks) != want {
		t.Errorf("%d evictions are marked of %d", marks, want)
	}
}
