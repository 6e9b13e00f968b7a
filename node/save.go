package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/weir-run/weir/atomicfile"
	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/media"
	"github.com/weir-run/weir/workflow"
)

// registerSave registers the nodes that write pictures.
func registerSave(reg *workflow.Registry, env *Env) {
	images := workflow.Link("images", workflow.TypeImage)
	output := []workflow.Output{{Type: workflow.TypeImage, Name: "images"}}
	reg.Register(workflow.Schema{
		Class: "SaveImage", Name: "Save Image", Category: "image", Output: true,
		Description: "Saves pictures as PNG files that carry the workflow.",
		Inputs:      []workflow.Input{images, prefix()}, Outputs: output,
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) { return env.savePNG(ctx, c, pngFile{}) },
	})
	space := func(names ...string) workflow.Input { return workflow.Combo("input_color_space", names...) }
	reg.Register(workflow.Schema{
		Class: "SaveImageAdvanced", Name: "Save Image (Advanced)", Category: "image", Output: true,
		Description: "Saves pictures as PNG files with 8 or 16 bits a channel that carry the workflow.",
		Inputs: []workflow.Input{images, prefix(), workflow.Switch("format",
			workflow.Case{Choice: "png", Inputs: []workflow.Input{workflow.Combo("bit_depth", "8-bit", "16-bit"), space("sRGB")}},
			workflow.Case{Choice: "exr", Inputs: []workflow.Input{workflow.Combo("bit_depth", "32-bit float"), space("sRGB", "HDR", "linear")}},
		)},
		Outputs: output,
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			if c.String("format") != "png" {
				return nil, fault.New(fault.Workflow, "input format: files of the format %s are not written; choose png", c.String("format"))
			}
			return env.savePNG(ctx, c, pngFile{deep: c.String("format.bit_depth") == "16-bit", bare: true})
		},
	})
	// A run's previews do not overwrite those of another program.
	suffix := fmt.Sprintf("_temp_%05x", rand.Uint32()&0xfffff)
	preview := func(ctx context.Context, c *workflow.Call, input, prefix string) error {
		m, err := picturesOf(c, input)
		if err != nil || env.Engine.Planning() {
			return err
		}
		return save(ctx, c, m, env, "temp", prefix+suffix, pngFile{})
	}
	reg.Register(workflow.Schema{
		Class: "PreviewImage", Name: "Preview Image", Category: "image", Output: true,
		Description: "Writes pictures to the folder of temporary files.",
		Inputs:      []workflow.Input{images}, Outputs: output,
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			return []any{c.Value("images")}, preview(ctx, c, "images", "ComfyUI")
		},
	})
	reg.Register(workflow.Schema{
		Class: "ImageCompare", Name: "Compare Images", Category: "image", Output: true,
		Description: "Writes two pictures to the folder of temporary files.",
		Inputs:      []workflow.Input{workflow.Link("image_a", workflow.TypeImage).Opt(), workflow.Link("image_b", workflow.TypeImage).Opt()},
		Open:        true, // compare_view is what the user interface shows
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			for _, input := range []string{"image_a", "image_b"} {
				if c.Has(input) {
					if err := preview(ctx, c, input, "comfy.compare."+input[len(input)-1:]); err != nil {
						return nil, err
					}
				}
			}
			return nil, nil
		},
	})
	reg.Register(workflow.Schema{
		Class: "MaskPreview", Name: "Preview Mask", Category: "image/mask", Output: true,
		Description: "Writes masks to the folder of temporary files.",
		Inputs:      []workflow.Input{workflow.Link("mask", workflow.TypeMask)},
		Outputs:     []workflow.Output{{Type: workflow.TypeMask, Name: "mask"}},
		Run: func(ctx context.Context, c *workflow.Call) ([]any, error) {
			mask, err := Input[*media.Mask](c, "mask")
			if err != nil {
				return nil, err
			}
			m, err := greyOf(ctx, c, mask)
			if err != nil || env.Engine.Planning() {
				return []any{mask}, err
			}
			return []any{mask}, save(ctx, c, m, env, "temp", "ComfyUI"+suffix, pngFile{})
		},
	})
	reg.Register(workflow.Schema{
		Class: "PreviewAny", Name: "Preview as Text", Category: "utilities", Output: true,
		Description: "Shows a value as text.",
		Inputs:      []workflow.Input{workflow.Link("source", workflow.TypeAny)}, Outputs: workflow.Outputs(workflow.TypeString),
		Run: func(_ context.Context, c *workflow.Call) ([]any, error) {
			text := shownAs(c.Value("source"))
			c.Show(text)
			return []any{text}, nil
		},
	})
}

// shownAs writes a value as text, numbers as Python writes them.
func shownAs(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return python(v)
	case float64:
		return pythonFloat(v)
	case int64, uint64:
		return fmt.Sprint(v)
	case *media.Image:
		return fmt.Sprintf("%d pictures of %d×%d pixels, %d channels", v.Batch, v.Width, v.Height, v.Channels)
	case *media.Mask:
		return fmt.Sprintf("%d masks of %d×%d pixels", v.Batch, v.Width, v.Height)
	case nil:
		return "None"
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", v), "*")
}

// A pngFile says how a PNG is written: with 16 bits a channel, and whether its
// name ends with the number, without an underscore.
type pngFile struct{ deep, bare bool }

// savePNG saves the pictures of a node, or looks whether it could.
func (e *Env) savePNG(ctx context.Context, c *workflow.Call, file pngFile) ([]any, error) {
	m, err := picturesOf(c, "images")
	if err != nil {
		return nil, err
	}
	if e.Engine.Planning() {
		return []any{m}, e.checkSave(c.String("filename_prefix"), m)
	}
	return []any{m}, save(ctx, c, m, e, "output", c.String("filename_prefix"), file)
}

// save writes each picture of a batch under the next free number. What cannot
// be written there goes to another folder, which the error names.
func save(ctx context.Context, c *workflow.Call, m *media.Image, env *Env, kind, prefix string, file pngFile) error {
	d, err := env.destination(kind, prefix, m.Width, m.Height)
	if err != nil {
		return fmt.Errorf("input filename_prefix: %w", err)
	}
	d.file = file
	texts := []media.Text{{Key: "prompt", Value: c.Graph.String()}}
	if c.Graph.Source != nil {
		texts = append(texts, media.Text{Key: "workflow", Value: workflow.Dumps(c.Graph.Source)})
	}
	written, err := d.save(ctx, m, 0, texts, c.Saved)
	if fault.Of(err) != fault.IO || ctx.Err() != nil {
		return err
	}
	var elsewhere []string
	for _, folder := range []string{env.Folders.Temp, os.TempDir()} {
		d := destination{folder: folder, kind: "temp", base: short(d.base), file: file}
		n, fails := d.save(ctx, m, written, texts, func(f workflow.File) {
			c.Saved(f)
			elsewhere = append(elsewhere, f.Path)
		})
		if written += n; fails == nil {
			break
		}
	}
	if len(elsewhere) > 0 {
		err = fmt.Errorf("%w; saved instead: %s", err, fault.List(elsewhere, 20))
	}
	return err
}

// short cuts a name to a length that any file system takes.
func short(name string) string {
	const most = 100
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "")
}

// checkSave reports why pictures could not be saved under a prefix. It leaves
// nothing behind.
func (e *Env) checkSave(prefix string, m *media.Image) error {
	d, err := e.destination("output", prefix, m.Width, m.Height)
	if err != nil {
		return fmt.Errorf("input filename_prefix: %w", err)
	}
	const ratio = 2 // more or less, of pictures to PNGs
	size := int64(m.Batch) * int64(m.Height) * int64(m.Width) * int64(m.Channels) / ratio
	return atomicfile.Check(filepath.Join(d.dir(), d.name(0, big.NewInt(1))), size)
}

// A destination is where pictures are saved.
type destination struct {
	folder    string // of the kind
	kind      string // "output" or "temp"
	subfolder string // of the folder, with slashes; "" for none
	base      string // what names begin with
	file      pngFile
}

// destination reads a prefix. It makes no folders.
func (e *Env) destination(kind, prefix string, width, height int) (destination, error) {
	d := destination{folder: e.Folders.Output, kind: kind}
	if kind == "temp" {
		d.folder = e.Folders.Temp
	}
	filled := path.Clean(strings.ReplaceAll(fillIn(prefix, width, height, time.Now()), `\`, "/"))
	d.base = path.Base(filled)
	if d.base == "." || d.base == "/" {
		return destination{}, fault.New(fault.Workflow, "%q names no file", prefix)
	}
	if strings.ContainsFunc(filled, fault.Control) {
		return destination{}, fault.New(fault.Workflow, "%.100q has control characters, which names of files must not have", prefix)
	}
	if _, err := folders.Within(d.folder, filled); err != nil || drive.MatchString(filled) {
		return destination{}, fault.New(fault.Workflow, "%.100q is no name of a file in %s: it must be a relative path that stays in that folder", prefix, d.folder)
	}
	if d.subfolder = path.Dir(filled); d.subfolder == "." {
		d.subfolder = ""
	}
	return d, nil
}

// drive begins the absolute paths of Windows, which is their meaning on other
// systems too.
var drive = regexp.MustCompile(`^[A-Za-z]:`)

func (d destination) dir() string { return filepath.Join(d.folder, filepath.FromSlash(d.subfolder)) }

const batchNumber = "%batch_num%"

// name returns the name of picture i of a batch under a number.
func (d destination) name(i int, number *big.Int) string {
	digits := number.String()
	digits = strings.Repeat("0", max(0, 5-len(digits))) + digits
	end := "_.png"
	if d.file.bare {
		end = ".png"
	}
	return strings.ReplaceAll(d.base, batchNumber, strconv.Itoa(i)) + "_" + digits + end
}

// save writes the pictures of a batch from the first one on, and returns how
// many it has written.
func (d destination) save(ctx context.Context, m *media.Image, first int, texts []media.Text, saved func(workflow.File)) (int, error) {
	dir := d.dir()
	if err := atomicfile.Check(filepath.Join(dir, d.name(first, big.NewInt(1))), 0); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return 0, err
	}
	number, err := d.nextNumber()
	if err != nil {
		return 0, err
	}
	for i := first; i < m.Batch; i++ {
		name, err := d.write(ctx, m, i, number, texts)
		if err != nil {
			return i - first, err
		}
		saved(workflow.File{Path: filepath.Join(dir, name), Name: name, Subfolder: d.subfolder, Kind: d.kind})
	}
	return m.Batch - first, nil
}

// write writes picture i under the number or the next that is free, and leaves
// number behind it.
func (d destination) write(ctx context.Context, m *media.Image, i int, number *big.Int, texts []media.Text) (string, error) {
	f, err := atomicfile.New(d.dir())
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := d.file.encode(ctx, f, m.Picture(i), texts); err != nil {
		return "", fmt.Errorf("picture %d of %d was not saved: %w", i+1, m.Batch, err)
	}
	for {
		name := d.name(i, number)
		number.Add(number, big.NewInt(1))
		if err := f.Claim(name); err == nil {
			return name, f.Close()
		} else if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
}

// encode writes a picture.
func (f pngFile) encode(ctx context.Context, w io.Writer, m *media.Image, texts []media.Text) error {
	if f.deep {
		return media.EncodePNG16(ctx, w, m, texts)
	}
	return media.EncodePNG(ctx, w, m, texts)
}

// nextNumber returns the number after the highest that a file of the
// destination has. Whatever stands for the place in a batch is the same name.
func (d destination) nextNumber() (*big.Int, error) {
	entries, err := os.ReadDir(d.dir())
	if err != nil {
		return nil, err
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(d.base), batchNumber, "[0-9]+")
	flags := ""
	if runtime.GOOS == "windows" {
		flags = "(?i)"
	}
	end := "(?:_|$)"
	if d.file.bare {
		end = `(?:_|\.|$)`
	}
	numbered, err := regexp.Compile(flags + "^" + pattern + "_([0-9]+)" + end)
	if err != nil {
		return nil, err
	}
	next, n := big.NewInt(1), new(big.Int)
	for _, e := range entries {
		found := numbered.FindStringSubmatch(e.Name())
		if found == nil {
			continue
		}
		if n.SetString(found[1], 10); n.Cmp(next) >= 0 {
			next.Add(n, big.NewInt(1))
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
