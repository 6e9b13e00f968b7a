package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/resample"
	"github.com/weir-run/weir/workflow"
)

// registerImages registers the nodes that load and change pictures.
func registerImages(reg *workflow.Registry, env *Env) {
	registerLoadImage(reg, env)
	register := func(class, name, about string, inputs []workflow.Input, run func(ctx context.Context, c *workflow.Call, in *media.Image) (*media.Image, error)) {
		reg.Register(workflow.Schema{
			Class: class, Name: name, Category: "image", Description: about,
			Inputs:  append([]workflow.Input{workflow.Link("image", workflow.TypeImage)}, inputs...),
			Outputs: workflow.Outputs(workflow.TypeImage),
			Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
				in, err := Input[*media.Image](c, "image")
				if err != nil {
					return nil, err
				}
				out, err := run(ctx, c, in)
				return []any{out}, err
			},
		})
	}
	method := workflow.Combo("upscale_method", "nearest-exact", "bilinear", "area", "bicubic", "lanczos")
	side := func(name string) workflow.Input { return workflow.Int(name, 512, 0, maxResolution) }
	register("ImageScale", "Upscale Image", "Changes the size of pictures. A width or height of 0 keeps the aspect ratio.",
		[]workflow.Input{method, side("width"), side("height"), workflow.Combo("crop", "disabled", "center")},
		func(ctx context.Context, c *workflow.Call, in *media.Image) (*media.Image, error) {
			w, h := c.Int("width"), c.Int("height")
			switch {
			case w == 0 && h == 0:
				return in, nil
			case w == 0:
				w = max(1, round(float64(in.Width)*float64(h)/float64(in.Height)))
			case h == 0:
				h = max(1, round(float64(in.Height)*float64(w)/float64(in.Width)))
			}
			return resize(ctx, c, in, h, w, c.String("crop") == "center")
		})
	register("ImageScaleBy", "Upscale Image By", "Changes the size of pictures by a factor.",
		[]workflow.Input{method, workflow.Float("scale_by", 1, 0.01, 8, 0.01)},
		func(ctx context.Context, c *workflow.Call, in *media.Image) (*media.Image, error) {
			by := c.Float("scale_by")
			return resize(ctx, c, in, round(float64(in.Height)*by), round(float64(in.Width)*by), false)
		})
	register("ImageInvert", "Invert Image", "Turns pictures into their negatives.", nil,
		func(ctx context.Context, c *workflow.Call, in *media.Image) (*media.Image, error) {
			if err := c.Need(ctx, in.InvertedSize()); err != nil {
				return nil, err
			}
			return in.Inverted(ctx)
		})
}

// resize returns pictures at another size by the method that a node is told.
func resize(ctx context.Context, c *workflow.Call, in *media.Image, height, width int, crop bool) (*media.Image, error) {
	method := resample.Method(c.String("upscale_method"))
	if err := c.Need(ctx, in.PlanResize(height, width, method).Size()+in.ResizeMemory(height, width)); err != nil {
		return nil, err
	}
	return in.Resize(ctx, height, width, method, crop)
}

// registerLoadImage registers the nodes that read pictures from the folder of
// inputs.
func registerLoadImage(reg *workflow.Registry, env *Env) {
	file := workflow.Files("image", func() ([]string, error) { return pictures(env.Folders.Input), nil })
	file.Extra = map[string]any{"image_upload": true}
	file.Check = func(v any) error {
		_, err := env.Folders.FindInput(v.(string))
		return err
	}
	changed := func(_ context.Context, c *workflow.Call) (string, error) {
		if !c.Has("image") {
			return "", nil
		}
		path, err := env.Folders.FindInput(c.String("image"))
		if err != nil {
			return "", err
		}
		return fingerprint(path)
	}
	// measured returns the path of the picture and what its headers say, of an
	// animation or of its first picture alone, when there is memory for it.
	measured := func(ctx context.Context, c *workflow.Call, first bool) (string, media.Info, error) {
		path, err := env.Folders.FindInput(c.String("image"))
		if err != nil {
			return "", media.Info{}, err
		}
		info, err := media.Measure(ctx, path)
		if err != nil {
			return "", media.Info{}, err
		}
		if first {
			info.Frames = 1
		}
		if err := c.Need(ctx, info.Memory()); err != nil {
			return "", media.Info{}, fmt.Errorf("%s, %d×%d pixels: %w", path, info.Width, info.Height, err)
		}
		return path, info, nil
	}
	reg.Register(workflow.Schema{
		Class: "LoadImage", Name: "Load Image", Category: "image",
		Description: "Loads a picture, of an animation all. The mask is what is transparent in it.",
		Inputs:      []workflow.Input{file},
		Outputs:     workflow.Outputs(workflow.TypeImage, workflow.TypeMask),
		Changed:     changed,
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			path, info, err := measured(ctx, c, false)
			if err != nil {
				return nil, err
			}
			if env.Engine.Planning() {
				m := media.PlanBytes(info.Frames, info.Height, info.Width, 3)
				return []any{m, m.Channel(0)}, nil
			}
			m, mask, err := media.Load(ctx, path, info.Memory())
			if err != nil {
				return nil, err
			}
			if mask == nil {
				mask = media.NewMask(m.Batch, 64, 64, nil) // as ComfyUI has it
			}
			return []any{m, mask}, nil
		},
	})
	reg.Register(workflow.Schema{
		Class: "LoadImageMask", Name: "Load Image (as Mask)", Category: "mask",
		Description: "Loads a channel of a picture as a mask.",
		Inputs:      []workflow.Input{file, workflow.Combo("channel", "alpha", "red", "green", "blue")},
		Outputs:     workflow.Outputs(workflow.TypeMask),
		Changed:     changed,
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			path, info, err := measured(ctx, c, true)
			if err != nil {
				return nil, err
			}
			if env.Engine.Planning() {
				return []any{media.PlanBytes(1, info.Height, info.Width, 1).Channel(0)}, nil
			}
			channel := slices.Index([]string{"red", "green", "blue", "alpha"}, c.String("channel"))
			mask, err := media.LoadChannel(ctx, path, channel, info.Memory())
			if err != nil {
				return nil, err
			}
			return []any{mask}, nil
		},
	})
}

// pictures returns the names of the files in a folder that look like
// pictures.
func pictures(folder string) []string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil // there need not be such a folder
	}
	var names []string
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif":
			names = append(names, e.Name())
		}
	}
	return names
}

// picturesOf returns a linked input of pictures with three channels.
func picturesOf(c *workflow.Call, name string) (*media.Image, error) {
	m, err := Input[*media.Image](c, name)
	if err == nil && m.Channels < 3 {
		err = fmt.Errorf("input %s: pictures of %d channels, expected 3", name, m.Channels)
	}
	return m, err
}
