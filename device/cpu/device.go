// Package cpu runs the operations of package ir on the processor's cores. The
// inner loops are in assembly for AVX-512 and AVX2, and in Go for any other
// processor.
//
// Matrix products, convolutions and attention share one blocked product (see
// gemm.go): operands are packed into panels of float32, whatever their layout
// and dtype in memory, and a micro-kernel multiplies panels. Every kernel
// splits its work along its output and applies the steps of its operation to
// each block of results before it is stored, so results are the same bits for
// any number of threads and any tiling of weights by rows.
package cpu

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/klauspost/cpuid/v2"

	"github.com/weir-run/weir/device"
	"github.com/weir-run/weir/host"
	"github.com/weir-run/weir/ir"
)

// Options are the choices of a device.
type Options struct {
	// Threads is how many cores kernels use; 0 means all.
	Threads int
	// VRAM, when it is not 0, makes the device a discrete one with that many
	// bytes of memory: weights must be copied to it as to a graphics card.
	VRAM int64
}

// A Device is the processor. Its methods may be called from several
// goroutines; operations run one at a time, each on all threads.
type Device struct {
	name string
	vram int64

	memory memory

	running sync.Mutex // held while an operation runs
	closed  bool       // guarded by running
	pool    *pool
	call    call
	sums    []moments // of GroupNorm's segments
	taps    [3]taps   // of Resample's dimensions
}

// New returns a device and starts its threads, which Close ends.
func New(o Options) *Device {
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	name := cpuid.CPU.BrandName
	if name == "" {
		name = runtime.GOARCH
	}
	d := &Device{name: name, vram: max(o.VRAM, 0), pool: newPool(o.Threads)}
	d.memory.limit = d.vram
	d.memory.name = name
	return d
}

// Info describes the device. The memory of a unified device is the
// machine's.
func (d *Device) Info() device.Info {
	info := device.Info{
		Name:      d.name,
		Kind:      device.Unified,
		Threads:   len(d.pool.workers),
		Workspace: int64(len(d.pool.workers)) * workspace,
	}
	if d.vram > 0 {
		info.Kind, info.InHost = device.Discrete, true
		info.Total, info.Free = d.vram, d.vram-d.memory.inUse()
	} else if m, err := host.Memory(); err == nil {
		info.Total, info.Free = m.Total, m.Available
	}
	return info
}

// Alloc returns n bytes of memory aligned to 64 bytes.
func (d *Device) Alloc(n int64) (device.Buffer, error) {
	b, err := d.memory.alloc(n)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Free gives a buffer's memory back at once.
func (d *Device) Free(b device.Buffer) {
	if b, ok := b.(*buffer); ok {
		d.memory.free(b)
	}
}

// Map makes host memory readable by the kernels of a unified device.
func (d *Device) Map(src []byte) (device.Buffer, error) {
	if d.vram > 0 {
		return nil, fmt.Errorf("%s is a discrete device of %d bytes and cannot read the memory of the host: upload it", d.name, d.vram)
	}
	return &buffer{data: src, mapped: true}, nil
}

// Run executes an operation and returns when it is done.
func (d *Device) Run(ctx context.Context, op *ir.Op, args device.Args) device.Event {
	return device.Done(d.run(ctx, op, args))
}

func (d *Device) run(ctx context.Context, op *ir.Op, args device.Args) error {
	d.running.Lock()
	defer d.running.Unlock()
	if d.closed {
		return fmt.Errorf("%s %s: the device %s is closed", op.Kind, op.Name, d.name)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &d.call
	err := c.bind(d, op, args)
	if err == nil {
		d.pool.ctx = ctx
		err = kernels[op.Kind](d, c)
		d.pool.ctx = nil
	}
	if ctx.Err() != nil && err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", op.Kind, op.Name, err)
	}
	return nil
}

// kernels is the table of the operations. A kernel checks the shapes of its
// operands and computes; the call's windows lie within their buffers already.
var kernels = map[ir.Kind]func(*Device, *call) error{
	ir.Elementwise: (*Device).elementwise,
	ir.Linear:      (*Device).linear,
	ir.Conv:        (*Device).conv,
	ir.Attention:   (*Device).attention,
	ir.LayerNorm:   (*Device).rowNorm,
	ir.RMSNorm:     (*Device).rowNorm,
	ir.GroupNorm:   (*Device).groupNorm,
	ir.Embedding:   (*Device).embedding,
	ir.Rope:        (*Device).rope,
	ir.Softmax:     (*Device).softmax,
	ir.Sinusoid:    (*Device).sinusoid,
	ir.Concat:      (*Device).concat,
	ir.Pad:         (*Device).pad,
	ir.Resample:    (*Device).resample,
	ir.Reduce:      (*Device).reduce,
	ir.Rotate:      (*Device).rotate,
}

// Close waits for the operation that runs and ends the device's threads.
// Buffers that were not freed stay readable.
func (d *Device) Close() error {
	d.running.Lock()
	defer d.running.Unlock()
	if !d.closed {
		d.closed = true
		d.pool.close()
		d.memory.close()
	}
	return nil
}
