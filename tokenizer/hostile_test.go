package tokenizer

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/weir-run/weir/fault"
)

// piece returns a field of a sentencepiece model.
func piece(p Piece) []byte {
	data := message(1, []byte(p.Text))
	data = binary.LittleEndian.AppendUint32(append(data, 2<<3|5), math.Float32bits(p.Score))
	return message(1, append(data, 3<<3, byte(p.Kind)))
}

// bytePieces are one for each byte.
func bytePieces(skip int) (out []Piece) {
	const hex = "0123456789ABCDEF"
	for b := range 256 {
		if b != skip {
			out = append(out, Piece{"<0x" + string(hex[b>>4]) + string(hex[b&15]) + ">", 0, Byte})
		}
	}
	return out
}

func TestModelsAreRefused(t *testing.T) {
	unk := Piece{"<unk>", 0, Unknown}
	for name, c := range map[string]struct {
		model Model
		want  string
	}{
		"no unknown":   {Model{Pieces: []Piece{{"a", 0, Normal}}}, "no unknown piece"},
		"two unknown":  {Model{Pieces: []Piece{unk, {"<unk2>", 0, Unknown}}}, "two unknown pieces, 0 and 1"},
		"empty":        {Model{Pieces: []Piece{unk, {"", 0, Normal}}}, "piece 1 of the vocabulary is empty"},
		"long":         {Model{Pieces: []Piece{unk, {strings.Repeat("a", 257), 0, Normal}}}, "has 257 bytes, expected at most 256"},
		"not a number": {Model{Pieces: []Piece{unk, {"a", float32(math.NaN()), Normal}}}, "has the score NaN: expected a finite number"},
		"infinite":     {Model{Pieces: []Piece{unk, {"a", float32(math.Inf(1)), Normal}}}, "has the score +Inf"},
		"kind":         {Model{Pieces: []Piece{unk, {"a", 0, 7}}}, "is of kind 7: expected 1 to 6"},
		"twice":        {Model{Pieces: []Piece{unk, {"a", 0, Normal}, {"a", -1, UserDefined}}}, "pieces 1 and 2 of the vocabulary are both a"},
		"byte":         {Model{Pieces: []Piece{unk, {"<0x0a>", 0, Byte}}}, "expected a byte such as <0x0A>"},
		"bytes":        {Model{Bytes: true, Pieces: append(bytePieces(10), unk)}, "has pieces for 255 bytes, expected 256"},
		"many":         {Model{Pieces: make([]Piece, maxVocabulary+1)}, "2097153 pieces, expected at most 2097152"},
		"charsmap":     {Model{Pieces: []Piece{unk}, Charsmap: []byte{1}}, "charsmap has 1 bytes"},
		"array":        {Model{Pieces: []Piece{unk}, Charsmap: []byte{8, 0, 0, 0, 1, 2, 3, 4}}, "an array of 8 bytes in 4"},
		"unaligned":    {Model{Pieces: []Piece{unk}, Charsmap: []byte{3, 0, 0, 0, 1, 2, 3, 4}}, "an array of 3 bytes in 4"},
		"replacement": {Model{Pieces: []Piece{unk}, Charsmap: append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, strings.Repeat("x", 65)...)},
			"a replacement of 65 bytes, expected at most 64"},
	} {
		_, err := NewSentencePiece(c.model)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.Of(err) != fault.Model {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestSentencePieceFilesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":    {nil, "no unknown piece"},
		"cut":      {[]byte{1<<3 | 2, 5, 1}, "cut short"},
		"a group":  {[]byte{1<<3 | 3}, "no protocol buffer"},
		"field 0":  {[]byte{0, 0}, "no protocol buffer"},
		"varint":   {slices.Repeat([]byte{0xFF}, 20), "no protocol buffer"},
		"a length": {[]byte{1<<3 | 2, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}, "cut short"},
		"words":    {append(piece(Piece{"<unk>", 0, Unknown}), message(2, []byte{3 << 3, 3})...), "is of type 3: expected 1, unigram, or 2, byte pairs"},
		"text":     {[]byte("{\"config\": {}}"), "no protocol buffer"},
	} {
		_, err := ParseSentencePiece(c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.Of(err) != fault.Model {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// edited returns the golden's tekken.json with something changed.
func edited(t *testing.T, edit func(map[string]any)) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(goldenTokens(t).Tekken, &m); err != nil {
		t.Fatal(err)
	}
	edit(m)
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestTekkenFilesAreRefused(t *testing.T) {
	first := func(m map[string]any, list string) map[string]any { return m[list].([]any)[0].(map[string]any) }
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"no JSON":  {[]byte("{"), "no tekken.json"},
		"config":   {[]byte("{}"), "no config.default_vocab_size"},
		"special":  {edited(t, func(m map[string]any) { delete(m, "special_tokens") }), "no special_tokens"},
		"size":     {edited(t, func(m map[string]any) { m["config"].(map[string]any)["default_vocab_size"] = 1 << 22 }), "a vocabulary of 4194304 tokens"},
		"reserved": {edited(t, func(m map[string]any) { m["config"].(map[string]any)["default_num_special_tokens"] = -1 }), "-1 of them special"},
		"rank":     {edited(t, func(m map[string]any) { first(m, "vocab")["rank"] = -1 }), "a token of rank -1"},
		"byte":     {edited(t, func(m map[string]any) { m["vocab"] = m["vocab"].([]any)[1:] }), "no token for the byte"},
		"base64":   {edited(t, func(m map[string]any) { first(m, "vocab")["token_bytes"] = "?" }), "no tekken.json"},
		"far":      {edited(t, func(m map[string]any) { first(m, "special_tokens")["rank"] = 1 << 20 }), "special token <unk> of rank 1048576"},
		"long":     {edited(t, func(m map[string]any) { first(m, "special_tokens")["token_str"] = strings.Repeat("x", 300) }), "a piece of 300 bytes"},
	} {
		_, err := ParseTekken(c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.Of(err) != fault.Model {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestCyclesEnd has a table of replacements whose array leads in circles, and
// pieces that are all beginnings of one another.
func TestCyclesEnd(t *testing.T) {
	units := make([]byte, 4+4*256)
	binary.LittleEndian.PutUint32(units, 4*256)
	for i := range 256 {
		// Each unit is that of its own place with a leaf, and leads to 0.
		binary.LittleEndian.PutUint32(units[4+4*i:], uint32(i)|1<<8|uint32(i)<<10)
	}
	m := Model{Charsmap: append(units, "aaaaaaaa\x00"...), Pieces: []Piece{{"<unk>", 0, Unknown}}}
	for n := 1; n <= maxPiece; n++ {
		m.Pieces = append(m.Pieces, Piece{strings.Repeat("a", n), float32(-n % 7), Normal})
	}
	text := strings.Repeat("a", 1<<14)
	for _, m.Pairs = range []bool{false, true} {
		s, err := NewSentencePiece(m)
		if err != nil {
			t.Fatal(err)
		}
		if ids := s.Encode(text); len(ids) == 0 || len(ids) > 1<<17 {
			t.Errorf("pairs %v: %d tokens", m.Pairs, len(ids))
		}
	}
}

func FuzzSentencePiece(f *testing.F) {
	g := goldenTokens(f)
	for name := range g.Models {
		f.Add(g.Models[name].Model[:1<<10], g.Texts[len(name)*20])
	}
	small := Model{Pieces: []Piece{{"<unk>", 0, Unknown}, {"a", -1, Normal}, {"▁a", -2, Normal}, {"aa", -3, Unused}, {"<x>", 0, UserDefined}}}
	for _, kind := range []byte{1, 2} {
		data := message(2, []byte{3 << 3, kind})
		for _, p := range small.Pieces {
			data = append(data, piece(p)...)
		}
		f.Add(append(data, message(3, message(2, g.Charsmaps["nmt_nfkc"][:1<<10]))...), "aa <x> é\x00")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		s, err := ParseSentencePiece(data)
		if err != nil {
			return
		}
		for _, id := range s.Encode(text) {
			if id < 0 || int(id) >= len(s.model.Pieces) {
				t.Fatalf("token %d of %d pieces", id, len(s.model.Pieces))
			}
		}
	})
}

func FuzzTekken(f *testing.F) {
	var small tekken
	small.Config.Size, small.Config.Special = new(int32), new(int32)
	*small.Config.Size, *small.Config.Special = 300, 2
	for b := range 256 {
		small.Vocab = append(small.Vocab, token{Rank: int32(b), Bytes: []byte{byte(b)}})
	}
	small.Vocab = append(small.Vocab, token{Rank: 256, Bytes: []byte("at")}, token{Rank: 257, Bytes: []byte("cat")})
	small.Special = append(small.Special, token{Text: "[INST]"})
	data, err := json.Marshal(small)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, "[INST]A cat")
	f.Add([]byte(`{"config":{"default_vocab_size":300,"default_num_special_tokens":2},"vocab":[{"rank":0,"token_bytes":"AA=="}],"special_tokens":[{"rank":0,"token_str":"<s>"},{"rank":1,"token_bytes":"YQ=="}]}`), "<s>a")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		if b, err := ParseTekken(data); err == nil {
			b.Encode(text)
		}
	})
}

// FuzzEncode encodes any text with every tokenizer. All of it is encoded, as bytes
// or as something unknown, in tokens no more than its bytes after replacement.
func FuzzEncode(f *testing.F) {
	g := goldenTokens(f)
	all := g.tokenizers(f)
	for i := 0; i < len(g.Texts); i += 40 {
		f.Add(g.Texts[i])
	}
	f.Add("\xff\xfe a")
	f.Fuzz(func(t *testing.T, text string) {
		for name, tok := range all {
			ids := tok.Encode(text)
			if len(ids) > 1+maxReplacement*len(text) {
				t.Errorf("%s: %d tokens of %d bytes", name, len(ids), len(text))
			}
			if !slices.Equal(ids, tok.Encode(strings.ToValidUTF8(text, "\uFFFD"))) {
				t.Errorf("%s: %q is not encoded as its valid form is", name, text)
			}
		}
	})
}
