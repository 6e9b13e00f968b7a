package pager

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// An injector makes one event of a run go wrong: the one of a number.
type injector struct {
	mu   sync.Mutex
	at   int    // counts down to the event
	what string // the kind of it, when it has come
	do   func() error
}

func (in *injector) event(what string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.at--
	if in.at != -1 {
		return nil
	}
	in.what = what
	return in.do()
}

var errInjected = errors.New("injected")

// TestEveryEventFails makes every read, allocation and upload of a run fail in
// turn, once with an error and once by cancelling the run at that point. The
// run ends with that error or, when it was only a prefetch that failed, as if
// nothing had happened; nothing stays pinned or lost, and the next run is
// right.
func TestEveryEventFails(t *testing.T) {
	for _, kind := range []string{"unified", "discrete", "computed"} {
		for _, cancels := range []bool{false, true} {
			seen := map[string]int{}
			failed := 0
			for at := 0; ; at++ {
				what, err := failAt(t, kind, at, cancels)
				if t.Failed() {
					t.Fatalf("%s, event %d (%s), cancelled: %v", kind, at, what, cancels)
				}
				if what == "" {
					break // the run has no more events
				}
				seen[what]++
				if err != nil {
					failed++
				}
			}
			if seen["read"] == 0 || seen["allocation"] == 0 || kind != "unified" && seen["upload"] == 0 || failed == 0 {
				t.Errorf("%s: of %v, %d made the run fail: the test is not what it says", kind, seen, failed)
			}
		}
	}
}

// failAt runs a model that does not fit, of which one event goes wrong. It
// returns what the event was, "" if there was none of that number, and the
// run's error.
func failAt(t *testing.T, kind string, at int, cancels bool) (string, error) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in := &injector{at: at, do: func() error {
		if cancels {
			cancel()
			return nil
		}
		return errInjected
	}}
	d := &fake{total: 400, ram: 400, unified: kind == "unified", event: in.event}
	p := New(d, Options{Host: d.host, VRAM: 400})
	defer p.Close()
	m, files := manifest("m", sizes(8, 100)...)
	for i, f := range files {
		f.event = in.event
		if kind == "computed" && i%2 == 0 {
			for k := range m.Extents[i].Parts {
				m.Extents[i].Parts[k].Source = computed{f}
			}
		}
	}
	s := model(t, p, m, scan(8))
	err := runUntil(t, ctx, d, s, 10)
	p.settle()
	in.mu.Lock()
	what := in.what
	in.at = -1 // nothing goes wrong any more
	in.mu.Unlock()
	switch {
	case err == nil, !cancels && errors.Is(err, errInjected), cancels && errors.Is(err, context.Canceled):
	default:
		t.Errorf("the run's error is %v", err)
	}
	p.check(t, d)
	for _, e := range s.space.extents {
		for _, tier := range p.tiers() {
			if on := tier.of(e); on.pins != 0 || on.loading != nil || on.keeps != 0 {
				t.Errorf("%s: %s has %d pins and %d keeps, loading %v", tier.name, e.Key, on.pins, on.keeps, on.loading != nil)
			}
		}
	}
	if again := run(t, d, s, 10); again != nil {
		t.Errorf("the next run: %v", again)
	}
	return what, err
}
