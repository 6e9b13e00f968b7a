package tokenizer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-run/weir/fault"
)

// prompts is what testdata/golden/prompts.py writes: ComfyUI's segments and
// chunks.
type prompts struct {
	Embeddings map[string]int // how many vectors each has
	Prompts    []struct {
		Prompt   string
		Segments [][2]any
		L, G     [][][3]any
	}
}

func readPrompts(t testing.TB) (p prompts) {
	t.Helper()
	data, err := os.ReadFile("../testdata/golden/prompts.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// number returns a weight of the golden.
func number(t testing.TB, v any) float64 {
	if text, ok := v.(string); ok {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	return v.(float64)
}

func equal(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestParseWeightsEqualsComfyUI(t *testing.T) {
	for _, c := range readPrompts(t).Prompts {
		got, err := ParseWeights(c.Prompt)
		ok := err == nil && len(got) == len(c.Segments)
		for i := 0; ok && i < len(got); i++ {
			ok = got[i].Text == c.Segments[i][0] && equal(got[i].Weight, number(t, c.Segments[i][1]))
		}
		if !ok {
			t.Errorf("ParseWeights(%q)\n got %v, %v\nwant %v", c.Prompt, got, err, c.Segments)
		}
	}
}

// finder returns embeddings whose vectors hold 100 times a number of the
// embedding and their row.
func finder(embeddings map[string]int) Finder {
	order := []string{"one", "three", "eight", "long", "a,b", "é", "bad-hands-5", "seven"} // of the golden's numbers
	return func(name string) (vectors [][]float32, ok bool) {
		name = strings.TrimSuffix(name, ".safetensors")
		for row := range embeddings[name] {
			vectors = append(vectors, []float32{float32(100*slices.Index(order, name) + row)})
		}
		return vectors, len(vectors) > 0
	}
}

func TestChunksEqualComfyUI(t *testing.T) {
	golden := readPrompts(t)
	find := finder(golden.Embeddings)
	for _, c := range golden.Prompts {
		for pad, want := range map[int32][][][3]any{CLIPEnd: c.L, 0: c.G} {
			if want == nil {
				continue
			}
			chunks, _, err := NewCLIP().Chunks(t.Context(), c.Prompt, pad, find)
			if err != nil {
				t.Errorf("%q: %v", c.Prompt, err)
				continue
			}
			if got, want := written(chunks), spread(t, want); !slices.Equal(got, want) {
				t.Errorf("%q: %s", c.Prompt, cmp.Diff(want, got))
			}
		}
	}
}

// written returns the tokens of chunks as texts.
func written(chunks [][]Token) []string {
	var out []string
	for _, chunk := range chunks {
		for _, tok := range chunk {
			id := fmt.Sprint(tok.ID)
			if tok.Vector != nil {
				id = fmt.Sprint("v", tok.Vector[0])
			}
			out = append(out, fmt.Sprint(id, " ", tok.Weight))
		}
	}
	return out
}

// spread returns the golden's tokens as texts, which has counts of equal ones.
func spread(t *testing.T, chunks [][][3]any) []string {
	var out []string
	for _, chunk := range chunks {
		for _, run := range chunk {
			for range int(run[2].(float64)) {
				out = append(out, fmt.Sprint(run[0], " ", number(t, run[1])))
			}
		}
	}
	return out
}

func TestMissingEmbeddings(t *testing.T) {
	find := finder(map[string]int{"one": 1})
	_, missing, err := NewCLIP().Chunks(t.Context(), "embedding:one embedding:none, x (embedding:two:1.2) embedding:", CLIPEnd, find)
	if want := []string{"none, x ", "two", ""}; err != nil || !slices.Equal(missing, want) {
		t.Errorf("missing %q, %v, want %q", missing, err, want)
	}
	if _, _, err := NewCLIP().Chunks(t.Context(), strings.Repeat(" embedding:long", MaxVectors/80+1), CLIPEnd, finder(map[string]int{"long": 80})); fault.Of(err) != fault.Workflow {
		t.Errorf("too many vectors: %v", err)
	}
	got := Embeddings("a cat embedding:easy, (embedding:bad-hands:1.2) and notembedding:x embedding:easy")
	if want := []string{"easy,", "easy", "bad-hands"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLongPrompts bounds the time of long prompts.
func TestLongPrompts(t *testing.T) {
	const n = MaxPrompt / 4
	find := func(string) ([][]float32, bool) { return nil, false }
	for name, c := range map[string]struct {
		prompt string
		want   string // of the error
	}{
		"too long":      {strings.Repeat("a", MaxPrompt+1), "262145 bytes, expected at most 262144"},
		"words":         {strings.Repeat("cat ", n/4), ""},
		"one word":      {strings.Repeat("a", n), ""},
		"an odd word":   {strings.Repeat("xqzjkvb", n/7), ""},
		"signs":         {strings.Repeat("!", n), ""},
		"spaces":        {strings.Repeat(" ", n), ""},
		"digits":        {strings.Repeat("1", n), ""},
		"bytes":         {strings.Repeat("\xff", n), ""},
		"emoji":         {strings.Repeat("😀", n/4), ""},
		"accents":       {strings.Repeat("e\u0301", n/3), ""},
		"marks":         {"a" + strings.Repeat("\u0301", n/2-1), ""},
		"open":          {strings.Repeat("(", n), ""},
		"closed":        {strings.Repeat(")", n), ""},
		"pairs":         {strings.Repeat("()", n/2), ""},
		"nested":        {strings.Repeat("(", n/2) + strings.Repeat(")", n/2), "deeper than 1000"},
		"nested open":   {strings.Repeat("(", n/2) + strings.Repeat(")", n/2-1), "deeper than 1000"},
		"deep":          {strings.Repeat(strings.Repeat("(", 900)+strings.Repeat(")", 900), n/1800), ""},
		"weights":       {strings.Repeat("(a:1.1)", n/7), ""},
		"colons":        {"(" + strings.Repeat(":", n-2) + ")", ""},
		"a long number": {"(a:" + strings.Repeat("1", n-4) + ")", ""},
		"spaced number": {"(a:" + strings.Repeat(" ", n-5) + "1)", ""},
		"underscores":   {"(a:" + strings.Repeat("1_", n/2-4) + "1)", ""},
		"escapes":       {strings.Repeat(`\(`, n/2), ""},
		"embeddings":    {strings.Repeat(" embedding:x", n/12), ""},
		"one embedding": {"embedding:" + strings.Repeat(",", n-10), ""},
	} {
		start := time.Now()
		_, _, err := NewCLIP().Chunks(t.Context(), c.prompt, CLIPEnd, find)
		took := time.Since(start)
		t.Logf("%-14s %v", name, took.Round(time.Millisecond))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || fault.Of(err) != fault.Workflow) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if took > 10*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := NewCLIP().Chunks(ctx, "a", CLIPEnd, find); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled prompt: %v", err)
	}
}

func FuzzChunks(f *testing.F) {
	golden := readPrompts(f)
	find := finder(golden.Embeddings)
	for _, c := range golden.Prompts[:150] {
		f.Add(c.Prompt)
	}
	f.Add("a\xff\xfe(b:1e400)")
	f.Fuzz(func(t *testing.T, prompt string) {
		chunks, _, err := NewCLIP().Chunks(t.Context(), prompt, CLIPEnd, find)
		if err != nil {
			return
		}
		if len(chunks) == 0 {
			t.Fatal("no chunk")
		}
		for _, chunk := range chunks {
			if len(chunk) != ChunkLength || chunk[0].ID != CLIPStart {
				t.Fatalf("a chunk of %d tokens begins with %d", len(chunk), chunk[0].ID)
			}
			for _, tok := range chunk {
				if tok.ID < 0 || tok.ID > CLIPEnd {
					t.Fatalf("token %d is not in the vocabulary", tok.ID)
				}
			}
		}
	})
}

// FuzzWeights compares the segments with those of a direct translation of the
// grammar, which reads each level of parentheses again.
func FuzzWeights(f *testing.F) {
	for _, c := range readPrompts(f).Prompts {
		f.Add(c.Prompt)
	}
	f.Fuzz(func(t *testing.T, prompt string) {
		got, err := ParseWeights(prompt)
		if err != nil || strings.ContainsAny(prompt, "\x00\\") {
			return
		}
		same := func(a, b Segment) bool { return a.Text == b.Text && equal(a.Weight, b.Weight) }
		if want := slowly(nil, prompt, 1); !slices.EqualFunc(got, want, same) {
			t.Errorf("%q\n got %v\nwant %v", prompt, got, want)
		}
	})
}

func slowly(out []Segment, text string, weight float64) []Segment {
	var items []string
	begin, level := 0, 0
	for i := range len(text) {
		if text[i] == '(' {
			if level == 0 {
				items, begin = append(items, text[begin:i]), i
			}
			level++
		} else if text[i] == ')' {
			if level--; level == 0 {
				items, begin = append(items, text[begin:i+1]), i+1
			}
		}
	}
	for _, item := range append(items, text[begin:]) {
		switch {
		case item == "":
		case len(item) < 2 || item[0] != '(' || item[len(item)-1] != ')':
			out = append(out, Segment{item, weight})
		default:
			inner, w := item[1:len(item)-1], weight*1.1
			if colon := strings.LastIndexByte(inner, ':'); colon > 0 {
				if f, ok := parseFloat(inner[colon+1:]); ok {
					inner, w = inner[:colon], f
				}
			}
			out = slowly(out, inner, w)
		}
	}
	return out
}
