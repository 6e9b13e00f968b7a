package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/weir-run/weir/fault"
)

// parseNumber reads a number in decimal notation.
func parseNumber(s string) (float64, error) {
	if strings.Trim(s, "0123456789.e+-") != "" {
		return 0, strconv.ErrSyntax // of hexadecimal numbers, underscores and names
	}
	return strconv.ParseFloat(s, 64)
}

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
	v, err := parseNumber(number)
	if !ok || err != nil || !(v >= 0) || v*scale >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size: expected a number with a unit, for example 8GiB, 500MB or 6G", s)
	}
	return int64(v * scale), nil
}

// parseRate reads what a flag says of bytes a second, such as 25GB/s, "" as 0.
func parseRate(flag, s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := parseBytes(strings.TrimSuffix(s, "/s"))
	if err == nil && n == 0 {
		err = fmt.Errorf("nothing gets through at %s", s)
	}
	if err != nil {
		return 0, fault.New(fault.Usage, "%s: %w", flag, err)
	}
	return float64(n), nil
}

// parseCompute reads how many operations of floating-point numbers are done a
// second, such as 30TFLOP/s, "" as 0.
func parseCompute(s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	text := strings.ToLower(strings.TrimSpace(s))
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz/ ")
	scale, ok := map[byte]float64{'m': 1e6, 'g': 1e9, 't': 1e12, 'p': 1e15}[strings.TrimLeft(text[len(number):]+"x", " ")[0]]
	v, err := parseNumber(strings.TrimSpace(number))
	if !ok || err != nil || !(v*scale >= 1) || v*scale > math.MaxFloat32 {
		return 0, fault.New(fault.Usage, "--compute: %q is no rate: expected a number with a unit, for example 30TFLOP/s or 500GFLOP/s", s)
	}
	return v * scale, nil
}

// si writes a rate with a prefix of the SI.
func si(v float64, unit string) string {
	prefixes := []string{"", "k", "M", "G", "T", "P"}
	i := 0
	for v >= 1000 && i < len(prefixes)-1 {
		v, i = v/1000, i+1
	}
	return fmt.Sprintf("%.3g %s%s", v, prefixes[i], unit)
}
