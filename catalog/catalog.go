// Package catalog knows the classes of nodes that ComfyUI has, with their
// widgets, and those of the packs that people use most. It is a table of facts:
// no node is run here.
//
// testdata/golden/classes.py writes the table.
package catalog

import (
	_ "embed"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// A Widget is an input whose value is written in the workflow.
type Widget struct {
	Name string
	// Type is as in ComfyUI, for example INT or COMBO.
	Type string
	// Default is the value of a new node: nil, bool, float64, string or []any.
	Default any
	// Control marks a number with a second widget, which changes it after a run.
	Control bool
	// Choices marks a text in which the user interface resolves {a|b} and
	// comments.
	Choices bool
	// Forced marks an input that had a widget once and has none now.
	Forced bool
	// Button marks a widget that is no input.
	Button bool
	// Cases are the widgets that choices of a COMBO bring behind it.
	Cases []Case
}

// A Case is a choice with the widgets that it brings, under their full names.
type Case struct {
	Choice  string
	Widgets []Widget
}

// Brought returns the widgets that a choice brings.
func (w Widget) Brought(choice any) []Widget {
	for _, c := range w.Cases {
		if c.Choice == choice {
			return c.Widgets
		}
	}
	return nil
}

//go:embed comfyui.txt
var comfyText string

//go:embed packs.txt
var packText string

// comfy returns the lines of ComfyUI's classes by class.
var comfy = sync.OnceValue(func() map[string]string {
	lines := map[string]string{}
	for line := range strings.Lines(comfyText) {
		class, widgets, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "\t")
		lines[class] = widgets
	}
	return lines
})

type pattern struct {
	pack string
	*regexp.Regexp
}

type packs struct {
	classes  map[string]string // the pack of each class
	patterns []pattern
}

var others = sync.OnceValue(func() packs {
	p := packs{classes: map[string]string{}}
	for line := range strings.Lines(packText) {
		fields := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if fields[1] != "" {
			p.patterns = append(p.patterns, pattern{fields[0], regexp.MustCompile(fields[1])})
		}
		for _, class := range fields[2:] {
			p.classes[class] = fields[0]
		}
	}
	return p
})

// ComfyUI reports whether ComfyUI itself has a class.
func ComfyUI(class string) bool {
	_, ok := comfy()[class]
	return ok
}

// Output reports whether a class of ComfyUI is run for its effect, such as saving
// a file, and whether that is known.
func Output(class string) (output, known bool) {
	widgets := comfy()[class]
	return strings.HasSuffix(widgets, "\toutput"), widgets != ""
}

// Widgets returns the widgets of a class of ComfyUI in the order in which the
// user interface writes their values, and whether they are known. They are not
// for classes that are newer than the table's ComfyUI.
func Widgets(class string) ([]Widget, bool) {
	text, _, _ := strings.Cut(comfy()[class], "\t")
	if text == "" {
		return nil, false
	}
	var fields []any
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		panic("catalog: class " + class + ": " + err.Error())
	}
	return widgetsOf(fields), true
}

func widgetsOf(fields []any) []Widget {
	widgets := make([]Widget, len(fields))
	for i, f := range fields {
		w, f := &widgets[i], f.([]any)
		w.Name, w.Type = f[0].(string), f[1].(string)
		if len(f) > 2 {
			w.Default = f[2]
		}
		kind := strings.TrimRight(w.Type, "!^>~")
		switch w.Type[len(kind):] {
		case "!":
			w.Control = true
		case "^":
			w.Choices = true
		case ">":
			w.Forced = true
		case "~":
			w.Button = true
		}
		w.Type = kind
		if len(f) > 3 {
			cases := f[3].(map[string]any)
			for _, choice := range slices.Sorted(maps.Keys(cases)) {
				w.Cases = append(w.Cases, Case{choice, widgetsOf(cases[choice].([]any))})
			}
		}
	}
	return widgets
}

// maxClass is longer than any name of a class in the table.
const maxClass = 100

// Pack returns the name of the pack that a class is of, "" when no pack of the
// table has it.
func Pack(class string) string {
	if len(class) > maxClass {
		return ""
	}
	p := others()
	if pack := p.classes[class]; pack != "" {
		return pack
	}
	for _, pattern := range p.patterns {
		if pattern.MatchString(class) {
			return pattern.pack
		}
	}
	return ""
}
