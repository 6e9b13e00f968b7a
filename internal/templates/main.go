// Command templates tells which of ComfyUI's official workflow templates run, and
// what the others lack.
//
//	go run ./internal/templates FOLDER
//
// FOLDER has the files of the package comfyui-workflow-templates-json, for
// example .../comfyui_workflow_templates_json/templates.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	classes := flag.Bool("classes", false, "list the classes that templates lack, with how many lack each")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: templates [-classes] FOLDER")
		os.Exit(2)
	}
	if err := run(os.Stdout, flag.Arg(0), *classes); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(w io.Writer, folder string, classes bool) error {
	all, err := read(folder)
	if err != nil {
		return err
	}
	if classes {
		return listClasses(w, all)
	}
	for _, t := range all {
		if len(t.families) > 0 {
			fmt.Fprintf(w, "| %s | %s | %s |\n", t.name, strings.Join(t.families, ", "), t.says())
		}
	}
	return nil
}
