package cpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/edsrzf/mmap-go"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/weights"
)

const (
	align = 64
	// mapFrom is the size from which buffers are mapped from the system, to
	// which Free returns them at once; smaller ones come from Go's heap.
	mapFrom = 1 << 20
	// copyBlock is how much is copied between two looks at the context.
	copyBlock = 4 << 20
)

// A buffer is memory that kernels read, and write unless it is mapped.
type buffer struct {
	data   []byte
	region mmap.MMap // what to unmap, nil for memory of Go's heap
	mapped bool      // by Map: of the host, read only
}

func (b *buffer) Size() int64 { return int64(len(b.data)) }

// memory gives out buffers and counts their bytes.
type memory struct {
	name  string
	limit int64 // 0 for none

	mu   sync.Mutex
	used int64
	// spare are regions that were freed and may be given out again, with a
	// limit: to have one from the system anew costs as much as to fill it.
	spare  []mmap.MMap
	spared int64
}

func (m *memory) inUse() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

func (m *memory) alloc(n int64) (*buffer, error) {
	if n < 0 {
		return nil, fmt.Errorf("%s was asked for %d bytes", m.name, n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limit > 0 && n > m.limit-m.used {
		return nil, device.NoMemory(m.name, n, m.limit-m.used, m.limit)
	}
	b := &buffer{}
	if n < mapFrom {
		raw := make([]byte, n+align-1)
		skip := -uintptr(unsafe.Pointer(unsafe.SliceData(raw))) % align
		b.data = raw[skip:][:n:n]
	} else {
		region, err := m.region(int(n))
		if err != nil {
			return nil, fmt.Errorf("%w: the system gave %s no %d bytes: %v", device.ErrNoMemory, m.name, n, err)
		}
		b.data, b.region = region[:n:n], region
	}
	m.used += n
	return b, nil
}

// region returns memory of the system of at least n bytes: a spare region that
// is not much larger, or a new one.
func (m *memory) region(n int) (mmap.MMap, error) {
	best := -1
	for i, r := range m.spare {
		if len(r) >= n && len(r) <= n+n/8 && (best < 0 || len(r) < len(m.spare[best])) {
			best = i
		}
	}
	if best >= 0 {
		r := m.spare[best]
		m.spare = slices.Delete(m.spare, best, best+1)
		m.spared -= int64(len(r))
		return r, nil
	}
	r, err := mmap.MapRegion(nil, n, mmap.RDWR, mmap.ANON, 0)
	if err == nil {
		populate(r)
	}
	return r, err
}

// unmap gives a region back, which was mapped whole: that can only fail for a
// broken argument.
func unmap(r mmap.MMap) { _ = r.Unmap() }

// close gives the spare regions back.
func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.spare {
		unmap(r)
	}
	m.spare, m.spared = nil, 0
}

func (m *memory) free(b *buffer) {
	if b.mapped || b.data == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= b.Size()
	b.data = nil
	switch {
	case b.region == nil:
	case m.limit > 0:
		m.spare, m.spared = append(m.spare, b.region), m.spared+int64(len(b.region))
		for m.spared > m.limit/4 {
			m.spared -= int64(len(m.spare[0]))
			unmap(m.spare[0])
			m.spare = slices.Delete(m.spare, 0, 1)
		}
	default:
		unmap(b.region)
	}
	b.region = nil
}

// Upload copies host memory to a buffer and returns when it is done.
func (d *Device) Upload(ctx context.Context, dst device.Buffer, off int64, src []byte) device.Event {
	return device.Done(func() error {
		b, err := window(dst, off, int64(len(src)))
		if err != nil {
			return fmt.Errorf("upload: %w", err)
		}
		if dst.(*buffer).mapped {
			return errors.New("upload: mapped memory of the host cannot be written")
		}
		return transfer(ctx, b, src)
	}())
}

// Download copies a buffer to host memory and returns when it is done.
func (d *Device) Download(ctx context.Context, dst []byte, src device.Buffer, off int64) device.Event {
	return device.Done(func() error {
		b, err := window(src, off, int64(len(dst)))
		if err != nil {
			return fmt.Errorf("download: %w", err)
		}
		return transfer(ctx, dst, b)
	}())
}

// window returns n bytes of a buffer.
func window(buf device.Buffer, off, n int64) ([]byte, error) {
	b, ok := buf.(*buffer)
	if !ok {
		return nil, fmt.Errorf("the buffer is a %T and not of this device", buf)
	}
	if off < 0 || off > b.Size() || n > b.Size()-off {
		return nil, fmt.Errorf("bytes %d to %d lie outside of a buffer of %d bytes", off, off+n, b.Size())
	}
	return b.data[off:][:n], nil
}

// transfer copies in blocks. The source may be a mapped file that can no
// longer be read.
func transfer(ctx context.Context, dst, src []byte) error {
	return weights.Guard(func() error {
		for len(src) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := copy(dst, src[:min(len(src), copyBlock)])
			dst, src = dst[n:], src[n:]
		}
		return nil
	})
}
