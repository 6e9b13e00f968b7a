package folders

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-run/weir/fault"
)

// parseYAML returns the root of the one document of a text, or nil if the text has only comments. Nothing is expanded:
// an alias is a pointer. The nesting that is parsed has a limit.
func parseYAML(text []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	err := d.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err == nil {
		if err = d.Decode(&second); err == nil {
			return nil, fmt.Errorf("line %d: expected a single document, found another one", second.Line)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return nil, errors.New(fault.Cut(strings.TrimPrefix(err.Error(), "yaml: "), maxQuoted))
	}
	root := target(document.Content[0])
	if isNull(root) {
		return nil, nil
	}
	return root, nil
}

// An entry is a key of a mapping and its value.
type entry struct {
	key   string
	value *yaml.Node
}

// maxMerged bounds how many entries merge keys add to all mappings of a file.
const maxMerged = 100_000

// mappings reads mappings with their merge keys.
type mappings struct {
	known map[*yaml.Node][]entry
	left  int // entries that may still be merged
}

// entries returns the entries of a mapping as PyYAML has them: first those of the mappings that its merge keys (<<) name,
// then its own. A key that comes again replaces the value and keeps the place.
func (m *mappings) entries(n *yaml.Node) ([]entry, error) {
	if known, ok := m.known[n]; ok {
		return known, nil
	}
	if m.known == nil {
		m.known = map[*yaml.Node][]entry{}
	}
	m.known[n] = nil // a mapping that is merged into itself adds nothing
	var merged, own []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := target(n.Content[i]), n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			return nil, wrong(key, "expected a name and a colon")
		case isPlain(key) && key.Value == "<<":
			more, err := m.merge(target(value))
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
		default:
			own = append(own, entry{key.Value, value})
		}
	}
	// Of merged mappings the first has precedence.
	all := unique(unique(nil, merged, false), own, true)
	m.known[n] = all
	return all, nil
}

// merge returns the entries of the mapping, or of the mappings in the sequence, that a merge key names.
func (m *mappings) merge(n *yaml.Node) ([]entry, error) {
	sources := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		sources = n.Content
	}
	var all []entry
	for _, source := range sources {
		source = target(source)
		if source.Kind != yaml.MappingNode {
			return nil, wrong(source, "expected a mapping to merge")
		}
		entries, err := m.entries(source)
		if err != nil {
			return nil, err
		}
		if m.left -= len(entries); m.left < 0 {
			return nil, fmt.Errorf("line %d: merge keys add more than %d entries", n.Line, maxMerged)
		}
		all = append(all, entries...)
	}
	return all, nil
}

// unique appends entries to those of other keys. The value of a key that is there is replaced, or kept.
func unique(all, more []entry, replace bool) []entry {
	at := make(map[string]int, len(all)+len(more))
	for i, e := range all {
		at[e.key] = i
	}
	for _, e := range more {
		i, there := at[e.key]
		switch {
		case !there:
			at[e.key] = len(all)
			all = append(all, e)
		case replace:
			all[i].value = e.value
		}
	}
	return all
}

// target returns the node that an alias stands for, or the node itself.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// The words and numbers of YAML 1.1, which PyYAML reads: yes and on are true, 010, 0x10 and 1:30 are numbers.
var (
	nullWord = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
	noWord   = regexp.MustCompile(`^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$`)
	yesWord  = regexp.MustCompile(`^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$`)
	number   = regexp.MustCompile(`^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+|` +
		`[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|\.(?:inf|Inf|INF))$|` +
		`^\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?$|^\.(?:nan|NaN|NAN)$`)
	date = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$|^[0-9]{4}-[0-9][0-9]?-[0-9][0-9]?(?:[Tt]|[ \t]+)[0-9][0-9]?:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9][0-9]?(?::[0-9]{2})?))?$`)
)

// isPlain reports whether a scalar has neither quotes nor a tag, so that its text says what it is.
func isPlain(n *yaml.Node) bool {
	const styled = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle | yaml.TaggedStyle
	return n.Kind == yaml.ScalarNode && n.Style&styled == 0
}

// isTagged reports whether a scalar has a tag other than that of strings.
func isTagged(n *yaml.Node) bool {
	return n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" && n.Tag != "tag:yaml.org,2002:str"
}

func isNull(n *yaml.Node) bool { return isPlain(n) && nullWord.MatchString(n.Value) }

func isString(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || isTagged(n) {
		return false
	}
	for _, other := range []*regexp.Regexp{nullWord, noWord, yesWord, number, date} {
		if isPlain(n) && other.MatchString(n.Value) {
			return false
		}
	}
	return true
}

func isEmpty(n *yaml.Node) bool { return len(n.Content) == 0 && n.Value == "" }

// truth returns whether Python takes a value for true: what is neither nothing nor zero.
func truth(n *yaml.Node) bool {
	switch {
	case isNull(n), isEmpty(n):
		return false
	case isPlain(n) && number.MatchString(n.Value):
		text := strings.ToLower(strings.TrimLeft(n.Value, "+-"))
		if !strings.HasPrefix(text, "0x") {
			text, _, _ = strings.Cut(strings.TrimPrefix(text, "0b"), "e") // zero with any exponent is zero
		}
		return strings.Trim(text, "0_:.x") != ""
	case isTagged(n) && n.Tag == "!!bool":
		return yesWord.MatchString(n.Value)
	case isTagged(n) && n.Tag == "!!int":
		return strings.Trim(n.Value, "+-0_:.x") != ""
	}
	return !isPlain(n) || !noWord.MatchString(n.Value)
}

// wrong returns the error of a node that is not what is expected.
func wrong(n *yaml.Node, expected string) error {
	found := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a sequence"}[n.Kind]
	switch {
	case isNull(n):
		found = "nothing"
	case isTagged(n):
		found = "a value with the tag " + quote(n.Tag)
	case n.Kind == yaml.ScalarNode:
		found = quote(n.Value)
	}
	return fmt.Errorf("line %d: %s, found %s", n.Line, expected, found)
}

// maxQuoted is how many bytes of a text stand in a message.
const maxQuoted = 200

func quote(text string) string { return fmt.Sprintf("%q", fault.Cut(text, maxQuoted)) }
