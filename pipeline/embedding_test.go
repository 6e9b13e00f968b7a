package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/tokenizer"
	"github.com/weir-run/weir/weights"
)

// writeEmbeddings writes the files of the golden and returns what finds them.
func writeEmbeddings(t *testing.T, f golden.File) Embeddings {
	t.Helper()
	dir := t.TempDir()
	files := map[string][]weights.Tensor{}
	for _, ref := range f.Refs() { // in the order of the golden, which is that of each file
		parts := strings.SplitN(ref.Name, "/", 3)
		if parts[0] == "file" {
			dt := dtype.F32
			if parts[1] == "half" {
				dt = dtype.F16
			}
			files[parts[1]] = append(files[parts[1]], weights.F32(parts[2], dt, ref.Shape, f.F32(ref.Name)))
		}
	}
	for name, tensors := range files {
		slices.SortFunc(tensors, func(a, b weights.Tensor) int { return strings.Compare(a.Name, b.Name) })
		if err := weights.Write(t.Context(), filepath.Join(dir, name), nil, tensors); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) (string, error) {
		path := filepath.Join(dir, name)
		_, err := os.Stat(path)
		return path, err
	}
}

// logged returns what is logged while f runs.
func logged(f func()) string {
	var text bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&text, nil)))
	defer slog.SetDefault(old)
	f()
	return text.String()
}

// TestEmbeddingsEqualComfyUI encodes prompts with embeddings of every form.
func TestEmbeddingsEqualComfyUI(t *testing.T) {
	f := golden.Open(t, "embeddings")
	find := writeEmbeddings(t, f)
	var prompts []string
	if err := json.Unmarshal([]byte(f.Metadata()["prompts"]), &prompts); err != nil {
		t.Fatal(err)
	}
	for kind, pad := range map[string]int32{"l": 49407, "g": 0} {
		clip := open(t, newEngine(t, Options{}), emoji).CLIP
		slot := *clip.encoders[0].slot
		slot.Prompt.Pad = pad
		clip.encoders[0].slot, clip.encoders[0].key = &slot, "clip_"+kind
		for i, prompt := range prompts {
			name := fmt.Sprint(kind, "/", i)
			if _, ok := f.Lookup(name); !ok {
				continue
			}
			var text Text
			var err error
			warnings := logged(func() { text, err = clip.Encode(t.Context(), prompt, find) })
			if err != nil {
				t.Errorf("%s: %q: %v", name, prompt, err)
				continue
			}
			golden.Check(t, name, text.Embed, f.F32(name), 1e-4)
			golden.Check(t, name+"/pooled", text.Pooled, f.F32(name+"/pooled"), 1e-4)
			for in, want := range map[string]string{"embedding:none": `names the embedding \"none,\"`, "embedding:wrong": "64 features, expected 96: it is ignored"} {
				if strings.Contains(prompt, in) != strings.Contains(warnings, want) {
					t.Errorf("%q warns %q", prompt, warnings)
				}
			}
		}
	}
}

func TestEmbeddingErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old.pt", []byte("PK\x03\x04 and more"))
	write("broken", []byte("{}"))
	for name, shape := range map[string][]int{"cube": {2, 2, 2}, "empty": {0, 96}, "scalar": {}} {
		n := 1
		for _, d := range shape {
			n *= d
		}
		if err := weights.Write(t.Context(), filepath.Join(dir, name), nil, []weights.Tensor{weights.F32("emb_params", dtype.F32, shape, make([]float32, n))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := weights.Write(t.Context(), filepath.Join(dir, "none"), nil, nil); err != nil {
		t.Fatal(err)
	}
	find := func(name string) (string, error) {
		if strings.HasPrefix(name, "many") {
			return "", os.ErrNotExist
		}
		return filepath.Join(dir, name), nil
	}
	clip := open(t, newEngine(t, Options{}), emoji).CLIP
	var many strings.Builder
	for i := range tokenizer.MaxEmbeddings + 1 {
		fmt.Fprintf(&many, " embedding:many%d", i)
	}
	for prompt, want := range map[string]struct {
		kind fault.Kind
		says string
	}{
		"embedding:old.pt": {fault.Model, `the embedding "old.pt": ` + filepath.Join(dir, "old.pt") + ": the file begins as a zip archive"},
		"embedding:broken": {fault.Model, filepath.Join(dir, "broken")},
		"embedding:cube":   {fault.Model, `cube: tensor "emb_params", F32 [2 2 2]: expected an embedding`},
		"embedding:empty":  {fault.Model, "expected an embedding"},
		"embedding:scalar": {fault.Model, "expected an embedding"},
		"embedding:none":   {fault.Model, "found no tensor"},
		many.String():      {fault.Workflow, "more than 256 embeddings"},
		"(a:1e39)":         {fault.Workflow, "the weight 1e+39"},
		"(a:nan)":          {fault.Workflow, "the weight NaN"},
		"a (b (c:-inf)) d": {fault.Workflow, "the weight -Inf"},
	} {
		if _, err := clip.Encode(t.Context(), prompt, find); err == nil || !strings.Contains(err.Error(), want.says) || fault.Of(err) != want.kind {
			t.Errorf("%.40q: %v (%v), want %q", prompt, err, fault.Of(err), want.says)
		}
	}
	var many20 string
	for i := range 30 {
		many20 += fmt.Sprintf(" embedding:many%d", i)
	}
	text := logged(func() {
		if _, err := clip.Encode(t.Context(), many20+" embedding:many"+strings.Repeat("x", 1000), find); err != nil {
			t.Error(err)
		}
	})
	if n := strings.Count(text, "\n"); n != maxMissing+1 || !strings.Contains(text, "and 11 more embeddings") {
		t.Errorf("%d warnings: %s", n, text)
	}
	// Without folders nothing is found.
	if text := logged(func() { clip.Encode(t.Context(), "embedding:x", nil) }); !strings.Contains(text, "not there") {
		t.Errorf("logged %q", text)
	}
}
