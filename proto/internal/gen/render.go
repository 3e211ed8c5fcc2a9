package gen

import (
	"bytes"
	_ "embed"
	"fmt"
	"go/format"
	"text/template"
)

//go:embed service.go.tmpl
var templateText string

// render writes the file that m describes.
func render(m *model) ([]byte, error) {
	shape, err := template.New("service.go").Funcs(template.FuncMap{"doc": doc}).Parse(templateText)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := shape.Execute(&text, m); err != nil {
		return nil, err
	}
	out, err := format.Source(text.Bytes())
	if err != nil {
		return nil, fmt.Errorf("the generated code is no Go: %w\n%s", err, &text)
	}
	return out, nil
}

// doc is a comment of our own making.
func doc(layout string, args ...any) string { return comment(wrapped(fmt.Sprintf(layout, args...))) }
