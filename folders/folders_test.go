package folders

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// touch makes empty files, and the folders they lie in, below root.
func touch(t *testing.T, root string, files ...string) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(root, filepath.FromSlash(f))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func join(parts ...string) string { return filepath.FromSlash(strings.Join(parts, "/")) }

func TestFindAndList(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	touch(t, a, "models/loras/ink.safetensors", "models/loras/styles/oil.safetensors", "models/loras/notes.txt",
		"models/loras/.hidden.safetensors", "models/loras/.git/x.safetensors", "models/loras/old.txt",
		"models/clip/l.safetensors", "models/diffusion_models/new.sft", "models/unet/small-Q4_K.GGUF", "models/unet/early.safetensors",
		"models/unet/big.safetensors.index.json")
	touch(t, b, "models/loras/ink.safetensors", "models/loras/Zinc.SAFETENSORS", "models/text_encoders/t5.safetensors")
	r := New(a, b)
	for category, want := range map[string][]string{
		"loras":            {"Zinc.SAFETENSORS", "ink.safetensors", "styles/oil.safetensors"},
		"clip":             {"l.safetensors", "t5.safetensors"},
		"text_encoders":    {"l.safetensors", "t5.safetensors"},
		"diffusion_models": {"big.safetensors.index.json", "early.safetensors", "new.sft", "small-Q4_K.GGUF"},
		"unet":             {"big.safetensors.index.json", "early.safetensors", "new.sft", "small-Q4_K.GGUF"},
		"vae":              nil,
		"nonsense":         nil,
	} {
		if diff := cmp.Diff(want, r.List(category)); diff != "" {
			t.Errorf("%s: %s", category, diff)
		}
	}
	for _, c := range []struct{ category, name, want string }{
		{"loras", "ink.safetensors", join(a, "models/loras/ink.safetensors")},
		{"loras", "Zinc.SAFETENSORS", join(b, "models/loras/Zinc.SAFETENSORS")},
		{"loras", "styles/oil.safetensors", join(a, "models/loras/styles/oil.safetensors")},
		{"loras", `styles\oil.safetensors`, join(a, "models/loras/styles/oil.safetensors")},
		{"loras", "old.txt", join(a, "models/loras/old.txt")}, // not listed; opening it says why
		{"clip", "t5.safetensors", join(b, "models/text_encoders/t5.safetensors")},
		{"unet", "new.sft", join(a, "models/diffusion_models/new.sft")},
	} {
		if got, err := r.Find(c.category, c.name); err != nil || got != c.want {
			t.Errorf("Find(%s, %s) = %q, %v, want %q", c.category, c.name, got, err, c.want)
		}
	}
}

func TestFindErrors(t *testing.T) {
	root := t.TempDir()
	touch(t, root, "models/checkpoints/emoji.safetensors", "models/checkpoints/sd15/v1-5-pruned.safetensors",
		"models/vae/kl-f8.safetensors", "models/vae/sub.safetensors/x.safetensors")
	r := New(root)
	checkpoints, vae := join(root, "models/checkpoints"), join(root, "models/vae")
	for _, c := range []struct{ category, name, want string }{
		{"checkpoints", "emojy.safetensors", `checkpoints: file not found: "emojy.safetensors"; searched ` + checkpoints + `; did you mean "emoji.safetensors"?`},
		{"checkpoints", "v1-5-pruned.ckpt", `checkpoints: file not found: "v1-5-pruned.ckpt"; searched ` + checkpoints + `; did you mean "sd15/v1-5-pruned.safetensors"?`},
		{"checkpoints", "kl-f8.safetensors", `checkpoints: file not found: "kl-f8.safetensors"; searched ` + checkpoints + `; there is "kl-f8.safetensors" in vae`},
		{"checkpoints", "something-else.safetensors", `checkpoints: file not found: "something-else.safetensors"; searched ` + checkpoints + `; there are "emoji.safetensors", "sd15/v1-5-pruned.safetensors"`},
		{"vae", "sub.safetensors", `vae: file not found: "sub.safetensors"; searched ` + vae + ` (where it is a folder); there are "kl-f8.safetensors", "sub.safetensors/x.safetensors"`},
		{"loras", "x", `loras: file not found: "x"; searched ` + join(root, "models/loras") + ` (no such folder); no models are there`},
		{"lora", "x", `no category "lora" of models: there are checkpoints, clip_vision, configs, controlnet, diffusion_models, embeddings, hypernetworks, loras, style_models, text_encoders, upscale_models, vae, vae_approx`},
		{"vae", "", `"" is no name of a file in ` + vae + `: it must be a relative path that stays in that folder`},
		{"vae", "../vae/kl-f8.safetensors", `"../vae/kl-f8.safetensors" is no name of a file in ` + vae + `: it must be a relative path that stays in that folder`},
		{"vae", `a\..\..\x`, `"a\\..\\..\\x" is no name of a file in ` + vae + `: it must be a relative path that stays in that folder`},
		{"vae", "/etc/passwd", `"/etc/passwd" is no name of a file in ` + vae + `: it must be a relative path that stays in that folder`},
		{"vae", "a\x00", `"a\x00" is no name of a file in ` + vae + `: it must be a relative path that stays in that folder`},
	} {
		if got, err := r.Find(c.category, c.name); err == nil {
			t.Errorf("Find(%s, %s) = %s, want an error", c.category, c.name, got)
		} else if err.Error() != c.want {
			t.Errorf("error %q\nwant  %q", err, c.want)
		} else if strings.Contains(c.want, "not found") != errors.Is(err, ErrNotFound) {
			t.Errorf("error %q: is ErrNotFound %v", err, errors.Is(err, ErrNotFound))
		}
	}
	var many []string
	for _, n := range "abcdefg" {
		many = append(many, "models/embeddings/some-"+strings.Repeat(string(n), 9)+".safetensors")
	}
	touch(t, root, many...)
	if _, err := r.Find("embeddings", "x"); err == nil || !strings.Contains(err.Error(), `; there are 7 models, such as "some-aaaaaaaaa.safetensors", `) {
		t.Errorf("error %v", err)
	}
}

func TestLinks(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	touch(t, elsewhere, "big.safetensors")
	loras := join(root, "models/loras")
	touch(t, root, "models/loras/a.safetensors")
	for link, to := range map[string]string{"disk": elsewhere, "loop": loras, "gone.safetensors": join(elsewhere, "gone")} {
		if err := os.Symlink(to, filepath.Join(loras, link)); err != nil {
			t.Logf("this system makes no links: %v", err)
			return
		}
	}
	r := New(root)
	if diff := cmp.Diff([]string{"a.safetensors", "disk/big.safetensors"}, r.List("loras")); diff != "" {
		t.Error(diff)
	}
	if got, err := r.Find("loras", "disk/big.safetensors"); err != nil || got != filepath.Join(loras, "disk", "big.safetensors") {
		t.Errorf("Find through a link = %q, %v", got, err)
	}
	if _, err := r.Find("loras", "gone.safetensors"); err == nil || !strings.Contains(err.Error(), "(where it is a link to nothing)") {
		t.Errorf("error %v", err)
	}
}

func TestFindInput(t *testing.T) {
	root := t.TempDir()
	touch(t, root, "input/cat.png", "output/cat.png", "temp/sub/dog.png")
	r := New(root, t.TempDir())
	for name, want := range map[string]string{
		"cat.png": "input/cat.png", "cat.png [input]": "input/cat.png", "cat.png [output]": "output/cat.png",
		"sub/dog.png[temp]": "temp/sub/dog.png",
	} {
		if got, err := r.FindInput(name); err != nil || got != join(root, want) {
			t.Errorf("FindInput(%q) = %q, %v, want %q", name, got, err, join(root, want))
		}
	}
	_, err := r.FindInput("cats.png")
	if want := `file not found: "cats.png"; searched ` + join(root, "input") + `; did you mean "cat.png"?`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	if got, err := r.FindInput("../output/cat.png"); err == nil {
		t.Errorf("FindInput left its folder: %q", got)
	}
}

func TestLoadExtra(t *testing.T) {
	home, shared := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home) // the same on Windows
	t.Setenv("WEIR_TEST_SHARED", shared)
	dir := t.TempDir()
	file := filepath.Join(dir, "extra_model_paths.yaml")
	text := `
# a comment
a1111:
    base_path: ${WEIR_TEST_SHARED}/webui/
    checkpoints: models/Stable-diffusion
    loras: |
         models/Lora
         models/LyCORIS
empty:
    # base_path: x
first:
    is_default: true
    mine: x/y
    vae: $WEIR_TEST_SHARED/vae
home:
    base_path: ~/
    is_default: yes
    loras: loras
shared:
    is_default: 1
    base_path: $WEIR_TEST_SHARED
    clip: clip
unset:
    base_path: $WEIR_TEST_UNSET
    clip: c
`
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	r := New("root")
	if err := r.LoadExtra(file); err != nil {
		t.Fatal(err)
	}
	for category, want := range map[string][]string{
		"checkpoints":   {join("root/models/checkpoints"), join(shared, "webui/models/Stable-diffusion")},
		"loras":         {join(home, "loras"), join("root/models/loras"), join(shared, "webui/models/Lora"), join(shared, "webui/models/LyCORIS")},
		"text_encoders": {join(shared, "clip"), join("root/models/text_encoders"), join("root/models/clip"), join(dir, "$WEIR_TEST_UNSET/c")},
		"mine":          {join(dir, "x/y")},
		"vae":           {join(dir, "$WEIR_TEST_SHARED/vae"), join("root/models/vae")},
		"embeddings":    {join("root/models/embeddings")},
	} {
		if diff := cmp.Diff(want, r.Folders(category)); diff != "" {
			t.Errorf("%s: %s", category, diff)
		}
	}
	touch(t, dir, "x/y/z.safetensors")
	if _, err := r.Find("mine", "z.safetensors"); err != nil {
		t.Error(err)
	}
	// A second time nothing is twice.
	before := r.Folders("loras")
	if err := r.LoadExtra(file); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, r.Folders("loras")); diff != "" {
		t.Error(diff)
	}
}

func TestLoadExtraErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "extra.yaml")
	for _, c := range []struct{ text, want string }{
		{"a", `line 1: expected sections of model folders, found "a"`},
		{"\na: [", "line 2: did not find expected node content"},
		{"a: 5", `section "a": line 1: expected base_path and categories, found "5"`},
		{"\na: {base_path: 5}", `section "a": base_path: line 2: expected a path, found "5"`},
		{"a: {base_path: }", `section "a": base_path: line 1: expected a path, found nothing`},
		{"a: {loras: [x, y]}", `section "a": "loras": line 1: expected a path, or several on a line each, found a sequence`},
		{"ok: {vae: x}\na: {loras: 1}", `section "a": "loras": line 2: expected a path, or several on a line each, found "1"`},
		{"a:\n\tvae: x", "line 2: found character that cannot start any token"},
		{"a: {vae: *x}", "unknown anchor 'x' referenced"},
		{"a: {<<: [x]}", `section "a": line 1: expected a mapping to merge, found "x"`},
		{"a: {vae: x}\n---\nb: {vae: x}", "line 2: expected a single document, found another one"},
		{"? [x]\n: y", "line 1: expected a name and a colon, found a sequence"},
		{"a: {vae: !!binary aGk=}", `section "a": "vae": line 1: expected a path, or several on a line each, found a value with the tag "!!binary"`},
		{"a: {vae: \"\\e[2J\", 5: 5}", `section "a": "5": line 1: expected a path, or several on a line each, found "5"`},
		{"\"\\e[2J" + strings.Repeat("x", 300) + "\": 5", `section "\x1b[2J` + strings.Repeat("x", 196) + `…": line 1: expected base_path and categories, found "5"`},
		{strings.Repeat("#", maxExtra+1), "the file has 1048577 bytes, expected at most 1048576"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		r := New("root")
		if err := r.LoadExtra(file); err == nil || err.Error() != file+": "+c.want {
			t.Errorf("error %v, want %q", err, c.want)
		}
		if got := r.Folders("vae"); len(got) != 1 {
			t.Errorf("a bad file added folders: %v", got)
		}
	}
	if err := New().LoadExtra(file + ".absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func FuzzExtra(f *testing.F) {
	f.Add("a:\n  base_path: x\n  is_default: true\n  loras: |\n    m/L\n    m/K\n")
	f.Add("a: &x {b: *x}\n")
	f.Add("? [a]\n: {b: c}\n")
	f.Add("a: &a {loras: x}\nb: {<<: [*a, *a], is_default: 0x0, loras: |\n y}\n")
	f.Add("a: {base_path: ~/${HOME}/$x, vae: !!str 5, clip: &c '\\e', more: *c}\n--- ...\n")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		additions, err := parseExtra([]byte(text), dir)
		if err != nil {
			return
		}
		for _, a := range additions {
			if !filepath.IsAbs(a.folder) {
				t.Errorf("category %q: folder %q is relative", a.category, a.folder)
			}
		}
	})
}
