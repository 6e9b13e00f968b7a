package workflow

import "errors"

// convert turns the format of ComfyUI's user interface into a graph.
func convert(Object, *Registry) (*Graph, error) {
	return nil, errors.New("this is a workflow as the user interface saves it; export it in the API format: Workflow, Export (API)")
}
