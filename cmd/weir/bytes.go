package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// parseBytes reads a size such as 8GiB, 500MB, 6G or 1.5gib. Without an i
// units are powers of 1000; K, M, G and T alone are powers of 1024.
func parseBytes(s string) (int64, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz ")
	unit := strings.TrimSpace(text[len(number):])
	scale, ok := map[string]float64{
		"": 1, "b": 1,
		"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
		"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
		"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
		"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
	}[unit]
	v, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(v >= 0) || v*scale >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size: expected a number with a unit, for example 8GiB, 500MB or 6G", s)
	}
	return int64(v * scale), nil
}
