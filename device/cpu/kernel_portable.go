//go:build !amd64

package cpu

// microKernels returns those that the processor can run.
func microKernels() []microKernel { return []microKernel{portable} }
