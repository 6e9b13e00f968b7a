package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-run/weir/fault"
)

var leastPattern = regexp.MustCompile(`runs with (--v?ram) ([0-9.]+)(MB|kB|GB)`)

// TestLeastMemory runs workflows in the memory that weir plan and the refusal
// name, and is refused a little below, before anything runs.
func TestLeastMemory(t *testing.T) {
	for _, c := range []struct {
		flag, start string
		sets        [][]string
	}{
		{"--vram", "1MB", [][]string{{"KSampler.steps=1"}}},
		{"--ram", "1MB", [][]string{{"KSampler.steps=1"}, {"KSampler.steps=1", "4.width=96", "4.height=160"}}},
	} {
		for _, sets := range c.sets {
			dir := t.TempDir()
			args := []string{"--root", repo, "--output", dir}
			for _, s := range sets {
				args = append(args, "--set", s)
			}
			weirAt := func(command, size string) (string, error) {
				out, errs, err := weir(t.Context(), append([]string{command, emojiFlow, c.flag, size}, args...)...)
				return out + errs, err
			}
			_, err := weirAt("run", c.start)
			if err == nil || exitStatus(err) != 5 {
				t.Fatalf("%s %s %v: %v with status %d", c.flag, c.start, sets, err, exitStatus(err))
			}
			named := leastPattern.FindStringSubmatch(err.Error())
			if named == nil || named[1] != c.flag {
				t.Fatalf("no remedy in %v", err)
			}
			if files, _ := os.ReadDir(dir); len(files) > 0 {
				t.Errorf("a refused run left %v", files)
			}
			least := named[2] + named[3]
			told, err := weirAt("plan", least)
			if err != nil || !strings.Contains(told, "runs with "+c.flag+" "+least) {
				t.Errorf("weir plan says %v, %s, want %s", err, told, least)
			}
			if _, err := weirAt("run", least); err != nil {
				t.Errorf("%s %s %v: %v", c.flag, least, sets, err)
			}
			value, err := strconv.ParseFloat(named[2], 64)
			if err != nil {
				t.Fatal(err)
			}
			below := strconv.FormatFloat(0.95*value, 'f', 4, 64) + named[3]
			if text, err := weirAt("run", below); fault.Of(err) != fault.Memory || strings.Contains(text, "step") {
				t.Errorf("%s %s %v: %v, %s", c.flag, below, sets, err, text)
			}
		}
	}
}

// TestPicturesAreCounted refuses pictures that do not fit in the memory beside
// what else there is, before one is made.
func TestPicturesAreCounted(t *testing.T) {
	chain := `{"1": {"class_type": "LoadImage", "inputs": {"image": "images_grey.png"}}`
	last := "1"
	for _, id := range []string{"2", "3", "4", "5", "6"} {
		chain += `, "` + id + `": {"class_type": "ImageScaleBy", "inputs": {"image": ["` + last + `", 0], "upscale_method": "bilinear", "scale_by": 8.0}}`
		last = id
	}
	path := t.TempDir() + "/chain.json"
	if err := os.WriteFile(path, []byte(chain+`, "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["`+last+`", 0]}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.MkdirAll(root+"/input", 0o755); err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile(goldens + "images_grey.png")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/input/images_grey.png", picture, 0o644); err != nil {
		t.Fatal(err)
	}
	_, errs, err := weir(t.Context(), "run", path, "--root", root, "--output", t.TempDir())
	if exitStatus(err) != 5 || !strings.Contains(err.Error(), "node 5 (ImageScaleBy)") && !strings.Contains(err.Error(), "node 6 (ImageScaleBy)") {
		t.Errorf("got %v with status %d, %s", err, exitStatus(err), errs)
	}
}
