package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/internal/gguf"
	"github.com/weir-run/weir/weights"
)

// openGGUF opens a file of such metadata.
func openGGUF(t *testing.T, metadata map[string]any) *weights.Set {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, gguf.Encode(metadata, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := weights.OpenSet(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestFromGGUF(t *testing.T) {
	g := goldenTokens(t)
	tekken, pieces := asGGUF(t)
	const of = "tokenizer.ggml."
	for want, c := range map[string]GGUF{"tekken": tekken, "umt5": pieces} {
		metadata := map[string]any{of + "model": c.Model, of + "pre": c.Pre, of + "tokens": c.Tokens, of + "token_type": c.Types}
		if want == "umt5" {
			metadata[of+"scores"], metadata[of+"precompiled_charsmap"] = c.Scores, c.Charsmap
			metadata[of+"add_space_prefix"], metadata[of+"remove_extra_whitespaces"] = c.Prefix, c.Trim
		}
		tok, found, err := FromGGUF(t.Context(), openGGUF(t, metadata))
		if err != nil || !found {
			t.Errorf("%s: %v, %v", want, found, err)
			continue
		}
		for i := 0; i < len(g.Texts); i += 50 {
			if got, want := tok.Encode(g.Texts[i]), g.IDs[want][i]; !slices.Equal(got, want) {
				t.Errorf("Encode(%q)\n got %v\nwant %v", g.Texts[i], got, want)
			}
		}
	}
	if _, found, err := FromGGUF(t.Context(), openGGUF(t, nil)); found || err != nil {
		t.Errorf("no tokenizer: %v, %v", found, err)
	}
	for name, metadata := range map[string]map[string]any{
		"tokens are a list of type 5, expected strings": {of + "tokens": []int32{1}},
		"of type 8, expected integers of 32 bits":       {of + "tokens": []string{"a"}, of + "token_type": []string{"a"}},
		"of type 5, expected float32 numbers":           {of + "tokens": []string{"a"}, of + "scores": []int32{1}},
		"of type 5, expected bytes":                     {of + "tokens": []string{"a"}, of + "precompiled_charsmap": []int32{1}},
		"1 tokens and 0 token_type":                     {of + "tokens": []string{"a"}},
	} {
		if _, _, err := FromGGUF(t.Context(), openGGUF(t, metadata)); fault.Of(err) != fault.Model || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
	}
}
