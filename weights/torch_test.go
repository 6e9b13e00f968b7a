package weights

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
)

// torchFiles returns the checkpoints that torch.save has written, by name.
func torchFiles(t testing.TB) map[string][]byte {
	t.Helper()
	r, err := zip.OpenReader(golden("torch_files.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files := map[string][]byte{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[strings.TrimSuffix(f.Name, ".pt")], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// A described tensor is what torch.load has given.
type described struct {
	DType  string    `json:"dtype"`
	Shape  []int     `json:"shape"`
	Values []float64 `json:"values"`
}

// TestTorch compares checkpoints of all dtypes and with what else programs save with what torch.load gives.
func TestTorch(t *testing.T) {
	files := torchFiles(t)
	var want map[string]map[string]described
	if err := json.Unmarshal(files["want.json"], &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != 12 {
		t.Fatalf("%d checkpoints", len(want))
	}
	for name, tensors := range want {
		path := filepath.Join(t.TempDir(), "model.pt")
		if err := os.WriteFile(path, files[name], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSet(t.Context(), path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		defer s.Close()
		if diff := cmp.Diff(slices.Sorted(maps.Keys(tensors)), s.Names()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for tensor, w := range tensors {
			ref, _ := s.Lookup(tensor)
			if ref.DType != torchTypes[w.DType] || !slices.Equal(ref.Shape, w.Shape) {
				t.Errorf("%s: %s is %v %v, want %s %v", name, tensor, ref.DType, ref.Shape, w.DType, w.Shape)
				continue
			}
			got, mapped := values(t, ref), make([]float32, ref.Elements())
			raw, err := ref.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			dtype.ToF32(mapped, raw, ref.DType)
			for i, v := range w.Values {
				if got[i] != float32(v) || mapped[i] != float32(v) {
					t.Errorf("%s: value %d of %s is %v, mapped %v, want %v", name, i, tensor, got[i], mapped[i], v)
					break
				}
			}
		}
	}
}

// TestBadTorch refuses what is no dictionary of plain tensors, or may be a program, by its name.
func TestBadTorch(t *testing.T) {
	files := torchFiles(t)
	repacked := func(name string, change func(h *zip.FileHeader, data []byte) []byte) []byte {
		r, err := zip.NewReader(bytes.NewReader(files[name]), int64(len(files[name])))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		for _, f := range r.File {
			in, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			h := &zip.FileHeader{Name: f.Name}
			if data = change(h, data); data == nil {
				continue
			}
			to, err := w.CreateHeader(h)
			if err == nil {
				_, err = to.Write(data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	same := func(_ *zip.FileHeader, data []byte) []byte { return data }
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"a program":  {files["a program"], `it calls "posix.system", which is nothing that tensors are made with`},
		"a module":   {files["a module"], `it calls "__main__.Layers", which is nothing`},
		"turned":     {files["turned"], `tensor "w": its elements do not lie in order (shape [4 3], strides [1 4]); save a contiguous copy of it`},
		"expanded":   {files["expanded"], `its elements do not lie in order (shape [3 4], strides [1 0])`},
		"complex":    {files["complex"], `a storage of the class "torch.ComplexFloatStorage", which is not supported`},
		"sparse":     {files["sparse"], `it calls "torch.serialization._get_layout"`},
		"no tensors": {files["no tensors"], "the checkpoint has no tensors that have names"},
		"a list":     {files["a list"], "the checkpoint is no dictionary of tensors"},
		"a tensor":   {files["a tensor"], "the checkpoint is no dictionary of tensors"},
		"old":        {files["old"], "this is a pickle, as PyTorch saved checkpoints before version 1.6"},
		"pickle":     {files["pickle"], "this is a pickle, as PyTorch saved checkpoints before version 1.6"},
		"traced":     {files["traced"], "this is a program of TorchScript, not a checkpoint"},
		"no torch": {repacked("views", func(h *zip.FileHeader, data []byte) []byte {
			h.Name = strings.ReplaceAll(h.Name, "data.pkl", "x")
			return data
		}), "this is a zip archive and no checkpoint of PyTorch: it has no data.pkl"},
		"no storage": {repacked("views", func(h *zip.FileHeader, data []byte) []byte {
			if strings.Contains(h.Name, "/data/") {
				return nil
			}
			return data
		}), `tensor "whole": the archive has no storage "0"`},
		"a short storage": {repacked("views", func(h *zip.FileHeader, data []byte) []byte {
			if strings.Contains(h.Name, "/data/") {
				return data[:40]
			}
			return data
		}), `tensor "whole": its elements 0 and on do not fit in its storage "0" of 40 bytes`},
		"compressed": {repacked("views", func(h *zip.FileHeader, data []byte) []byte { h.Method = zip.Deflate; return data }), `its storage "0" is compressed in the archive`},
		"big-endian": {repacked("views", func(h *zip.FileHeader, data []byte) []byte {
			if strings.HasSuffix(h.Name, "byteorder") {
				return []byte("big")
			}
			return data
		}), `the bytes of the numbers are in the order "big"`},
		"cut":       {files["views"][:1000], "is none: zip: not a valid zip file; download or copy it again"},
		"truncated": {repacked("views", same)[:900], "is none: zip: not a valid zip file"},
	} {
		path := filepath.Join(t.TempDir(), "model.pt")
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSet(t.Context(), path)
		if err == nil {
			s.Close()
		}
		if fault.Of(err) != fault.Model || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestPickles runs pickles that no program writes.
func TestPickles(t *testing.T) {
	long := strings.Repeat("x", 5<<20)
	for name, c := range map[string]struct{ text, want string }{
		"nothing":              {"", errPickle.Error()},
		"no value":             {".", errPickle.Error()},
		"an opcode of old":     {"I1\n.", `byte 0 of the pickle: the opcode 'I' is not one that tensors need`},
		"a long string":        {"X\xff\xff\xff\x7fabc.", errPickle.Error()},
		"a longer string":      {"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.", errPickle.Error()},
		"pop beyond a mark":    {"N(0.", errPickle.Error()},
		"a memo of nothing":    {"h\x05.", errPickle.Error()},
		"append to a number":   {"K\x01K\x02a.", "something is put into a int64"},
		"half an item":         {"}(K\x01u.", errPickle.Error()},
		"call of a number":     {"K\x01)R.", "a int64 is called with a weights.tuple"},
		"call of a long name":  {"c" + long + "\n" + long + "\n)R.", "which is nothing that tensors are made with"},
		"an id that is none":   {"K\x01Q.", "a persistent id that is no storage"},
		"a call without end":   {"c", errPickle.Error()},
		"a tensor of nothing":  {"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR.", "a tensor of no storage"},
		"a function of itself": {"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\nN)tR.", errPickle.Error()},
	} {
		m := machine{call: (&torchReader{}).call, persistent: (&torchReader{}).storage}
		if _, err := m.run(t.Context(), []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
			t.Errorf("%s: %.300v, want %s", name, err, c.want)
		}
	}
	// Dictionaries that hold themselves and each other are left after so many.
	loop := "}q\x00(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00X\x01\x00\x00\x00cK\x01u."
	m := machine{}
	v, err := m.run(t.Context(), []byte(loop))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&torchReader{}).header(v); err == nil || !strings.Contains(err.Error(), "dictionaries within dictionaries") {
		t.Errorf("a dictionary in itself: %v", err)
	}
	many := strings.Repeat("N", 4*opcodesAtOnce)
	if _, err := m.run(&looked{t.Context(), 2}, []byte(many)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestTorchChanged changes bytes of checkpoints, a thousand times: they open or are refused, and no tensor lies outside of
// its file.
func TestTorchChanged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	files := torchFiles(t)
	delete(files, "want.json")
	names := slices.Sorted(maps.Keys(files))
	for range 1000 {
		file := slices.Clone(files[names[r.IntN(len(names))]])
		for range 1 + r.IntN(4) {
			file[r.IntN(len(file))] = byte(r.Uint32())
		}
		checkTorch(t, file[:len(file)-r.IntN(2)*r.IntN(len(file))])
	}
}

// checkTorch opens a file and fails the test when a tensor lies outside of it.
func checkTorch(t *testing.T, file []byte) {
	h, err := readTorch(t.Context(), bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return
	}
	for _, ref := range h.refs {
		n, err := byteLength(ref.DType, ref.Shape)
		if err != nil || n != ref.Length || ref.Offset < 0 || ref.Offset+ref.Length > int64(len(file)) {
			t.Errorf("tensor %s lies from %d to %d of %d bytes: %v", ref.Name, ref.Offset, ref.Offset+ref.Length, len(file), err)
		}
	}
}

func FuzzTorch(f *testing.F) {
	for name, file := range torchFiles(f) {
		if name != "want.json" {
			f.Add(file)
		}
	}
	f.Fuzz(checkTorch)
}

func FuzzPickle(f *testing.F) {
	for name, file := range torchFiles(f) {
		r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
		if err != nil || name == "want.json" {
			continue
		}
		reader := torchReader{root: r.File[0].Name[:strings.Index(r.File[0].Name, "/")+1], entries: map[string]*zip.File{}}
		for _, e := range r.File {
			reader.entries[e.Name] = e
		}
		if text, err := reader.pickle(); err == nil {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		reader := &torchReader{}
		m := machine{call: reader.call, persistent: reader.storage}
		if v, err := m.run(t.Context(), text); err == nil {
			_, _ = reader.header(v)
		}
	})
}
