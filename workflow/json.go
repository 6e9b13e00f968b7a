package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/weir-run/weir/fault"
)

// A Member is a key of a JSON object with its value.
type Member struct {
	Key   string
	Value any
}

// An Object is a JSON object with its members in the order of the file. The
// other JSON values are nil, bool, json.Number, string and []any.
type Object []Member

// Get returns the value of a key and whether it is there.
func (o Object) Get(key string) (any, bool) {
	for _, m := range o {
		if m.Key == key {
			return m.Value, true
		}
	}
	return nil, false
}

// Limits of what is read, far above what any workflow needs.
const (
	maxBytes = 64 << 20
	maxDepth = 100
)

// ParseJSON reads one JSON value as it stands in workflows: see [Object].
func ParseJSON(text string) (any, error) {
	v, _, err := parseJSON([]byte(text))
	return v, err
}

// parseJSON reads one JSON value in UTF-8 or UTF-16. It keeps numbers as they are
// written and the order of keys. Of a key that an object has twice it takes the
// last value, as Python and JavaScript do, and returns the first such keys.
// Numbers that JSON does not know, which Python writes as NaN and Infinity,
// become null.
func parseJSON(data []byte) (v any, twice []string, err error) {
	if len(data) > maxBytes {
		return nil, nil, fmt.Errorf("the file has %s bytes, a workflow has at most %s", fault.Count(len(data)), fault.Count(maxBytes))
	}
	if format := Format(data); format != "" && !looksLikeJSON(data) {
		return nil, nil, errors.New("this is " + format)
	}
	data = replaceNaN(decodeText(data))
	d := jsonReader{Decoder: json.NewDecoder(bytes.NewReader(data))}
	d.UseNumber()
	v, err = d.value(0)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more after the end of the JSON value")
		}
	}
	if err == nil {
		return v, d.twice, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file ends early")
		if len(bytes.TrimSpace(data)) == 0 {
			err = errors.New("the file is empty")
		}
	}
	offset := d.InputOffset()
	if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
		offset = max(0, min(syntax.Offset, int64(len(data))))
	}
	before := data[:offset]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return nil, nil, fmt.Errorf("line %d column %d: %w", line, column, err)
}

// looksLikeJSON reports whether a file begins as JSON values do that may be
// workflows, whatever is wrong with it later.
func looksLikeJSON(data []byte) bool {
	text := bytes.TrimSpace(decodeText(data[:min(len(data), 4096)]))
	return len(text) > 0 && (text[0] == '{' || text[0] == '[' || text[0] == '"') && bytes.IndexByte(text[:min(len(text), 16)], 0) < 0
}

// A jsonReader notes keys that are there twice.
type jsonReader struct {
	*json.Decoder
	twice []string
}

func (d *jsonReader) value(depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("values are nested deeper than %d levels", maxDepth)
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := d.value(depth + 1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	object, places := Object{}, map[string]int{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("the key %v is not a string", key)
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if at, ok := places[name]; ok {
			object[at].Value = v
			if len(d.twice) < maxTold {
				d.twice = append(d.twice, name)
			}
			continue
		}
		places[name] = len(object)
		object = append(object, Member{name, v})
	}
	_, err = d.Token()
	return object, err
}

// replaceNaN writes null for each NaN, Infinity and -Infinity that is not in a
// string, padded so that positions stay.
func replaceNaN(data []byte) []byte {
	if !bytes.Contains(data, []byte("NaN")) && !bytes.Contains(data, []byte("Infinity")) {
		return data
	}
	out := make([]byte, 0, len(data)+8)
	inString := false
	for i := 0; i < len(data); {
		rest := data[i:]
		switch {
		case inString && rest[0] == '\\' && len(rest) > 1:
			out = append(out, rest[:2]...)
			i += 2
			continue
		case rest[0] == '"':
			inString = !inString
		case inString:
		case bytes.HasPrefix(rest, []byte("NaN")):
			out, i = append(out, "null"...), i+len("NaN")
			continue
		case bytes.HasPrefix(rest, []byte("-Infinity")):
			out, i = append(out, "null     "...), i+len("-Infinity")
			continue
		case bytes.HasPrefix(rest, []byte("Infinity")):
			out, i = append(out, "null    "...), i+len("Infinity")
			continue
		}
		out, i = append(out, rest[0]), i+1
	}
	return out
}

// Dumps writes a JSON value as Python's json.dumps does: a space after each
// comma and colon, and everything beyond ASCII escaped.
func Dumps(v any) string {
	var b strings.Builder
	dump(&b, v)
	return b.String()
}

func dump(b *strings.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case string:
		dumpString(b, v)
	case []any:
		b.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			dump(b, item)
		}
		b.WriteByte(']')
	case Object:
		b.WriteByte('{')
		for i, m := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			dumpString(b, m.Key)
			b.WriteString(": ")
			dump(b, m.Value)
		}
		b.WriteByte('}')
	case Reference:
		fmt.Fprintf(b, "[")
		dumpString(b, v.Node)
		fmt.Fprintf(b, ", %d]", v.Output)
	default: // bool, json.Number
		fmt.Fprint(b, v)
	}
}

func dumpString(b *strings.Builder, s string) {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}
	b.WriteByte('"')
	for _, r := range s {
		switch escape := short[r]; {
		case escape != "":
			b.WriteString(escape)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
}
