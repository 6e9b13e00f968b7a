// Package device is what Weir asks of a processor: memory, transfers and the
// operations of package ir. Operations are data, so a processor implements
// one method and a table, not a method an operation.
package device

import (
	"context"
	"fmt"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/ir"
)

// ErrNoMemory is the answer of Alloc when a device has not enough memory. It
// is an answer to act on, by evicting or by planning again.
var ErrNoMemory = fault.New(fault.Memory, "not enough memory on the device")

// A Kind says where a device's kernels read their operands.
type Kind string

const (
	// Unified devices read the memory of the host: weights are used where the
	// file is mapped.
	Unified Kind = "unified"
	// Discrete devices read only memory of their own.
	Discrete Kind = "discrete"
)

// Info describes a device.
type Info struct {
	Name        string
	Kind        Kind
	Total, Free int64 // bytes of memory, now
	// InHost says that the memory of a discrete device is the host's.
	InHost  bool
	Threads int // how much the device does at once, for people
	// Workspace is what the device itself keeps for its kernels, in bytes. It
	// is not part of Total.
	Workspace int64
}

// A Buffer is a piece of a device's memory.
type Buffer interface {
	Size() int64
}

// A Tensor is an operand of an operation: a window on a buffer.
type Tensor struct {
	Name   string // of weights, for errors
	Buffer Buffer
	Offset int64 // bytes from the beginning of the buffer; of weights not always aligned to the dtype
	// Skip is how many elements of the block at Offset come before the first one, of block-quantized types, whose rows
	// may begin within a block. It is 0 for all others.
	Skip    int
	DType   dtype.DType
	Shape   ir.Shape
	Strides []int // in elements
}

// Args are the operands of an operation, in the layouts that
// ir.Kind.InputLayout names. Out may be the same memory as an operand of an
// Elementwise, or the first one of a norm, a softmax or a rotation, if that is
// contiguous too.
type Args struct {
	Out Tensor
	In  []Tensor
}

// An Event is work that was given to a device.
type Event interface {
	// Wait returns when the work is done, with its error, or when the context
	// is cancelled. The buffers of cancelled work may be used again as soon as
	// Wait has returned.
	Wait(ctx context.Context) error
}

// A Device runs operations.
type Device interface {
	Info() Info
	// Alloc returns n bytes of memory with undefined contents, or an error
	// that is ErrNoMemory.
	Alloc(n int64) (Buffer, error)
	// Free gives a buffer back. It must not be in use.
	Free(Buffer)
	// Map makes host memory readable by kernels without a copy. Only unified
	// devices can; the others return an error. The memory is never written and
	// must outlive the buffer, which needs no Free. Memory of a mapped file that
	// can no longer be read gives an error on the operation that reads it.
	Map(src []byte) (Buffer, error)
	// Upload copies host memory to a buffer, which must outlive the event.
	Upload(ctx context.Context, dst Buffer, off int64, src []byte) Event
	// Download copies a buffer to host memory, which must outlive the event.
	Download(ctx context.Context, dst []byte, src Buffer, off int64) Event
	// Run starts an operation. Operations run in the order in which they were
	// started and stop early when the context is cancelled.
	Run(ctx context.Context, op *ir.Op, args Args) Event
	Close() error
}

// Done is the event of work that is finished, with its error if it failed.
func Done(err error) Event { return done{err} }

type done struct{ err error }

func (d done) Wait(context.Context) error { return d.err }

// NoMemory returns an error that is ErrNoMemory and names the numbers.
func NoMemory(device string, want, free, total int64) error {
	return fmt.Errorf("%w: %s was asked for %d bytes and has %d of %d free", ErrNoMemory, device, want, free, total)
}
