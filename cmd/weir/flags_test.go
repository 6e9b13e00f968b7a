package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// every returns the lines that call each command, hidden ones included.
func every(c *cobra.Command) []string {
	lines := []string{strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "weir"), " ")}
	for _, sub := range c.Commands() {
		lines = append(lines, every(sub)...)
	}
	return lines
}

// TestUsageErrors calls every command wrongly in every way it knows. Each exits
// with 2, says which flag or argument is wrong, and does nothing.
func TestUsageErrors(t *testing.T) {
	const drawing = "generate -c emoji.safetensors -p x --root " + repo + " "
	lines := map[string]string{ // with what the error says
		"runn":                                      `no command "runn", did you mean run?`,
		"bench stp":                                 `no command "stp", did you mean step?`,
		"run":                                       "accepts 1 arg",
		"plan":                                      "accepts 1 arg",
		"inspect":                                   "accepts 1 arg",
		"doctor --root":                             "needs an argument: --root",
		"generate":                                  "needs --checkpoint, or --model, and --prompt",
		"generate -p x":                             "needs --checkpoint, or --model, and --prompt",
		"generate -c x":                             "needs --checkpoint, or --model, and --prompt",
		"bench step":                                "needs --checkpoint",
		"bench step -c x --steps 0":                 "--steps",
		"bench step -c x --width 0":                 "--width",
		"bench step -c x --height 100000000000":     "--height",
		"bench synth":                               "accepts 1 arg",
		"bench synth sd3":                           `"sd3"`,
		"bench synth sd15 --dtype F7":               "--dtype",
		"bench synth sd15 --seed -1":                "--seed",
		"bench synth sd15 -o flags_test.go":         "exists",
		"bench memory --only nothing":               "--only",
		"bench memory --rounds 0":                   "--rounds",
		"run " + emojiFlow + " --set steps":         "NODE.INPUT=VALUE",
		"run " + emojiFlow + " --set No.steps=1":    "--set No.steps=1",
		"run " + emojiFlow + " --set KSampler.x=1":  "--set KSampler.x=1",
		"plan " + emojiFlow + " --set steps":        "NODE.INPUT=VALUE",
		"plan " + emojiFlow + " --disk 0":           "--disk",
		"plan " + emojiFlow + " --disk -1GB/s":      "--disk",
		"plan " + emojiFlow + " --compute 1e-300TF": "--compute",
		"plan " + emojiFlow + " --compute 1e30TF":   "--compute",
		"plan " + emojiFlow + " --compute 0x1pTF":   "--compute",
		"completion oldshell":                       `"oldshell"`,
		"help nothing":                              `"nothing"`,
		drawing + "--sampler eular":                 "--sampler",
		drawing + "--lora none":                     "--lora",
		drawing + "--lora none:nan":                 "--lora",
		drawing + "--clip-skip -1":                  "--clip-skip",
		drawing + "--clip-skip 1000":                "--clip-skip",
		drawing + "--root":                          "needs an argument: --root",
	}
	for _, x := range []string{
		"--width 0", "--width -8", "--width 7", "--width 1e9", "--height 99999999999", "--height 99999999999999999999", "--batch 0", "--batch 99999999",
		"--steps 0", "--steps -1", "--cfg nan", "--cfg inf", "--cfg -1", "--scheduler x", "--seed -1", "--seed 1e30", "--vae none", "--upscale none",
	} {
		lines[drawing+x] = strings.Fields(x)[0]
	}
	for _, command := range []string{"run " + emojiFlow, "plan " + emojiFlow, drawing, "bench step -c x"} {
		for _, x := range []string{
			"--vram 0", "--vram -1", "--vram 1e30GB", "--vram 99999999999T", "--vram x", "--vram 0x1p30", "--vram 1_000_000", "--ram nan", "--ram inf", "--ram -0.5GB",
			"--link 1GB/s", "--link 0", "--link 1e30GB/s", "--memory swap", "--threads 1000000", "--threads -1", "--threads 99999999999999999999", "--threads all",
		} {
			lines[command+" "+x] = strings.Fields(x)[0]
		}
	}
	for _, command := range every(newRoot()) {
		lines[command+" --no-such-flag"] = "unknown flag: --no-such-flag"
		lines[command+" --verbose=perhaps"] = "--verbose"
		if command != "help" {
			lines[command+" a b c d"] = ""
		}
	}
	for line, want := range lines {
		out, _, err := weir(t.Context(), strings.Fields(line)...)
		if exitStatus(err) != 2 || !strings.Contains(message(err), want) || out != "" {
			t.Errorf("weir %s: %v with status %d, printed %q, want %q", line, err, exitStatus(err), out, want)
		}
	}
}

// TestFilesAreTriedFirst refuses files of a run's own counters that cannot be
// made before anything runs.
func TestFilesAreTriedFirst(t *testing.T) {
	dir := t.TempDir()
	for _, flag := range []string{"--trace", "--metrics"} {
		for _, path := range []string{filepath.Join(dir, "none", "x"), dir} {
			out, _, err := weir(t.Context(), "run", emojiFlow, "--root", repo, "--output", filepath.Join(dir, "out"), "--set", "KSampler.steps=1", flag, path)
			if exitStatus(err) != 6 || !strings.Contains(message(err), dir) || out != "" {
				t.Errorf("%s %s: %v with status %d, printed %q", flag, path, err, exitStatus(err), out)
			}
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("there are %v, %v", files, err)
	}
}

// TestHelp lists commands and flags of everyday use apart from those that
// measure.
func TestHelp(t *testing.T) {
	for _, line := range every(newRoot()) {
		help := must(t, append(strings.Fields(line), "--help")...)
		if line == "help" || strings.HasPrefix(line, "completion") {
			continue // cobra's own
		}
		everyday, measure, _ := strings.Cut(help, "Flags to measure with")
		for _, flag := range []string{"--trace ", "--metrics ", "--vram ", "--link ", "--disk ", "--compute "} {
			if strings.Contains(everyday, "   "+flag) {
				t.Errorf("weir %s --help lists %sbefore the flags that measure:\n%s", line, flag, help)
			}
		}
		if strings.Contains(measure, "--root ") || strings.Contains(measure, "--set ") {
			t.Errorf("weir %s --help lists everyday flags with those that measure:\n%s", line, help)
		}
	}
	help := must(t, "--help")
	at := -1
	for _, want := range []string{"Make pictures:", "\n  generate ", "\n  run ", "Look at", "\n  doctor ", "\n  inspect ", "\n  plan ", "Measure:", "\n  bench "} {
		next := strings.Index(help, want)
		if next <= at {
			t.Errorf("%q is missing or out of order:\n%s", want, help)
		}
		at = next
	}
}
