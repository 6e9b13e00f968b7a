package folders

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestHostileYAML bounds the time and memory of documents as large as are read.
func TestHostileYAML(t *testing.T) {
	const n = maxExtra / 4
	var merges strings.Builder
	merges.WriteString("a0: &a0 {")
	for i := range 1000 {
		fmt.Fprintf(&merges, "k%d: v, ", i)
	}
	merges.WriteString("}\n")
	for i := 1; i < 20; i++ {
		fmt.Fprintf(&merges, "a%d: &a%d {<<: [%s]}\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 1000))
	}
	bomb := "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 40; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10))
	}
	for name, text := range map[string]string{
		"brackets":      strings.Repeat("[", n),
		"open":          "a: " + strings.Repeat("[", 100_000),
		"closed":        "a: " + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000),
		"braces":        strings.Repeat("{", n),
		"keyed braces":  strings.Repeat("{a: ", n/4),
		"dashes":        strings.Repeat("- ", n/2),
		"questions":     strings.Repeat("? ", n/2),
		"anchors":       strings.Repeat("a: &a\n", n/6),
		"anchored":      "a: " + strings.Repeat("&", n-3),
		"aliases":       "a: &a [" + strings.Repeat("*a,", n/3-10) + "]",
		"bomb":          bomb,
		"merges":        merges.String(),
		"keys":          strings.Repeat("a: {vae: x}\n", n/12),
		"comments":      strings.Repeat("#\n", n/2),
		"one key":       strings.Repeat("a", n-5) + ": x",
		"one path":      "a: {vae: " + strings.Repeat("x/", n/2-20) + "}",
		"quotes":        "a: '" + strings.Repeat("'", n-4),
		"tags":          "a: " + strings.Repeat("!", n-3),
		"documents":     strings.Repeat("---\n", n/4),
		"tabs":          strings.Repeat("\t", n),
		"nothing":       strings.Repeat("\x00", n),
		"colons":        strings.Repeat(":", n),
		"colons spaced": strings.Repeat(": ", n/2),
		"block":         "a:\n  loras: |\n" + strings.Repeat("    x\n", n/6-4),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := parseExtra([]byte(text), "/")
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		t.Logf("%-14s %8v %5d MiB: %.100v", name, took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20, err)
		if took > 10*time.Second || after.TotalAlloc-before.TotalAlloc > 1<<30 {
			t.Errorf("%s: %v and %d MiB", name, took, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}
