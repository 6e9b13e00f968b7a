package pager

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestLocked reads the package's source: a method whose name ends in Locked is
// called by those alone whose name ends so too or that take the lock.
func TestLocked(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			holds := strings.HasSuffix(f.Name.Name, "Locked") || f.Recv != nil && guarded(f.Recv.List[0].Type)
			var needs []string
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				method, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if strings.HasSuffix(method.Sel.Name, "Locked") {
					needs = append(needs, method.Sel.Name)
				}
				if on, ok := method.X.(*ast.SelectorExpr); ok && on.Sel.Name == "mu" && method.Sel.Name == "Lock" {
					holds = true
				}
				return true
			})
			calls += len(needs)
			if !holds && len(needs) > 0 {
				t.Errorf("%s calls %v and neither takes the lock nor is called with it", f.Name.Name, needs)
			}
		}
	}
	if calls < 50 {
		t.Errorf("only %d calls of methods that expect the lock were found", calls)
	}
}

// guarded reports whether all methods of a type expect the lock.
func guarded(t ast.Expr) bool {
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	name, ok := t.(*ast.Ident)
	return ok && (name.Name == "tier" || name.Name == "list" || name.Name == "tracks")
}
