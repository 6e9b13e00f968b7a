package synth

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/weights"
)

// TestParameters compares the numbers of parameters with those that are
// published, or counted in the published files.
func TestParameters(t *testing.T) {
	tests := []struct {
		name    string
		tensors []Tensor
		prefix  string
		want    int64
	}{
		{"UNet of SD 1.5", SD15(), "model.diffusion_model.", 859_520_964},
		{"VAE of SD 1.5", SD15(), "first_stage_model.", 83_653_863},
		{"CLIP-L of SD 1.5", SD15(), "cond_stage_model.", 123_060_480},
		{"UNet of SDXL", SDXL(), "model.diffusion_model.", 2_567_463_684},
		{"VAE of SDXL", SDXL(), "first_stage_model.", 83_653_863},
		{"CLIP-L of SDXL", SDXL(), "conditioner.embedders.0.", 123_060_480},
		{"OpenCLIP-G of SDXL", SDXL(), "conditioner.embedders.1.", 694_659_841},
	}
	for _, tt := range tests {
		var n int64
		seen := map[string]bool{}
		for _, x := range tt.tensors {
			if seen[x.Name] {
				t.Errorf("%s: %s is there twice", tt.name, x.Name)
			}
			seen[x.Name] = true
			if strings.HasPrefix(x.Name, tt.prefix) {
				n += x.Elements()
			}
		}
		if n != tt.want {
			t.Errorf("%s: %d parameters, want %d", tt.name, n, tt.want)
		}
	}
}

var few = []Tensor{
	{"a.weight", []int{64, 128, 3, 3}}, {"a.bias", []int{64}}, {"norm.weight", []int{7}}, {"norm.bias", []int{7}},
	{"odd.weight", []int{3, 15}}, {"logit_scale", nil},
}

func write(t *testing.T, dt dtype.DType, seed uint64, tensors []Tensor) *weights.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := Write(context.Background(), path, tensors, dt, seed); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func read(t *testing.T, f *weights.File, name string) []float32 {
	t.Helper()
	ref, ok := f.Lookup(name)
	if !ok {
		t.Fatalf("no tensor %s", name)
	}
	values, err := ref.ReadF32(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// moments returns the mean, the standard deviation and the kurtosis.
func moments(x []float32) (mean, std, kurtosis float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	var second, fourth float64
	for _, v := range x {
		d := float64(v) - mean
		second += d * d / float64(len(x))
		fourth += d * d * d * d / float64(len(x))
	}
	return mean, math.Sqrt(second), fourth / second / second
}

func TestWrite(t *testing.T) {
	for _, dt := range []dtype.DType{dtype.F32, dtype.F16, dtype.BF16, dtype.F8E5M2} {
		t.Run(dt.String(), func(t *testing.T) {
			f := write(t, dt, 1, few)
			x := read(t, f, "a.weight")
			mean, std, kurtosis := moments(x)
			want := 0.5 / math.Sqrt(128*9)
			if math.Abs(mean) > 0.01*want || math.Abs(std/want-1) > 0.02 || math.Abs(kurtosis-3) > 0.1 {
				t.Errorf("mean %g, deviation %g, kurtosis %g; want 0, %g and 3", mean, std, kurtosis, want)
			}
			// Neighbours are independent.
			var product float64
			for i := 1; i < len(x); i++ {
				product += float64(x[i]) * float64(x[i-1]) / float64(len(x))
			}
			if c := product / std / std; math.Abs(c) > 0.02 {
				t.Errorf("neighbours are correlated by %g", c)
			}
			for name, value := range map[string]float32{"norm.weight": 1, "norm.bias": 0, "a.bias": 0} {
				for _, v := range read(t, f, name) {
					if v != value {
						t.Fatalf("%s has %v, want %v", name, v, value)
					}
				}
			}
		})
	}
}

// TestWriteSeed checks that a tensor depends on the seed and its name alone.
func TestWriteSeed(t *testing.T) {
	all, one := write(t, dtype.F16, 1, few), write(t, dtype.F16, 1, few[4:5])
	other := write(t, dtype.F16, 2, few[4:5])
	a, b, c := read(t, all, "odd.weight"), read(t, one, "odd.weight"), read(t, other, "odd.weight")
	same := 0
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("element %d is %v in the whole list and %v alone", i, a[i], b[i])
		}
		if a[i] == c[i] {
			same++
		}
	}
	if same > 3 {
		t.Errorf("%d of %d elements are the same under another seed", same, len(a))
	}
}

func TestWriteErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := Write(context.Background(), path, few, dtype.I8, 1); err == nil || !strings.Contains(err.Error(), "I8") {
		t.Errorf("got %v, want an error that names I8", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Write(ctx, path, few, dtype.F16, 1); err == nil {
		t.Error("a cancelled write must fail")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("%v was left", left)
	}
}

// BenchmarkWrite writes 128 MiB; synthetic checkpoints take many times that.
func BenchmarkWrite(b *testing.B) {
	list := []Tensor{{"a.weight", []int{8192, 8192}}}
	path := filepath.Join(b.TempDir(), "x.safetensors")
	b.SetBytes(2 * list[0].Elements())
	for b.Loop() {
		if err := Write(context.Background(), path, list, dtype.F16, 1); err != nil {
			b.Fatal(err)
		}
	}
}
