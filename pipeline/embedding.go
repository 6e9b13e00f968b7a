package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/tokenizer"
	"github.com/weir-run/weir/weights"
)

// An Embeddings returns the path of the textual inversion embedding that a
// prompt names, or an error if there is none. A nil one has none.
type Embeddings func(name string) (path string, err error)

// maxVectors bounds the bytes of an embedding.
const maxVectors = 16 << 20

// embeddings are those of one prompt. Each name is looked up once.
type embeddings struct {
	engine *Engine
	find   Embeddings
	files  map[string]*weights.Set // nil where there is none
	absent map[string]error        // why
	err    error                   // of a file that cannot be read
}

func (e *Engine) newEmbeddings(find Embeddings) *embeddings {
	return &embeddings{engine: e, find: find, files: map[string]*weights.Set{}, absent: map[string]error{}}
}

// finder returns the function that finds the vectors for an encoder, which
// files name by a key. Err tells of its errors.
func (m *embeddings) finder(ctx context.Context, key string) tokenizer.Finder {
	return func(name string) ([][]float32, bool) {
		file, err := m.open(ctx, name)
		if err != nil || file == nil {
			m.err = errors.Join(m.err, err)
			return nil, false
		}
		vectors, err := vectorsOf(ctx, file, key)
		if err != nil {
			m.err = errors.Join(m.err, fmt.Errorf("the embedding %q: %w", cutName(name), err))
		}
		return vectors, err == nil
	}
}

// open returns the file of an embedding, or nil if there is none.
func (m *embeddings) open(ctx context.Context, name string) (*weights.Set, error) {
	if file, known := m.files[name]; known || m.find == nil || m.err != nil {
		return file, nil
	}
	if len(m.files) == tokenizer.MaxEmbeddings {
		return nil, fault.New(fault.Workflow, "the prompt names more than %d embeddings", tokenizer.MaxEmbeddings)
	}
	m.files[name] = nil
	path, err := m.find(name)
	if err != nil {
		m.absent[name] = err
		return nil, nil
	}
	file, err := m.engine.open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("the embedding %q: %w", cutName(name), err)
	}
	m.files[name] = file
	return file, nil
}

// vectorsOf reads the vectors that an embedding has for an encoder: those under
// its key, those that a LoRA bundles, or the first tensor there is.
func vectorsOf(ctx context.Context, file *weights.Set, key string) ([][]float32, error) {
	if ref, ok := file.Lookup(key); ok {
		return rows(ctx, ref)
	}
	refs := file.Files()[0].Refs() // in the order of the file
	for _, suffix := range []string{".string_to_param.*", "." + key} {
		var all [][]float32
		for _, ref := range refs {
			if strings.HasPrefix(ref.Name, "bundle_emb.") && strings.HasSuffix(ref.Name, suffix) {
				more, err := rows(ctx, ref)
				if err != nil {
					return nil, err
				}
				all = append(all, more...)
			}
		}
		if all != nil {
			return all, nil
		}
	}
	if len(refs) == 0 {
		return nil, fault.New(fault.Model, "%s: expected an embedding, found no tensor", file.Files()[0].Path())
	}
	return rows(ctx, refs[0])
}

// rows reads a tensor of one vector or of several.
func rows(ctx context.Context, ref weights.Ref) ([][]float32, error) {
	if n := len(ref.Shape); n < 1 || n > 2 || ref.Elements() == 0 || ref.Elements() > maxVectors/4 {
		return nil, fault.New(fault.Model, "%v: expected an embedding: one vector or a table of vectors, at most %d MiB", ref, maxVectors>>20)
	}
	values, err := ref.ReadF32(ctx)
	if err != nil {
		return nil, err
	}
	width := ref.Shape[len(ref.Shape)-1]
	out := make([][]float32, 0, len(values)/width)
	for ; len(values) > 0; values = values[width:] {
		out = append(out, values[:width:width])
	}
	return out, nil
}

// maxMissing is how many embeddings that are missing are told of.
const maxMissing = 20

// warn tells of the embeddings that are left out of a prompt.
func (m *embeddings) warn(missing []string) {
	for i, text := range missing {
		if i == maxMissing {
			slog.Warn(fmt.Sprintf("and %d more embeddings are left out of the prompt", len(missing)-i))
			return
		}
		name, _, _ := strings.Cut(strings.TrimLeft(text, " "), " ")
		message := fmt.Sprintf("the prompt names the embedding %q, which is not there: it is left out", cutName(name))
		for _, n := range []string{strings.Trim(name, ","), name} {
			if err := m.absent[n]; err != nil {
				message += ": " + err.Error()
				break
			}
		}
		slog.Warn(message)
	}
}

// cutName returns the beginning of a name that stands in a message.
func cutName(name string) string {
	if len(name) > 200 {
		name = strings.ToValidUTF8(name[:200], "") + "…"
	}
	return name
}
