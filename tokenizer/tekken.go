package tokenizer

import (
	"encoding/json"

	"github.com/weir-run/weir/fault"
)

// maxVocabulary is the number of tokens that a vocabulary may have.
const maxVocabulary = 1 << 21

// tekken is the part of Mistral's tekken.json that is read.
type tekken struct {
	Config struct {
		Size    *int32 `json:"default_vocab_size"`
		Special *int32 `json:"default_num_special_tokens"`
	}
	Vocab   []token
	Special []token `json:"special_tokens"`
}

// token is one of a tekken.json. A special one may have its text alone.
type token struct {
	Rank  int32
	Text  string `json:"token_str"`
	Bytes []byte `json:"token_bytes"`
}

// ParseTekken reads the vocabulary of a Mistral model: a tekken.json, which text
// encoders carry as a tensor of bytes. Words are split as Llama 3's are, not as
// tekken's own pattern has it, since that is how ComfyUI encodes prompts for
// these models.
func ParseTekken(data []byte) (*BytePair, error) {
	v, err := parseTekken(data)
	if err != nil {
		return nil, err
	}
	return NewTekken(v)
}

func parseTekken(data []byte) (v Tokens, err error) {
	var t tekken
	if err := json.Unmarshal(data, &t); err != nil {
		return v, fault.New(fault.Model, "the vocabulary is no tekken.json: %.200s", err.Error()) // which repeats long numbers
	}
	if t.Config.Size == nil || t.Config.Special == nil {
		return v, fault.New(fault.Model, "the tekken.json has no config.default_vocab_size and default_num_special_tokens")
	}
	if len(t.Special) == 0 {
		return v, fault.New(fault.Model, "the tekken.json has no special_tokens, which the template of a prompt consists of")
	}
	size, reserved := *t.Config.Size, *t.Config.Special
	if size < 0 || size > maxVocabulary || reserved < 0 || reserved > size {
		return v, fault.New(fault.Model, "the tekken.json has a vocabulary of %d tokens, %d of them special: expected at most %d", size, reserved, maxVocabulary)
	}
	v = Tokens{Special: map[string]int32{}, Bytes: make(map[string]int32, min(len(t.Vocab), maxVocabulary))}
	for _, w := range t.Vocab {
		if w.Rank < 0 {
			return v, fault.New(fault.Model, "the tekken.json has a token of rank %d", w.Rank)
		}
		if w.Rank < size-reserved {
			v.Bytes[string(w.Bytes)] = w.Rank + reserved
		}
	}
	for _, w := range t.Special {
		if w.Bytes != nil {
			w.Text = string(w.Bytes)
		}
		if w.Rank < 0 || w.Rank >= size {
			return v, fault.New(fault.Model, "the tekken.json has the special token %v of rank %d, expected less than %d", fault.Name(w.Text), w.Rank, size)
		}
		v.Special[w.Text] = w.Rank
	}
	return v, nil
}

// Tokens are the tokens of a vocabulary of byte pairs without a list of merges:
// two tokens may be joined if there is a token of their bytes, and of all that
// may, the one with the least number is made first.
type Tokens struct {
	Bytes   map[string]int32 // by what they stand for
	Special map[string]int32 // by the text that they are written as
}

// NewTekken returns the tokenizer of a Mistral model with a vocabulary.
func NewTekken(v Tokens) (*BytePair, error) {
	if len(v.Bytes)+len(v.Special) > maxVocabulary {
		return nil, fault.New(fault.Model, "the vocabulary has %d tokens, expected at most %d", len(v.Bytes)+len(v.Special), maxVocabulary)
	}
	if err := checkPieces(v.Special); err != nil {
		return nil, err
	}
	b := &BytePair{special: newTrie(v.Special), digits: 3, together: true}
	for c := range 256 {
		id, ok := v.Bytes[string([]byte{byte(c)})]
		if !ok {
			return nil, fault.New(fault.Model, "the vocabulary has no token for the byte 0x%02X", c)
		}
		b.bytes[c] = id
	}
	b.rule = func(word string) rule {
		return func(_ *symbols, at, _, end int32) (rank int64, token int32, ok bool) {
			token, ok = v.Bytes[word[at:end]]
			return int64(token), token, ok
		}
	}
	return b, nil
}

// maxPiece is the length in bytes of the longest piece of a vocabulary that is
// looked for at each place of a text.
const maxPiece = 256

// checkPieces refuses pieces that would take long to look for.
func checkPieces(pieces map[string]int32) error {
	for text := range pieces {
		if len(text) > maxPiece {
			return fault.New(fault.Model, "the vocabulary has a piece of %d bytes, expected at most %d: %v", len(text), maxPiece, fault.Name(text))
		}
	}
	return nil
}
