package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/node"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/workflow"
)

// maxTime is how long one template may run.
const maxTime = 5 * time.Minute

// heading is above the table.
const heading = `# ComfyUI's templates

Which of the official workflow templates run, and what the others lack. The models are small ones with the files' names and the
networks of their families; sizes and steps are cut, and FluxKontextImageScale, whose pictures have a megapixel, is passed by. So
the table says that a workflow is read, checked and run to its pictures, not what they look like. Written by

` + "```" + `
go run ./internal/templates -families %s FOLDER > docs/templates.md
` + "```" + `

with the folder templates of the package comfyui-workflow-templates-json of PyPI.

| template | families | result |
|---|---|---|
`

// runAll runs the templates of the families that are asked for and prints a table.
func runAll(ctx context.Context, w io.Writer, all []*template, wanted []string, only string) error {
	root, err := os.MkdirTemp("", "templates")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	z, err := newZoo(ctx, root)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, heading, strings.Join(wanted, ","))
	ran, of := 0, 0
	for _, t := range all {
		if !slices.ContainsFunc(t.families, func(f string) bool { return slices.Contains(wanted, f) }) || !strings.Contains(t.name, only) {
			continue
		}
		of++
		result := "lacks " + strings.Join(t.lacks, ", ")
		if len(t.lacks) == 0 {
			result = t.run(ctx, z)
		}
		if strings.HasPrefix(result, "runs") {
			ran++
		}
		fmt.Fprintf(w, "| %s | %s | %s |\n", t.name, strings.Join(t.families, ", "), result)
	}
	fmt.Fprintf(w, "\n%d of %d run.\n", ran, of)
	return nil
}

// run makes the small models of a template, runs it and says what came of it.
func (t *template) run(ctx context.Context, z *zoo) string {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	reg := node.Registry(&node.Env{})
	if err := t.prepare(ctx, z, reg); err != nil {
		return "lacks " + line(err)
	}
	if err := cut(t.graph, reg); err != nil {
		return "fails: " + line(err)
	}
	engine := pipeline.New(pipeline.Options{})
	env := &node.Env{Folders: folders.New(z.root), Engine: engine}
	for _, folder := range []string{env.Folders.Input, env.Folders.Output, env.Folders.Temp} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return "fails: " + line(err)
		}
	}
	reg = node.Registry(env)
	result := "runs"
	job, err := workflow.Check(t.graph, reg)
	if err == nil {
		var made *workflow.Result
		made, err = workflow.NewExecutor(engine).Run(ctx, job, nil)
		files := 0
		for _, f := range made.Files {
			files += len(f)
		}
		switch {
		case err != nil:
		case files == 0:
			err = errors.New("nothing was saved")
		case len(job.Skipped) > 0:
			result = fmt.Sprintf("runs but for %d outputs: %s", len(job.Skipped), line(&workflow.Invalid{Problems: job.Problems}))
		}
	}
	if err = errors.Join(err, engine.Close()); err != nil {
		return "fails: " + line(err)
	}
	return result
}

// line returns the first of an error's lines that says something, for a table.
func line(err error) string {
	lines := strings.Split(err.Error(), "\n")
	text := lines[0]
	if strings.HasSuffix(text, ":") && len(lines) > 1 {
		text = strings.TrimSpace(lines[1])
	}
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	return strings.ReplaceAll(text, "|", `\|`)
}

// prepare writes the models and pictures that a template's loaders name.
func (t *template) prepare(ctx context.Context, z *zoo, reg *workflow.Registry) error {
	for _, n := range t.graph.Nodes {
		for _, a := range n.Args {
			file, isText := a.Value.(string)
			if !isText || filepath.Ext(file) == "" {
				continue
			}
			var err error
			switch {
			case n.Class == "LoadImage" || n.Class == "LoadImageMask":
				if a.Name == "image" {
					err = picture(filepath.Join(z.root, "input", file))
				}
			case strings.HasPrefix(n.Class, "LoraLoader"):
				err = z.lora(ctx, t.families[0], file)
			case modelFolders[n.Class] != "":
				err = z.model(ctx, n.Class, file)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// picture writes a picture, in part transparent, whatever the file's name ends
// with: readers go by its contents.
func picture(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	m := image.NewNRGBA(image.Rect(0, 0, 96, 64))
	for y := range 64 {
		for x := range 96 {
			m.Set(x, y, color.NRGBA{uint8(2 * x), uint8(3 * y), uint8(x ^ y), 255})
			if x > 30 && x < 60 && y > 20 && y < 40 {
				m.Set(x, y, color.NRGBA{0, 0, 0, 0})
			}
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(f, m), f.Close())
}

// cut makes a workflow small: its sizes and its steps, as --set would. What makes
// pictures of a megapixel, whatever it is told, is passed by.
func cut(g *workflow.Graph, reg *workflow.Registry) error {
	const side, steps = 64, 2
	for _, n := range g.Nodes {
		for i, a := range n.Args {
			ref, ok := a.Value.(workflow.Reference)
			if from := g.Node(ref.Node); ok && from != nil && from.Class == "FluxKontextImageScale" {
				if before, ok := from.Arg("image"); ok {
					n.Args[i].Value = before
				}
			}
		}
	}
	for _, n := range g.Nodes {
		all := 0.0
		for _, a := range n.Args {
			if v, ok := number(a.Value); ok && a.Name == "steps" {
				all = v
			}
		}
		for _, a := range slices.Clone(n.Args) {
			v, constant := number(a.Value)
			_, linked := a.Value.(workflow.Reference)
			to := ""
			name := a.Name[strings.LastIndexByte(a.Name, '.')+1:]
			switch {
			case name == "steps" && (linked || v > steps):
				to = fmt.Sprint(steps)
			case !constant:
			case (name == "start_at_step" || name == "end_at_step") && all > steps && v < all:
				to = strconv.Itoa(int(v*steps/all + 0.5))
			case name == "end_at_step" && v > all && all > steps:
				to = fmt.Sprint(steps)
			case name == "megapixels" && n.Class == "ResolutionSelector":
				to = "0.1"
			case name == "megapixels":
				to = "0.01"
			case slices.Contains([]string{"width", "height", "target_width", "target_height", "largest_size", "longer_size", "shorter_size", "longer_edge"}, name) && v > 128,
				n.Class == "PrimitiveInt" && v > 128 && v < 1e5:
				to = fmt.Sprint(side)
			}
			if to == "" {
				continue
			}
			if err := g.Set(reg, n.ID+"."+a.Name, to); err != nil {
				return err
			}
		}
	}
	return nil
}

func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil
}
