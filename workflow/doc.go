// Package workflow runs the workflow files of ComfyUI: it reads a graph of
// nodes from JSON, or from the drawing that ComfyUI's interface saves, checks
// all of it before anything runs, and executes what the output nodes need,
// keeping results between runs.
//
// The nodes themselves live elsewhere. Each registers a Schema, which says
// what the node is called, what goes in and comes out, and how to run it:
//
//	reg := node.Registry(env)
//	graph, err := workflow.Parse(data, reg)
//	job, err := workflow.Check(graph, reg)
//	result, err := executor.Run(ctx, job, observer)
//
// Values that travel along links (models, latents, images) are opaque here.
package workflow
