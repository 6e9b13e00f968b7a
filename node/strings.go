package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weir-run/weir/pytext"
	"github.com/weir-run/weir/workflow"
)

// registerStrings registers the nodes that work on texts, as Python does.
func registerStrings(reg *workflow.Registry, _ *Env) {
	register := func(class, name, about string, out workflow.Output, inputs []workflow.Input, run func(context.Context, *workflow.Call) (any, error)) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: "text", Description: about, Inputs: inputs, Outputs: []workflow.Output{out},
			Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
				v, err := run(ctx, c)
				return []any{v}, err
			},
		})
	}
	text, yes := workflow.Output{Type: workflow.TypeString}, workflow.Output{Type: workflow.TypeBool}
	str := workflow.Text("string")
	place := func(name string) workflow.Input { return workflow.Int(name, 0, math.MinInt64, math.MaxInt64) }
	exact := workflow.Bool("case_sensitive", true)
	register("StringConcatenate", "Concatenate Text", "Joins two texts.", text,
		[]workflow.Input{workflow.Text("string_a"), workflow.Text("string_b"), workflow.String("delimiter", "")},
		func(ctx context.Context, c *workflow.Call) (any, error) {
			a, b, between := c.String("string_a"), c.String("string_b"), c.String("delimiter")
			if err := c.Need(ctx, int64(len(a)+len(b)+len(between))); err != nil {
				return nil, err
			}
			return a + between + b, nil
		})
	register("StringSubstring", "Substring", "Gives a part of a text. Negative places count from its end.", text,
		[]workflow.Input{str, place("start"), place("end")},
		func(ctx context.Context, c *workflow.Call) (any, error) {
			s := c.String("string")
			return pytext.Slice(s, c.Int("start"), c.Int("end")), c.Need(ctx, 5*int64(len(s)))
		})
	register("StringLength", "Text Length", "Counts the characters of a text.", workflow.Output{Type: workflow.TypeInt, Name: "length"}, []workflow.Input{str},
		func(_ context.Context, c *workflow.Call) (any, error) {
			return int64(utf8.RuneCountInString(c.String("string"))), nil
		})
	register("CaseConverter", "Convert Text Case", "Writes a text in capital or small letters.", text,
		[]workflow.Input{str, workflow.Combo("mode", "UPPERCASE", "lowercase", "Capitalize", "Title Case")},
		func(ctx context.Context, c *workflow.Call) (any, error) {
			s := c.String("string")
			if err := c.Need(ctx, 6*int64(len(s))); err != nil {
				return nil, err
			}
			return map[string]func(string) string{"UPPERCASE": pytext.Upper, "lowercase": pytext.Lower, "Capitalize": pytext.Capitalize, "Title Case": pytext.Title}[c.String("mode")](s), nil
		})
	register("StringTrim", "Trim Text", "Leaves out white space at the ends of a text.", text,
		[]workflow.Input{str, workflow.Combo("mode", "Both", "Left", "Right")},
		func(_ context.Context, c *workflow.Call) (any, error) {
			return map[string]func(string) string{"Both": pytext.Strip, "Left": pytext.StripLeft, "Right": pytext.StripRight}[c.String("mode")](c.String("string")), nil
		})
	register("StringReplace", "Replace Text", "Replaces one text within another.", text,
		[]workflow.Input{str, workflow.Text("find"), workflow.Text("replace")},
		func(ctx context.Context, c *workflow.Call) (any, error) {
			s, old, with := c.String("string"), c.String("find"), c.String("replace")
			if err := c.Need(ctx, int64(len(s))+int64(strings.Count(s, old))*int64(len(with))); err != nil {
				return nil, err
			}
			return strings.ReplaceAll(s, old, with), nil
		})
	register("StringContains", "Contains Text", "Says whether one text is within another.", workflow.Output{Type: workflow.TypeBool, Name: "contains"},
		[]workflow.Input{str, workflow.Text("substring"), exact},
		func(_ context.Context, c *workflow.Call) (any, error) {
			return strings.Contains(folded(c, "string"), folded(c, "substring")), nil
		})
	register("StringCompare", "Compare Text", "Says whether one text begins with another, ends with it or is the same.", yes,
		[]workflow.Input{workflow.Text("string_a"), workflow.Text("string_b"), workflow.Combo("mode", "Starts With", "Ends With", "Equal"), exact},
		func(_ context.Context, c *workflow.Call) (any, error) {
			a, b := folded(c, "string_a"), folded(c, "string_b")
			return map[string]bool{"Starts With": strings.HasPrefix(a, b), "Ends With": strings.HasSuffix(a, b), "Equal": a == b}[c.String("mode")], nil
		})
	pattern := workflow.Text("regex_pattern")
	flags := []workflow.Input{workflow.Bool("case_insensitive", true), workflow.Bool("multiline", false), workflow.Bool("dotall", false)}
	optional := []workflow.Input{flags[0].Opt(), flags[1].Opt(), flags[2].Opt()}
	register("RegexMatch", "Match Text", "Says whether a regular expression matches.", workflow.Output{Type: workflow.TypeBool, Name: "matches"},
		append([]workflow.Input{str, pattern}, flags...),
		func(ctx context.Context, c *workflow.Call) (any, error) {
			found, err := matches(ctx, c, 1, nil)
			return len(found) > 0, err
		})
	register("RegexExtract", "Extract Text", "Gives what a regular expression matches, or its groups, in lines.", text,
		append(append([]workflow.Input{str, pattern, workflow.Combo("mode", "First Match", "All Matches", "First Group", "All Groups")}, flags...), workflow.Int("group_index", 1, 0, 100)), extract)
	register("RegexReplace", "Replace Text (Regex)", "Replaces what a regular expression matches; \\1 stands for its first group.", text,
		append(append([]workflow.Input{str, pattern, workflow.Text("replace")}, optional...), workflow.Int("count", 0, 0, 100).Opt()), replace)
	register("JsonExtractString", "Extract Text from JSON", "Gives the value of a key of a JSON object as a text.", text,
		[]workflow.Input{workflow.Text("json_string"), workflow.String("key", "")},
		func(_ context.Context, c *workflow.Call) (any, error) {
			v, err := workflow.ParseJSON(c.String("json_string"))
			object, ok := v.(workflow.Object)
			if err != nil || !ok {
				return "", nil // as ComfyUI has it
			}
			switch v, _ := object.Get(c.String("key")); v := v.(type) {
			case nil:
				return "", nil
			case string:
				return v, nil
			default:
				return python(v), nil
			}
		})
}

// folded returns a text, in small letters unless its case counts.
func folded(c *workflow.Call, input string) string {
	if c.Bool("case_sensitive") {
		return c.String(input)
	}
	return pytext.Lower(c.String(input))
}

// compiled returns the pattern of a node, or nil if it has a mistake.
func compiled(c *workflow.Call) (*pytext.Pattern, error) {
	return pytext.Compile(c.String("regex_pattern"), pytext.Flags{IgnoreCase: c.Bool("case_insensitive"), Multiline: c.Bool("multiline"), DotAll: c.Bool("dotall")})
}

// matches returns up to so many matches, all if most is 0. There are none of a
// pattern with a mistake, as ComfyUI has it.
func matches(ctx context.Context, c *workflow.Call, most int, p *pytext.Pattern) (found []pytext.Match, err error) {
	if p == nil {
		if p, err = compiled(c); err != nil {
			return nil, nil
		}
	}
	text := c.String("string")
	if err := c.Need(ctx, 8*int64(len(text))); err != nil {
		return nil, err
	}
	err = p.Find(ctx, []rune(text), func(m pytext.Match) (bool, error) {
		found = append(found, m)
		return len(found) != most, c.Need(ctx, int64(len(m.Groups[0])+16*len(m.Groups)))
	})
	return found, err
}

// extract gives what a pattern matches.
func extract(ctx context.Context, c *workflow.Call) (any, error) {
	mode, group := c.String("mode"), c.Int("group_index")
	p, err := compiled(c)
	if err != nil {
		return "", nil // as ComfyUI has it
	}
	most := 0
	switch mode {
	case "First Match", "First Group":
		most = 1
	}
	switch mode {
	case "First Match":
		group = 0
	case "All Matches": // as re.findall, of which several groups are one
		group = min(p.Groups(), 1)
	case "All Groups":
		if p.Groups() == 0 {
			return "", nil
		}
	}
	if group > p.Groups() {
		return "", nil
	}
	found, err := matches(ctx, c, most, p)
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, m := range found {
		parts = append(parts, m.Groups[group])
	}
	return strings.Join(parts, "\n"), nil
}

// replace replaces what a pattern matches.
func replace(ctx context.Context, c *workflow.Call) (any, error) {
	p, err := compiled(c)
	if err != nil {
		return nil, fmt.Errorf("input regex_pattern: %w", err)
	}
	with, err := p.Replacement(c.String("replace"))
	if err != nil {
		return nil, fmt.Errorf("input replace: %w", err)
	}
	found, err := matches(ctx, c, c.Int("count"), p)
	if err != nil {
		return nil, err
	}
	text := []rune(c.String("string"))
	var out strings.Builder
	at := 0
	for _, m := range found {
		between, by := string(text[at:m.From]), with(m)
		if err := c.Need(ctx, 2*int64(len(between)+len(by))); err != nil {
			return nil, err
		}
		out.WriteString(between)
		out.WriteString(by)
		at = m.To
	}
	out.WriteString(string(text[at:]))
	return out.String(), nil
}

// python writes a JSON value as Python writes it.
func python(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return map[bool]string{false: "False", true: "True"}[v]
	case string:
		return quoted(v)
	case json.Number:
		return pythonNumber(v.String())
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = python(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case workflow.Object:
		parts := make([]string, len(v))
		for i, m := range v {
			parts[i] = quoted(m.Key) + ": " + python(m.Value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// pythonNumber writes a JSON number as Python's int or float does.
func pythonNumber(text string) string {
	if !strings.ContainsAny(text, ".eE") {
		if text == "-0" {
			return "0"
		}
		return text
	}
	f, _ := strconv.ParseFloat(text, 64) // beyond its range it is infinite, there too
	return pythonFloat(f)
}

// pythonFloat writes a number as Python's float does.
func pythonFloat(f float64) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return strings.ToLower(strings.TrimPrefix(fmt.Sprint(f), "+"))
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	out := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(out, ".") {
		out += ".0"
	}
	return out
}

// quoted writes a text as Python's repr does.
func quoted(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	out := []byte{quote}
	for _, r := range s {
		switch {
		case r == rune(quote), r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\r':
			out = append(out, `\r`...)
		case r == '\t':
			out = append(out, `\t`...)
		case strconv.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r < 0x100:
			out = fmt.Appendf(out, `\x%02x`, r)
		case r < 0x10000:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = fmt.Appendf(out, `\U%08x`, r)
		}
	}
	return string(append(out, quote))
}
