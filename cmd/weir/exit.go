package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weir-run/weir/fault"
)

// exitStatuses are what the command exits with for each kind of error, so that
// scripts can tell them apart.
var exitStatuses = map[fault.Kind]int{
	fault.None: 0, fault.Other: 1, fault.Internal: 1, fault.Usage: 2, fault.Workflow: 3, fault.Model: 4, fault.Memory: 5, fault.IO: 6,
	fault.Cancelled: 130,
}

// exitPartial is the status of a run of which some outputs were made and others
// were not.
const exitPartial = 8

// A partialError is the error of a run that has made some of its outputs.
type partialError struct{ error }

func (e partialError) Unwrap() error { return e.error }

// exitStatus returns what the command exits with after an error.
func exitStatus(err error) int {
	kind := fault.Of(err)
	if some := (partialError{}); errors.As(err, &some) && kind != fault.Cancelled {
		return exitPartial
	}
	return exitStatuses[kind]
}

// The limits of what is told of an error: about a screen.
const (
	maxLines     = 40
	maxLineBytes = 1000
	maxBytes     = 3000 // after which no other line is begun
)

// message returns the text of an error for a terminal: a screen at most, and
// without control characters, which files may hold.
func message(err error) string {
	if fault.Of(err) == fault.Cancelled {
		return stopped(err)
	}
	var told []string
	lines, bytes := strings.Split(err.Error(), "\n"), 0
	for i, line := range lines {
		if i == maxLines || bytes > maxBytes {
			told = append(told, fmt.Sprintf("and %d more lines", len(lines)-i))
			break
		}
		told = append(told, printable(line))
		bytes += len(told[i])
	}
	return strings.Join(told, "\n")
}

// stopped says where work was stopped.
func stopped(err error) string {
	text := err.Error()
	for _, cause := range []string{"context canceled", "context deadline exceeded"} {
		text = strings.ReplaceAll(text, cause, "stopped")
	}
	if text == "stopped" {
		return text
	}
	return "stopped: " + printable(strings.TrimSuffix(strings.Split(text, "\n")[0], ": stopped"))
}

// printable returns a line for a terminal, cut to a length.
func printable(line string) string { return fault.Line(line, maxLineBytes) }
