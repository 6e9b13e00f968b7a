package folders

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/weir-run/weir/regular"
)

// TestName gives files names that lead back to them and to no other file.
func TestName(t *testing.T) {
	a, b, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
	touch(t, a, "models/loras/ink.safetensors", "models/loras/styles/oil.safetensors", "models/vae/ink.safetensors")
	touch(t, b, "models/loras/ink.safetensors", "models/loras/own.safetensors")
	touch(t, elsewhere, "ink.safetensors", "sub/ink.safetensors", "linked.safetensors", "back.safetensors")
	r := New(a, b)
	r.AbsolutePaths = true
	for from, to := range map[string]string{
		join(a, "models/loras/linked.safetensors"): join(elsewhere, "linked.safetensors"),
		join(elsewhere, "styles"):                  join(a, "models/loras/styles"),
		join(elsewhere, "mine.safetensors"):        join(b, "models/loras/own.safetensors"),
		join(elsewhere, "root"):                    a,
	} {
		if err := os.Symlink(to, from); err != nil {
			t.Logf("this system makes no links: %v", err)
			return
		}
	}
	t.Chdir(elsewhere)
	for file, want := range map[string]string{
		join(a, "models/loras/ink.safetensors"):               "ink.safetensors",
		join(a, "models/loras/styles/oil.safetensors"):        "styles/oil.safetensors",
		join(a, "models/vae/../loras/styles/oil.safetensors"): "styles/oil.safetensors",
		join(b, "models/loras/own.safetensors"):               "own.safetensors",
		join(b, "models/loras/ink.safetensors"):               join(b, "models/loras/ink.safetensors"), // a's is found first
		join(a, "models/vae/ink.safetensors"):                 join(a, "models/vae/ink.safetensors"),   // another category
		"ink.safetensors":                                     join(elsewhere, "ink.safetensors"),
		"sub/ink.safetensors":                                 join(elsewhere, "sub/ink.safetensors"),
		"./sub/../ink.safetensors":                            join(elsewhere, "ink.safetensors"),
		"linked.safetensors":                                  "linked.safetensors", // the folder has a link to it
		"styles/oil.safetensors":                              "styles/oil.safetensors",
		"mine.safetensors":                                    "own.safetensors",
		"root/models/loras/styles/oil.safetensors":            "styles/oil.safetensors",
	} {
		got, err := r.Name("loras", filepath.FromSlash(file))
		if err != nil || got != want {
			t.Errorf("Name(%s) = %q, %v, want %q", file, got, err, want)
			continue
		}
		found, err := r.Find("loras", got)
		info, _ := os.Stat(filepath.FromSlash(file))
		if err != nil || !same(found, info) {
			t.Errorf("%s is named %q, which is %s, %v", file, got, found, err)
		}
	}
	if _, err := r.Name("loras", "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := r.Name("loras", "sub"); !errors.Is(err, regular.ErrNot) {
		t.Errorf("a folder: %v", err)
	}
}

// TestAbsolutePaths are names only where the user of the machine gives them.
func TestAbsolutePaths(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	touch(t, elsewhere, "x.safetensors")
	touch(t, root, "models/vae/x.safetensors")
	path := join(elsewhere, "x.safetensors")
	r := New(root)
	if got, err := r.Find("vae", path); err == nil {
		t.Errorf("an absolute path was found: %s", got)
	}
	r.AbsolutePaths = true
	if got, err := r.Find("vae", path); err != nil || got != path {
		t.Errorf("Find(%s) = %s, %v", path, got, err)
	}
	for name, want := range map[string]string{
		join(elsewhere, "none"): fmt.Sprintf(`vae: file not found: %q (no such file); there are "x.safetensors"`, join(elsewhere, "none")),
		elsewhere:               fmt.Sprintf(`vae: file not found: %q (where it is a folder); there are "x.safetensors"`, elsewhere),
		"//host/share/x":        `"//host/share/x" is no name of a file in ` + join(root, "models/vae") + `: it must be a relative path that stays in that folder`,
		`\\host\share\x`:        `"\\\\host\\share\\x" is no name of a file in ` + join(root, "models/vae") + `: it must be a relative path that stays in that folder`,
	} {
		if _, err := r.Find("vae", name); err == nil || err.Error() != want {
			t.Errorf("Find(%s): %v, want %s", name, err, want)
		}
	}
	if got, err := r.FindInput(path); err == nil {
		t.Errorf("a picture was found by an absolute path: %s", got)
	}
}

// TestLongNames keeps messages short, whatever a workflow names.
func TestLongNames(t *testing.T) {
	r := New(t.TempDir())
	r.AbsolutePaths = true
	for i := range 100 {
		r.Add("vae", fmt.Sprint("folder", i))
	}
	long := strings.Repeat("x", 5<<20)
	for _, name := range []string{long, "/" + long, strings.Repeat("x/", 1<<20), "../" + long, "\x1b[2J" + long, "\x00" + long} {
		for _, find := range []func(string) (string, error){
			func(name string) (string, error) { return r.Find("vae", name) }, r.FindInput, r.Embeddings(),
		} {
			if _, err := find(name); err == nil || len(err.Error()) > 2000 || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%.10q: an error of %d bytes: %.300v", name, len(err.Error()), err)
			}
		}
	}
}

// TestNormalization finds names in either form of Unicode.
func TestNormalization(t *testing.T) {
	const composed, decomposed = "caf\u00e9/\u00fcber.safetensors", "cafe\u0301/u\u0308ber.safetensors"
	for on, name := range map[string]string{composed: decomposed, decomposed: composed} {
		root := t.TempDir()
		touch(t, root, "models/loras/"+on, "input/"+on, "models/embeddings/"+on)
		r := New(root)
		if got, err := r.Find("loras", name); err != nil || norm.NFC.String(got) != norm.NFC.String(join(root, "models/loras/"+on)) {
			t.Errorf("Find(%q) where there is %q: %q, %v", name, on, got, err)
		}
		if _, err := r.FindInput(name + " [input]"); err != nil {
			t.Error(err)
		}
		if _, err := r.Embeddings()(filepath.Base(name)); err != nil {
			t.Error(err)
		}
		// The very name comes before one that is like it.
		touch(t, root, "models/loras/"+name)
		if got, err := r.Find("loras", name); err != nil || got != join(root, "models/loras/"+name) {
			t.Errorf("Find(%q) = %q, %v", name, got, err)
		}
		if _, err := r.Find("loras", "\u00e9"+name); !errors.Is(err, ErrNotFound) {
			t.Errorf("another name is found: %v", err)
		}
	}
}

func TestEmbeddings(t *testing.T) {
	root := t.TempDir()
	touch(t, root, "models/embeddings/easy.safetensors", "models/embeddings/styles/oil.safetensors", "models/embeddings/old.pt",
		"models/embeddings/a/both.pt", "models/embeddings/b/both.safetensors", "models/embeddings/v1.5.safetensors", "models/loras/x.safetensors")
	find := New(root).Embeddings()
	for name, want := range map[string]string{
		"easy": "easy.safetensors", "easy.safetensors": "easy.safetensors", "styles/oil": "styles/oil.safetensors", `styles\oil`: "styles/oil.safetensors",
		"oil": "styles/oil.safetensors", "old": "old.pt", "old.pt": "old.pt", "both": "b/both.safetensors", "v1.5": "v1.5.safetensors",
	} {
		if got, err := find(name); err != nil || got != join(root, "models/embeddings", want) {
			t.Errorf("%q is %q, %v, want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"", "none", "../loras/x", "a", "/", "..", join(root, "models/embeddings/easy.safetensors")} {
		if got, err := find(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q is %q, %v", name, got, err)
		}
	}
	if _, err := find("esy"); err == nil || err.Error() != `file not found: "esy"; did you mean "easy.safetensors"?` {
		t.Errorf("error %v", err)
	}
}
