package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/host"
)

// TestDoctor looks at the machine that the test runs on.
func TestDoctor(t *testing.T) {
	var d diagnosis
	if err := json.Unmarshal([]byte(must(t, "doctor", "--root", repo, "--json")), &d); err != nil {
		t.Fatal(err)
	}
	if d.Cores < 1 || d.Memory <= 0 || d.Free <= 0 || d.CopyRate <= 0 || d.Output.Free <= 0 || len(d.Devices) != 1 || d.Models["checkpoints"] < 1 {
		t.Errorf("found %+v", d)
	}
	if len(d.Disks) == 0 || d.Disks[0].Rate <= 0 || d.Disks[0].File == "" || d.Disks[0].Free <= 0 {
		t.Errorf("the disks are %+v", d.Disks)
	}
	empty := must(t, "doctor", "--root", t.TempDir())
	for _, want := range []string{"there are no models", "processor ", "graphics card  not used yet", "\nswap ", "\npictures "} {
		if !strings.Contains(empty, want) {
			t.Errorf("does not say %q:\n%s", want, empty)
		}
	}
}

// TestDoctorFolders finds every folder of every category, those of an
// extra_model_paths.yaml too.
func TestDoctorFolders(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"models/loras", "models/vae", "shared/styles"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(folder)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"models/vae/notes.txt":          "x",
		"shared/styles/a.safetensors":   "not looked into",
		"shared/file":                   "x",
		"shared/styles/b\x1b.gguf":      "x",
		"models/upscale_models":         "a file in the place of a folder",
		"shared/extra_model_paths.yaml": fmt.Sprintf("mine:\n  base_path: %q\n  loras: styles\n  checkpoints: gone\n  clip_vision: file\n", filepath.Join(dir, "shared")),
	} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o644); err != nil {
			t.Log(err) // not every system takes every name
		}
	}
	out := must(t, "doctor", "--root", dir, "--extra-model-paths", filepath.Join(dir, "shared", "extra_model_paths.yaml"))
	for _, want := range []string{
		"loras: empty in " + filepath.Join(dir, "models", "loras"),
		"in " + filepath.Join(dir, "shared", "styles") + " (of extra_model_paths.yaml)",
		"checkpoints: missing in " + filepath.Join(dir, "shared", "gone") + " (of extra_model_paths.yaml)",
		"clip_vision: unreadable (",
		"upscale_models: unreadable (",
		"extra_model_paths.yaml names " + filepath.Join(dir, "shared", "gone") + " for checkpoints, which does not exist",
		"1 files or folders, but none is a safetensors, GGUF or PyTorch file",
		"\nno folders ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	if strings.ContainsRune(out, '\x1b') {
		t.Errorf("a name reaches the terminal as it is: %q", out)
	}
}

// TestAdvice gives each advice for the facts that call for it, and none for a
// machine that lacks nothing.
func TestAdvice(t *testing.T) {
	good := func() *diagnosis {
		return &diagnosis{
			Memory: 32 << 30, Free: 20 << 30, Swap: host.SwapInfo{Total: 16 << 30}, Output: outputFolder{"output", 50 << 30},
			Limits:  []host.Limit{{Name: "open files", Flag: "-n", Value: 1024}, {Name: "address space", Flag: "-v", Bytes: true, Value: 1 << 50}},
			Disks:   []modelDisk{{Volume: host.Volume{Mount: "/data", Type: "ext4", Free: 9 << 30}, Rate: 2e9, File: "a.safetensors"}},
			Folders: []modelFolder{{Category: "checkpoints", Path: "c", Models: 1, Entries: 1}, {Category: "vae", Path: "v", Problem: missing}},
		}
	}
	for name, tt := range map[string]struct {
		change func(*diagnosis)
		advice string // "" for none
		table  string
	}{
		"good":                {func(*diagnosis) {}, "", "swap on: 16.00 GiB, 0 bytes in use"},
		"a card":              {func(d *diagnosis) { d.Graphics = []string{"NVIDIA GeForce RTX 3060"} }, "the graphics card is not used yet", "graphics card not used yet: NVIDIA GeForce RTX 3060"},
		"little memory":       {func(d *diagnosis) { d.Free = 1 << 30 }, "only 1.00 GiB of memory are free", "memory 32.00 GiB, 1.00 GiB free"},
		"a small group":       {func(d *diagnosis) { d.Limit, d.Group = 3<<30, "/box" }, "the control group /box (of a container or a systemd unit) limits the memory to 3.00 GiB", "memory limit 3.00 GiB, of the control group /box"},
		"a large group":       {func(d *diagnosis) { d.Limit = 30 << 30 }, "", "memory limit 30.00 GiB"},
		"no swap":             {func(d *diagnosis) { d.Swap = host.SwapInfo{}; d.Memory = 4 << 30 }, "there is no swap space", "swap none"},
		"no swap, but memory": {func(d *diagnosis) { d.Swap = host.SwapInfo{} }, "", "swap none"},
		"small swap":          {func(d *diagnosis) { d.Swap = host.SwapInfo{Total: 2 << 30, Used: 1 << 20} }, "", "swap small: 2.00 GiB beside 32.00 GiB of memory, 1.0 MiB in use"},
		"swap in use":         {func(d *diagnosis) { d.Swap.Used = 12 << 30 }, "12.00 GiB of swap space are in use", "swap on"},
		"ulimit -v":           {func(d *diagnosis) { d.Limits[1].Value = 1 << 30 }, "ulimit -v limits the address space to 1.00 GiB", "limit address space 1.00 GiB (ulimit -v)"},
		"ulimit -n":           {func(d *diagnosis) { d.Limits[0].Value = 64 }, "ulimit -n limits the open files to 64", "limit open files 64 (ulimit -n)"},
		"a network":           {func(d *diagnosis) { d.Disks[0].Type, d.Disks[0].Network = "nfs4", true }, "/data is held by another machine (nfs4)", "disk /data: nfs4, held by another machine"},
		"a hard disk":         {func(d *diagnosis) { d.Disks[0].Rotational, d.Disks[0].Rate = true, 250<<20 }, "/data is a hard disk", "a hard disk as the system says, 9.00 GiB free, read at 250.0 MiB/s"},
		"a virtual disk":      {func(d *diagnosis) { d.Disks[0].Rotational = true }, "", "a hard disk as the system says"},
		"a slow disk":         {func(d *diagnosis) { d.Disks[0].Rate = 32 << 20 }, "/data is read at 32.0 MiB/s: a model of 2 GiB takes 64 s", "read at 32.0 MiB/s"},
		"an empty folder":     {func(d *diagnosis) { d.Folders = append(d.Folders, modelFolder{Category: "loras", Path: "l"}) }, "", "models loras: empty in l"},
		"an extra folder": {func(d *diagnosis) {
			d.Folders = append(d.Folders, modelFolder{Category: "loras", Path: "l", Extra: true, Problem: missing})
		}, "names l for loras, which does not exist", "models loras: missing in l (of extra_model_paths.yaml)"},
		"unreadable": {func(d *diagnosis) {
			d.Folders = append(d.Folders, modelFolder{Category: "loras", Path: "l", Problem: "permission denied"})
		}, "l (loras) cannot be read: permission denied", "models loras: unreadable (permission denied) in l"},
		"no models":   {func(d *diagnosis) { d.Folders = nil }, "there are no models", "pictures"},
		"a full disk": {func(d *diagnosis) { d.Output.Free = 5 << 20 }, "only 5.0 MiB are free where pictures are saved (output)", "pictures 5.0 MiB free for output"},
	} {
		d := good()
		tt.change(d)
		d.advise()
		if tt.advice == "" && len(d.Advice) > 0 || tt.advice != "" && (len(d.Advice) != 1 || !strings.Contains(d.Advice[0], tt.advice)) {
			t.Errorf("%s: the advice is %q, want %q", name, d.Advice, tt.advice)
		}
		var table strings.Builder
		if err := d.write(&table); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(strings.Fields(table.String()), " "); !strings.Contains(text, tt.table) || !strings.Contains(text, tt.advice) {
			t.Errorf("%s: the table does not say %q and %q:\n%s", name, tt.table, tt.advice, table.String())
		}
	}
}
