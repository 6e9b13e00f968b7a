package cpu

import (
	"testing"

	"github.com/weir-run/weir/fault"
)

// TestPanicOfATask fails the work of all threads, which can be given more.
func TestPanicOfATask(t *testing.T) {
	p := newPool(3)
	defer p.close()
	p.ctx = t.Context()
	err := p.run(100, func(_ *worker, i int) error {
		if i == 50 {
			panic("broken")
		}
		return nil
	})
	if fault.Of(err) != fault.Internal {
		t.Errorf("got %v of kind %q", err, fault.Of(err))
	}
	if err := p.run(100, func(*worker, int) error { return nil }); err != nil {
		t.Error(err)
	}
}
