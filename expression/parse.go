// Package expression evaluates formulas in the syntax of Python, with numbers,
// truth values and the functions of ComfyUI's node for them. Integers have any
// size. Formulas come from strangers: their length, their depth and the size of
// numbers are bounded.
package expression

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/weir-run/weir/fault"
)

// Limits of a formula.
const (
	maxLength = 10_000
	maxDepth  = 100
)

// A term is a parsed part of a formula.
type term interface {
	value(names map[string]any) (any, error)
}

// wrong is the error of a formula.
func wrong(format string, args ...any) error { return fault.New(fault.Workflow, format, args...) }

type parser struct {
	tokens []string
	at     int
	depth  int
}

// operators are those of more than one character, longer ones first.
var operators = []string{"**", "//", "<<", ">>", "<=", ">=", "==", "!="}

// split cuts a formula into numbers, names and operators.
func split(text string) ([]string, error) {
	var tokens []string
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i++
			continue
		case digit(c) || c == '.' && i+1 < len(text) && digit(text[i+1]):
			end := number(text, i)
			tokens = append(tokens, text[i:end])
			i = end
			continue
		case letter(c):
			end := i
			for end < len(text) && (letter(text[end]) || digit(text[end])) {
				end++
			}
			tokens = append(tokens, text[i:end])
			i = end
			continue
		}
		op := text[i : i+1]
		for _, o := range operators {
			if strings.HasPrefix(text[i:], o) {
				op = o
				break
			}
		}
		if !strings.Contains("** // << >> <= >= == != + - * / % ( ) [ ] , < > & | ^ ~", op) {
			return nil, wrong("%q at place %d is not understood", []rune(text[i:])[0], i+1)
		}
		tokens = append(tokens, op)
		i += len(op)
	}
	return tokens, nil
}

func digit(c byte) bool  { return c >= '0' && c <= '9' }
func letter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// number returns where a number that begins at i ends.
func number(text string, i int) int {
	if text[i] == '0' && i+1 < len(text) && strings.ContainsRune("xXoObB", rune(text[i+1])) {
		for i++; i < len(text) && (letter(text[i]) || digit(text[i])); i++ {
		}
		return i
	}
	for ; i < len(text); i++ {
		c := text[i]
		exponent := (c == '+' || c == '-') && text[i-1]|0x20 == 'e'
		if !digit(c) && !letter(c) && c != '.' && !exponent {
			break
		}
	}
	return i
}

var (
	integers  = regexp.MustCompile(`^(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[1-9][0-9_]*|0[0_]*)$`)
	fractions = regexp.MustCompile(`^(?:[0-9][0-9_]*)?\.?[0-9_]*(?:[eE][+-]?[0-9_]+)?$`)
)

// literal reads a number as Python writes it.
func literal(token string) (any, error) {
	plain := strings.ReplaceAll(token, "_", "")
	if integers.MatchString(token) {
		if i, ok := new(big.Int).SetString(plain, 0); ok {
			return bounded(i)
		}
	} else if fractions.MatchString(token) && strings.ContainsAny(token, ".eE") {
		if f, err := strconv.ParseFloat(plain, 64); err == nil || f != 0 {
			return f, nil
		}
	}
	return nil, wrong("%.40q is no number", token)
}

// parse reads a whole formula.
func parse(text string) (term, error) {
	if len(text) > maxLength {
		return nil, wrong("the expression has %d characters, the most are %d", len(text), maxLength)
	}
	tokens, err := split(text)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, wrong("the expression is empty")
	}
	p := parser{tokens: tokens}
	t, err := p.choice()
	if err != nil {
		return nil, err
	}
	if p.at < len(tokens) {
		return nil, wrong("%.40q is not expected there", tokens[p.at])
	}
	return t, nil
}

// peek returns the next token, "" at the end.
func (p *parser) peek() string {
	if p.at == len(p.tokens) {
		return ""
	}
	return p.tokens[p.at]
}

// take passes the next token if it is one of some.
func (p *parser) take(tokens ...string) (string, bool) {
	for _, t := range tokens {
		if p.peek() == t {
			p.at++
			return t, true
		}
	}
	return "", false
}

func (p *parser) expect(token string) error {
	if _, ok := p.take(token); ok {
		return nil
	}
	if p.at == len(p.tokens) {
		return wrong("%q is missing at the end", token)
	}
	return wrong("expected %q, found %.40q", token, p.peek())
}

// deeper counts how far terms are nested.
func (p *parser) deeper(f func() (term, error)) (term, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, wrong("the expression is nested deeper than %d levels", maxDepth)
	}
	defer func() { p.depth-- }()
	return f()
}

// choice reads "a if b else c", which binds loosest.
func (p *parser) choice() (term, error) {
	return p.deeper(func() (term, error) {
		t, err := p.logic(0)
		if err != nil {
			return nil, err
		}
		if _, ok := p.take("if"); !ok {
			return t, nil
		}
		on, err := p.logic(0)
		if err != nil {
			return nil, err
		}
		if err := p.expect("else"); err != nil {
			return nil, err
		}
		other, err := p.choice()
		return ifElse{on, t, other}, err
	})
}

// logic reads "or" on level 0, "and" on 1 and "not" on 2.
func (p *parser) logic(level int) (term, error) {
	if level == 2 {
		if _, ok := p.take("not"); !ok {
			return p.comparison()
		}
		return p.deeper(func() (term, error) {
			t, err := p.logic(2)
			return unary{"not", t}, err
		})
	}
	t, err := p.logic(level + 1)
	for err == nil {
		op, ok := p.take([]string{"or", "and"}[level])
		if !ok {
			break
		}
		var next term
		next, err = p.logic(level + 1)
		t = either{op, t, next}
	}
	return t, err
}

// comparison reads a chain of comparisons.
func (p *parser) comparison() (term, error) {
	first, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	chain := compare{first: first}
	for {
		op, ok := p.take("<=", ">=", "==", "!=", "<", ">", "in", "not")
		if !ok {
			break
		}
		if op == "not" {
			if err := p.expect("in"); err != nil {
				return nil, err
			}
			op = "not in"
		}
		t, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		chain.ops, chain.rest = append(chain.ops, op), append(chain.rest, t)
	}
	if len(chain.ops) == 0 {
		return first, nil
	}
	return chain, nil
}

// levels are the operators of two operands, loosest first.
var levels = [][]string{{"|"}, {"^"}, {"&"}, {"<<", ">>"}, {"+", "-"}, {"*", "/", "//", "%"}}

func (p *parser) binary(level int) (term, error) {
	if level == len(levels) {
		return p.sign()
	}
	t, err := p.binary(level + 1)
	for err == nil {
		op, ok := p.take(levels[level]...)
		if !ok {
			break
		}
		var next term
		next, err = p.binary(level + 1)
		t = binary{op, t, next}
	}
	return t, err
}

// sign reads a sign and powers, which bind tighter than a sign before them.
func (p *parser) sign() (term, error) {
	return p.deeper(func() (term, error) {
		if op, ok := p.take("-", "+", "~"); ok {
			t, err := p.sign()
			return unary{op, t}, err
		}
		t, err := p.atom()
		if err != nil {
			return nil, err
		}
		if _, ok := p.take("**"); !ok {
			return t, nil
		}
		exponent, err := p.sign()
		return binary{"**", t, exponent}, err
	})
}

// atom reads a number, a name, a call or what is in parentheses, and an index
// behind it.
func (p *parser) atom() (term, error) {
	token := p.peek()
	p.at = min(p.at+1, len(p.tokens))
	var t term
	switch {
	case token == "":
		return nil, wrong("the expression ends too early")
	case token == "(":
		inner, err := p.choice()
		if err != nil {
			return nil, err
		}
		if err := p.expect(")"); err != nil {
			return nil, err
		}
		t = inner
	case digit(token[0]) || token[0] == '.':
		v, err := literal(token)
		if err != nil {
			return nil, err
		}
		t = constant{v}
	case token == "True" || token == "False":
		t = constant{token == "True"}
	case letter(token[0]):
		if _, ok := p.take("("); ok {
			args, err := p.arguments()
			if err != nil {
				return nil, err
			}
			t = call{token, args}
			break
		}
		t = name(token)
	default:
		return nil, wrong("%.40q is not expected there", token)
	}
	for {
		if _, ok := p.take("["); !ok {
			return t, nil
		}
		at, err := p.choice()
		if err != nil {
			return nil, err
		}
		if err := p.expect("]"); err != nil {
			return nil, err
		}
		t = index{t, at}
	}
}

// arguments reads the arguments of a call up to its end.
func (p *parser) arguments() ([]term, error) {
	var args []term
	for {
		if _, ok := p.take(")"); ok {
			return args, nil
		}
		t, err := p.choice()
		if err != nil {
			return nil, err
		}
		args = append(args, t)
		if _, ok := p.take(","); !ok {
			return args, p.expect(")")
		}
	}
}
