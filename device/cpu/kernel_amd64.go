package cpu

import "github.com/klauspost/cpuid/v2"

// microKernels returns those that the processor can run, the fastest first.
func microKernels() []microKernel {
	all := []microKernel{portable}
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		all = append([]microKernel{assembly("AVX2", 4, 16, multiplyAVX2)}, all...)
	}
	if cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX2, cpuid.FMA3) {
		all = append([]microKernel{assembly("AVX-512", 8, 32, multiplyAVX512)}, all...)
	}
	return all
}

// assembly gives a function in assembly the slices of a micro-kernel, whose
// ends it looks at here for the last time.
func assembly(name string, rows, columns int, f func(k int64, a, b, c *float32, ldc int64)) microKernel {
	return microKernel{name, rows, columns, func(a, b, c []float32, ldc int) {
		k := len(a) / rows
		if k == 0 {
			return
		}
		_, _ = b[k*columns-1], c[(rows-1)*ldc+columns-1]
		f(int64(k), &a[0], &b[0], &c[0], int64(ldc))
	}, exponentials8, maximum8}
}

// exponentials8 takes eight elements at a time and the rest one by one.
func exponentials8(x []float32, peak float32) (sum float32) {
	if n := len(x) / 8; n > 0 {
		sum = exponentialsAVX2(&x[0], int64(n), peak)
		x = x[8*n:]
	}
	return sum + exponentials(x, peak)
}

// maximum8 takes eight elements at a time and the rest one by one.
func maximum8(x []float32) float32 {
	n := len(x) / 8
	if n == 0 {
		return maximum(x)
	}
	most := maximumAVX2(&x[0], int64(n))
	for _, v := range x[8*n:] {
		most = max(most, v)
	}
	return most
}
