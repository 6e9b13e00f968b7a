package main

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"

	"github.com/weir-run/weir/fault"
	"github.com/weir-run/weir/workflow"
)

// A threads is a flag's number of threads. Each thread holds buffers, so that a
// number far beyond that of the processors costs memory and gains nothing.
type threads int

// threadsPerCore bounds the threads for each logical processor.
const threadsPerCore = 8

// Set reads the number.
func (t *threads) Set(text string) error {
	n, err := strconv.Atoi(text)
	if most := threadsPerCore * runtime.NumCPU(); err != nil || n < 0 || n > most {
		return fmt.Errorf("expected a number from 0 for all to %d (%d for each of the %d logical processors)", most, threadsPerCore, runtime.NumCPU())
	}
	*t = threads(n)
	return nil
}

// String returns the number, of which 0 stands for that of the processors.
func (t *threads) String() string { return strconv.Itoa(int(*t)) }

// Type returns the word that the help shows for a value.
func (t *threads) Type() string { return "int" }

// generateFlags are the flags of generate by the inputs that they set.
var generateFlags = map[string]string{
	"ckpt_name": "--checkpoint", "vae_name": "--vae", "model_name": "--upscale", "text": "--prompt",
	"lora_name": "--lora", "strength_model": "--lora", "strength_clip": "--lora",
	"width": "--width", "height": "--height", "batch_size": "--batch", "seed": "--seed", "steps": "--steps", "cfg": "--cfg",
	"sampler_name": "--sampler", "scheduler": "--scheduler", "stop_at_clip_layer": "--clip-skip", "filename_prefix": "--name",
}

// byFlags returns the error of a workflow that was made of flags as one of
// these flags, which are all that the user knows of it.
func byFlags(err error) error {
	invalid := (*workflow.Invalid)(nil)
	if !errors.As(err, &invalid) || errors.As(err, &partialError{}) {
		return err
	}
	var errs []error
	said := map[string]bool{}
	for _, p := range invalid.Problems {
		flag, known := generateFlags[p.Input]
		if !known {
			return err
		}
		if text := flag + ": " + p.Message; !said[text] {
			said[text] = true
			errs = append(errs, errors.New(text))
		}
	}
	return fault.Mark(fault.Usage, errors.Join(errs...))
}
