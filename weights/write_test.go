package weights

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-run/weir/dtype"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := os.WriteFile(path, []byte("what was there"), 0o666); err != nil {
		t.Fatal(err)
	}
	values := make([]float32, 70_000) // more than F32 converts at once
	for i := range values {
		values[i] = float32(i % 512)
	}
	metadata := map[string]string{"a": "<\"line\n>", "b": ""}
	err := Write(t.Context(), path, metadata, []Tensor{
		{Name: "bytes", DType: dtype.U8, Shape: []int{3}, Write: Bytes([]byte{1, 2, 3})},
		F32("half", dtype.F16, []int{7, 10_000}, values),
		F32("scalar", dtype.F32, nil, []float32{4}),
		F32("empty", dtype.F64, []int{0, 2}, nil),
		F32("ünïcode \"\\", dtype.BF16, []int{1}, []float32{5}),
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if diff := cmp.Diff(metadata, f.Metadata()); diff != "" {
		t.Error(diff)
	}
	if got := f.Refs()[0].Offset % dataAlignment; got != 0 {
		t.Errorf("the data begins %d bytes off a multiple of %d", got, dataAlignment)
	}
	var order []string
	for _, r := range f.Refs() {
		order = append(order, r.Name)
		if r.Offset%int64(r.DType.Size()) != 0 {
			t.Errorf("%v is not aligned: offset %d", r, r.Offset)
		}
	}
	if diff := cmp.Diff([]string{"empty", "scalar", "half", "ünïcode \"\\", "bytes"}, order); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string][]float32{
		"bytes": {1, 2, 3}, "half": values, "scalar": {4}, "empty": {}, "ünïcode \"\\": {5},
	} {
		ref, _ := f.Lookup(name)
		got, err := ref.ReadF32(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	onlyFile(t, path)
}

// onlyFile checks that no temporary file is left beside path.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Errorf("the folder has %v, want only %s", entries, filepath.Base(path))
	}
}

func TestWriteFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	boom := errors.New("boom")
	tensor := func(name string, write func(io.Writer) error) []Tensor {
		return []Tensor{{Name: name, DType: dtype.U8, Shape: []int{2}, Write: write}}
	}
	two := Bytes([]byte{1, 2})
	for _, c := range []struct {
		name    string
		tensors []Tensor
		want    string
	}{
		{"too few bytes", tensor("a", Bytes([]byte{1})), `tensor "a", U8 [2]: expected 2 bytes, got 1`},
		{"too many bytes", tensor("a", Bytes([]byte{1, 2, 3})), `tensor "a": 1 bytes more than the tensor has`},
		{"error", tensor("a", func(io.Writer) error { return boom }), `tensor "a": boom`},
		{"same name", append(tensor("a", two), tensor("a", two)...), `tensor "a": the name is empty, reserved, another tensor's or not valid UTF-8`},
		{"no name", tensor("", two), `tensor "": the name is empty`},
		{"reserved name", tensor("__metadata__", two), `tensor "__metadata__": the name is empty, reserved`},
		{"bad name", tensor("\xff", two), `tensor "\xff": the name is empty`},
		{"negative", []Tensor{{Name: "a", Shape: []int{-1}}}, `tensor "a": shape [-1]: dimension 0 is negative`},
		{"no type", []Tensor{{Name: "a", DType: 99}}, `tensor "a": DType(99) is no type`},
		{"too large", []Tensor{{Name: "a", DType: dtype.U8, Shape: []int{1 << 62}}, {Name: "b", DType: dtype.U8, Shape: []int{1 << 62}}}, `tensor "b": the tensors up to it are larger than any file`},
		{"cancelled", tensor("a", func(w io.Writer) error { cancel(); return two(w) }), `tensor "a": context canceled`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "w.safetensors")
			if err := os.WriteFile(path, []byte("what was there"), 0o666); err != nil {
				t.Fatal(err)
			}
			err := Write(ctx, path, nil, c.tensors)
			if want := "writing " + path + ": " + c.want; err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
			if there, err := os.ReadFile(path); err != nil || string(there) != "what was there" {
				t.Errorf("the file there before now is %q, %v", there, err)
			}
			onlyFile(t, path)
		})
	}
	if err := Write(t.Context(), filepath.Join(t.TempDir(), "no", "such.safetensors"), nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("writing into no folder: error %v", err)
	}
}
