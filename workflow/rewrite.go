package workflow

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The user interface changes some texts when it sends a workflow to its server.
// It chooses one of {a|b|c} in prompts, at random, and takes comments out of
// them; in the names of files to save it fills in %Node.widget% and
// %date:yyyy-MM-dd%. Texts of the API format have been through that.
//
// Here a choice depends on the seed of the run alone: the nth choice of a text
// is number r mod the number of choices, where r is the nth output of a PCG
// generator. Its state is that seed and the FNV-1a hash of "ID.INPUT", so that
// each text chooses for itself. The seed of the run is that of the first node of
// the file that has one that changes after a run, or 0.

// A rewriting is a way in which a text is changed.
type rewriting int

const (
	choices rewriting = iota
	replacements
)

// A written is an input with the text as it stands in the drawing.
type written struct {
	node  *Node
	input string
	raw   string
	how   rewriting
}

// A label is a node of the drawing with the name that texts use for it.
type label struct {
	name string
	node *Node
}

// saves reports whether the user interface fills in the file names of a class.
func saves(class string) bool {
	return slices.Contains([]string{
		"SaveImage", "SaveImageAdvanced", "SaveSVGNode", "SaveVideo", "SaveAnimatedWEBP", "SaveWEBM", "SaveAudio", "SaveAudioMP3", "SaveAudioOpus",
		"SaveAudioAdvanced", "SaveGLB", "Save3DAdvanced", "SaveGaussianSplat", "SavePointCloud", "SaveAnimatedPNG", "CLIPSave", "VAESave", "ModelSave",
		"LoraSave", "SaveLatent",
	}, class)
}

// rewrite puts the texts of the drawing into their nodes as they are sent.
func (g *Graph) rewrite() {
	if len(g.texts) == 0 {
		return
	}
	seed := g.seed()
	var names *names
	for _, w := range g.texts {
		switch {
		case w.how == choices:
			hash := fnv.New64a()
			fmt.Fprintf(hash, "%s.%s", w.node.ID, w.input)
			w.node.setArg(w.input, choose(w.raw, rand.NewPCG(seed, hash.Sum64()), 0))
		case strings.Contains(w.raw, "%"):
			if names == nil {
				names = newNames(g.drawn)
			}
			w.node.setArg(w.input, names.fill(w.raw, g.now))
		}
	}
}

// seed returns the seed of the run.
func (g *Graph) seed() uint64 {
	for _, s := range g.seeds {
		v, _ := s.node.Arg(s.input)
		n, ok := v.(json.Number)
		if !ok {
			continue
		}
		switch v, _ := parseInteger(n.String()); v := v.(type) {
		case int64:
			return uint64(v)
		case uint64:
			return v
		}
	}
	return 0
}

// overwrite notes that an input has another text than in the drawing.
func (g *Graph) overwrite(n *Node, input, text string) {
	for i := range g.texts {
		if g.texts[i].node == n && g.texts[i].input == input {
			g.texts[i].raw = text
		}
	}
}

// uncomment takes out /* comments */ and those after //.
func uncomment(s string) string {
	if !strings.Contains(s, "/*") && !strings.Contains(s, "//") {
		return s
	}
	var out strings.Builder
	last := strings.LastIndex(s, "*/")
	for i := 0; i < len(s); {
		rest := s[i:]
		switch {
		case strings.HasPrefix(rest, "/*") && i+2 <= last:
			i += 2 + strings.Index(rest[2:], "*/") + 2
		case strings.HasPrefix(rest, "//"):
			end := strings.IndexAny(rest, "\n\r\u2028\u2029")
			if end < 0 {
				return out.String()
			}
			i += end
		default:
			out.WriteByte(s[i])
			i++
		}
	}
	return out.String()
}

var unescape = strings.NewReplacer(`\{`, "{", `\}`, "}", `\|`, "|")

// maxChoices bounds how deep choices are nested; what is deeper stays as it is.
const maxChoices = 100

// choose takes the comments out of a prompt and one of each {a|b|c}, which may
// hold others. \{, \} and \| stand for the characters themselves.
func choose(prompt string, random *rand.PCG, depth int) string {
	prompt = uncomment(prompt)
	if depth > maxChoices || !strings.ContainsAny(prompt, `\{`) {
		return unescape.Replace(prompt)
	}
	var out strings.Builder
	for i := 0; i < len(prompt); {
		switch {
		case prompt[i] == '\\':
			out.WriteString(prompt[i:min(i+2, len(prompt))])
			i += 2
		case prompt[i] == '{':
			options, end := parseChoices(prompt, i+1)
			chosen := options[random.Uint64()%uint64(len(options))]
			out.WriteString(choose(chosen, random, depth+1))
			i = end
		default:
			out.WriteByte(prompt[i])
			i++
		}
	}
	return unescape.Replace(out.String())
}

// parseChoices reads the options after a brace, up to the one that closes it or
// the end of the text.
func parseChoices(s string, i int) (options []string, end int) {
	start, depth := i, 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return append(options, s[start:i]), i + 1
			}
			depth--
		case '|':
			if depth == 0 {
				options = append(options, s[start:i])
				start = i + 1
			}
		}
	}
	return append(options, s[min(start, len(s)):]), len(s)
}

// names finds nodes by what texts call them.
type names struct{ search, titles, classes map[string]*Node }

func newNames(labels []label) *names {
	n := &names{map[string]*Node{}, map[string]*Node{}, map[string]*Node{}}
	for _, l := range labels {
		for _, x := range []struct {
			in   map[string]*Node
			name string
		}{{n.search, l.name}, {n.titles, l.node.Title}, {n.classes, l.node.Class}} {
			if x.in[x.name] == nil {
				x.in[x.name] = l.node
			}
		}
	}
	return n
}

// find returns the first node whose name for searching is the given one, or else
// its title, or its class.
func (n *names) find(name string) *Node {
	for _, in := range []map[string]*Node{n.search, n.titles, n.classes} {
		if node := in[name]; node != nil && name != "" {
			return node
		}
	}
	return nil
}

var filled = regexp.MustCompile(`%([^%]+)%`)

// unsafe are the characters that a value loses in the name of a file.
var unsafe = regexp.MustCompile(`[/?<>\\:*|"\x00-\x1F\x7F]`)

// fill replaces %Node.widget% and %date:pattern%. What it does not know stays.
func (n *names) fill(text string, now time.Time) string {
	return filled.ReplaceAllStringFunc(text, func(match string) string {
		inner := match[1 : len(match)-1]
		parts := strings.Split(inner, ".")
		if len(parts) != 2 {
			if pattern, ok := strings.CutPrefix(parts[0], "date:"); ok {
				return Date(pattern, now)
			}
			return match
		}
		node := n.find(parts[0])
		if node == nil {
			return match
		}
		v, ok := node.Arg(parts[1])
		if !ok {
			return match
		}
		var value string
		switch v := v.(type) {
		case nil:
		case string:
			value = v
		case bool:
			value = fmt.Sprint(v)
		case json.Number:
			value = number(v)
		default:
			return match // a link, whose value is not known before the run
		}
		return unsafe.ReplaceAllString(value, "_")
	})
}

// FillDates replaces %date:pattern% in the name of a file, as the user interface
// does it.
func FillDates(text string, now time.Time) string { return newNames(nil).fill(text, now) }

var dateField = regexp.MustCompile(`dd?|MM?|hh?|mm?|ss?|yyy?y?`)

// Date writes a time by a pattern of the user interface, such as yyyy-MM-dd or
// hhmmss. A letter alone is a number without a zero before it.
func Date(pattern string, t time.Time) string {
	layouts := map[string]string{"d": "2", "dd": "02", "M": "1", "MM": "01", "m": "4", "mm": "04", "s": "5", "ss": "05", "yy": "06", "yyyy": "2006"}
	return dateField.ReplaceAllStringFunc(pattern, func(field string) string {
		switch field {
		case "h":
			return fmt.Sprint(t.Hour())
		case "hh":
			return fmt.Sprintf("%02d", t.Hour())
		case "yyy":
			return field
		}
		return t.Format(layouts[field])
	})
}
