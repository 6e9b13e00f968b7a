package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The templates of these tests are as the package has them: drawings of the user
// interface.
const (
	missing = `{"nodes": [{"id": 1, "type": "UNETLoader", "widgets_values": ["flux-2-klein-4b.safetensors", "default"], "outputs": [{"type": "MODEL"}]},
		{"id": 2, "type": "NoSuchNode", "inputs": [{"name": "model", "type": "MODEL", "link": 1}]}], "links": [[1, 1, 0, 2, 0, "MODEL"]]}`
	partner = `{"nodes": [{"id": 1, "type": "PartnerNode"}], "links": []}`
	turbo   = `{"nodes": [
		{"id": 1, "type": "UNETLoader", "widgets_values": ["z_image_turbo_bf16.safetensors", "default"], "outputs": [{"type": "MODEL"}]},
		{"id": 2, "type": "LoraLoaderModelOnly", "widgets_values": ["ink.safetensors", 1], "inputs": [{"name": "model", "type": "MODEL", "link": 1}], "outputs": [{"type": "MODEL"}]},
		{"id": 3, "type": "CLIPLoader", "widgets_values": ["qwen_3_4b.safetensors", "lumina2", "default"], "outputs": [{"type": "CLIP"}]},
		{"id": 4, "type": "VAELoader", "widgets_values": ["ae.safetensors"], "outputs": [{"type": "VAE"}]},
		{"id": 5, "type": "CLIPTextEncode", "widgets_values": ["a cat"], "inputs": [{"name": "clip", "type": "CLIP", "link": 3}], "outputs": [{"type": "CONDITIONING"}]},
		{"id": 6, "type": "EmptySD3LatentImage", "widgets_values": [1024, 768, 1], "outputs": [{"type": "LATENT"}]},
		{"id": 7, "type": "KSampler", "widgets_values": [7, "fixed", 9, 1, "euler", "simple", 1], "inputs": [{"name": "model", "type": "MODEL", "link": 2},
			{"name": "positive", "type": "CONDITIONING", "link": 5}, {"name": "negative", "type": "CONDITIONING", "link": 6}, {"name": "latent_image", "type": "LATENT", "link": 7}], "outputs": [{"type": "LATENT"}]},
		{"id": 8, "type": "VAEDecode", "inputs": [{"name": "samples", "type": "LATENT", "link": 8}, {"name": "vae", "type": "VAE", "link": 4}], "outputs": [{"type": "IMAGE"}]},
		{"id": 9, "type": "SaveImage", "widgets_values": ["x"], "inputs": [{"name": "images", "type": "IMAGE", "link": 9}]}],
		"links": [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 7, 0, "MODEL"], [3, 3, 0, 5, 0, "CLIP"], [4, 4, 0, 8, 1, "VAE"], [5, 5, 0, 7, 1, "CONDITIONING"], [6, 5, 0, 7, 2, "CONDITIONING"],
			[7, 6, 0, 7, 3, "LATENT"], [8, 7, 0, 8, 0, "LATENT"], [9, 8, 0, 9, 0, "IMAGE"]]}`
)

// TestTemplates runs a template with small models, a LoRA among them, and tells
// what others lack.
func TestTemplates(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"turbo": turbo, "missing": missing, "api_partner": partner, "index": "[]",
		"unknown": strings.Replace(turbo, "ae.safetensors", "other_vae.safetensors", 1),
		"wrong":   strings.Replace(turbo, `"euler"`, `"no_sampler"`, 1),
	} {
		if err := os.WriteFile(filepath.Join(folder, name+".json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if err := run(t.Context(), &out, folder, false, []string{"Z-Image", "FLUX.2"}, ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| missing | FLUX.2 | lacks NoSuchNode |\n", "| turbo | Z-Image | runs |\n", "| unknown | Z-Image | lacks a small model of the kind of other_vae.safetensors |\n",
		`| wrong | Z-Image | fails: the workflow is not valid: node 7 (KSampler), input sampler_name: "no_sampler" is not available;`, "\n1 of 4 run.\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := run(t.Context(), &out, folder, true, nil, ""); err != nil || !strings.Contains(out.String(), "| NoSuchNode | 1 | 0 |") {
		t.Errorf("the classes are, %v:\n%s", err, out.String())
	}
	if err := run(t.Context(), &out, t.TempDir(), false, nil, ""); err == nil || !strings.Contains(err.Error(), "has no templates") {
		t.Errorf("got %v", err)
	}
}
