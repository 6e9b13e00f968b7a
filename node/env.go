package node

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/weir-run/weir/diffusion"
	"github.com/weir-run/weir/folders"
	"github.com/weir-run/weir/pipeline"
	"github.com/weir-run/weir/tokenizer"
	"github.com/weir-run/weir/workflow"
)

// An Env is what nodes work with.
type Env struct {
	Folders *folders.Roots
	Engine  *pipeline.Engine
	// Noise draws the noise of samplers' steps.
	Noise diffusion.Source
}

// Registry returns the classes of all nodes.
func Registry(env *Env) *workflow.Registry {
	reg := workflow.NewRegistry()
	for _, register := range []func(*workflow.Registry, *Env){
		registerLoaders, registerParts, registerModelSampling, registerText, registerEncode, registerConditioning, registerExtras,
		registerSamplers, registerSampling, registerSchedulers, registerSigmas, registerGuiders, registerCustom, registerRules,
		registerLatents, registerLatentNodes, registerInpaint,
		registerVAE, registerImages, registerUpscale, registerVision, registerSave,
		registerPrimitives, registerLogic, registerMath, registerStrings,
		registerArrange, registerMasks, registerCompositing, registerFilters, registerResize,
	} {
		register(reg, env)
	}
	return reg
}

// models describes the choice of a model file of a category.
func (e *Env) models(input, category string) workflow.Input {
	in := workflow.Files(input, func() ([]string, error) { return e.Folders.List(category), nil })
	in.Check = func(v any) error {
		_, err := e.Folders.Find(category, v.(string))
		return err
	}
	return in
}

// find returns the path of the model file that an input names.
func (e *Env) find(c *workflow.Call, input, category string) (string, error) {
	return e.Folders.Find(category, c.String(input))
}

// changed returns the fingerprint of the model file that an input names, if the
// name is written in the file.
func (e *Env) changed(input, category string) func(context.Context, *workflow.Call) (string, error) {
	return func(_ context.Context, c *workflow.Call) (string, error) {
		if !c.Has(input) {
			return "", nil
		}
		path, err := e.find(c, input, category)
		if err != nil {
			return "", err
		}
		return fingerprint(path)
	}
}

// embeddings returns the fingerprints of the textual inversion embeddings that
// prompts name, those of prompts that are written in the file.
func (e *Env) embeddings(inputs ...string) func(context.Context, *workflow.Call) (string, error) {
	return func(ctx context.Context, c *workflow.Call) (string, error) {
		var all strings.Builder
		find := e.Folders.Embeddings()
		var names []string
		for _, input := range inputs {
			if c.Has(input) {
				names = append(names, tokenizer.Embeddings(c.String(input))...)
			}
		}
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return "", err
			}
			path, err := find(name)
			if err != nil {
				continue // Encode warns of it
			}
			one, err := fingerprint(path)
			if err != nil {
				return "", err
			}
			fmt.Fprintln(&all, name, one)
		}
		return all.String(), nil
	}
}

// fingerprint tells a file's contents apart from what they were.
func fingerprint(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(path, " ", info.Size(), " ", info.ModTime().UnixNano()), nil
}
