package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// A logger is a slog.Handler that writes lines for people. It writes each
// warning once.
type logger struct {
	level slog.Level
	attrs []slog.Attr
	out   *logOutput
}

// maxSaid is how many warnings are remembered at most, not to be written again.
const maxSaid = 1000

// A logOutput is shared by a logger and those made of it.
type logOutput struct {
	mu   sync.Mutex
	w    io.Writer
	said map[string]bool
}

func newLogger(w io.Writer, level slog.Level) *logger {
	return &logger{level: level, out: &logOutput{w: w, said: map[string]bool{}}}
}

// Enabled reports whether records of a level are written.
func (l *logger) Enabled(_ context.Context, level slog.Level) bool { return level >= l.level }

// Handle writes a record: the message, and the attributes in brackets.
func (l *logger) Handle(_ context.Context, r slog.Record) error {
	var attrs []string
	add := func(a slog.Attr) bool {
		attrs = append(attrs, fmt.Sprintf("%s %v", a.Key, a.Value))
		return true
	}
	for _, a := range l.attrs {
		add(a)
	}
	r.Attrs(add)
	text := r.Message
	if len(attrs) > 0 {
		text += " (" + strings.Join(attrs, ", ") + ")"
	}
	lines := strings.Split(text, "\n") // of a stack
	for i, line := range lines {
		lines[i] = printable(line)
	}
	text = map[bool]string{true: "warning: "}[r.Level >= slog.LevelWarn] + strings.Join(lines, "\n") + "\n"
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	if r.Level >= slog.LevelWarn {
		if l.out.said[text] {
			return nil
		}
		if len(l.out.said) == maxSaid {
			clear(l.out.said)
		}
		l.out.said[text] = true
	}
	_, err := io.WriteString(l.out.w, text)
	return err
}

// WithAttrs returns a logger that adds attributes to each record.
func (l *logger) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := *l
	out.attrs = append(out.attrs[:len(out.attrs):len(out.attrs)], attrs...)
	return &out
}

// WithGroup returns the logger: lines for people have no groups.
func (l *logger) WithGroup(string) slog.Handler { return l }
