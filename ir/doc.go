// Package ir describes a model as a graph of operations on tensors with
// static shapes. It is pure data: building a graph allocates no tensor and
// computes nothing.
//
// A [Graph] is built by its methods, one per operation; each returns the
// [Value] that the operation produces. Activations are float32 (token ids are
// int32); weights have the dtype of the checkpoint they come from and are
// known by name alone.
//
// Four operations (Reshape, Permute, Slice, Expand) are views: the planner
// turns them into strides and offsets, and they cost nothing unless a kernel
// needs the data in one piece. All elementwise arithmetic is one operation,
// [Elementwise], with a list of [Step]s; the same steps are the epilogue of
// every other operation, which is how bias, activation, residual and
// modulation are fused into the operation that produces their input.
package ir
