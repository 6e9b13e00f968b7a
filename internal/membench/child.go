//go:build linux

// Package membench measures how memory is managed: it runs generations in
// processes of their own, side by side in several ways, in cages where a small
// memory or a slow disk is played.
package membench

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/dtype"
	"github.com/weir-run/weir/latent"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/pager"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/trace"
)

// A Spec is what a process is to do.
type Spec struct {
	Cage          []string // files of control groups to enter
	Memory        pager.Mode
	VRAM, RAM     int64
	Link          float64
	Width, Height int
	Trace         string // file for a timeline, or ""
	Script        []Act
	Network       Network // what is run instead of the script, if it has a kind
}

// what says what a spec does.
func (s Spec) what() string {
	if s.Network.Kind != "" {
		return fmt.Sprintf("%s, %d times", s.Network.Kind, s.Network.Runs)
	}
	var ops []string
	for _, a := range s.Script {
		ops = append(ops, a.Op)
	}
	return strings.Join(ops, " ")
}

// An Act is one thing that is done and measured.
type Act struct {
	// Op is open, encode, step, decode, lora or arena, which tells how large the
	// last one's was.
	Op string
	// File is what open and lora open, Model the number of the open file that
	// the others work with, Prompt what encode encodes, and Times how often a
	// step is made.
	File   string
	Model  int
	Prompt string
	Times  int
}

// A Measure is what was measured of an act, or of one of its times.
type Measure struct {
	Op      string
	Seconds float64
	Read    int64 // bytes read from disks
	// MovedRAM and MovedVRAM are the bytes that the pager brought in.
	MovedRAM, MovedVRAM int64
	RSS, Anon           int64 // of the process, after the act
	Swapped             int64 // bytes written to page files
	Residency           pipeline.Residency
	Hash                string // of the results
	Bytes               int64  // of an arena
	// Predicted is, of a network's last run, what the policy should reach.
	Predicted pager.Prediction
}

// Child does what a spec on in says, and writes the measures to out.
func Child(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	var s Spec
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return fmt.Errorf("reading what to measure: %w", err)
	}
	if err := enter(s.Cage); err != nil {
		return err
	}
	if s.Network.Kind != "" {
		all, err := network(ctx, s)
		return errors.Join(err, json.NewEncoder(out).Encode(all))
	}
	var timeline *trace.Recorder
	if s.Trace != "" {
		f, err := os.Create(s.Trace)
		if err != nil {
			return err
		}
		timeline = trace.New(f)
		defer func() { err = errors.Join(err, timeline.Close(), f.Close()) }()
	}
	e := pipeline.New(pipeline.Options{Memory: s.Memory, VRAM: s.VRAM, RAM: s.RAM, Link: s.Link, Trace: timeline})
	defer func() { err = errors.Join(err, e.Close()) }()
	c := &child{spec: s, engine: e}
	var all []Measure
	for _, a := range s.Script {
		for range max(a.Times, 1) {
			m, err := c.measure(ctx, a)
			if err != nil {
				return fmt.Errorf("%s %s: %w", a.Op, a.File, err)
			}
			all = append(all, m)
		}
	}
	return json.NewEncoder(out).Encode(all)
}

// A child is the state of a script.
type child struct {
	spec   Spec
	engine *pipeline.Engine
	models []*pipeline.Checkpoint
	text   pipeline.Text
	latent []float32
	step   int
}

func (c *child) measure(ctx context.Context, a Act) (Measure, error) {
	before, stats, start := count(), c.engine.Stats(), time.Now()
	if a.Op == "arena" {
		return Measure{Op: a.Op, Bytes: stats.Top().Activations}, nil
	}
	result, err := c.do(ctx, a)
	if err != nil {
		return Measure{}, err
	}
	m := Measure{Op: a.Op, Seconds: time.Since(start).Seconds(), Residency: c.engine.Residency()}
	after, now := count(), c.engine.Stats()
	m.Read, m.RSS, m.Anon, m.Swapped = after.read-before.read, after.rss, after.anon, after.swap-before.swap
	m.MovedRAM, m.MovedVRAM = now.RAM.Moved-stats.RAM.Moved, now.VRAM.Moved-stats.VRAM.Moved
	if result != nil {
		sum := sha256.Sum256(dtype.BytesOf(result))
		m.Hash = fmt.Sprintf("%x", sum[:8])
	}
	return m, nil
}

// do does an act and returns its numbers.
func (c *child) do(ctx context.Context, a Act) ([]float32, error) {
	if a.Op == "open" {
		m, err := c.engine.Checkpoint(ctx, a.File)
		if err != nil {
			return nil, err
		}
		if err := m.Whole(); err != nil {
			return nil, err
		}
		c.models = append(c.models, m)
		if c.latent == nil {
			c.latent = diffusion.Randn(1, c.shape(m).Elems())
		}
		return nil, c.engine.Hold(ctx, a.File)
	}
	if a.Model >= len(c.models) {
		return nil, fmt.Errorf("model %d of %d", a.Model, len(c.models))
	}
	m := c.models[a.Model]
	switch a.Op {
	case "encode":
		var err error
		c.text, err = m.CLIP.Encode(ctx, a.Prompt, nil)
		return c.text.Embed, err
	case "lora":
		l, err := c.engine.LoRA(ctx, a.File)
		if err != nil {
			return nil, err
		}
		with := *m
		with.Model, _, err = l.On(m.Model, nil, 0.8, 0)
		c.models = append(c.models, &with)
		return nil, err
	case "step":
		return c.predict(ctx, m)
	case "decode":
		image, err := m.VAE.Decode(ctx, c.latents(m), nil)
		if err != nil {
			return nil, err
		}
		return image.Pix(), nil
	}
	return nil, fmt.Errorf("%q is nothing to measure", a.Op)
}

func (c *child) shape(m *pipeline.Checkpoint) latent.Shape {
	return m.Model.Format().Of(1, 1, c.spec.Height, c.spec.Width)
}

// latents returns what is denoised, as a model has it.
func (c *child) latents(m *pipeline.Checkpoint) latent.Tensor {
	return latent.Tensor{Shape: c.shape(m), Data: c.latent}
}

// predict makes a step of Euler's method, with guidance.
func (c *child) predict(ctx context.Context, m *pipeline.Checkpoint) ([]float32, error) {
	t := c.text
	cond := &model.Cond{Embed: t.Embed, Tokens: t.Tokens, Width: t.Width, Pooled: t.Pooled}
	c.step++
	at := float32(1000 - 37*(c.step%25))
	y, err := m.Model.Predict(ctx, c.latents(m), at, []*model.Cond{cond, cond})
	if err != nil {
		return nil, err
	}
	for i, v := range y[0] {
		c.latent[i] -= 0.02 * v
	}
	return c.latent, nil
}
