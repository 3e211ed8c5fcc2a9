package greenroom_test

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"testing"
)

// TestDocumented holds that every exported name of every package has a doc comment: types, functions, methods of
// exported types, constants, variables, and the fields and methods that an exported type spells out. Tests, commands
// and generated code are left out.
func TestDocumented(t *testing.T) {
	var files []source
	for _, file := range sources(t) {
		if !file.isTest() && file.file.Name.Name != "main" && !ast.IsGenerated(file.file) {
			files = append(files, file)
		}
	}
	report(t, undocumented(files))
}

// undocumented lists the packages and the exported names without a doc comment.
func undocumented(files []source) []string {
	findings := undocumentedPackages(files)
	for _, file := range files {
		d := docs{source: file}
		for _, decl := range file.file.Decls {
			d.decl(decl)
		}
		findings = append(findings, d.findings...)
	}
	return findings
}

func undocumentedPackages(files []source) []string {
	var folders, documented []string
	for _, file := range files {
		folder := path.Dir(file.path)
		folders = append(folders, folder)
		if says(file.file.Doc) {
			documented = append(documented, folder)
		}
	}
	slices.Sort(folders)
	var findings []string
	for _, folder := range slices.Compact(folders) {
		if !slices.Contains(documented, folder) {
			findings = append(findings, fmt.Sprintf("%s: the package has no doc comment", folder))
		}
	}
	return findings
}

// docs collects the undocumented names of one file.
type docs struct {
	source
	findings []string
}

// want notes an exported name that none of the comments documents.
func (d *docs) want(name *ast.Ident, shown string, comments ...*ast.CommentGroup) {
	if name.IsExported() && !slices.ContainsFunc(comments, says) {
		d.findings = append(d.findings, fmt.Sprintf("%s: %s has no doc comment", d.at(name), shown))
	}
}

func (d *docs) decl(decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		d.function(decl)
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			d.spec(decl, spec)
		}
	}
}

func (d *docs) function(decl *ast.FuncDecl) {
	if decl.Recv == nil {
		d.want(decl.Name, decl.Name.Name, decl.Doc)
		return
	}
	if of := receiver(decl.Recv.List[0].Type); of.IsExported() {
		d.want(decl.Name, of.Name+"."+decl.Name.Name, decl.Doc)
	}
}

func (d *docs) spec(decl *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			d.want(name, name.Name, above(decl, name), spec.Doc, spec.Comment)
		}
	case *ast.TypeSpec:
		d.want(spec.Name, spec.Name.Name, above(decl, spec.Name), spec.Doc, spec.Comment)
		if spec.Name.IsExported() {
			d.members(spec.Name.Name, spec.Type)
		}
	}
}

// above is the comment above a declaration, as far as it documents name: above a group it documents what it mentions.
func above(decl *ast.GenDecl, name *ast.Ident) *ast.CommentGroup {
	mention := regexp.MustCompile(`\b` + name.Name + `\b`)
	if decl.Lparen.IsValid() && !mention.MatchString(decl.Doc.Text()) {
		return nil
	}
	return decl.Doc
}

// members looks at the fields of a struct and the methods of an interface. What is embedded is documented where it is
// declared.
func (d *docs) members(of string, expr ast.Expr) {
	var list *ast.FieldList
	switch expr := expr.(type) {
	case *ast.StructType:
		list = expr.Fields
	case *ast.InterfaceType:
		list = expr.Methods
	default:
		return
	}
	for _, field := range list.List {
		for _, name := range field.Names {
			shown := of + "." + name.Name
			d.want(name, shown, field.Doc, field.Comment)
			if name.IsExported() {
				d.members(shown, field.Type)
			}
		}
	}
}

// says reports whether a comment has words in it, and not only directives.
func says(comment *ast.CommentGroup) bool { return comment != nil && comment.Text() != "" }

// receiver is the name of the type that a method belongs to.
func receiver(expr ast.Expr) *ast.Ident {
	switch expr := expr.(type) {
	case *ast.StarExpr:
		return receiver(expr.X)
	case *ast.ParenExpr:
		return receiver(expr.X)
	case *ast.IndexExpr:
		return receiver(expr.X)
	case *ast.IndexListExpr:
		return receiver(expr.X)
	case *ast.Ident:
		return expr
	}
	return &ast.Ident{} // not Go that compiles
}

func TestDocumentedCanFail(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"function", "func F() {}", []string{"F has"}},
		{"function with doc", "// F does.\nfunc F() {}", nil},
		{"function with a directive alone", "//go:noinline\nfunc F() {}", []string{"F has"}},
		{"unexported function", "func f() {}", nil},
		{"type", "type T int", []string{"T has"}},
		{"method", "// T is.\ntype T int\nfunc (t *T) M() {}", []string{"T.M has"}},
		{"method of a generic type", "// T is.\ntype T[K, V any] struct{}\nfunc (t *T[K, V]) M() {}", []string{"T.M has"}},
		{"method of an unexported type", "type t int\nfunc (t) M() {}", nil},
		{"field", "// T is.\ntype T struct { A int; b int }", []string{"T.A has"}},
		{"field with a comment behind it", "// T is.\ntype T struct {\nA int // a\n}", nil},
		{"field of a field", "// T is.\ntype T struct {\n// A is.\nA struct { B int }\n}", []string{"T.A.B has"}},
		{"embedded field", "// T is.\ntype T struct { error }", nil},
		{"interface method", "// I is.\ntype I interface { M() }", []string{"I.M has"}},
		{"constant", "const C = 1", []string{"C has"}},
		{"constants in a group", "// These are.\nconst (\nA = iota // a\nB\n)", []string{"B has"}},
		{"constants in a group that names them", "// A and B are.\nconst (\nA = iota\nB\nBC\n)", []string{"BC has"}},
		{"variable", "var A, b int", []string{"A has"}},
		{"variable with doc", "// A is.\nvar A int", nil},
		{"type in a group", "type (\n// T is.\nT int\nU int\n)", []string{"U has"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := parse(t, "p/p.go", "// Package p is.\npackage p\n"+c.text+"\n")
			expect(t, undocumented([]source{file}), c.want...)
		})
	}
	t.Run("package", func(t *testing.T) {
		one, two := parse(t, "p/one.go", "package p"), parse(t, "p/two.go", "// Package p is.\npackage p")
		expect(t, undocumented([]source{one}), "p: the package has no doc comment")
		expect(t, undocumented([]source{one, two}))
	})
}
