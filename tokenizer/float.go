package tokenizer

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// decimal is a number as Python writes one, without underscores.
var decimal = regexp.MustCompile(`^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$`)

// notFinite are the numbers that Python has words for.
var notFinite = regexp.MustCompile(`^(?i:[-+]?(?:inf|infinity|nan))$`)

// underscore is one that stands between two digits.
var underscore = regexp.MustCompile(`([0-9])_([0-9])`)

// parseFloat reads a number by the rules of Python's float: space around it,
// underscores between digits and decimal digits of all scripts are taken,
// hexadecimal numbers are not. A number that is too large is infinite.
func parseFloat(text string) (float64, bool) {
	text = strings.Trim(strings.Map(ascii, text), " \t\n\v\f\r")
	// Neighbouring matches share a digit, so that the odd and the even ones are
	// replaced in turn.
	for range 2 {
		text = underscore.ReplaceAllString(text, "$1$2")
	}
	if !decimal.MatchString(text) && !notFinite.MatchString(text) {
		return 0, false
	}
	if strings.HasSuffix(strings.ToLower(text), "nan") {
		return math.NaN(), true
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

// ascii returns the ASCII digit or space that Python takes a character for, or
// the character.
func ascii(r rune) rune {
	switch {
	case r < unicode.MaxASCII:
		return r
	case unicode.IsSpace(r):
		return ' '
	case unicode.Is(unicode.Nd, r):
		return '0' + digit(r)
	}
	return r
}

// digit returns the value of a decimal digit. The digits of a script follow one
// another from 0 to 9.
func digit(r rune) rune {
	for _, x := range unicode.Nd.R16 {
		if r >= rune(x.Lo) && r <= rune(x.Hi) {
			return (r - rune(x.Lo)) % 10
		}
	}
	for _, x := range unicode.Nd.R32 {
		if r >= rune(x.Lo) && r <= rune(x.Hi) {
			return (r - rune(x.Lo)) % 10
		}
	}
	return 0
}
