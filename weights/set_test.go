package weights

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writeShards writes a checkpoint in two shards and its index, whose weight map is text.
func writeShards(t *testing.T, weightMap string) (index string) {
	t.Helper()
	dir := t.TempDir()
	writeTestIn(t, dir, "m-00001-of-00002.safetensors", map[string][]float32{"a": {1}, "b": {2, 2}})
	writeTestIn(t, dir, "m-00002-of-00002.safetensors", map[string][]float32{"c": {3}, "unlisted": {0}})
	index = filepath.Join(dir, "m.safetensors.index.json")
	if err := os.WriteFile(index, []byte(weightMap), 0o666); err != nil {
		t.Fatal(err)
	}
	return index
}

func TestIndex(t *testing.T) {
	index := writeShards(t, `{"metadata":{"total_size":16.0},"weight_map":{
		"a":"m-00001-of-00002.safetensors","c":"m-00002-of-00002.safetensors","b":"m-00001-of-00002.safetensors"}}`)
	s, err := OpenSet(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if diff := cmp.Diff([]string{"a", "b", "c"}, s.Names()); diff != "" {
		t.Error(diff)
	}
	if len(s.Files()) != 2 || s.Len() != 3 {
		t.Errorf("%d files, %d tensors, want 2 and 3", len(s.Files()), s.Len())
	}
	c, ok := s.Lookup("c")
	if !ok || filepath.Base(c.File.Path()) != "m-00002-of-00002.safetensors" {
		t.Errorf("Lookup(c) = %v, %v", c, ok)
	}
	if got := s.Metadata()["file"]; got != "m-00001-of-00002.safetensors" {
		t.Errorf("metadata is of %q, want the first shard's", got)
	}
}

func TestBadIndexes(t *testing.T) {
	for _, bad := range []struct{ name, index, want string }{
		{"empty", ``, "the index is not the JSON expected: unexpected end of JSON input"},
		{"utf-8", "\xff", "the index is not valid UTF-8"},
		{"no map", `{}`, "this is no index of a sharded checkpoint: it has no weight_map, or an empty one"},
		{"array", `{"weight_map":[]}`, "the index is not the JSON expected: json: cannot unmarshal array into Go struct field .weight_map of type map[string]string"},
		{"parent", `{"weight_map":{"a":"../a.safetensors"}}`, `tensor "a" is said to be in "../a.safetensors": a shard must be a file beside the index`},
		{"absolute", `{"weight_map":{"a":"/etc/passwd"}}`, `tensor "a" is said to be in "/etc/passwd": a shard must be a file beside the index`},
		{"drive", `{"weight_map":{"a":"c:x"}}`, `tensor "a" is said to be in "c:x": a shard must be a file beside the index`},
		{"no name", `{"weight_map":{"a":""}}`, `tensor "a" is said to be in "": a shard must be a file beside the index`},
		{"missing shard", `{"weight_map":{"a":"m-00003-of-00002.safetensors"}}`, "a shard is missing: open DIR/m-00003-of-00002.safetensors: "},
		{"missing tensor", `{"weight_map":{"z":"m-00002-of-00002.safetensors"}}`, `tensor "z" is said to be in DIR/m-00002-of-00002.safetensors, which has no such tensor`},
	} {
		t.Run(bad.name, func(t *testing.T) {
			index := writeShards(t, bad.index)
			s, err := OpenSet(t.Context(), index)
			if err == nil {
				s.Close()
				t.Fatalf("opened, want the error %q", bad.want)
			}
			want := index + ": " + strings.ReplaceAll(bad.want, "DIR/", filepath.Dir(index)+string(filepath.Separator))
			if !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %q\nwant  %q", err, want)
			}
		})
	}
}

func TestOpenSetOfSeveral(t *testing.T) {
	a := writeTest(t, "a.safetensors", map[string][]float32{"x": {1}})
	b := writeTest(t, "b.safetensors", map[string][]float32{"y": {2}})
	s, err := OpenSet(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"x", "y"}, s.Names()); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range s.Files() {
		if _, err := f.Map(); err == nil {
			t.Errorf("%s is still open", f.Path())
		}
	}
	clash := writeTest(t, "clash.safetensors", map[string][]float32{"x": {3}})
	if s, err := OpenSet(t.Context(), a, clash); err == nil {
		s.Close()
		t.Error("opened two files with a tensor of the same name")
	} else if want := `tensor "x" is in two files: ` + a + " and " + clash; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestSubAndAdd(t *testing.T) {
	base, err := OpenSet(t.Context(), writeTest(t, "base.safetensors", map[string][]float32{
		"model.a": {1}, "model.b": {2}, "model": {3}, "modem.c": {4}, "vae.a": {5}}))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	lora, err := OpenSet(t.Context(), writeTest(t, "lora.safetensors", map[string][]float32{"a.up": {6}, "model": {7}}))
	if err != nil {
		t.Fatal(err)
	}
	defer lora.Close()

	sub := base.Sub("model.")
	if diff := cmp.Diff([]string{"a", "b"}, sub.Names()); diff != "" {
		t.Error(diff)
	}
	if ref, ok := sub.Lookup("a"); !ok || ref.Name != "model.a" {
		t.Errorf("a in the view is %v, %v", ref, ok)
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := base.Files()[0].Map(); err != nil {
		t.Errorf("closing a view closed the file: %v", err)
	}
	if !base.HasPrefix("mode") || !base.HasPrefix("vae.a") || base.HasPrefix("vae.b") || base.HasPrefix("z") {
		t.Error("HasPrefix is wrong")
	}
	under := sub.Under("unet.")
	if diff := cmp.Diff([]string{"unet.a", "unet.b"}, under.Names()); diff != "" || len(under.Files()) != 1 {
		t.Errorf("%d files with %s", len(under.Files()), diff)
	}
	if ref, ok := under.Lookup("unet.a"); !ok || ref.Name != "model.a" {
		t.Errorf("unet.a in the view is %v, %v", ref, ok)
	}
	if none := base.Sub("clip."); none.Len() != 0 || len(none.Files()) != 0 {
		t.Errorf("a view of no tensors has %d tensors and %d files", none.Len(), len(none.Files()))
	}

	var all Set
	if err := all.Add("", base); err != nil {
		t.Fatal(err)
	}
	if err := all.Add("lora0/", lora); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(all.Names()) || all.Len() != 7 || len(all.Files()) != 2 {
		t.Errorf("%d files with %v", len(all.Files()), all.Names())
	}
	if ref, _ := all.Lookup("lora0/model"); ref.File == nil || ref.File.Metadata()["file"] != "model" && ref.Name != "model" {
		t.Errorf("lora0/model is %v", ref)
	}
	before := slices.Clone(all.Names())
	if err := all.Add("", lora); err == nil {
		t.Error("added a tensor of a name that is taken")
	}
	if diff := cmp.Diff(before, all.Names()); diff != "" {
		t.Errorf("a failed Add changed the set: %s", diff)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":16},"weight_map":{"a":"m-00001-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x","b":"c:\\x"}}`))
	f.Add([]byte(`{"weight_map":{"a":1}}`))
	f.Add([]byte(`{"weight_map":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		shards, err := parseIndex(text)
		if err != nil {
			return
		}
		dir := filepath.Join("some", "folder")
		for name, shard := range shards {
			if filepath.Dir(filepath.Join(dir, shard)) != dir {
				t.Errorf("tensor %q: shard %q is not beside the index", name, shard)
			}
		}
	})
}
