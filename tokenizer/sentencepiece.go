package tokenizer

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/weir-run/weir/fault"
)

// A SentencePiece is a tokenizer with a sentencepiece model. It is safe for
// concurrent use.
type SentencePiece struct {
	model    Model
	charsmap charsmap
	ids      map[string]int32 // of pieces that texts are made of
	unknown  int32
	bytes    [256]int32
	frozen   *trie // the pieces that are cut out as they are
	special  *trie // see WithSpecial
	unigram  unigram
}

// ParseSentencePiece reads a sentencepiece model, which text encoders carry as a
// tensor of bytes.
func ParseSentencePiece(data []byte) (*SentencePiece, error) {
	m, err := parseModel(data)
	if err != nil {
		return nil, err
	}
	return NewSentencePiece(m)
}

// NewSentencePiece returns the tokenizer with a model.
func NewSentencePiece(m Model) (s *SentencePiece, err error) {
	s = &SentencePiece{model: m, ids: map[string]int32{}, unknown: none, frozen: newTrie(nil), special: newTrie(nil)}
	if s.charsmap, err = parseCharsmap(m.Charsmap); err != nil {
		return nil, err
	}
	if len(m.Pieces) > maxVocabulary {
		return nil, fault.New(fault.Model, "the vocabulary has %d pieces, expected at most %d", len(m.Pieces), maxVocabulary)
	}
	frozen, fallback := map[string]int32{}, map[byte]bool{}
	for i, p := range m.Pieces {
		id := int32(i)
		if err := checkPiece(i, p); err != nil {
			return nil, err
		}
		switch p.Kind {
		case Unknown:
			if s.unknown != none {
				return nil, fault.New(fault.Model, "the vocabulary has two unknown pieces, %d and %d", s.unknown, i)
			}
			s.unknown = id
			continue
		case Control:
			continue
		case Byte:
			var b byte
			if _, err := fmt.Sscanf(p.Text, "<0x%02X>", &b); err != nil || p.Text != fmt.Sprintf("<0x%02X>", b) {
				return nil, fault.New(fault.Model, "piece %d of the vocabulary is %v: expected a byte such as <0x0A>", i, fault.Name(p.Text))
			}
			s.bytes[b], fallback[b] = id, true
			continue
		case UserDefined:
			frozen[p.Text] = id
		}
		if other, ok := s.ids[p.Text]; ok {
			return nil, fault.New(fault.Model, "pieces %d and %d of the vocabulary are both %v", other, i, fault.Name(p.Text))
		}
		s.ids[p.Text] = id
	}
	if s.unknown == none {
		return nil, fault.New(fault.Model, "the vocabulary has no unknown piece")
	}
	if m.Bytes && len(fallback) != 256 {
		return nil, fault.New(fault.Model, "the vocabulary has pieces for %d bytes, expected 256", len(fallback))
	}
	s.frozen = newTrie(frozen)
	if !m.Pairs {
		s.unigram = newUnigram(m, s.ids, s.unknown)
	}
	return s, nil
}

// checkPiece refuses pieces that no vocabulary has.
func checkPiece(i int, p Piece) error {
	switch {
	case p.Text == "":
		return fault.New(fault.Model, "piece %d of the vocabulary is empty", i)
	case len(p.Text) > maxPiece:
		return fault.New(fault.Model, "piece %d of the vocabulary has %d bytes, expected at most %d: %v", i, len(p.Text), maxPiece, fault.Name(p.Text))
	case math.IsNaN(float64(p.Score)) || math.IsInf(float64(p.Score), 0):
		return fault.New(fault.Model, "piece %d of the vocabulary, %v, has the score %v: expected a finite number", i, fault.Name(p.Text), p.Score)
	case p.Kind < Normal || p.Kind > Byte:
		return fault.New(fault.Model, "piece %d of the vocabulary, %v, is of kind %d: expected 1 to 6", i, fault.Name(p.Text), p.Kind)
	}
	return nil
}

// newUnigram returns the scores of a unigram model. Those of the user's pieces are
// what sentencepiece 0.2.3 gives them, which earlier versions did not: a tenth for
// each byte but one.
func newUnigram(m Model, ids map[string]int32, unknown int32) unigram {
	least := float32(math.MaxFloat32)
	for _, p := range m.Pieces {
		if p.Kind == Normal {
			least = min(least, p.Score)
		}
	}
	u := unigram{scores: make([]float64, len(m.Pieces)), unknown: unknown, penalty: float64(least - unknownPenalty), single: true}
	made := make(map[string]int32, len(ids))
	for i, p := range m.Pieces {
		u.scores[i] = float64(p.Score)
		switch p.Kind {
		case UserDefined:
			u.scores[i] = float64(float32(len(p.Text)-1) * 0.1)
			made[p.Text] = int32(i)
		case Normal:
			made[p.Text] = int32(i)
		}
	}
	u.pieces = newTrie(made)
	return u
}

// WithSpecial returns the tokenizer with special tokens that are cut out of a
// text before anything else. A text that has any loses its first token: ComfyUI
// expects a beginning there that it does not add to such texts.
func (s *SentencePiece) WithSpecial(tokens map[string]int32) *SentencePiece {
	with := *s
	with.special = newTrie(tokens)
	return &with
}

// Encode returns the tokens of a text, without those that begin and end it. What
// is not valid UTF-8 becomes U+FFFD.
func (s *SentencePiece) Encode(text string) (out []int32) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	special := false
	for part, id := range s.special.cut(text) {
		if id != none {
			out, special = append(out, id), true
		} else {
			out = s.encode(out, s.normalize(part))
		}
	}
	if special {
		out = out[1:]
	}
	return out
}

// encode appends the tokens of a normalized text. What is no piece becomes its
// bytes, or one unknown token for all neighbours.
func (s *SentencePiece) encode(out []int32, text string) []int32 {
	parts := s.unigram.encode
	if s.model.Pairs {
		parts = s.pairs
	}
	unknown := false
	for _, p := range parts(text) {
		switch {
		case p.token != s.unknown:
			out = append(out, p.token)
		case s.model.Bytes:
			for _, b := range []byte(text[p.begin:p.end]) {
				out = append(out, s.bytes[b])
			}
		case !unknown:
			out = append(out, p.token)
		}
		unknown = p.token == s.unknown
	}
	return out
}

// normalize returns a text with characters replaced and its spaces as the model
// has them.
func (s *SentencePiece) normalize(text string) string {
	for s.model.Trim && text != "" {
		n, next := s.prefix(text)
		if next != " " {
			break
		}
		text = text[n:]
	}
	if text == "" {
		return ""
	}
	mark := " "
	if s.model.Escape {
		mark = space
	}
	var b strings.Builder
	if s.model.Prefix && !s.model.Suffix {
		b.WriteString(mark)
	}
	spaced := s.model.Trim // the last character was a space
	for text != "" {
		n, next := s.prefix(text)
		if spaced {
			next = strings.TrimLeft(next, " ")
		}
		if next != "" {
			b.WriteString(strings.ReplaceAll(next, " ", mark))
			spaced = s.model.Trim && strings.HasSuffix(next, " ")
		}
		text = text[n:]
	}
	normalized := b.String()
	for s.model.Trim && strings.HasSuffix(normalized, mark) {
		normalized = strings.TrimSuffix(normalized, mark)
	}
	if s.model.Prefix && s.model.Suffix {
		normalized += mark
	}
	return normalized
}

// prefix returns how many bytes of a text are replaced next and what with.
func (s *SentencePiece) prefix(text string) (n int, replacement string) {
	if n, _ := s.frozen.longest(text); n > 0 {
		return n, text[:n]
	}
	if n, replacement := s.charsmap.prefix(text, true); n > 0 {
		return n, replacement
	}
	_, n = utf8.DecodeRuneInString(text)
	return n, text[:n]
}
