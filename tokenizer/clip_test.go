package tokenizer

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// golden is what testdata/golden/tokenizer.py writes: transformers' tokens.
type golden struct {
	Tokens []struct {
		Text string
		IDs  []int32
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
