// Package fault sorts errors into the kinds that callers act upon differently:
// a command exits by the kind, a server answers by it.
//
// An error has at most one kind, which the code that finds the fault gives it.
// Code above adds context with %w and leaves the kind alone.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// A Kind is what an error is about.
type Kind string

// The kinds.
const (
	// None is the kind of nil.
	None Kind = ""
	// Usage is a command line or a request that is wrong.
	Usage Kind = "usage"
	// Workflow is a workflow that cannot run: its form, its values or its links.
	Workflow Kind = "workflow"
	// Model is a model file that is broken, unknown or not supported.
	Model Kind = "model file"
	// Memory is memory that does not suffice.
	Memory Kind = "not enough memory"
	// IO is a file or folder that cannot be read or written.
	IO Kind = "input/output"
	// Cancelled is work that was told to stop.
	Cancelled Kind = "cancelled"
	// Internal is a mistake in the program, such as a panic.
	Internal Kind = "internal"
	// Other is everything else.
	Other Kind = "other"
)

// An Error is an error with its kind.
type Error struct {
	Kind Kind
	Err  error
}

// Error returns the text of the error without its kind.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without its kind.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of a kind with a text formatted as by [fmt.Errorf].
func New(k Kind, format string, args ...any) error {
	return &Error{k, fmt.Errorf(format, args...)}
}

// Mark gives an error a kind. An error that has one already, or is nil, stays
// as it is.
func Mark(k Kind, err error) error {
	if err == nil || Of(err) != Other {
		return err
	}
	return &Error{k, err}
}

// Of returns the kind of an error. Cancelled contexts and the errors of files
// need no mark.
func Of(err error) Kind {
	var marked *Error
	var path *fs.PathError
	var link *os.LinkError
	var call *os.SyscallError
	switch {
	case err == nil:
		return None
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Cancelled
	case errors.As(err, &marked):
		return marked.Kind
	case errors.As(err, &path), errors.As(err, &link), errors.As(err, &call):
		return IO
	}
	return Other
}
