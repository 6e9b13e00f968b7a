package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-run/weir/fault"
)

// partly is the demo with a second output, whose node has one input and one
// class of those given.
func partly(t *testing.T, class, input string) string {
	t.Helper()
	text, err := os.ReadFile(emojiFlow)
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.LastIndexByte(text, '}')
	path := filepath.Join(t.TempDir(), "partly.json")
	more := fmt.Sprintf(`, "90": {"class_type": %q, "inputs": {%s}}, "91": {"class_type": "SaveImage", "inputs": {"filename_prefix": "second", "images": ["90", 0]}}}`, class, input)
	if err := os.WriteFile(path, append(text[:end:end], more...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRunMakesWhatItCan runs the demo beside an output that cannot be made.
func TestRunMakesWhatItCan(t *testing.T) {
	for class, input := range map[string]string{
		"NoSuchNode": ``,
		"LoadImage":  `"image": "missing.png"`,
		"VAEDecode":  `"samples": ["4", 0]`,
	} {
		dir := t.TempDir()
		args := []string{"run", partly(t, class, input), "--root", repo, "--output", dir, "--set", "KSampler.steps=1"}
		out, errs, err := weir(t.Context(), args...)
		if exitStatus(err) != exitPartial || !strings.Contains(message(err), "node 90 ("+class+")") {
			t.Errorf("%s: %v with status %d", class, err, exitStatus(err))
		}
		if want := filepath.Join(dir, "emoji_00001_.png") + "\n"; out != want || !strings.Contains(errs, "1 of the workflow's outputs") {
			t.Errorf("%s: printed %q, %q, want %q", class, out, errs, want)
		}
		_, _, err = weir(t.Context(), append(args, "--strict")...)
		if files, _ := os.ReadDir(dir); exitStatus(err) != 3 || len(files) != 1 {
			t.Errorf("%s: --strict: %v with status %d, there are %v", class, err, exitStatus(err), files)
		}
	}
}

// TestWarnings prints what is odd in a workflow, once.
func TestWarnings(t *testing.T) {
	text, err := os.ReadFile(emojiFlow)
	if err != nil {
		t.Fatal(err)
	}
	odd := strings.Replace(string(text), `"steps":`, `"denoize": 0.5, "steps":`, 1)
	path := filepath.Join(t.TempDir(), "odd.json")
	if err := os.WriteFile(path, []byte(odd), 0o644); err != nil {
		t.Fatal(err)
	}
	_, errs, err := weir(t.Context(), "run", path, "--root", repo, "--output", t.TempDir(), "--set", "KSampler.steps=1")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(errs, "warning: node 5 (KSampler), input denoize") != 1 {
		t.Errorf("printed %q", errs)
	}
}

// A full writer has room for nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestNamesThatCannotBePrinted fails, though the picture is there.
func TestNamesThatCannotBePrinted(t *testing.T) {
	dir := t.TempDir()
	root := newRoot()
	root.SetArgs([]string{"run", emojiFlow, "--root", repo, "--output", dir, "--set", "KSampler.steps=1"})
	root.SetOut(full{})
	root.SetErr(io.Discard)
	err := root.ExecuteContext(t.Context())
	if err == nil || exitStatus(err) == 0 || !strings.Contains(err.Error(), "could not be printed") {
		t.Errorf("got %v with status %d", err, exitStatus(err))
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("there are %v", files)
	}
}

// TestMessage keeps errors to a screen without control characters.
func TestMessage(t *testing.T) {
	long := fault.New(fault.Workflow, "%s", strings.Repeat("a line with \x1b[31mred\x07 and \u202e\n", 2000)+strings.Repeat("x", 1e6))
	text := message(long)
	if len(text) > maxLines*(maxLineBytes+10) || strings.ContainsAny(text, "\x1b\x07\u202e") || !strings.Contains(text, `\x1b[31mred\a`) || !strings.HasSuffix(text, "and 1961 more lines") {
		t.Errorf("%d bytes: %.200q", len(text), text)
	}
	for err, want := range map[error]string{
		context.Canceled: "stopped",
		fmt.Errorf("node 5 (KSampler): %w", context.Canceled): "stopped: node 5 (KSampler)",
	} {
		if got := message(err); got != want || exitStatus(err) != 130 || exitStatus(partialError{err}) != 130 {
			t.Errorf("%v is told as %q with status %d, want %q", err, got, exitStatus(err), want)
		}
	}
}
