// Package pager decides which weights are in a device's memory. It knows no
// model and no operation: only extents, the order in which they will be used,
// and a budget.
package pager
