// Package link limits how fast a device is given data, to play the link of a
// graphics card on any machine.
package link

import (
	"context"
	"sync"
	"time"

	"github.com/weir-run/weir/device"
)

// A Device is another one behind a link. Uploads take turns on it, as on a
// real one; downloads and operations are not slowed down.
type Device struct {
	device.Device
	rate float64

	mu   sync.Mutex
	free time.Time // when the link has nothing more to do
}

// New returns the device behind a link of so many bytes a second.
func New(d device.Device, rate float64) *Device { return &Device{Device: d, rate: rate} }

// piece is how much goes over the link between two looks at the context.
const piece = 4 << 20

// Upload copies host memory to a buffer and returns when the link has had the
// time to carry it.
func (d *Device) Upload(ctx context.Context, dst device.Buffer, off int64, src []byte) device.Event {
	for len(src) > 0 {
		n := min(len(src), piece)
		arrives := d.book(n)
		if err := d.Device.Upload(ctx, dst, off, src[:n]).Wait(ctx); err != nil {
			return device.Done(err)
		}
		if err := sleep(ctx, time.Until(arrives)); err != nil {
			return device.Done(err)
		}
		src, off = src[n:], off+int64(n)
	}
	return device.Done(ctx.Err())
}

// book returns when n more bytes will have been carried. An idle link makes up
// for a hundredth of a second at most, by which sleeping may take too long.
func (d *Device) book(n int) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if late := time.Now().Add(-10 * time.Millisecond); d.free.Before(late) {
		d.free = late
	}
	d.free = d.free.Add(time.Duration(float64(n) / d.rate * float64(time.Second)))
	return d.free
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
