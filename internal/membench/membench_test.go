//go:build linux

package membench

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/weights"
)

const emoji = "../../models/checkpoints/emoji.safetensors"

// do has a child do a spec.
func do(t *testing.T, s Spec) []Measure {
	t.Helper()
	in, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Child(t.Context(), bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var all []Measure
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestChild makes a generation in each of the three ways: they draw the same,
// and the measures are what the ways are there for.
func TestChild(t *testing.T) {
	lora := filepath.Join(t.TempDir(), "lora.safetensors")
	if err := writeLoRA(t.Context(), emoji, lora, 4); err != nil {
		t.Fatal(err)
	}
	file, err := os.Stat(lora)
	if err != nil {
		t.Fatal(err)
	}
	script := []Act{{Op: "open", File: emoji}, {Op: "encode", Prompt: "red apple"}, {Op: "step", Times: 2},
		{Op: "lora", File: lora}, {Op: "step", Model: 1}, {Op: "step"}, {Op: "decode"}, {Op: "arena"}}
	for _, vram := range []int64{0, 64 << 20} {
		var hash string
		for _, way := range []pager.Mode{pager.Dynamic, pager.MMap, pager.Classic} {
			all := do(t, Spec{Memory: way, VRAM: vram, Width: 64, Height: 64, Script: script})
			if len(all) != 9 {
				t.Fatalf("%d measures of 9", len(all))
			}
			// Classic merges the LoRA, so what follows it is another latent.
			first := of(all, "step")[1].Hash
			if hash == "" {
				hash = first
			}
			if first != hash || first == of(all, "step")[0].Hash {
				t.Errorf("%s: the second step is %s, others' %s", way, first, hash)
			}
			if arena := of(all, "arena")[0].Bytes; arena <= 0 {
				t.Errorf("%s: an arena of %d bytes", way, arena)
			}
			if vram == 0 || way != pager.Dynamic {
				continue
			}
			steps := of(all, "step")
			if steps[0].MovedVRAM == 0 || steps[1].MovedVRAM != 0 || steps[2].MovedVRAM == 0 || steps[2].MovedVRAM > file.Size() || steps[3].MovedVRAM != 0 {
				t.Errorf("steps moved %d, %d, with a LoRA of %d bytes %d, without it again %d", steps[0].MovedVRAM, steps[1].MovedVRAM, file.Size(), steps[2].MovedVRAM, steps[3].MovedVRAM)
			}
		}
	}
}

func TestChildErrors(t *testing.T) {
	for want, spec := range map[string]string{
		"reading what to measure":  "{",
		"nothing to measure":       `{"Width":64,"Height":64,"Script":[{"Op":"open","File":"` + emoji + `"},{"Op":"dance"}]}`,
		"model 0 of 0":             `{"Script":[{"Op":"step"}]}`,
		"none.safetensors":         `{"Script":[{"Op":"open","File":"none.safetensors"}]}`,
		"is no network":            `{"Network":{"Kind":"tree","File":"` + emoji + `"}}`,
		"entering a control group": `{"Cage":["/none/cgroup.procs"]}`,
	} {
		if err := Child(t.Context(), strings.NewReader(spec), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", spec, err, want)
		}
	}
}

// TestNetwork runs a UNet with memory for a third of its weights behind a link
// and beside copies. The prediction obeys its own bound.
func TestNetwork(t *testing.T) {
	whole := do(t, Spec{VRAM: plenty, Network: Network{Kind: "unet", File: emoji, Size: 64, Runs: 2}})
	if whole[0].MovedVRAM == 0 || whole[1].MovedVRAM != 0 || whole[1].Residency.Streamed != 0 {
		t.Fatalf("with plenty of memory: %+v", whole)
	}
	model := whole[0].Residency.Kept
	some := do(t, Spec{VRAM: whole[0].Bytes + model/3, Link: 200e6,
		Network: Network{Kind: "unet", File: emoji, Size: 64, Runs: 3, Work: 0.02, Copies: 1e6}})
	last := some[2]
	if last.MovedVRAM < model-model/3 || last.MovedVRAM > model || last.Residency.Streamed == 0 {
		t.Errorf("with a third of %d bytes: %+v", model, last)
	}
	p := last.Predicted
	if math.Abs(p.Compute-0.02) > 1e-9 || p.Bound < 0.02 || p.Later < p.Bound*(1-1e-9) || p.First < p.Later*(1-1e-9) {
		t.Errorf("the prediction is %+v", p)
	}
}

// TestHoles opens a checkpoint that takes no room on disk.
func TestHoles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holes.safetensors")
	if err := holes(t.Context(), emoji, path, 3<<30); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := os.Stat(path); err != nil || info.Size() > 3<<30 || info.Size() < 3<<30-2<<20 {
		t.Errorf("%v, %v: want nearly 3 GiB", info, err)
	}
	if err := holes(t.Context(), emoji, path, 1<<20); err == nil {
		t.Error("a file smaller than the model was written")
	}
}

// TestRows measures the row that needs neither root nor a model, and draws its
// chart.
func TestRows(t *testing.T) {
	var out bytes.Buffer
	b := &Bench{Charts: t.TempDir(), Rounds: 1, Out: &out, Log: io.Discard}
	if err := b.Run(t.Context(), []string{"pager"}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "Acquire and Release of a resident extent") || !strings.Contains(text, "pager: a use:") {
		t.Errorf("printed %s", text)
	}
	c := barChart{title: "a < b", file: "x.svg"}
	c.add("one", 1)
	c.add("two", 2.5)
	if err := b.draw(c); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(b.Charts, "x.svg"))
	if err != nil || xml.Unmarshal(svg, new(struct{})) != nil {
		t.Errorf("%v, %s", err, svg)
	}
}

func TestHog(t *testing.T) {
	own := filepath.Join(t.TempDir(), "cgroup.procs")
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
	defer cancel()
	err := Hog(ctx, &out, 1<<20, 1000, own)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(out.String(), "taken and freed\n") {
		t.Errorf("%v after %q", err, out.String())
	}
	if pid, err := os.ReadFile(own); err != nil || len(pid) == 0 {
		t.Errorf("the group has %q, %v", pid, err)
	}
}
