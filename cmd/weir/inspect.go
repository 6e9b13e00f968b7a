package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/node"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/weights"
)

// newInspect returns the command that tells what a file of weights is.
func newInspect() *cobra.Command {
	var asJSON, tensors bool
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Tell what a model file is",
		Long: `Tell what a safetensors or GGUF file, or the index of one in several parts, is:
which kind of model, how large, in which number formats. Only its header is read.
Of a picture it tells the workflow that drew it, if the picture carries one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := inspectFile(cmd.Context(), args[0], tensors || asJSON)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(r)
			}
			return r.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	cmd.Flags().BoolVar(&tensors, "tensors", false, "list every tensor")
	return cmd
}

// A report is what is known about a file.
type report struct {
	File     string            `json:"file"`
	Bytes    int64             `json:"bytes"`
	Kind     string            `json:"kind"` // checkpoint, unet, vae, text encoder, upscaler, lora, unknown; workflow or picture of a PNG
	What     string            `json:"what"`
	Count    int               `json:"tensor_count"`
	Elements int64             `json:"parameters"`
	DTypes   []dtypeCount      `json:"dtypes,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Tensors  []tensorInfo      `json:"tensors,omitempty"`
}

type dtypeCount struct {
	DType   string `json:"dtype"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

type tensorInfo struct {
	Name   string `json:"name"`
	DType  string `json:"dtype"`
	Shape  []int  `json:"shape"`
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
}

// inspectFile tells what a file of weights or a picture is, the former with its
// tensors when they are wanted.
func inspectFile(ctx context.Context, path string, tensors bool) (r report, err error) {
	if format, err := media.Format(ctx, path); err == nil && format != "" {
		return inspectPicture(ctx, path)
	}
	set, err := weights.OpenSet(ctx, path)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	return inspect(path, set, tensors), nil
}

// inspectPicture tells which workflow a picture carries. A workflow that cannot be
// read is no error: what is wrong with it is what there is to tell.
func inspectPicture(ctx context.Context, path string) (report, error) {
	r := report{File: path, Kind: "picture", Metadata: map[string]string{}}
	info, err := os.Stat(path)
	if err != nil {
		return r, err
	}
	r.Bytes = info.Size()
	texts, err := media.ReadText(ctx, path)
	if err != nil {
		return r, err
	}
	for _, t := range texts {
		r.Metadata[t.Key] = t.Value
	}
	g, err := readWorkflow(ctx, path, node.Registry(&node.Env{Folders: folders.New()}))
	if err != nil {
		r.What = err.Error()
		return r, nil
	}
	counts := map[string]int{}
	for _, n := range g.Nodes {
		counts[n.Class]++
	}
	var classes []string
	for _, class := range slices.Sorted(maps.Keys(counts)) {
		if counts[class] > 1 {
			class = fmt.Sprintf("%s ×%d", class, counts[class])
		}
		classes = append(classes, class)
	}
	r.Kind, r.What = "workflow", fmt.Sprintf("%d nodes: %s", len(g.Nodes), strings.Join(classes, ", "))
	return r, nil
}

func inspect(path string, set *weights.Set, tensors bool) report {
	r := report{File: path, Count: set.Len(), Metadata: set.Metadata()}
	for _, f := range set.Files() {
		r.Bytes += f.Size()
	}
	r.Kind, r.What = pipeline.Recognise(set)
	counts := map[dtype.DType]*dtypeCount{}
	for _, name := range set.Names() {
		ref, _ := set.Lookup(name)
		r.Elements += ref.Elements()
		if counts[ref.DType] == nil {
			counts[ref.DType] = &dtypeCount{DType: ref.DType.String()}
		}
		counts[ref.DType].Tensors++
		counts[ref.DType].Bytes += ref.Length
		if tensors {
			r.Tensors = append(r.Tensors, tensorInfo{name, ref.DType.String(), ref.Shape, ref.File.Path(), ref.Offset, ref.Length})
		}
	}
	for _, c := range counts {
		r.DTypes = append(r.DTypes, *c)
	}
	slices.SortFunc(r.DTypes, func(a, b dtypeCount) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.DType, b.DType))
	})
	return r
}

// maxMetadata is how many of a file's metadata are shown.
const maxMetadata = 100

func (r report) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "file\t%s\n", printable(r.File))
	fmt.Fprintf(t, "size\t%s\n", size(r.Bytes))
	fmt.Fprintf(t, "kind\t%s\n", r.Kind)
	for line := range strings.Lines(r.What) {
		fmt.Fprintf(t, "what\t%s\n", printable(strings.TrimSuffix(line, "\n")))
	}
	if r.Count > 0 {
		fmt.Fprintf(t, "tensors\t%d with %.1f million parameters\n", r.Count, float64(r.Elements)/1e6)
	}
	for _, d := range r.DTypes {
		fmt.Fprintf(t, "dtype\t%s: %d tensors, %s\n", d.DType, d.Tensors, size(d.Bytes))
	}
	for i, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		if i == maxMetadata {
			fmt.Fprintf(t, "metadata\tand %d more, which --json tells\n", len(r.Metadata)-i)
			break
		}
		fmt.Fprintf(t, "metadata\t%s = %q\n", printable(fault.Cut(key, 100)), fault.Cut(r.Metadata[key], 100))
	}
	for _, x := range r.Tensors {
		fmt.Fprintf(t, "tensor\t%s\t%s\t%v\tat %d\n", printable(x.Name), x.DType, x.Shape, x.Offset)
	}
	return t.Flush()
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
