package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/internal/hostile"
	"github.com/weir-run/weir/tokenizer"
)

// hostileSeed is that of all inputs, which are the same in each run of a test.
const hostileSeed = 7

// The limits of what one hostile input may cost, beside a share of its size. The
// deadline finds what hangs: machines of tests may be slow.
const (
	hostileDeadline = time.Minute
	hostileMemory   = 384 << 20 // bytes
	hostileShare    = 48        // bytes for each of the input
	hostileScreen   = 4 << 10   // bytes of an error
)

// An ordeal counts the hostile inputs of a test and how many were refused.
type ordeal struct {
	t              *testing.T
	tried, refused int
	// typed is set for inputs of a command line: errors repeat these as they are,
	// and only what is shown of them is cut.
	typed bool
}

// face does what a program does with an input. It must end, take a bounded
// amount of memory, and say of what it refuses where the fault lies: the error
// has a kind and one of the places in it, is no longer than a screen and
// changes no terminal.
func (o *ordeal) face(in hostile.Input, places []string, do func(context.Context) error) {
	o.t.Helper()
	o.tried++
	ctx, cancel := context.WithTimeout(o.t.Context(), hostileDeadline)
	defer cancel()
	before, resident := allocated(), resetPeak()
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-time.After(2 * hostileDeadline):
		stacks := make([]byte, 1<<20)
		o.t.Fatalf("%s hangs\n%s", in.Name, stacks[:runtime.Stack(stacks, true)])
	}
	bound := int64(hostileMemory + hostileShare*len(in.Data))
	if n := allocated() - before; n > 2*bound {
		o.t.Errorf("%s: %s were allocated one after another", in.Name, size(n))
	}
	if n := peak() - resident; n > bound {
		o.t.Errorf("%s: takes %s of memory", in.Name, size(n))
	}
	if d := time.Since(start); d > hostileDeadline {
		o.t.Errorf("%s: takes %v", in.Name, d)
	} else if d > time.Second {
		o.t.Logf("%s: takes %v", in.Name, d)
	}
	if err == nil {
		if in.Fails {
			o.t.Errorf("%s: is taken", in.Name)
		}
		return
	}
	o.refused++
	text := err.Error()
	if o.typed {
		text = message(err)
	}
	switch kind := fault.Of(err); kind {
	case fault.Usage, fault.Workflow, fault.Model, fault.Memory, fault.IO:
	default:
		o.t.Errorf("%s: an error of kind %q: %.300s", in.Name, kind, text)
	}
	if len(text) > hostileScreen {
		o.t.Errorf("%s: an error of %d bytes: %.300q", in.Name, len(text), text)
	}
	if i := harmful(text); i >= 0 {
		o.t.Errorf("%s: control characters in %.300q", in.Name, text[max(0, i-40):])
	}
	for _, place := range places {
		if strings.Contains(text, place) {
			return
		}
	}
	o.t.Errorf("%s: names none of %q: %.300s", in.Name, places, text)
}

// harmful returns the place of what changes a terminal, or -1.
func harmful(text string) int {
	return strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && fault.Control(r) })
}

// allocated returns how many bytes the program has allocated since it began.
func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

// resetPeak makes the peak of the memory that is resident begin anew and returns
// it; where the system does not tell, it is 0.
func resetPeak() int64 {
	if os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) != nil {
		return 0
	}
	return peak()
}

// peak returns the most bytes of memory that were resident.
func peak() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	n, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return n << 10
}

// command runs the command and checks what it prints.
func (o *ordeal) command(in hostile.Input, args ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		out, errs, err := weir(ctx, args...)
		for _, text := range []string{out, errs} {
			if len(text) > 16*hostileScreen {
				o.t.Errorf("%s: prints %d bytes: %.300q", in.Name, len(text), text)
			}
			if i := harmful(text); i >= 0 {
				o.t.Errorf("%s: prints control characters: %.200q", in.Name, text[max(0, i-40):])
			}
		}
		return err
	}
}

// write writes an input to a folder under its own name.
func writeHostile(t *testing.T, dir string, in hostile.Input) string {
	t.Helper()
	path := filepath.Join(dir, in.File)
	if err := os.WriteFile(path, in.Data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// done says how many inputs there were and removes what runs have saved.
func (o *ordeal) done(least int) {
	o.t.Logf("%d inputs, %d refused, seed %d", o.tried, o.refused, hostileSeed)
	if o.tried < least {
		o.t.Errorf("there are only %d inputs", o.tried)
	}
}

// TestHostileModels inspects model files.
func TestHostileModels(t *testing.T) {
	o := &ordeal{t: t}
	dir := t.TempDir()
	for _, in := range slices.Concat(hostile.Safetensors(hostileSeed), hostile.GGUF(hostileSeed), hostile.Torch(hostileSeed)) {
		path := writeHostile(t, dir, in)
		o.face(in, []string{in.File}, o.command(in, "inspect", path))
	}
	o.done(200)
}

// TestHostilePictures loads and saves pictures, and looks for workflows in them.
func TestHostilePictures(t *testing.T) {
	o := &ordeal{t: t}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "input"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, in := range hostile.Pictures(hostileSeed) {
		path := writeHostile(t, filepath.Join(dir, "input"), in)
		flow := filepath.Join(dir, "flow.json")
		text := fmt.Sprintf(`{"1": {"class_type": "LoadImage", "inputs": {"image": %q}}, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}}}`, in.File)
		if err := os.WriteFile(flow, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		o.face(in, []string{in.File}, o.command(in, "run", flow, "--root", dir, "--ram", "256MB"))
		in.Fails = false
		o.face(in, []string{in.File}, o.command(in, "inspect", path))
		in.Fails = true
		o.face(in, []string{in.File}, o.command(in, "run", path, "--root", dir))
		if err := os.RemoveAll(filepath.Join(dir, "output")); err != nil {
			t.Fatal(err)
		}
	}
	o.done(200)
}

// TestHostileWorkflows runs workflows in both formats.
func TestHostileWorkflows(t *testing.T) {
	o := &ordeal{t: t}
	good, err := os.ReadFile(emojiFlow)
	if err != nil {
		t.Fatal(err)
	}
	// A small and fast one.
	good = bytes.ReplaceAll(good, []byte(`"steps": 20`), []byte(`"steps": 1`))
	good = bytes.ReplaceAll(good, []byte(`: 64`), []byte(`: 16`))
	all, err := hostile.Workflows(hostileSeed, good)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, in := range append(all, hostile.Interface()...) {
		path := writeHostile(t, dir, in)
		o.face(in, []string{in.File, "node "}, o.command(in, "run", path, "--root", repo, "--output", filepath.Join(dir, "output"), "--ram", "256MB"))
		if err := os.RemoveAll(filepath.Join(dir, "output")); err != nil {
			t.Fatal(err)
		}
	}
	o.done(200)
}

// TestHostileModelPaths reads lists of model folders and looks for models in
// them.
func TestHostileModelPaths(t *testing.T) {
	o := &ordeal{t: t}
	dir := t.TempDir()
	for _, in := range hostile.ModelPaths(hostileSeed) {
		path := writeHostile(t, dir, in)
		o.face(in, []string{in.File}, func(context.Context) error {
			roots := folders.New(dir)
			if err := roots.LoadExtra(path); err != nil {
				return err
			}
			for _, category := range roots.Categories() {
				roots.List(category)
			}
			return nil
		})
	}
	o.done(60)
}

// TestHostilePrompts splits prompts into tokens, of each vocabulary.
func TestHostilePrompts(t *testing.T) {
	o := &ordeal{t: t}
	clip := tokenizer.NewCLIP()
	none := func(string) ([][]float32, bool) { return nil, false }
	tekken, spiece := goodVocabularies(t)
	mistral, err := tokenizer.ParseTekken(tekken)
	if err != nil {
		t.Fatal(err)
	}
	umt5, err := tokenizer.ParseSentencePiece(spiece)
	if err != nil {
		t.Fatal(err)
	}
	others := []tokenizer.Tokenizer{tokenizer.NewT5(), tokenizer.NewQwen(), mistral, umt5}
	for _, in := range hostile.Prompts() {
		o.face(in, []string{"prompt"}, func(ctx context.Context) error {
			_, _, err := clip.Chunks(ctx, string(in.Data), 0, none)
			return err
		})
		for _, other := range others {
			o.face(in, []string{"prompt"}, func(ctx context.Context) error {
				_, _, err := tokenizer.Format{Template: "<|im_start|>{}", Embeddings: true, MinLength: 512}.Tokens(ctx, other, string(in.Data), none)
				return err
			})
		}
	}
	o.done(100)
}

// goodVocabularies are a tekken.json and a sentencepiece model of the goldens.
func goodVocabularies(t *testing.T) (tekken, spiece []byte) {
	t.Helper()
	f, err := os.Open(goldens + "tokens.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all struct {
		Tekken []byte
		Models map[string]struct{ Model []byte }
	}
	r, err := gzip.NewReader(f)
	if err == nil {
		err = json.NewDecoder(r).Decode(&all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all.Tekken, all.Models["umt5"].Model
}

// TestHostileVocabularies reads vocabularies of text encoders and encodes with
// what is taken.
func TestHostileVocabularies(t *testing.T) {
	o := &ordeal{t: t}
	tekken, spiece := goodVocabularies(t)
	for _, in := range hostile.Vocabularies(hostileSeed, tekken, spiece) {
		o.face(in, []string{"tekken.json", "vocabulary", "sentencepiece", "charsmap"}, func(context.Context) error {
			var tok tokenizer.Tokenizer
			var err error
			if in.File == "tekken.json" {
				tok, err = tokenizer.ParseTekken(in.Data)
			} else {
				tok, err = tokenizer.ParseSentencePiece(in.Data)
			}
			if err == nil {
				tok.Encode(strings.Repeat("a", 1<<14) + " <s> \u0301日本")
			}
			return err
		})
	}
	o.done(80)
}

// TestHostileAdapters generates with broken LoRAs and upscalers.
func TestHostileAdapters(t *testing.T) {
	o := &ordeal{t: t}
	dir := t.TempDir()
	generate := func(flag, path string) []string {
		return []string{"generate", "-c", "emoji.safetensors", "--root", repo, "-p", "x", "--width", "16", "--height", "16", "--steps", "1", "--seed", "1", "-o", filepath.Join(dir, "output"), flag, path}
	}
	for _, in := range hostile.Adapters("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v", 128, 96) {
		o.face(in, []string{in.File}, o.command(in, generate("--lora", writeHostile(t, dir, in))...))
	}
	all := hostile.Upscalers()
	data, err := os.ReadFile(upscaler)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := hostile.Changed(hostileSeed, "upscaler.safetensors", data, 16)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range append(all, changed...) {
		o.face(in, []string{in.File}, o.command(in, generate("--upscale", writeHostile(t, dir, in))...))
	}
	o.done(60)
}

// TestHostileCheckpoints generates with copies of the demo's checkpoint that
// have a tensor less, or another one.
func TestHostileCheckpoints(t *testing.T) {
	o := &ordeal{t: t}
	data, err := os.ReadFile(emojiModel)
	if err != nil {
		t.Fatal(err)
	}
	all, err := hostile.Changed(hostileSeed, "changed.safetensors", data, 24)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, in := range all {
		path := writeHostile(t, dir, in)
		o.face(in, []string{in.File}, o.command(in, "generate", "-c", path, "-p", "x", "--width", "16", "--height", "16", "--steps", "1", "--seed", "1", "-o", filepath.Join(dir, "output")))
	}
	o.done(24)
}

// TestHostileNames gives names to everything that takes some.
func TestHostileNames(t *testing.T) {
	o := &ordeal{t: t, typed: true}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "input"), 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(goldens + "images_rgba.png")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "input", "a.png"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	quote := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for i, name := range hostile.Names() {
		in := hostile.Input{Name: fmt.Sprintf("name %d %.40q", i, name)}
		flow := filepath.Join(dir, "flow.json")
		for _, values := range [][2]string{{"a.png", name}, {name, "a"}} {
			text := fmt.Sprintf(`{"1": {"class_type": "LoadImage", "inputs": {"image": %s}}, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": %s}}}`, quote(values[0]), quote(values[1]))
			if err := os.WriteFile(flow, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			o.face(in, []string{"node 1", "node 2", "--output"}, o.command(in, "run", flow, "--root", dir))
		}
		for _, args := range [][]string{
			{"generate", "-c", name, "-p", "x"}, {"generate", "-c", "emoji.safetensors", "--root", repo, "-p", "x", "--lora", name}, {"inspect", name}, {"run", name}, {"plan", name},
			{"run", emojiFlow, "--set", name}, {"run", emojiFlow, "--set", name + "=" + name}, {"doctor", "--extra-model-paths", name + "x"}, {"generate", "--sampler", name},
			{"run", emojiFlow, "--vram", name}, {"run", emojiFlow, "--link", name, "--vram", "8MB", "--threads", name}, {"bench", name}, {name},
		} {
			o.face(in, []string{""}, o.command(in, args...))
		}
		if _, err := os.Stat(filepath.Join(dir, "..", "x_00001_.png")); err == nil {
			t.Errorf("%s: a picture was saved outside of the folder", in.Name)
		}
	}
	o.done(200)
}
