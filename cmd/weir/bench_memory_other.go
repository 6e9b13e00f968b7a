//go:build !linux

package main

import "github.com/spf13/cobra"

// newMemory returns nothing: the benchmark of memory needs control groups.
func newMemory() []*cobra.Command { return nil }
