package workflow

import (
	"fmt"
	"strings"
	"testing"
)

// TestUnknownClasses says whose a class is, and guesses only names that nobody
// has.
func TestUnknownClasses(t *testing.T) {
	y := newToys()
	for class, want := range map[string]string{
		"Numbr":                                `did you mean "Number"?`,
		"SolidMask":                            "ComfyUI's node SolidMask is not supported yet",
		"AddNoise":                             "ComfyUI's node AddNoise is not supported yet", // and not "Add"
		"FaceDetailer":                         `is of the pack "ComfyUI Impact Pack"`,
		"Power Lora Loader (rgthree)":          `is of the pack "rgthree's ComfyUI Nodes"`,
		"workflow>upscale twice":               "a group node of the user interface",
		"workflow/upscale twice":               "a group node of the user interface",
		"93bb0a1c-0000-4000-8000-0123456789ab": "a subgraph that is not in the file",
		"EmptyAceStep1.5LatentAudio":           "ComfyUI's node",
		"SomethingElseEntirely":                "neither ComfyUI nor a pack that is known has it",
		"":                                     "class_type is missing",
	} {
		text := fmt.Sprintf(`{"1": {"class_type": %q, "inputs": {}}, "2": {"class_type": "Show", "inputs": {"v": ["1", 0]}}}`, class)
		g, err := Parse([]byte(text), y.Registry)
		if err == nil {
			_, err = Check(g, y.Registry)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", class, err, want)
			continue
		}
		if want[0] != 'd' && strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%s: a guess: %v", class, err)
		}
	}
}

// TestNodesThatNobodyNeeds are told in warnings, whatever is wrong with them.
func TestNodesThatNobodyNeeds(t *testing.T) {
	y := newToys()
	job, err := Check(y.parse(t, `{"1": {"class_type": "Number", "inputs": {"value": 1}}, "2": {"class_type": "Show", "inputs": {"v": ["1", 0]}},
		"3": {"class_type": "Number", "inputs": {"value": 5}}, "4": {"class_type": "SolidMask", "inputs": {"width": [1, 2, 3], "value": ["3", 0]}}}`), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range job.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		"node 3 (Number): no output node needs this node; it does not run",
		"node 4 (SolidMask): ComfyUI's node SolidMask is not supported yet (a warning only: no output node needs this node)",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("warned of\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestOutputsOfComfyUI are outputs that cannot run, and stop no others.
func TestOutputsOfComfyUI(t *testing.T) {
	y := newToys()
	job, err := Check(y.parse(t, `{"1": {"class_type": "Number", "inputs": {"value": 1}}, "2": {"class_type": "Show", "inputs": {"v": ["1", 0]}},
		"3": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0]}}, "4": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0]}}}`), y.Registry)
	if err != nil {
		t.Fatal(err)
	}
	if len(job.Skipped) != 2 || job.Skipped[0].ID != "3" || len(job.Problems) != 2 || len(job.Warnings) != 0 {
		t.Errorf("skipped %v for %v, warnings %v", job.Skipped, job.Problems, job.Warnings)
	}
	_, err = Check(y.parse(t, `{"1": {"class_type": "Number", "inputs": {"value": 1}}, "3": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0]}}}`), y.Registry)
	if err == nil || !strings.Contains(err.Error(), "ComfyUI's node SaveVideo is not supported yet") || strings.Contains(err.Error(), "no node makes an output") {
		t.Errorf("got %v", err)
	}
}
