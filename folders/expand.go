package folders

import (
	"os"
	"regexp"
	"runtime"
	"strings"
)

// variable matches an environment variable in a path as Python expands it on this system.
var variable = regexp.MustCompile(map[bool]string{
	false: `\$(?:\{[^}]*\}|\w+)`,
	true:  `\$(?:\{[^}]*\}|\w+)|%[^%]+%`,
}[runtime.GOOS == "windows"])

// expand replaces a leading ~ and the environment variables that are set. Others stay as they are.
func expand(path string) string {
	if home, err := os.UserHomeDir(); err == nil && (path == "~" || strings.HasPrefix(path, "~/") || strings.HasPrefix(path, `~\`)) {
		path = home + path[1:]
	}
	return variable.ReplaceAllStringFunc(path, func(v string) string {
		name := strings.Trim(v, "$%")
		if strings.HasPrefix(name, "{") {
			name = name[1 : len(name)-1]
		}
		if value, ok := os.LookupEnv(name); ok {
			return value
		}
		return v
	})
}
