package pytext

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
	"github.com/dlclark/regexp2/syntax"

	"github.com/weir-run/weir/fault"
)

// maxMatch is how long one match may be looked for.
const maxMatch = time.Second

// A Pattern is a regular expression in Python's syntax, which may look around and
// refer back. Possessive quantifiers are not known.
type Pattern struct {
	re     *regexp2.Regexp
	groups int
	names  map[string]int
}

// Flags say how a pattern matches, as re.IGNORECASE, re.MULTILINE and re.DOTALL.
type Flags struct{ IgnoreCase, Multiline, DotAll bool }

// Compile reads a pattern. Its error is one of the pattern.
func Compile(pattern string, flags Flags) (*Pattern, error) {
	p := &Pattern{names: map[string]int{}}
	text, err := p.translate(pattern)
	if err != nil {
		return nil, err
	}
	options := regexp2.RegexOptions(regexp2.Unicode)
	if flags.IgnoreCase {
		options |= regexp2.IgnoreCase
	}
	if flags.Multiline {
		options |= regexp2.Multiline
	}
	if flags.DotAll {
		options |= regexp2.Singleline
	}
	if p.re, err = regexp2.Compile(text, options); err != nil {
		why := "it is none"
		if e := new(syntax.Error); errors.As(err, &e) {
			why = e.Code.String()
		}
		return nil, fault.New(fault.Workflow, "the pattern %.100q cannot be used: %.100s", pattern, why)
	}
	p.re.MatchTimeout = maxMatch
	return p, nil
}

// translate rewrites what .NET, whose syntax the library has, writes otherwise:
// names of groups, which have numbers in their order, the end \Z, repetitions
// {,n} and brackets within classes.
func (p *Pattern) translate(pattern string) (string, error) {
	bad := func(why string) error {
		return fault.New(fault.Workflow, "the pattern %.100q cannot be used: %s", pattern, why)
	}
	var out strings.Builder
	inClass, first := false, 0
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			if rest[1] == 'Z' && !inClass {
				out.WriteString(`\z`)
			} else {
				out.WriteString(rest[:2])
			}
			i++
		case inClass:
			if rest[0] == ']' && i > first {
				inClass = false
			}
			if rest[0] == '[' {
				out.WriteByte('\\')
			}
			out.WriteByte(rest[0])
		case rest[0] == '[':
			inClass, first = true, i+1
			out.WriteByte('[')
			if strings.HasPrefix(rest, "[^") {
				out.WriteByte('^')
				i++
				first++
			}
		case strings.HasPrefix(rest, "{,"):
			end := strings.IndexByte(rest, '}')
			if end > 2 && strings.Trim(rest[2:end], "0123456789") == "" {
				out.WriteString("{0,")
				i++
				break
			}
			out.WriteByte('{')
		case strings.HasPrefix(rest, "(?P<"):
			name, _, ok := strings.Cut(rest[4:], ">")
			if !ok || name == "" || p.names[name] > 0 {
				return "", bad("the name of a group is there twice or does not end")
			}
			p.groups++
			p.names[name] = p.groups
			out.WriteByte('(')
			i += len("?P<>") + len(name)
		case strings.HasPrefix(rest, "(?P="):
			name, _, ok := strings.Cut(rest[4:], ")")
			if !ok || p.names[name] == 0 {
				return "", bad("it refers to a group that is not there")
			}
			fmt.Fprintf(&out, `(?:\%d)`, p.names[name])
			i += len("?P=)") + len(name)
		case strings.HasPrefix(rest, "(?<") && !strings.HasPrefix(rest, "(?<=") && !strings.HasPrefix(rest, "(?<!"), strings.HasPrefix(rest, "(?'"):
			return "", bad("a group's name is written (?P<name>...)")
		default:
			if rest[0] == '(' && !strings.HasPrefix(rest, "(?") {
				p.groups++
			}
			out.WriteByte(rest[0])
		}
	}
	return out.String(), nil
}

// Groups returns how many groups the pattern has.
func (p *Pattern) Groups() int { return p.groups }

// A Match is where a pattern matches.
type Match struct {
	From, To int      // in code points
	Groups   []string // the whole first
}

// Find calls each for every match from left to right until it returns false.
func (p *Pattern) Find(ctx context.Context, text []rune, each func(Match) (more bool, err error)) error {
	m, err := p.re.FindRunesMatch(text)
	for err == nil && m != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		found := Match{m.Index, m.Index + m.Length, make([]string, p.groups+1)}
		for i := range found.Groups {
			if g := m.GroupByNumber(i); g != nil && len(g.Captures) > 0 {
				found.Groups[i] = g.String()
			}
		}
		more, err := each(found)
		if err != nil || !more {
			return err
		}
		m, err = p.re.FindNextMatch(m)
		if err != nil {
			return late(err)
		}
	}
	return late(err)
}

func late(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Workflow, "the pattern was looked for longer than %v and was given up: it may try the same text in many ways, as (a+)+ does", maxMatch)
}

// A part of a replacement is a text or a group.
type part struct {
	text  string
	group int // -1 for a text
}

// Replacement reads what matches are replaced with: \1, \g<1> and \g<name> stand
// for groups.
func (p *Pattern) Replacement(text string) (func(Match) string, error) {
	var parts []part
	plain := func(s string) {
		if n := len(parts); n > 0 && parts[n-1].group < 0 {
			parts[n-1].text += s
			return
		}
		parts = append(parts, part{s, -1})
	}
	group := func(n int) error {
		if n > p.groups {
			return fault.New(fault.Workflow, "the replacement names group %d, the pattern has %d", n, p.groups)
		}
		parts = append(parts, part{"", n})
		return nil
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			end := strings.IndexByte(text[i:], '\\')
			if end < 0 {
				end = len(text) - i
			}
			plain(text[i : i+end])
			i += end - 1
			continue
		}
		i++
		if i == len(text) {
			return nil, fault.New(fault.Workflow, "the replacement ends with a backslash")
		}
		c := text[i]
		switch {
		case c == 'g':
			name, _, ok := strings.Cut(text[i+1:], ">")
			if !ok || !strings.HasPrefix(name, "<") {
				return nil, fault.New(fault.Workflow, `the replacement has \g without <name>`)
			}
			n, known := p.names[name[1:]]
			if !known {
				var err error
				if n, err = strconv.Atoi(name[1:]); err != nil || n < 0 {
					return nil, fault.New(fault.Workflow, "the replacement names the group %.40q, which is not there", name[1:])
				}
			}
			if err := group(n); err != nil {
				return nil, err
			}
			i += len(name) + 1
		case c == '0' || octal(text[i:]):
			end := i + 1
			for end < len(text) && end < i+3 && text[end] >= '0' && text[end] <= '7' {
				end++
			}
			n, _ := strconv.ParseUint(text[i:end], 8, 16)
			plain(string(rune(n)))
			i = end - 1
		case c >= '1' && c <= '9':
			end := i + 1
			if end < len(text) && text[end] >= '0' && text[end] <= '9' {
				end++
			}
			n, _ := strconv.Atoi(text[i:end])
			if err := group(n); err != nil {
				return nil, err
			}
			i = end - 1
		case strings.IndexByte(`abfnrtv\`, c) >= 0:
			plain(map[byte]string{'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v", '\\': `\`}[c])
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			return nil, fault.New(fault.Workflow, `the replacement has the escape \%c, which is not known`, c)
		default:
			plain(text[i-1 : i+1])
		}
	}
	return func(m Match) string {
		var out strings.Builder
		for _, p := range parts {
			if p.group < 0 {
				out.WriteString(p.text)
			} else {
				out.WriteString(m.Groups[p.group])
			}
		}
		return out.String()
	}, nil
}

// octal reports whether three digits of 8 follow, which are a character.
func octal(s string) bool {
	return len(s) >= 3 && s[0] >= '1' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7'
}
