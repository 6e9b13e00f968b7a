// Command templates runs ComfyUI's official workflow templates with small models
// and tells which run and what the others lack.
//
//	go run ./internal/templates FOLDER
//
// FOLDER has the files of the package comfyui-workflow-templates-json of PyPI, for
// example .../comfyui_workflow_templates_json/templates. The models have the names
// that templates expect, the networks of their families, small widths, and weights
// without a meaning; sizes and steps are cut.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

func main() {
	classes := flag.Bool("classes", false, "list the classes that templates lack, with how many lack each")
	wanted := flag.String("families", "SDXL,Z-Image,FLUX.1,FLUX.2", "the families whose templates run")
	only := flag.String("only", "", "run only templates whose names have this")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: templates [-classes] [-families A,B] [-only TEXT] FOLDER")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, flag.Arg(0), *classes, strings.Split(*wanted, ","), *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, folder string, classes bool, wanted []string, only string) error {
	all, err := read(folder)
	if err != nil {
		return err
	}
	if classes {
		return listClasses(w, all)
	}
	return runAll(ctx, w, all, wanted, only)
}
