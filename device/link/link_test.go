package link

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/weir-run/weir/device/cpu"
)

// TestRate uploads from two goroutines at once: what the link carries in all
// is never more than its rate allows.
func TestRate(t *testing.T) {
	dev := cpu.New(cpu.Options{VRAM: 64 << 20, Threads: 1})
	defer dev.Close()
	const rate = 100 << 20
	d := New(dev, rate)
	src := bytes.Repeat([]byte{7, 8, 9}, 5<<20)
	start := time.Now()
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			b, err := d.Alloc(int64(len(src)))
			if err != nil {
				t.Error(err)
				return
			}
			if err := d.Upload(t.Context(), b, 0, src).Wait(t.Context()); err != nil {
				t.Error(err)
			}
			got := make([]byte, len(src))
			if err := d.Download(t.Context(), got, b, 0).Wait(t.Context()); err != nil || !bytes.Equal(got, src) {
				t.Errorf("what arrives is not what was sent: %v", err)
			}
		})
	}
	wait.Wait()
	least := time.Duration(float64(2*len(src))/rate*float64(time.Second)) - 10*time.Millisecond
	if took := time.Since(start); took < least {
		t.Errorf("%d bytes took %v at %d bytes a second, expected at least %v", 2*len(src), took, rate, least)
	}
}

func TestCancel(t *testing.T) {
	dev := cpu.New(cpu.Options{VRAM: 64 << 20, Threads: 1})
	defer dev.Close()
	d := New(dev, 1)
	b, err := d.Alloc(100)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := d.Upload(ctx, b, 0, make([]byte, 100)).Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an upload that takes a hundred seconds was cancelled: %v", err)
	}
}
