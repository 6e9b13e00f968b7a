package tokenizer

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden is what testdata/golden/tokenizer.py writes: transformers' tokens
// and ComfyUI's segments.
type golden struct {
	Tokens []struct {
		Text string
		IDs  []int32
	}
	Weights []struct {
		Prompt   string
		Segments [][2]any
	}
}

func readGolden(t testing.TB) (g golden) {
	t.Helper()
	data, err := os.ReadFile("../testdata/golden/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestEncodeEqualsTransformers(t *testing.T) {
	for _, c := range readGolden(t).Tokens {
		if got := NewCLIP().Encode(c.Text); !slices.Equal(got, c.IDs) {
			t.Errorf("Encode(%q)\n got %v\nwant %v", c.Text, got, c.IDs)
		}
	}
}

func TestParseWeightsEqualsComfyUI(t *testing.T) {
	for _, c := range readGolden(t).Weights {
		got := ParseWeights(c.Prompt)
		ok := len(got) == len(c.Segments)
		for i := 0; ok && i < len(got); i++ {
			want := c.Segments[i]
			ok = got[i].Text == want[0] && math.Abs(float64(got[i].Weight)-want[1].(float64)) < 1e-6*math.Abs(want[1].(float64))+1e-9
		}
		if !ok {
			t.Errorf("ParseWeights(%q)\n got %v\nwant %v", c.Prompt, got, c.Segments)
		}
	}
}

func TestChunks(t *testing.T) {
	ids := func(chunk []Token) (out []int32) {
		for _, tok := range chunk {
			out = append(out, tok.ID)
		}
		return out
	}
	c := NewCLIP()

	chunks := c.Chunks("red apple", CLIPEnd)
	want := append([]int32{CLIPStart, 736, 3055}, slices.Repeat([]int32{CLIPEnd}, 74)...)
	if len(chunks) != 1 || !slices.Equal(ids(chunks[0]), want) {
		t.Errorf("a short prompt: %s", cmp.Diff(want, ids(chunks[0])))
	}
	if chunks := c.Chunks("", 0); len(chunks) != 1 || chunks[0][1].ID != CLIPEnd || chunks[0][2].ID != 0 {
		t.Errorf("an empty prompt must be one chunk of start, end and pad: %v", chunks)
	}

	// One segment of 90 tokens is cut after 75.
	chunks = c.Chunks(strings.Repeat("cat ", 90), CLIPEnd)
	if len(chunks) != 2 || chunks[0][75].ID == CLIPEnd || chunks[0][76].ID != CLIPEnd || chunks[1][16].ID != CLIPEnd {
		t.Errorf("90 tokens must fill a chunk and 15 places of the next: %v", chunks)
	}

	// A segment of fewer than 8 tokens moves to the next chunk as a whole.
	chunks = c.Chunks(strings.Repeat("cat ", 72)+"(big red dog runs fast:1.5)", CLIPEnd)
	if len(chunks) != 2 || chunks[0][73].ID != CLIPEnd || chunks[1][1].Weight != 1.5 || chunks[1][6].ID != CLIPEnd {
		t.Errorf("a short segment must not be cut: %v", chunks)
	}
	for _, chunk := range chunks {
		if len(chunk) != ChunkLength {
			t.Errorf("a chunk has %d tokens", len(chunk))
		}
	}
}

func TestEmbeddings(t *testing.T) {
	got := Embeddings("a cat embedding:easy, (embedding:bad-hands:1.2) and notembedding:x")
	if want := []string{"easy", "bad-hands"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzChunks(f *testing.F) {
	for _, c := range readGolden(f).Weights[:40] {
		f.Add(c.Prompt)
	}
	f.Add("a\xff\xfe(b:1e400)")
	f.Fuzz(func(t *testing.T, prompt string) {
		chunks := NewCLIP().Chunks(prompt, CLIPEnd)
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
