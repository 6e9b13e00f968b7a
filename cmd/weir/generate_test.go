package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/fault"
)

// TestModelNames names models of every role by names and by paths, among files
// of the same base name. The workflow leads to the file that was named.
func TestModelNames(t *testing.T) {
	root, work := t.TempDir(), t.TempDir()
	files := []string{
		root + "/models/checkpoints/x.safetensors", root + "/models/loras/x.safetensors", root + "/models/loras/s/x.safetensors",
		root + "/models/vae/x.safetensors", root + "/models/upscale_models/x.safetensors", root + "/models/loras/in.safetensors",
		work + "/d/x.safetensors", work + "/e/x.safetensors", work + "/x.safetensors", work + "/new.safetensors",
	}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(work)
	s := setup{models: []string{root}}
	roots, err := s.folders()
	if err != nil {
		t.Fatal(err)
	}
	r := request{
		checkpoint: "d/x.safetensors", vae: "d/x.safetensors", upscale: "./x.safetensors", // one folder in several roles
		loras: []string{"d/x.safetensors:0.5", "e/x.safetensors", "in.safetensors", root + "/models/loras/s/x.safetensors", "s/x.safetensors"},
	}
	g := r.graph(func(category, name string) string {
		got, err := modelName(roots, category, name)
		if err != nil {
			t.Error(err)
		}
		return got
	})
	var got []string
	for _, n := range g.Nodes {
		for _, input := range []struct{ name, category string }{
			{"ckpt_name", "checkpoints"}, {"lora_name", "loras"}, {"vae_name", "vae"}, {"model_name", "upscale_models"},
		} {
			for _, a := range n.Args {
				if a.Name != input.name {
					continue
				}
				path, err := roots.Find(input.category, a.Value.(string))
				if err != nil {
					t.Error(err)
				}
				path = strings.TrimPrefix(strings.TrimPrefix(path, work), root)
				got = append(got, filepath.ToSlash(path))
			}
		}
	}
	want := []string{"/d/x.safetensors", "/d/x.safetensors", "/e/x.safetensors", "/models/loras/in.safetensors", "/models/loras/s/x.safetensors",
		"/models/loras/s/x.safetensors", "/d/x.safetensors", "/x.safetensors"}
	if !slices.Equal(got, want) {
		t.Errorf("opened %q\nwant   %q", got, want)
	}
	for name, want := range map[string]string{
		"x.safetensors":    "is both the model",
		"./in.safetensors": "./in.safetensors",
		"../none":          "../none",
		work + "/none":     "none",
		"d":                "this is a folder",
	} {
		if got, err := modelName(roots, "loras", name); err == nil || !strings.Contains(err.Error(), filepath.FromSlash(want)) {
			t.Errorf("%s: named %q, %v, want an error with %q", name, got, err, want)
		}
	}
	if _, err := modelName(roots, "loras", "x.safetensors"); fault.Of(err) != fault.Usage {
		t.Errorf("what is named twice is a mistake in the usage: %v", err)
	}
	for _, name := range []string{"none", "in.safetensors"} {
		if got, err := modelName(roots, "loras", name); err != nil || got != name {
			t.Errorf("%s: named %q, %v", name, got, err)
		}
	}
}

// TestPictureLeadsBack runs the workflow of a picture whose checkpoint lies in
// no folder of models, beside another one of the same name that does.
func TestPictureLeadsBack(t *testing.T) {
	root, work := t.TempDir(), t.TempDir()
	other := filepath.Join(root, "models", "checkpoints", "emoji.safetensors")
	if err := os.MkdirAll(filepath.Dir(other), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte("not this one"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "generate", "--checkpoint", emojiModel, "--prompt", "red apple", "--seed", "5", "--width", "64", "--height", "64", "--steps", "1",
		"--output", work, "--root", root)
	first := filepath.Join(work, "weir_00001_.png")
	must(t, "run", first, "--output", work, "--root", root)
	if !slices.Equal(pixels(t, first), pixels(t, filepath.Join(work, "weir_00002_.png"))) {
		t.Error("the picture's workflow makes another picture")
	}
	// Where the file is not, the workflow says so.
	text, err := workflowText(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(emojiModel)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(work, "elsewhere.json")
	inJSON, err := json.Marshal(path)
	if err != nil {
		t.Fatal(err)
	}
	moved := strings.ReplaceAll(string(text), string(inJSON), `"/gone/emoji.safetensors"`)
	if err := os.WriteFile(elsewhere, []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := weir(t.Context(), "run", elsewhere, "--root", root); fault.Of(err) != fault.Workflow || !strings.Contains(err.Error(), `"/gone/emoji.safetensors"`) {
		t.Errorf("a model that is not there: %v", err)
	}
}

// TestGenerateFromParts has a denoiser and text encoders that are files of their
// own, and flags that are missing or do not belong together.
func TestGenerateFromParts(t *testing.T) {
	same := func(_, name string) string { return name }
	for _, texts := range [][]string{{"q"}, {"l", "t"}} {
		r := request{prompt: "x", model: "m", texts: texts, kind: map[int]string{1: "lumina2", 2: "flux"}[len(texts)], vae: "v"}
		if err := r.check(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range r.graph(same).Nodes[:3] {
			text := n.Class
			for _, a := range n.Args {
				if s, ok := a.Value.(string); ok {
					text += " " + a.Name + "=" + s
				}
			}
			got = append(got, text)
		}
		want := []string{"UNETLoader unet_name=m weight_dtype=default", "CLIPLoader type=lumina2 clip_name=q", "VAELoader vae_name=v"}
		if len(texts) == 2 {
			want[1] = "DualCLIPLoader type=flux clip_name1=l clip_name2=t"
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for want, r := range map[string]request{
		"needs --checkpoint, or --model":                {prompt: "x"},
		"needs --checkpoint, or --model, and --prompt":  {model: "m"},
		"give it without --model":                       {prompt: "x", checkpoint: "c", model: "m"},
		"without --model, --text-encoder":               {prompt: "x", checkpoint: "c", kind: "flux"},
		"--model needs --text-encoder":                  {prompt: "x", model: "m", texts: []string{"t"}, kind: "flux2"},
		"--text-type: \"flux\" has no 1 text encoders":  {prompt: "x", model: "m", texts: []string{"t"}, kind: "flux", vae: "v"},
		"--text-type: \"flux2\" has no 3 text encoders": {prompt: "x", model: "m", texts: []string{"t", "t", "t"}, kind: "flux2", vae: "v"},
	} {
		if err := r.check(); fault.Of(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
