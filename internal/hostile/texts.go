package hostile

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf16"
)

// values are in the place of any value of a node, as JSON.
var values = []string{
	`null`, `true`, `-1`, `1e308`, `1e400`, `-0.0`, `18446744073709551616`, `NaN`, `-Infinity`, `""`, `[]`, `{}`, `[null]`, `["none",0]`, `["none",-1]`, `["none",1e18]`,
	`["none",0.5]`, `[["none",0]]`, `{"__value__":{"__value__":1}}`, `"` + "${HOME}" + `"`, `"../../../../etc/passwd"`, `"/dev/zero"`, `"a\u0000b"`,
}

// Workflows returns hostile workflows in the form of the API. Some are made of a
// good one.
func Workflows(seed uint64, good []byte) ([]Input, error) {
	r := rand.New(rand.NewPCG(seed, 5))
	var all []Input
	add := func(name string, fails bool, text string) {
		all = append(all, Input{"workflow: " + name, "workflow.json", []byte(text), fails})
	}
	for name, text := range map[string]string{
		"nothing":                "",
		"spaces":                 strings.Repeat(" ", 1<<20),
		"null":                   "null",
		"a number":               "7",
		"an array":               "[]",
		"an empty object":        "{}",
		"brackets":               nested("[", 1_000_000),
		"objects":                nested(`{"a":`, 1_000_000),
		"a node of brackets":     `{"1":` + nested("[", 1_000_000) + strings.Repeat("]", 1_000_000) + `}`,
		"a value of brackets":    `{"1":{"class_type":"SaveImage","inputs":{"images":` + nested("[", 1_000_000) + strings.Repeat("]", 1_000_000) + `}}}`,
		"nodes are numbers":      `{"1":1,"2":2}`,
		"nodes are null":         `{"1":null}`,
		"no class":               `{"1":{"inputs":{}}}`,
		"class is a number":      `{"1":{"class_type":7,"inputs":{}}}`,
		"class is empty":         `{"1":{"class_type":"","inputs":{}}}`,
		"class of 5 MB":          `{"1":{"class_type":"` + Long() + `","inputs":{}}}`,
		"class with escapes":     `{"1":{"class_type":` + quote(Escapes) + `,"inputs":{}}}`,
		"id of 5 MB":             `{"` + Long() + `":{"class_type":"No","inputs":{}}}`,
		"id with escapes":        `{` + quote(Escapes) + `:{"class_type":"SaveImage","inputs":{}}}`,
		"input of 5 MB":          `{"1":{"class_type":"SaveImage","inputs":{"` + Long() + `":1}}}`,
		"input with escapes":     `{"1":{"class_type":"SaveImage","inputs":{` + quote(Escapes) + `:` + quote(Escapes) + `}}}`,
		"inputs are an array":    `{"1":{"class_type":"SaveImage","inputs":[1,2]}}`,
		"inputs are a text":      `{"1":{"class_type":"SaveImage","inputs":"x"}}`,
		"no inputs":              `{"1":{"class_type":"SaveImage"}}`,
		"itself":                 `{"1":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"a"}}}`,
		"two in a cycle":         `{"1":{"class_type":"ImageInvert","inputs":{"image":["2",0]}},"2":{"class_type":"ImageInvert","inputs":{"image":["1",0]}},"3":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"a"}}}`,
		"no output":              `{"1":{"class_type":"EmptyLatentImage","inputs":{"width":64,"height":64,"batch_size":1}}}`,
		"a number of 1 MB":       `{"1":{"class_type":"EmptyLatentImage","inputs":{"width":` + strings.Repeat("9", 1<<20) + `}}}`,
		"an exponent of 1 MB":    `{"1":{"class_type":"EmptyLatentImage","inputs":{"width":1e` + strings.Repeat("9", 1<<20) + `}}}`,
		"a prompt in a prompt":   `{"prompt":{"prompt":{"prompt":{}}}}`,
		"a body without":         `{"prompt":7}`,
		"an output that is none": `{"output":[]}`,
		"surrogates":             `{"1":{"class_type":"\ud800","inputs":{"\udfff":1}}}`,
		"invalid UTF-8":          "{\"1\":{\"class_type\":\"\xff\xfe\xc0\",\"inputs\":{}}}",
		"NUL":                    "\x00\x00\x00\x00",
		"half of UTF-16":         "\xff\xfe{",
		"UTF-32":                 "\xff\xfe\x00\x00{\x00\x00\x00}\x00\x00\x00",
		"two":                    `{}{}`,
	} {
		add(name, true, text)
	}
	chain := func(n int, last string) string {
		var b strings.Builder
		b.WriteString(`{"0":{"class_type":"ImageInvert","inputs":{"image":["` + last + `",0]}}`)
		for i := 1; i < n; i++ {
			fmt.Fprintf(&b, `,"%d":{"class_type":"ImageInvert","inputs":{"image":["%d",0]}}`, i, i-1)
		}
		fmt.Fprintf(&b, `,"%d":{"class_type":"SaveImage","inputs":{"images":["%d",0],"filename_prefix":"a"}}}`, n, n-1)
		return b.String()
	}
	add("a chain of 100,000 nodes", true, chain(100_000, "none"))
	add("20,000 nodes in a cycle", true, chain(20_000, "19999"))
	var problems strings.Builder
	for i := range 25_000 {
		fmt.Fprintf(&problems, `,"%d":{"class_type":"SaveImage","inputs":{"images":["none",%d],"filename_prefix":%d,"a":1,"b":2,"c":3}}`, i, i, i)
	}
	add("100,000 problems", true, "{"+problems.String()[1:]+"}")
	var fan strings.Builder
	fan.WriteString(`{"a0":{"class_type":"CLIPTextEncode","inputs":{"text":"x"}}`)
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&fan, `,"a%d":{"class_type":"ConditioningCombine","inputs":{"conditioning_1":["a%d",0],"conditioning_2":["a%[2]d",0]}}`, i, i-1)
	}
	add("2⁶⁰ paths", true, fan.String()+`,"s":{"class_type":"SaveImage","inputs":{"images":["a59",0],"filename_prefix":"a"}}}`)

	whole := Input{"workflow", "workflow.json", good, false}
	all = append(all, truncated(whole, 30)...)
	all = append(all, flipped(r, whole, 30, len(good))...)
	utf16le := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(string(good))) {
		utf16le = append(utf16le, byte(u), byte(u>>8))
	}
	all = append(all, Input{"workflow: half of UTF-16 text", "workflow.json", utf16le[:len(utf16le)/2+1], true})
	some, err := substituted(r, good)
	return append(all, some...), err
}

// substituted returns copies of a workflow with another value in the place of
// each of its inputs.
func substituted(r *rand.Rand, good []byte) ([]Input, error) {
	var nodes map[string]struct {
		Inputs map[string]json.RawMessage `json:"inputs"`
	}
	if err := json.Unmarshal(good, &nodes); err != nil {
		return nil, err
	}
	var all []Input
	for _, id := range slices.Sorted(maps.Keys(nodes)) {
		for _, input := range slices.Sorted(maps.Keys(nodes[id].Inputs)) {
			for range 3 {
				value := values[r.IntN(len(values))]
				text := strings.Replace(string(good), string(nodes[id].Inputs[input]), value, 1)
				all = append(all, Input{fmt.Sprintf("workflow: %s of node %s is %s", input, id, value), "workflow.json", []byte(text), false})
			}
		}
	}
	return all, nil
}

// Interface returns hostile workflows in the form that the interface saves.
func Interface() []Input {
	var all []Input
	add := func(name string, text string) {
		all = append(all, Input{"interface: " + name, "workflow.json", []byte(text), true})
	}
	const save = `{"id":1,"type":"SaveImage","inputs":[{"name":"images","type":"IMAGE","link":1}],"outputs":[],"widgets_values":["a"]}`
	doc := func(nodes, links, more string) string {
		return `{"last_node_id":9,"nodes":[` + nodes + `],"links":[` + links + `]` + more + `,"version":0.4}`
	}
	subgraph := func(id, nodes string) string {
		return `{"id":"` + id + `","name":` + quote(Escapes) + `,"inputNode":{"id":-10},"outputNode":{"id":-20},"inputs":[],"outputs":[{"id":"o","name":"IMAGE","type":"IMAGE","linkIds":[1]}],"nodes":[` + nodes + `],"links":[{"id":1,"origin_id":1,"origin_slot":0,"target_id":-20,"target_slot":0,"type":"IMAGE"}]}`
	}
	for name, text := range map[string]string{
		"nodes are an object":        `{"nodes":{},"links":[]}`,
		"nodes are null":             `{"nodes":null,"links":null}`,
		"nodes are numbers":          doc(`1,2`, ``, ``),
		"nodes are brackets":         doc(nested("[", 100_000)+strings.Repeat("]", 100_000), ``, ``),
		"no type":                    doc(`{"id":1}`, ``, ``),
		"an id that is a text":       doc(`{"id":"x","type":"SaveImage"}`, ``, ``),
		"an id of 1e400":             doc(`{"id":1e400,"type":"SaveImage"}`, ``, ``),
		"an id twice":                doc(save+`,`+save, ``, ``),
		"a link that is not there":   doc(save, ``, ``),
		"a link of numbers":          doc(save, `1,2,3`, ``),
		"a short link":               doc(save, `[1,2]`, ``),
		"a link of texts":            doc(save, `["a","b","c","d","e","f"]`, ``),
		"a link to itself":           doc(save, `[1,1,0,1,0,"IMAGE"]`, ``),
		"a link to nowhere":          doc(save, `[1,99,0,1,0,"IMAGE"]`, ``),
		"a slot of 1e18":             doc(save, `[1,1,1e18,1,-5,"IMAGE"]`, ``),
		"values are an object":       doc(`{"id":1,"type":"SaveImage","widgets_values":{"a":{"b":1}}}`, ``, ``),
		"values are a number":        doc(`{"id":1,"type":"SaveImage","widgets_values":7}`, ``, ``),
		"many values":                doc(`{"id":1,"type":"SaveImage","widgets_values":[0`+strings.Repeat(",0", 200_000)+`]}`, ``, ``),
		"mode":                       doc(`{"id":1,"type":"SaveImage","mode":"x"}`, ``, ``),
		"mode 1e9":                   doc(`{"id":1,"type":"SaveImage","mode":1000000000}`, ``, ``),
		"a reroute to itself":        doc(save+`,{"id":2,"type":"Reroute","inputs":[{"name":"","type":"*","link":2}],"outputs":[{"links":[1,2]}]}`, `[1,2,0,1,0,"*"],[2,2,0,2,0,"*"]`, ``),
		"reroutes in a cycle":        doc(save+`,{"id":2,"type":"Reroute","inputs":[{"name":"","type":"*","link":3}]},{"id":3,"type":"Reroute","inputs":[{"name":"","type":"*","link":2}]}`, `[1,2,0,1,0,"*"],[2,2,0,3,0,"*"],[3,3,0,2,0,"*"]`, ``),
		"bypassed nodes in a cycle":  doc(save+`,{"id":2,"type":"ImageInvert","mode":4,"inputs":[{"name":"image","type":"IMAGE","link":3}],"outputs":[{"name":"IMAGE","type":"IMAGE"}]},{"id":3,"type":"ImageInvert","mode":4,"inputs":[{"name":"image","type":"IMAGE","link":2}],"outputs":[{"name":"IMAGE","type":"IMAGE"}]}`, `[1,2,0,1,0,"IMAGE"],[2,2,0,3,0,"IMAGE"],[3,3,0,2,0,"IMAGE"]`, ``),
		"definitions are a number":   doc(save, ``, `,"definitions":7`),
		"subgraphs are a number":     doc(save, ``, `,"definitions":{"subgraphs":7}`),
		"subgraphs of null":          doc(save, ``, `,"definitions":{"subgraphs":[null]}`),
		"a subgraph in itself":       doc(save+`,{"id":2,"type":"g","outputs":[{"name":"IMAGE","type":"IMAGE","links":[1]}]}`, `[1,2,0,1,0,"IMAGE"]`, `,"definitions":{"subgraphs":[`+subgraph("g", `{"id":1,"type":"g","outputs":[{"name":"IMAGE","type":"IMAGE","links":[1]}]}`)+`]}`),
		"subgraphs in each other":    doc(save+`,{"id":2,"type":"g"}`, `[1,2,0,1,0,"IMAGE"]`, `,"definitions":{"subgraphs":[`+subgraph("g", `{"id":1,"type":"h"}`)+`,`+subgraph("h", `{"id":1,"type":"g"}`)+`]}`),
		"a subgraph of nonsense":     doc(save+`,{"id":2,"type":"g","properties":{"proxyWidgets":[["x"],[1,2,3],null,7]}}`, `[1,2,0,1,0,"IMAGE"]`, `,"definitions":{"subgraphs":[{"id":"g","nodes":7,"links":"x","inputs":{},"outputs":null}]}`),
		"promoted values":            doc(save+`,{"id":2,"type":"g","widgets_values":[1,2,3],"properties":{"proxyWidgets":[["-1","x"],["99","`+"y"+`"]]}}`, `[1,2,0,1,0,"IMAGE"]`, `,"definitions":{"subgraphs":[`+subgraph("g", ``)+`]}`),
		"group nodes":                doc(save+`,{"id":2,"type":"workflow>x"}`, `[1,2,0,1,0,"IMAGE"]`, `,"extra":{"groupNodes":{"x":{"nodes":[{"type":"workflow>x"}]}}}`),
		"names with escapes":         doc(`{"id":1,"type":`+quote(Escapes)+`,"title":`+quote(Escapes)+`,"inputs":[{"name":`+quote(Escapes)+`,"type":"IMAGE","link":1}]}`, ``, ``),
		"names of 5 MB":              doc(`{"id":1,"type":"`+Long()+`","title":"`+Long()+`"}`, ``, ``),
		"a primitive without target": doc(save+`,{"id":2,"type":"PrimitiveNode","outputs":[{"links":[99]}],"widgets_values":[1]}`, ``, ``),
	} {
		add(name, text)
	}
	// Each level holds ten of the next: 10¹⁰ nodes in all.
	var levels []string
	for i := range 10 {
		inner := fmt.Sprintf(`"type":"level%d"`, i+1)
		if i == 9 {
			inner = `"type":"SaveImage","widgets_values":["a"]`
		}
		var nodes []string
		for j := range 10 {
			nodes = append(nodes, fmt.Sprintf(`{"id":%d,%s}`, j+1, inner))
		}
		levels = append(levels, subgraph(fmt.Sprint("level", i), strings.Join(nodes, ",")))
	}
	add("10¹⁰ nodes in subgraphs", doc(`{"id":1,"type":"level0"}`, ``, `,"definitions":{"subgraphs":[`+strings.Join(levels, ",")+`]}`))
	var many []string
	for i := range 20_000 {
		many = append(many, fmt.Sprintf(`{"id":%d,"type":"Reroute","inputs":[{"name":"","type":"*","link":%[1]d}],"outputs":[{"links":[%d]}]}`, i+2, i+1))
	}
	var links []string
	for i := range 20_000 {
		links = append(links, fmt.Sprintf(`[%d,%d,0,%[1]d,0,"*"]`, i+1, i+2))
	}
	add("20,000 reroutes", doc(save+","+strings.Join(many, ","), strings.Join(links, ","), ``))
	return all
}

// ModelPaths returns hostile files in the place of an extra_model_paths.yaml.
func ModelPaths(seed uint64) []Input {
	r := rand.New(rand.NewPCG(seed, 6))
	var all []Input
	add := func(name string, fails bool, text string) {
		all = append(all, Input{"model paths: " + name, "extra_model_paths.yaml", []byte(text), fails})
	}
	var bomb, merges strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	merges.WriteString("a0: &a0 {x: y}\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%[1]d [*a%d, *a%[2]d, *a%[2]d, *a%[2]d, *a%[2]d, *a%[2]d, *a%[2]d, *a%[2]d, *a%[2]d]\n", i, i-1)
		fmt.Fprintf(&merges, "a%d: &a%[1]d {<<: [*a%d, *a%[2]d], k%[1]d: v}\n", i, i-1)
	}
	for name, text := range map[string]string{
		"brackets":            nested("[", 100_000),
		"braces":              nested("{a: ", 100_000),
		"lists":               nested("- ", 100_000),
		"deep blocks":         deepBlocks(2000),
		"a bomb of aliases":   bomb.String(),
		"an alias of itself":  "a: &a [*a]\n",
		"an unknown alias":    "a: *b\n",
		"a text":              "models\n",
		"a number":            "7\n",
		"a list":              "- a\n- b\n",
		"a section of a list": "a: [1, 2]\n",
		"NUL":                 "a:\x00\n",
		"half a string":       "a:\n  base_path: \"x\n",
		"binary":              "\x7fELF\x02\x01\x01\x00",
		"too long":            strings.Repeat("# comment\n", 200_000),
		"a category of lists": "a:\n  base_path: x\n  loras: [[1]]\n",
		"a path that is null": "a:\n  base_path: [x]\n",
		"names of 500 kB":     "a:\n  " + strings.Repeat("k", 500_000) + ": [" + strings.Repeat("v", 400_000) + "]\n",
		"names with escapes":  "a:\n  " + quote(Escapes) + ": [1]\n",
	} {
		add(name, true, text)
	}
	for name, text := range map[string]string{
		"nothing":             "",
		"comments":            "# a\n",
		"merges":              merges.String(),
		"tabs":                "a:\n\tbase_path: x\n",
		"UTF-16":              "\xff\xfea\x00:\x00\n\x00",
		"documents":           strings.Repeat("---\na: b\n", 1000),
		"a Python object":     "a: !!python/object/apply:os.system ['true']\n",
		"a path of 500 kB":    "a:\n  base_path: x\n  loras: " + strings.Repeat("p/", 220_000) + "\n",
		"paths with escapes":  "a:\n  base_path: x\n  loras: " + quote(Escapes) + "\n",
		"variables":           "a:\n  base_path: $HOME/${HOME}/%HOME%/$$$\n  loras: ~/~/~\n",
		"20,000 keys":         "a:\n" + strings.Repeat("  loras: x\n", 20_000),
		"a device":            "a:\n  base_path: /dev\n  loras: zero\n",
		"a date":              "a:\n  base_path: 2001-01-01\n  loras: 1e400\n",
		"a key of every kind": "a:\n  ? [1, 2]\n  : x\n  1.5: y\n  null: z\n  true: w\n",
	} {
		add(name, false, text)
	}
	whole := Input{"model paths", "extra_model_paths.yaml", []byte("comfy:\n  base_path: \"models\"\n  is_default: yes\n  checkpoints: |\n    a\n    b\n  loras: &l c\n  vae: *l\n"), false}
	all = append(all, truncated(whole, 15)...)
	return append(all, flipped(r, whole, 25, len(whole.Data))...)
}

// deepBlocks returns mappings in each other, a line each.
func deepBlocks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", min(i, 400)) + "a:\n")
	}
	return b.String()
}

// Prompts returns hostile texts for a tokenizer. All are texts that it takes.
func Prompts() []Input {
	var all []Input
	for name, text := range map[string]string{
		"nothing":              "",
		"a long word":          strings.Repeat("a", 1<<18),
		"words of 10 MB":       strings.Repeat("apple ", 10<<20/6),
		"brackets":             strings.Repeat("(", 200_000),
		"closed brackets":      strings.Repeat(")", 200_000),
		"nested":               strings.Repeat("(", 20_000) + "a" + strings.Repeat(":1.1)", 20_000),
		"nested without end":   strings.Repeat("(a:1.1", 20_000),
		"backslashes":          strings.Repeat("\\", 100_001),
		"escaped brackets":     strings.Repeat(`\(`, 100_000),
		"colons":               strings.Repeat("(:", 20_000) + strings.Repeat(")", 20_000),
		"weights of no number": "(a:nan) (b:inf) (c:-inf) (d:1e400) (e:0x10) (f:1_0) (g:) (h:--1) (i:1:2:3)",
		"a long weight":        "(a:" + strings.Repeat("9", 200_000) + ")",
		"invalid UTF-8":        strings.Repeat("\xff\xfe\xc0\x80", 20_000),
		"NUL":                  strings.Repeat("\x00", 200_000),
		"escapes":              strings.Repeat(Escapes, 10_000),
		"combining marks":      "a" + strings.Repeat("\u0301\u0323", 100_000),
		"emoji":                strings.Repeat("👩‍👩‍👧‍👦", 10_000),
		"a word of all kinds":  strings.Repeat("aé1_'s漢", 20_000),
		"apostrophes":          strings.Repeat("'", 200_000),
		"digits":               strings.Repeat("1234567890", 30_000),
		"embeddings":           strings.Repeat("embedding:none ", 20_000),
		"an embedding of 1 MB": "embedding:" + Long()[:1<<20],
		"embeddings elsewhere": "embedding:../../../../etc/passwd embedding:/dev/zero embedding: embedding:a\x00b (embedding:..:1.2)",
		"spaces":               strings.Repeat(" \t\n\u00a0\u3000", 200_000),
		"choices":              strings.Repeat("{a|", 20_000) + strings.Repeat("}", 20_000),
		"comments":             strings.Repeat("/*", 100_000),
	} {
		all = append(all, Input{"prompt: " + name, "prompt.txt", []byte(text), false})
	}
	return all
}

// Names returns hostile names of files.
func Names() []string {
	return []string{
		"", ".", "..", "../x", "../../../../../../etc/passwd", "/etc/passwd", `..\x`, `C:\x`, `\\host\share\x`, "a/../../x", "a\x00b", Escapes, "\xff\xfe", strings.Repeat("a", 300),
		strings.Repeat("a/", 3000), Long()[:100_000], "CON", "nul.png", "a:b", "a\nb", "%date:", "%KSampler.seed%", strings.Repeat("%", 10_000), "%batch_num%", "~", "$HOME", "*", "?", " ", "a ", "a.", "-", "--help", "|",
	}
}
