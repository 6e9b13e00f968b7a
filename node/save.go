package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/workflow"
)

// registerSave registers the nodes that write pictures.
func registerSave(reg *workflow.Registry, env *Env) {
	images := workflow.Link("images", workflow.TypeImage)
	reg.Register(workflow.Schema{
		Class: "SaveImage", Name: "Save Image", Category: "image", Output: true,
		Description: "Saves pictures as PNG files that carry the workflow.",
		Inputs:      []workflow.Input{images, prefix()},
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			m, err := picturesOf(c, "images")
			if err != nil {
				return nil, err
			}
			if env.Engine.Planning() {
				return nil, nil
			}
			return nil, save(ctx, c, m, env.Folders.Output, "output", c.String("filename_prefix"))
		},
	})
	// A run's previews do not overwrite those of another program.
	suffix := fmt.Sprintf("_temp_%05x", rand.Uint32()&0xfffff)
	reg.Register(workflow.Schema{
		Class: "PreviewImage", Name: "Preview Image", Category: "image", Output: true,
		Description: "Writes pictures to the folder of temporary files.",
		Inputs:      []workflow.Input{images},
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			m, err := picturesOf(c, "images")
			if err != nil {
				return nil, err
			}
			if env.Engine.Planning() {
				return nil, nil
			}
			return nil, save(ctx, c, m, env.Folders.Temp, "temp", "ComfyUI"+suffix)
		},
	})
}

// save writes each picture of a batch under the next free number.
func save(ctx context.Context, c *workflow.Call, m *media.Image, folder, kind, prefix string) error {
	prefix = fillIn(prefix, m.Width, m.Height, time.Now())
	prefix = path.Clean(strings.ReplaceAll(prefix, `\`, "/"))
	if base := path.Base(prefix); base == "." || base == "/" {
		return fmt.Errorf("input filename_prefix: %q names no file", c.String("filename_prefix"))
	}
	target, err := folders.Within(folder, prefix)
	if err != nil {
		return fmt.Errorf("input filename_prefix: %w", err)
	}
	dir, base := filepath.Split(target)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	next, err := nextNumber(dir, base)
	if err != nil {
		return err
	}
	texts := []media.Text{{Key: "prompt", Value: c.Graph.String()}}
	if c.Graph.Source != nil {
		texts = append(texts, media.Text{Key: "workflow", Value: workflow.Dumps(c.Graph.Source)})
	}
	subfolder := path.Dir(prefix)
	if subfolder == "." {
		subfolder = ""
	}
	for i := range m.Batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := strings.ReplaceAll(base, "%batch_num%", strconv.Itoa(i))
		name = fmt.Sprintf("%s_%05d_.png", name, next+i)
		file := filepath.Join(dir, name)
		if err := media.WritePNG(file, m.Picture(i), texts); err != nil {
			return err
		}
		c.Saved(workflow.File{Path: file, Name: name, Subfolder: subfolder, Kind: kind})
	}
	return nil
}

// nextNumber returns the number after the highest that a file of that name in
// a folder has.
func nextNumber(dir, base string) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	next := 1
	for _, e := range entries {
		rest, ok := strings.CutPrefix(strings.ToLower(e.Name()), strings.ToLower(base)+"_")
		if !ok {
			continue
		}
		digits, _, _ := strings.Cut(rest, "_")
		if n, err := strconv.Atoi(digits); err == nil && n >= next {
			next = n + 1
		}
	}
	return next, nil
}

func prefix() workflow.Input {
	in := workflow.String("filename_prefix", "ComfyUI").
		Tip("May name subfolders, and hold %width%, %height%, %year%, %month%, %day%, %hour%, %minute%, %second% and %batch_num%; user interfaces fill in %Node.widget% and %date:yyyy-MM-dd%.")
	in.Warn = func(v any) string {
		if left := placeholder.FindString(fillIn(strings.ReplaceAll(v.(string), "%batch_num%", ""), 0, 0, time.Time{})); left != "" {
			return fmt.Sprintf("%q is not filled in and stays in the name", left)
		}
		return ""
	}
	return in
}

var placeholder = regexp.MustCompile(`%[\pL_][^%]*%`)

// fillIn replaces what a prefix says in percent signs.
func fillIn(prefix string, width, height int, now time.Time) string {
	if !strings.Contains(prefix, "%") {
		return prefix
	}
	return strings.NewReplacer(
		"%width%", strconv.Itoa(width), "%height%", strconv.Itoa(height),
		"%year%", now.Format("2006"), "%month%", now.Format("01"), "%day%", now.Format("02"),
		"%hour%", now.Format("15"), "%minute%", now.Format("04"), "%second%", now.Format("05"),
	).Replace(prefix)
}
