package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/ir"
	"github.com/weir-run/weir/model/esrgan"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/model/sd"
	"github.com/weir-run/weir/weights"
)

// newInspect returns the command that tells what a file of weights is.
func newInspect() *cobra.Command {
	var asJSON, tensors bool
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Tell what a model file is",
		Long: `Tell what a safetensors file, or the index of one in several parts, is: which
kind of model, how large, in which number formats. Only its header is read.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := weights.OpenSet(args[0])
			if err != nil {
				return err
			}
			defer set.Close()
			r := inspect(args[0], set, tensors || asJSON)
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
	Kind     string            `json:"kind"` // checkpoint, vae, upscaler, lora or unknown
	What     string            `json:"what"`
	Count    int               `json:"tensor_count"`
	Elements int64             `json:"parameters"`
	DTypes   []dtypeCount      `json:"dtypes"`
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

func inspect(path string, set *weights.Set, tensors bool) report {
	r := report{File: path, Count: set.Len(), Metadata: set.Metadata()}
	for _, f := range set.Files() {
		r.Bytes += f.Size()
	}
	r.Kind, r.What = recognise(set)
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

// recognise tells the kind of a file and describes it, or says why it is not
// known.
func recognise(set *weights.Set) (kind, what string) {
	src := headers{set}
	if isLoRA(set) {
		return "lora", "LoRA"
	}
	if c, err := esrgan.Detect(src); err == nil {
		return "upscaler", c.Describe()
	}
	c, err := sd.Detect(src, set.Metadata())
	if err == nil {
		return "checkpoint", c.Describe()
	}
	for _, prefix := range []string{"", sd.VAEPrefix} {
		if v, err := sd.DetectVAE(src, prefix); err == nil && !set.HasPrefix(sd.UNetPrefix) {
			return "vae", fmt.Sprintf("autoencoder of Stable Diffusion, latents of %d channels at 1/%d", v.Latent, v.Factor())
		}
	}
	return "unknown", err.Error()
}

func isLoRA(set *weights.Set) bool {
	return slices.ContainsFunc(set.Names(), func(name string) bool {
		return strings.HasSuffix(name, ".lora_down.weight") || strings.HasSuffix(name, ".lora_A.weight") || strings.HasSuffix(name, ".lora.down.weight")
	})
}

// headers shows the tensors of a file to the packages that recognise models.
type headers struct{ set *weights.Set }

func (h headers) Lookup(name string) (dtype.DType, ir.Shape, bool) {
	ref, ok := h.set.Lookup(name)
	return ref.DType, ref.Shape, ok
}

func (h headers) Adapters(string) []nn.Adapter { return nil }

func (r report) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "file\t%s\n", r.File)
	fmt.Fprintf(t, "size\t%s\n", size(r.Bytes))
	fmt.Fprintf(t, "kind\t%s\n", r.Kind)
	fmt.Fprintf(t, "what\t%s\n", r.What)
	fmt.Fprintf(t, "tensors\t%d with %.1f million parameters\n", r.Count, float64(r.Elements)/1e6)
	for _, d := range r.DTypes {
		fmt.Fprintf(t, "dtype\t%s: %d tensors, %s\n", d.DType, d.Tensors, size(d.Bytes))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		value := r.Metadata[key]
		if len(value) > 100 {
			value = value[:100] + "..."
		}
		fmt.Fprintf(t, "metadata\t%s = %q\n", key, value)
	}
	for _, x := range r.Tensors {
		fmt.Fprintf(t, "tensor\t%s\t%s\t%v\tat %d\n", x.Name, x.DType, x.Shape, x.Offset)
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
