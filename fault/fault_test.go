package fault_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/weir-run/weir/fault"
)

func TestOf(t *testing.T) {
	_, missing := os.Open("there/is/no/such/file")
	memory := fault.New(fault.Memory, "%d bytes", 7)
	for name, tt := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"nil":                {nil, fault.None},
		"plain":              {errors.New("x"), fault.Other},
		"a file":             {fmt.Errorf("reading: %w", missing), fault.IO},
		"a file of a model":  {fmt.Errorf("x: %w", fault.New(fault.Model, "broken: %w", missing)), fault.Model},
		"marked":             {fmt.Errorf("node 3: %w", memory), fault.Memory},
		"marked twice":       {fault.Mark(fault.Workflow, fmt.Errorf("node 3: %w", memory)), fault.Memory},
		"marked later":       {fault.Mark(fault.Workflow, errors.New("x")), fault.Workflow},
		"nil marked":         {fault.Mark(fault.Workflow, nil), fault.None},
		"cancelled":          {fmt.Errorf("node 3: %w", context.Canceled), fault.Cancelled},
		"cancelled, marked":  {fault.Mark(fault.Model, context.Canceled), fault.Cancelled},
		"one of several":     {errors.Join(errors.New("x"), memory), fault.Memory},
		"cancelled among it": {errors.Join(memory, context.DeadlineExceeded), fault.Cancelled},
	} {
		if got := fault.Of(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := memory.Error(); got != "7 bytes" {
		t.Errorf("the text is %q", got)
	}
}

// TestGuard makes errors of panics of both sorts.
func TestGuard(t *testing.T) {
	var none []int
	for _, f := range []func() error{
		func() error { panic("broken") },
		func() error { return fmt.Errorf("%d", none[3]) },
	} {
		if err := fault.Guard(f); fault.Of(err) != fault.Internal {
			t.Errorf("got %v of kind %q", err, fault.Of(err))
		}
	}
	want := errors.New("broken")
	if err := fault.Guard(func() error { return want }); err != want {
		t.Errorf("got %v", err)
	}
}
