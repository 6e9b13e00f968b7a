package weights

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-run/weir/dtype"
)

const goldenFile = "../testdata/golden/weights.safetensors"

// TestGolden opens a file that the reference library wrote.
func TestGolden(t *testing.T) {
	f, err := Open(t.Context(), goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if diff := cmp.Diff(map[string]string{"format": "pt", "note": "line\nbreak"}, f.Metadata()); diff != "" {
		t.Errorf("metadata: %s", diff)
	}
	whole := []float32{0, 1, 2, 3, 4, 5}
	halves := []float32{0.5, 1.5, 2.5, 3.5, 4.5, 5.5}
	want := map[string]struct {
		dt     dtype.DType
		shape  []int
		values []float32
	}{
		"f32":     {dtype.F32, []int{2, 3}, halves},
		"f16":     {dtype.F16, []int{2, 3}, halves},
		"bf16":    {dtype.BF16, []int{2, 3}, halves},
		"f64":     {dtype.F64, []int{2, 3}, halves},
		"f8_e4m3": {dtype.F8E4M3, []int{2, 3}, halves},
		"f8_e5m2": {dtype.F8E5M2, []int{2, 3}, []float32{0.5, 1.5, 2.5, 3.5, 4, 6}}, // two bits of mantissa
		"i8":      {dtype.I8, []int{2, 3}, whole},
		"i16":     {dtype.I16, []int{2, 3}, whole},
		"i32":     {dtype.I32, []int{2, 3}, whole},
		"i64":     {dtype.I64, []int{2, 3}, whole},
		"u8":      {dtype.U8, []int{2, 3}, whole},
		"u16":     {dtype.U16, []int{2, 3}, whole},
		"u32":     {dtype.U32, []int{2, 3}, whole},
		"u64":     {dtype.U64, []int{2, 3}, whole},
		"bool":    {dtype.BOOL, []int{1, 3}, []float32{1, 0, 1}},
		"scalar":  {dtype.F32, []int{}, []float32{2.5}},
		"empty":   {dtype.F32, []int{0, 4}, []float32{}},

		"näme \"quoted\"": {dtype.F32, []int{1}, []float32{1}},
	}
	if len(f.Refs()) != len(want) {
		t.Errorf("%d tensors, want %d", len(f.Refs()), len(want))
	}
	end := int64(0)
	for _, ref := range f.Refs() {
		if ref.Offset < end {
			t.Errorf("%v begins at %d, before the end of the tensor before it at %d", ref, ref.Offset, end)
		}
		end = ref.Offset + ref.Length
		w, ok := want[ref.Name]
		if !ok {
			t.Errorf("unexpected %v", ref)
			continue
		}
		if ref.DType != w.dt || !cmp.Equal(ref.Shape, w.shape) {
			t.Errorf("%v, want %v %v", ref, w.dt, w.shape)
		}
		read, err := ref.ReadF32(t.Context())
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(w.values, read); diff != "" {
			t.Errorf("%v, read: %s", ref, diff)
		}
		mapped, err := ref.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		values := make([]float32, ref.Elements())
		dtype.ToF32(values, mapped, ref.DType)
		if diff := cmp.Diff(w.values, values); diff != "" {
			t.Errorf("%v, mapped: %s", ref, diff)
		}
	}
	if ref, ok := f.Lookup("bf16"); !ok || ref.Name != "bf16" {
		t.Errorf("Lookup(bf16) = %v, %v", ref, ok)
	}
	if _, ok := f.Lookup("absent"); ok {
		t.Error("Lookup finds a tensor that is not there")
	}
}

func TestReadAt(t *testing.T) {
	path := writeTest(t, "a.safetensors", map[string][]float32{"a": {1, 2, 3, 4}})
	f, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, _ := f.Lookup("a")
	p := make([]byte, 8)
	if err := a.ReadAt(t.Context(), p, 4); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 2)
	if dtype.ToF32(got, p, dtype.F32); got[0] != 2 || got[1] != 3 {
		t.Errorf("bytes 4 to 12 of %v are %v, want 2 and 3", a, got)
	}
	for _, off := range []int64{-1, 9, 17} {
		if err := a.ReadAt(t.Context(), p, off); err == nil || !strings.Contains(err.Error(), "outside its 16 bytes") {
			t.Errorf("reading 8 bytes at %d of 16: error %v", off, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.ReadAt(ctx, p, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled read: error %v", err)
	}
	if err := f.ReadAt(t.Context(), p, f.Size()-4); err == nil || !strings.Contains(err.Error(), "no byte") {
		t.Errorf("reading past the end: error %v", err)
	}
}

func TestClose(t *testing.T) {
	f, err := Open(t.Context(), goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Map(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Map(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Map after Close: error %v", err)
	}
	if err := f.ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("ReadAt after Close: error %v", err)
	}
}

// writeTest writes a file of float32 vectors in a temporary folder and returns its path.
func writeTest(t testing.TB, name string, tensors map[string][]float32) string {
	t.Helper()
	return writeTestIn(t, t.TempDir(), name, tensors)
}

func writeTestIn(t testing.TB, dir, name string, tensors map[string][]float32) string {
	t.Helper()
	path := filepath.Join(dir, name)
	var list []Tensor
	for name, values := range tensors {
		list = append(list, F32(name, dtype.F32, []int{len(values)}, values))
	}
	if err := Write(t.Context(), path, map[string]string{"file": name}, list); err != nil {
		t.Fatal(err)
	}
	return path
}
