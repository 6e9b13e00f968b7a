package tokenizer

import (
	"math"

	"github.com/weir-run/weir/fault"
)

// A Kind is what a piece of a vocabulary stands for. The numbers are those of
// sentencepiece, which GGUF shares.
type Kind int32

// The kinds of pieces.
const (
	Normal      Kind = 1 + iota
	Unknown          // the one for what is no piece
	Control          // begins or ends a prompt; never made of a text
	UserDefined      // cut out of a text as it is
	Unused           // never made, but byte pairs are joined through it
	Byte             // one byte of what is no piece
)

// A Piece is one of a vocabulary. Its token is its place in it.
type Piece struct {
	Text  string
	Score float32
	Kind  Kind
}

// A Model is what a sentencepiece model consists of.
type Model struct {
	// Pairs tells byte pair encoding from a unigram model.
	Pairs  bool
	Pieces []Piece
	// Charsmap is the precompiled table of replacements, or nil.
	Charsmap []byte
	// Prefix adds a space to the beginning of a text, or to its end if Suffix
	// is set.
	Prefix, Suffix bool
	// Trim removes spaces at the ends and all but one between words.
	Trim bool
	// Escape makes spaces ▁.
	Escape bool
	// Bytes has what is no piece encoded as its bytes.
	Bytes bool
}

// parseModel reads a sentencepiece ModelProto.
func parseModel(data []byte) (m Model, err error) {
	m.Prefix, m.Trim, m.Escape = true, true, true
	kind := uint64(1)
	err = eachField(data, func(f field) error {
		switch f.number {
		case 1:
			if len(m.Pieces) == maxVocabulary {
				return fault.New(fault.Model, "it has more than %d pieces", maxVocabulary)
			}
			p, err := parsePiece(f.bytes)
			m.Pieces = append(m.Pieces, p)
			return err
		case 2: // the trainer's settings
			return eachField(f.bytes, func(f field) error {
				switch f.number {
				case 3:
					kind = f.value
				case 24:
					m.Suffix = f.value != 0
				case 35:
					m.Bytes = f.value != 0
				}
				return nil
			})
		case 3: // the normalizer's
			return eachField(f.bytes, func(f field) error {
				switch f.number {
				case 2:
					m.Charsmap = f.bytes
				case 3:
					m.Prefix = f.value != 0
				case 4:
					m.Trim = f.value != 0
				case 5:
					m.Escape = f.value != 0
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return m, fault.New(fault.Model, "the sentencepiece model cannot be read: %v", err)
	}
	if kind != 1 && kind != 2 {
		return m, fault.New(fault.Model, "the sentencepiece model is of type %d: expected 1, unigram, or 2, byte pairs", kind)
	}
	m.Pairs = kind == 2
	return m, nil
}

func parsePiece(data []byte) (Piece, error) {
	p := Piece{Kind: Normal}
	err := eachField(data, func(f field) error {
		switch f.number {
		case 1:
			p.Text = string(f.bytes)
		case 2:
			p.Score = math.Float32frombits(uint32(f.value))
		case 3:
			p.Kind = Kind(f.value)
		}
		return nil
	})
	return p, err
}
