package workflow

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/weir-run/weir/catalog"
)

// widgets returns the widgets of a drawn node in the order in which their values
// stand in the file. Of a class that nobody knows, those are told that the file
// draws as sockets.
func (d *drawing) widgets(n *drawnNode) []catalog.Widget {
	if schema := d.reg.Lookup(n.class); schema != nil {
		return widgetsOf(schema.Inputs)
	}
	if known, ok := catalog.Widgets(n.class); ok {
		return known
	}
	var widgets []catalog.Widget
	for _, in := range n.inputs {
		if in.widget != "" {
			seed := in.widget == "seed" || in.widget == "noise_seed"
			widgets = append(widgets, catalog.Widget{Name: in.widget, Type: in.kind, Control: seed})
		}
	}
	return widgets
}

// widgetsOf returns the inputs that are written in the file as widgets.
func widgetsOf(inputs []Input) []catalog.Widget {
	var widgets []catalog.Widget
	for _, in := range inputs {
		if !in.Type.Widget() || in.Each != nil {
			continue
		}
		w := catalog.Widget{Name: in.Name, Type: string(in.Type), Control: in.Control, Choices: in.Choices}
		switch v := in.Default.(type) {
		case int64, uint64, float64:
			w.Default = jsonNumber(v)
		case string, bool:
			w.Default = v
		}
		for k, c := range in.Cases {
			w.Cases = append(w.Cases, catalog.Case{Choice: c.Choice, Widgets: widgetsOf(in.parts[k])})
		}
		widgets = append(widgets, w)
	}
	return widgets
}

// args returns the values of a node's widgets by name. The values of a file are
// in the order of the widgets; those of widgets that have been added since have
// their defaults.
func (d *drawing) args(n *drawnNode) []Arg {
	if n.places != nil {
		return n.args
	}
	widgets := d.widgets(n)
	values := list(n.widgets)
	byName, isNamed := n.widgets.(Object)
	switch {
	case isNamed:
		n.args = named(byName)
	case n.named != nil && (len(values) == 0 || len(widgets) == 0):
		n.args = named(n.named)
	default:
		n.args = positional(widgets, values)
	}
	n.places = map[string]int{}
	for i, a := range n.args {
		n.places[a.Name] = i
	}
	return n.args
}

// named returns values that stand in the file with their names.
func named(o Object) []Arg {
	var args []Arg
	for _, m := range o {
		if !slices.Contains([]string{"control_after_generate", "control_filter_list", "upload"}, m.Key) {
			args = append(args, Arg{m.Key, m.Value})
		}
	}
	return args
}

// expected reports whether there are as many values as widgets.
func expected(widgets []catalog.Widget, values []any) bool {
	n := 0
	for _, w := range widgets {
		if !w.Forced {
			n++
		}
		if w.Control {
			n++
		}
	}
	return n == len(values)
}

// positional gives each widget its value by their order. A value that says what
// becomes of a number after a run is skipped, whether it is due there or not.
func positional(widgets []catalog.Widget, values []any) []Arg {
	forced := false
	for _, w := range widgets {
		forced = forced || w.Forced
	}
	// Files that are older than the loss of a widget still have its value.
	all := slices.Clone(widgets)
	for i := range all {
		all[i].Forced = false
	}
	old := forced && expected(all, values)
	var args []Arg
	afterInt := false
	for len(widgets) > 0 {
		w := widgets[0]
		widgets = widgets[1:]
		switch {
		case w.Forced:
			if old {
				values = values[1:]
			}
			continue
		case w.Button:
			if len(values) > 0 && slices.Contains([]any{"image", "video", "audio", "mask"}, values[0]) {
				values = values[1:]
			}
			continue
		}
		if len(values) > 1 && isControl(values[0]) && w.Type != string(TypeString) && (afterInt || w.Type != string(TypeCombo)) {
			values = values[1:]
		}
		afterInt = w.Type == string(TypeInt)
		if len(values) == 0 {
			if v := defaultValue(w.Default); v != nil {
				args = append(args, Arg{w.Name, v})
				widgets = slices.Concat(w.Brought(v), widgets)
			}
			continue
		}
		args = append(args, Arg{w.Name, values[0]})
		widgets = slices.Concat(w.Brought(values[0]), widgets)
		values = values[1:]
		if !w.Control || len(values) == 0 || !isControl(values[0]) {
			continue
		}
		values, afterInt = values[1:], false
		if w.Type != string(TypeCombo) || len(values) == 0 {
			continue
		}
		if filter, ok := values[0].(string); ok && (filter == "" || strings.HasPrefix(filter, "/")) {
			values = values[1:]
		}
	}
	return args
}

// defaultValue returns a default of the catalog as a JSON value.
func defaultValue(v any) any {
	switch v := v.(type) {
	case float64:
		return jsonNumber(v)
	case []any:
		return nil
	}
	return v
}

// jsonNumber writes a number as JSON does.
func jsonNumber(v any) json.Number {
	text, err := json.Marshal(v)
	if err != nil {
		return "0"
	}
	return json.Number(text)
}
