package fault

import (
	"log/slog"
	"runtime/debug"
)

// Guard runs f and returns its error. A panic of f becomes an error of the kind
// [Internal], and its stack is logged at the level Debug. Guard guards the
// goroutine that calls it and none that f starts.
func Guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			slog.Debug("panic", "value", v, "stack", string(debug.Stack()))
			err = New(Internal, "this is a mistake in Weir; please report it with the output of --verbose: %v", v)
		}
	}()
	return f()
}
