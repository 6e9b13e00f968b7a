package esrgan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-run/weir/internal/eval"
	"github.com/weir-run/weir/internal/golden"
	"github.com/weir-run/weir/model/esrgan"
	"github.com/weir-run/weir/model/nn"
)

// TestUpscale compares every network with spandrel's, and what is told from
// its weights.
func TestUpscale(t *testing.T) {
	tests := []struct {
		file, describe string
		scale          int
	}{
		{"esrgan_x1", "ESRGAN with 1 blocks ×1", 1},
		{"esrgan_x2", "ESRGAN with 1 blocks ×2", 2},
		{"esrgan_x4", "ESRGAN with 1 blocks ×4", 4},
		{"realesrgan_x4", "ESRGAN with 1 blocks ×4", 4},
		{"realesrgan_x2", "ESRGAN with 1 blocks ×2", 2},
		{"srvgg_x4", "Real-ESRGAN compact with 5 convolutions ×4", 4},
		{"srvgg_x2", "Real-ESRGAN compact with 4 convolutions ×2", 2},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			f := golden.Open(t, tt.file)
			w := eval.Read(t, f.File)
			c, err := esrgan.Detect(w)
			if err != nil {
				t.Fatal(err)
			}
			if c.Scale != tt.scale || c.In != 3 || c.Out != 3 || c.Describe() != tt.describe {
				t.Errorf("got %s, %+v", c.Describe(), c)
			}
			x := f.Shape("x")
			out := eval.Build(t, w, w, map[string]any{"x": f.F32("x")}, func(s nn.Scope) { esrgan.Upscale(s, c, x[0], x[2], x[3]) })
			golden.Check(t, "y", out["y"], f.F32("y"), 1e-4)
		})
	}
}

// TestMiddleNames gives the weights of Real-ESRGAN the names of ESRGAN's
// second release: the network is the same.
func TestMiddleNames(t *testing.T) {
	f := golden.Open(t, "realesrgan_x4")
	w := eval.Weights{}
	rename := strings.NewReplacer("params_ema.", "", "body.", "RRDB_trunk.", ".rdb", ".RDB", "conv_body", "trunk_conv", "conv_up", "upconv", "conv_hr", "HRconv")
	for name, x := range eval.Read(t, f.File) {
		w[rename.Replace(name)] = x
	}
	c, err := esrgan.Detect(w)
	if err != nil {
		t.Fatal(err)
	}
	x := f.Shape("x")
	out := eval.Build(t, w, w, map[string]any{"x": f.F32("x")}, func(s nn.Scope) { esrgan.Upscale(s, c, x[0], x[2], x[3]) })
	golden.Check(t, "y", out["y"], f.F32("y"), 1e-4)
}

func TestDetectErrors(t *testing.T) {
	open := func(file string) eval.Weights { return eval.Read(t, golden.Open(t, file).File) }
	tests := []struct {
		name, file string
		change     func(eval.Weights)
		want       string
	}{
		{"another model", "clip_l", func(eval.Weights) {}, "not an upscaler that is supported"},
		{"nothing", "srvgg_x4", func(w eval.Weights) { clear(w) }, "not an upscaler that is supported"},
		{"channels that are no square", "srvgg_x4", func(w eval.Weights) {
			x := w["body.8.weight"]
			x.Shape = append(x.Shape[:0:0], 47, x.Shape[1], 3, 3)
			w["body.8.weight"] = x
		}, "47 channels"},
		{"ESRGAN+", "esrgan_x4", func(w eval.Weights) { w["model.1.sub.0.RDB1.conv1x1.weight"] = w["model.0.weight"] }, "ESRGAN+"},
		{"no outputs", "srvgg_x4", func(w eval.Weights) {
			x := w["body.8.weight"]
			x.Shape = append(x.Shape[:0:0], 0, x.Shape[1], 3, 3)
			w["body.8.weight"] = x
		}, "tensor body.8.weight is empty: its shape is [0 16 3 3]"},
		{"kernels that are not square", "realesrgan_x4", func(w eval.Weights) {
			x := w["params_ema.conv_hr.weight"]
			x.Shape = append(x.Shape[:2:2], 3, 6)
			w["params_ema.conv_hr.weight"] = x
		}, "tensor params_ema.conv_hr.weight has the shape"},
		{"a hundred enlargements", "esrgan_x4", func(w eval.Weights) {
			for i := 11; i < 31; i++ {
				w[fmt.Sprintf("model.%d.weight", i)] = w["model.10.weight"]
			}
		}, "times"},
		{"no last convolution", "realesrgan_x4", func(w eval.Weights) { delete(w, "params_ema.conv_last.weight") }, "no tensor params_ema.conv_last.weight"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := open(tt.file)
			tt.change(w)
			if _, err := esrgan.Detect(w); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
