package workflow

import (
	"regexp"
)

// A node that stands for a subgraph may show widgets of the nodes within it and
// have values of its own for them. Most are those of inputs of the subgraph, in
// their order. Older files list them as [node, widget] in the property
// proxyWidgets, with no input of the subgraph beside it; the user interface
// makes one when it reads such a file.

// promote finds the values that the host of an instance has.
func (d *drawing) promote(i *instance) {
	host := i.host
	values := list(host.widgets)
	next := 0
	for slot, p := range i.inputs {
		if _, ok := i.byName[p.name]; !ok {
			i.byName[p.name] = slot
		}
		w, ok := d.shows(i, slot)
		if !ok {
			continue
		}
		if _, ok := i.byWidget[w]; !ok {
			i.byWidget[w] = slot
		}
		if _, ok := i.byLead[w.name]; !ok {
			i.byLead[w.name] = slot
		}
		if next < len(values) && values[next] != nil {
			i.values[slot] = values[next]
		}
		next++
	}
	if byName, ok := host.widgets.(Object); ok {
		i.name(byName)
	} else if len(values) == 0 {
		i.name(host.named)
	}
	quarantine, _ := host.properties.Get("proxyWidgetErrorQuarantine")
	for _, v := range list(quarantine) {
		o, _ := v.(Object)
		entry, _ := o.Get("originalEntry")
		if value, ok := o.Get("hostValue"); ok {
			d.proxy(i, list(entry), value)
		}
	}
	proxies, _ := host.properties.Get("proxyWidgets")
	if text, ok := proxies.(string); ok {
		proxies, _, _ = parseJSON([]byte(text))
	}
	for k, v := range list(proxies) {
		if k < len(values) && values[k] != nil {
			d.proxy(i, list(v), values[k])
		}
	}
}

// name takes values of inputs by their names.
func (i *instance) name(values Object) {
	for slot, p := range i.inputs {
		if v, ok := values.Get(p.name); ok && v != nil {
			i.values[slot] = v
		}
	}
}

// numbered are the ids that older files have before the name of a widget of a
// nested subgraph.
var numbered = regexp.MustCompile(`^(?:\s*\d+\s*:)*\s*(\d+)\s*:\s*(.+)$`)

// proxy gives a widget that is listed as [node, name] a value.
func (d *drawing) proxy(i *instance, entry []any, value any) {
	if len(entry) < 2 {
		return
	}
	id, _ := nodeID(entry[0])
	name, ok := entry[1].(string)
	if !ok {
		return
	}
	if id == "-1" { // an input of the subgraph itself
		if slot, ok := i.byName[name]; ok {
			i.values[slot] = value
		}
		return
	}
	if renamed, ok := i.renamed[id]; ok {
		id = renamed
	}
	within := ""
	if len(entry) > 2 {
		within, _ = nodeID(entry[2])
	}
	target, known := d.widget(i, id, name, within)
	if !known {
		if m := numbered.FindStringSubmatch(name); m != nil {
			target, known = d.widget(i, id, m[2], m[1])
		}
	}
	if !known {
		return
	}
	if slot, ok := i.byWidget[target]; ok {
		i.values[slot] = value
		return
	}
	i.promoted[target] = value
}

// widget finds the widget of a node within a subgraph by its name. That of a
// nested subgraph is the input that leads to the widget of that name, in the node
// with the id within, if that is told.
func (d *drawing) widget(i *instance, id, name, within string) (widget, bool) {
	n := i.sheet.nodes[id]
	if n == nil {
		return widget{}, false
	}
	if n.class == "PrimitiveNode" {
		return widget{id, ""}, true
	}
	inner := i.inner[n]
	if inner == nil {
		d.args(n)
		_, ok := n.arg(name)
		return widget{id, name}, ok
	}
	slot, ok := inner.byName[name]
	if within != "" {
		slot, ok = inner.byWidget[widget{within, name}]
	} else if !ok {
		slot, ok = inner.byLead[name]
	}
	if !ok {
		return widget{}, false
	}
	return widget{id, inner.inputs[slot].name}, true
}

// shows returns the first widget that an input of a subgraph leads to: a node's
// own, or an input of a nested subgraph.
func (d *drawing) shows(i *instance, slot int) (widget, bool) {
	for _, id := range i.inputs[slot].links {
		t, ok := i.targets[id]
		if !ok {
			continue
		}
		n, in := t.node, t.input
		if inner := i.inner[n]; inner != nil {
			if _, ok := d.innerValue(inner, in); ok {
				return widget{n.id, n.inputs[in].name}, true
			}
		} else if name, _, ok := d.own(n, in); ok {
			return widget{n.id, name}, true
		}
	}
	return widget{}, false
}

// own returns the widget that an input of a node stands for.
func (d *drawing) own(n *drawnNode, input int) (name string, value any, ok bool) {
	if n.drawnOnly() {
		return "", nil, false
	}
	name = n.inputs[input].widget
	if name == "" {
		name = n.inputs[input].name
	}
	d.args(n)
	value, ok = n.arg(name)
	return name, value, ok
}

// promotedValue returns the value that an input of an instance's host has when
// nothing is linked to it.
func (d *drawing) promotedValue(i *instance, slot int) (any, bool) {
	if i.parent != nil {
		if v, ok := i.parent.promoted[widget{i.host.id, i.inputs[slot].name}]; ok {
			return v, true
		}
	}
	inner, ok := d.innerValue(i, slot)
	if !ok {
		return nil, false
	}
	if v, ok := i.values[slot]; ok {
		return v, true
	}
	return inner, true
}

// innerValue returns the value of the first widget that an input of a subgraph
// leads to.
func (d *drawing) innerValue(i *instance, slot int) (any, bool) {
	if src, known := i.inside[slot]; known {
		return src.value, src.ok
	}
	var src source
	for _, id := range i.inputs[slot].links {
		t, ok := i.targets[id]
		if !ok {
			continue
		}
		if inner := i.inner[t.node]; inner != nil {
			src.value, src.ok = d.promotedValue(inner, t.input)
		} else {
			_, src.value, src.ok = d.own(t.node, t.input)
		}
		if src.ok {
			break
		}
	}
	i.inside[slot] = src
	return src.value, src.ok
}
