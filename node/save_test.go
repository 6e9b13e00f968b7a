package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// write writes a picture where a test needs one.
func (b *bench) write(path string, m *media.Image) {
	b.t.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := errors.Join(media.EncodePNG(b.t.Context(), f, m, nil), f.Close()); err != nil {
		b.t.Fatal(err)
	}
}

// below returns the paths of all files and folders below a folder.
func below(t *testing.T, folder string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if path != folder {
			rel, _ := filepath.Rel(folder, path)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// saving runs a workflow that loads in.png and saves it under a prefix.
func (b *bench) saving(prefix string) ([]string, error) {
	b.t.Helper()
	text, err := json.Marshal(prefix)
	if err != nil {
		b.t.Fatal(err)
	}
	files, _, err := b.try(b.parse(`{"1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}},
		"2": {"class_type": "SaveImage", "inputs": {"filename_prefix": ` + string(text) + `, "images": ["1", 0]}}}`))
	b.executor.Clear()
	return files, err
}

// TestNamesAreComfyUIs compares names with those that ComfyUI finds beside the
// same files.
func TestNamesAreComfyUIs(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(golden.Dir(), "saving.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Prefix, Subfolder, Name string
		There                   []string
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 20 {
		t.Fatal(len(cases), err)
	}
	b := newBench(t, pipeline.Options{})
	for _, tt := range cases {
		if runtime.GOOS == "windows" && tt.Prefix == "a " {
			continue // no such name there
		}
		b.env.Folders.Output = t.TempDir()
		for _, name := range tt.There {
			path := filepath.Join(b.env.Folders.Output, filepath.FromSlash(name))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, nil, 0o666)); err != nil {
				t.Fatal(err)
			}
		}
		d, err := b.env.destination("output", tt.Prefix, 640, 480)
		if err != nil {
			t.Error(err)
			continue
		}
		var saved []workflow.File
		if _, err := d.save(t.Context(), media.NewImage(1, 480, 640, 3, nil), 0, nil, func(f workflow.File) { saved = append(saved, f) }); err != nil {
			t.Error(err)
			continue
		}
		f := saved[0]
		want := filepath.Join(b.env.Folders.Output, filepath.FromSlash(tt.Subfolder), tt.Name)
		if f.Name != tt.Name || f.Subfolder != tt.Subfolder || f.Path != want || f.Kind != "output" {
			t.Errorf("%q beside %q is saved as %+v, in ComfyUI as %s in %q", tt.Prefix, tt.There, f, tt.Name, tt.Subfolder)
		}
		if _, err := os.Stat(f.Path); err != nil {
			t.Error(err)
		}
	}
}

// TestRefusedPrefixesMakeNothing tries prefixes that name no file in the folder.
func TestRefusedPrefixesMakeNothing(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 4, 4, func(int, int) uint8 { return 255 })
	// What cannot be written goes to the folder of temporary files.
	for prefix, kind := range map[string]fault.Kind{
		"../x": fault.Workflow, "a/../../x": fault.Workflow, `a\..\..\x`: fault.Workflow, "/x": fault.Workflow, `\x`: fault.Workflow,
		"//host/share/x": fault.Workflow, `C:\x`: fault.Workflow, "c:x": fault.Workflow, "": fault.Workflow, ".": fault.Workflow, "a/..": fault.Workflow,
		"..": fault.Workflow, "/": fault.Workflow, "a\x00b": fault.Workflow, "new/a\nb": fault.Workflow, "new/\x1b[31m": fault.Workflow, "new\x7f/a": fault.Workflow, "new/\u202ea": fault.Workflow,
		"new/" + strings.Repeat("n", 300): fault.IO, strings.Repeat("n", 300) + "/x": fault.IO, strings.Repeat("n/", 3000) + "x": fault.IO,
	} {
		_, err := b.saving(prefix)
		if fault.Of(err) != kind || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) || len(err.Error()) > 1500 {
			t.Errorf("%.20q: kind %q, want %q: %.2000v", prefix, fault.Of(err), kind, err)
		}
		if err := b.env.checkSave(prefix, media.PlanImage(1, 4, 4, 3)); fault.Of(err) != kind {
			t.Errorf("%.20q is tried with %v", prefix, err)
		}
	}
	if left := below(t, b.env.Folders.Output); len(left) > 0 {
		t.Errorf("there are %.1000q", left)
	}
}

func TestCheckSaveLeavesNothing(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	for _, prefix := range []string{"a", "new/deep/a", "%width%/a", "a%batch_num%"} {
		if err := b.env.checkSave(prefix, media.PlanImage(4, 512, 512, 3)); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	if err := b.env.checkSave("a", media.PlanImage(1<<20, 1<<14, 1<<14, 3)); fault.Of(err) != fault.IO || !strings.Contains(err.Error(), "are free") {
		t.Errorf("no space: %v", err)
	}
	if left := below(t, b.env.Folders.Output); len(left) > 0 {
		t.Errorf("there are %q", left)
	}
	file := filepath.Join(b.env.Folders.Output, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{file, filepath.Join(file, "deep")} {
		b.env.Folders.Output = output
		if err := b.env.checkSave("a", media.PlanImage(1, 8, 8, 3)); fault.Of(err) != fault.IO || !strings.Contains(err.Error(), file) {
			t.Errorf("%s is a file: %v", output, err)
		}
	}
}

// TestBatchesKeepEarlierRuns saves batches with their numbers in the names.
func TestBatchesKeepEarlierRuns(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	m := media.NewImage(2, 4, 4, 3, nil)
	for run := range 3 {
		d, err := b.env.destination("output", "x%batch_num%y", 4, 4)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := d.save(t.Context(), m, 0, nil, func(workflow.File) {}); err != nil || n != 2 {
			t.Fatal(run, n, err)
		}
	}
	want := []string{"x0y_00001_.png", "x0y_00003_.png", "x0y_00005_.png", "x1y_00002_.png", "x1y_00004_.png", "x1y_00006_.png"}
	if got := below(t, b.env.Folders.Output); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

// TestManySaveInOneFolder saves from goroutines that have all seen the folder
// empty, while another program takes names as well.
func TestManySaveInOneFolder(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	d, err := b.env.destination("output", "x", 4, 4)
	if err != nil {
		t.Fatal(err)
	}
	const savers, batch = 12, 4
	m := media.NewImage(batch, 4, 4, 3, nil)
	var all sync.WaitGroup
	for range savers {
		all.Go(func() {
			number := big.NewInt(1)
			for i := range batch {
				if _, err := d.write(t.Context(), m, i, number, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for i := 1; i < 20; i += 3 {
			f, err := os.OpenFile(filepath.Join(d.dir(), d.name(0, big.NewInt(int64(i)))), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
			if err != nil {
				continue
			}
			fmt.Fprint(f, "another program's")
			f.Close()
		}
	})
	all.Wait()
	ours := 0
	for _, name := range below(t, b.env.Folders.Output) {
		data, err := os.ReadFile(filepath.Join(b.env.Folders.Output, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(data) != "another program's" {
			if _, _, err := media.Load(t.Context(), filepath.Join(b.env.Folders.Output, name), 0); err != nil {
				t.Error(err)
			}
			ours++
		}
	}
	if ours != savers*batch {
		t.Errorf("%d pictures are there, want %d", ours, savers*batch)
	}
}

// TestSavedElsewhere has the folder of outputs turn out to be a file.
func TestSavedElsewhere(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	b.draw("in.png", 4, 4, func(int, int) uint8 { return 255 })
	b.env.Folders.Output = filepath.Join(b.env.Folders.Output, "file")
	if err := os.WriteFile(b.env.Folders.Output, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"a", strings.Repeat("é", 200)} {
		_, err := b.saving(prefix)
		there := below(t, b.env.Folders.Temp)
		if fault.Of(err) != fault.IO || len(there) != 1 || !strings.Contains(err.Error(), filepath.Join(b.env.Folders.Temp, there[0])) {
			t.Errorf("%v; there are %q", err, there)
			continue
		}
		path := filepath.Join(b.env.Folders.Temp, there[0])
		if m, _, err := media.Load(t.Context(), path, 0); err != nil || m.Width != 4 {
			t.Error(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSavingStops cancels while the last picture is written.
func TestSavingStops(t *testing.T) {
	b := newBench(t, pipeline.Options{})
	d, err := b.env.destination("output", "x", 4, 4)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := media.NewImage(2, 64, 64, 3, nil)
	n, err := d.save(ctx, m, 0, nil, func(workflow.File) { cancel() })
	if n != 1 || fault.Of(err) != fault.Cancelled || !strings.Contains(err.Error(), "picture 2 of 2 was not saved") {
		t.Errorf("%d pictures were saved, %v", n, err)
	}
	if there := below(t, b.env.Folders.Output); !slices.Equal(there, []string{"x_00001_.png"}) {
		t.Errorf("there are %q", there)
	}
}
