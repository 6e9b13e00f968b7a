package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/model"
	"github.com/weir-run/weir/model/nn"
	"github.com/weir-run/weir/weights"
)

// Every tensor of a file is accounted for when a part of it is opened: a network
// reads it, or it is known to do nothing for pictures, or a warning names it.

// tensorsOf opens a file and arranges its tensors as in a checkpoint. Weights that
// are packed in a way that is not supported are refused.
func (e *Engine) tensorsOf(ctx context.Context, path string) (*weights.Set, source, error) {
	set, err := e.open(ctx, path)
	if err != nil {
		return nil, source{}, err
	}
	if set, err = unpacked(ctx, set); err != nil {
		return nil, source{}, inFile(path, err)
	}
	set, l, err := arrange(set)
	if err != nil {
		return nil, source{}, inFile(path, err)
	}
	return set, source{part{set: set, layout: l}}, nil
}

// inFile is an error of what a model file holds.
func inFile(path string, err error) error {
	return fault.Mark(fault.Model, fmt.Errorf("%s: %w", path, err))
}

// unpacked makes one tensor of each quantized weight, and refuses files whose
// weights are packed in ways that are not supported.
func unpacked(ctx context.Context, set *weights.Set) (*weights.Set, error) {
	set, err := set.Unpacked(ctx)
	if err != nil {
		return nil, err
	}
	if p, mark := set.Packing(); p != nil {
		return nil, fmt.Errorf("the weights are quantized: %s, which is not supported (it has %s); use a file in F16, BF16, FP8, GGUF or a format that ComfyUI marks with comfy_quant", p.Name, fault.Name(mark))
	}
	return set, nil
}

// harmless are tensors that nothing needs, by the beginnings and ends of their
// names.
var harmless = struct{ prefixes, suffixes []string }{
	prefixes: []string{
		// Schedules are computed from what the family is.
		"betas", "alphas_cumprod", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod",
		"sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_", "logvar", "lvlb_weights", "ddim_", "denoiser.", "snr",
		"scale_factor", "v_pred", "ztsnr",
		// Training leaves its averages, losses and counters.
		"model_ema.", "ema.", "ema_model.", "optimizer", "lr_scheduler", "global_step", "epoch", "iteration", "step", "loss.", model.AutoencoderPrefix + "loss.", model.AutoencoderPrefix + "model_ema.",
		"callbacks.", "loops.", "state.",
	},
	suffixes: []string{
		"position_ids", "logit_scale", "num_batches_tracked", "attn_mask",
		// Vocabularies are read as bytes; heads guess the next word.
		tekkenModel, spieceModel, "lm_head.weight",
	},
}

// sight are parts of names of what sees pictures in whole CLIP and language models,
// of which the text encoder is the other half.
var sight = []string{"vision_model", "visual", "visual_projection", "vision_tower", "multi_modal_projector"}

// isHarmless reports whether a tensor does nothing for pictures.
func isHarmless(name string) bool {
	return slices.ContainsFunc(harmless.prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) ||
		slices.ContainsFunc(harmless.suffixes, func(s string) bool { return name == s || strings.HasSuffix(name, "."+s) }) ||
		slices.ContainsFunc(strings.Split(name, "."), func(part string) bool {
			return slices.Contains(sight, part)
		})
}

// accounted returns the tensors of a file with the shapes that the networks state,
// where the file has merged or padded dimensions. It warns of tensors that nothing uses.
// Others are the prefixes of parts that were not opened.
func accounted(path string, set *weights.Set, audits []*nn.Audit, others ...string) *weights.Set {
	shapes := map[string][]int{}
	for _, a := range audits {
		for name, shape := range a.Reads {
			ref, ok := set.Lookup(name)
			merged := len(ref.Shape) < len(shape) && !nn.Trimmed(ref.Shape, shape)
			padded := ref.Quant != nil && ref.Quant.Padded && !slices.Equal(ref.Shape, shape)
			if ok && (merged || padded) {
				shapes[name] = shape
			}
		}
	}
	if unused := unread(set, audits, others...); len(unused) > 0 {
		warn("nothing uses some tensors of the file: the picture may not be what its maker meant", path, "count", len(unused), "tensors", fault.List(unused, 5))
	}
	if len(shapes) > 0 {
		set = set.Shaped(shapes)
	}
	return set
}

// unread returns the tensors of a file, by their names in it, that no network reads
// and that are not known to be harmless or of other parts.
func unread(set *weights.Set, audits []*nn.Audit, others ...string) []string {
	var unused []string
	for _, name := range set.Names() {
		read := slices.ContainsFunc(audits, func(a *nn.Audit) bool { return a.Reads[name] != nil })
		if read || isHarmless(name) || slices.ContainsFunc(others, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		ref, _ := set.Lookup(name)
		unused = append(unused, fault.Name(ref.Name))
	}
	return unused
}

// doubt warns of metadata of a denoiser, which may be nil, that were not
// understood.
func doubt(path string, c model.Config) {
	if c == nil {
		return
	}
	for _, text := range c.Doubts() {
		warn("metadata of the file are not understood", path, "found", text)
	}
}

// warn gives a warning about a file. It is given whenever the file is opened: who
// shows warnings leaves out what was shown.
func warn(text, path string, attributes ...any) {
	slog.Warn(text, append([]any{"file", filepath.Base(path)}, attributes...)...)
}
