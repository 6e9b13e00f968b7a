// Package tokenizer turns prompts into the tokens that text encoders read.
package tokenizer

// A Tokenizer turns a text into tokens of a vocabulary. Implementations are safe
// for concurrent use, and take time n log n in the length of the text.
type Tokenizer interface {
	// Encode returns the tokens of a text, without those that begin and end a
	// prompt.
	Encode(text string) []int32
}
