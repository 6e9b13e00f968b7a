package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/weir-run/weir/node"
	"github.com/weir-run/weir/workflow"
)

// A template is one workflow of the package.
type template struct {
	name     string
	families []string // of the models that it loads
	graph    *workflow.Graph
	lacks    []string // classes
	err      error    // of its parsing
}

// families are told by the names of the files that loaders of denoisers name.
var families = []struct {
	name string
	file *regexp.Regexp
}{
	{"SDXL", regexp.MustCompile(`(?i)sd_?xl|realvis`)},
	{"SD 1.5", regexp.MustCompile(`(?i)v1-5|sd15|dreamshaper|512-inpainting`)},
	{"Z-Image", regexp.MustCompile(`(?i)z[-_]?image`)},
	{"FLUX.1", regexp.MustCompile(`(?i)flux[-_.]?1|flux[-_]dev|flux[-_]schnell`)},
	{"FLUX.2", regexp.MustCompile(`(?i)flux[-_.]?2`)},
	{"SD 3.5", regexp.MustCompile(`(?i)sd3\.?5`)},
	{"Chroma", regexp.MustCompile(`(?i)chroma`)},
	{"Qwen-Image", regexp.MustCompile(`(?i)qwen[-_]?image`)},
	{"Wan", regexp.MustCompile(`(?i)wan_?2`)},
}

// loaders are the classes that load a denoiser.
var loaders = []string{"UNETLoader", "CheckpointLoaderSimple", "ImageOnlyCheckpointLoader"}

// read parses all templates that run without a partner's service.
func read(folder string) ([]*template, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, err
	}
	reg := node.Registry(&node.Env{})
	var all []*template
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		if strings.HasPrefix(name, "index") || strings.HasPrefix(name, "api_") || name == "fuse_options" {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		t := &template{name: name}
		if t.graph, t.err = workflow.Parse(data, reg); t.err == nil {
			t.look(reg)
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no templates", folder)
	}
	return all, nil
}

// look finds the families of a template and the classes it lacks.
func (t *template) look(reg *workflow.Registry) {
	lacks, found := map[string]bool{}, map[string]bool{}
	for _, n := range t.graph.Nodes {
		if reg.Lookup(n.Class) == nil {
			lacks[n.Class] = true
		}
		if !slices.Contains(loaders, n.Class) {
			continue
		}
		for _, a := range n.Args {
			file, _ := a.Value.(string)
			for _, f := range families {
				if f.file.MatchString(file) {
					found[f.name] = true
				}
			}
		}
	}
	for class := range lacks {
		t.lacks = append(t.lacks, class)
	}
	slices.Sort(t.lacks)
	for _, f := range families {
		if found[f.name] {
			t.families = append(t.families, f.name)
		}
	}
}

// listClasses prints for each class that templates of known families lack how
// many of them do.
func listClasses(w io.Writer, all []*template) error {
	counts := map[string]map[string]int{}
	total, of := map[string]int{}, map[string]int{}
	for _, t := range all {
		for _, f := range t.families {
			of[f]++
		}
		for _, class := range t.lacks {
			if counts[class] == nil {
				counts[class] = map[string]int{}
			}
			if len(t.families) > 0 {
				total[class]++
			}
			for _, f := range t.families {
				counts[class][f]++
			}
		}
	}
	fmt.Fprint(w, "| class | templates |")
	for _, f := range families {
		fmt.Fprintf(w, " %s (%d) |", f.name, of[f.name])
	}
	fmt.Fprintln(w)
	var classes []string
	for class := range total {
		classes = append(classes, class)
	}
	slices.SortFunc(classes, func(a, b string) int {
		return cmp.Or(total[b]-total[a], cmp.Compare(a, b))
	})
	for _, class := range classes {
		fmt.Fprintf(w, "| %s | %d |", class, total[class])
		for _, f := range families {
			fmt.Fprintf(w, " %d |", counts[class][f.name])
		}
		fmt.Fprintln(w)
	}
	return nil
}
