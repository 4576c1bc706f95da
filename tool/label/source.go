package label

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

// source is Go source read by its syntax alone: no module need be complete for it. What counts are the struct types that
// have a field with a json or a grade tag.
type source struct {
	files *token.FileSet
	types []*structType
	named map[string]*structType // by "package.Name": the last element of the folder, as imports name it
}

type structType struct {
	dir, name string
	decl      *ast.StructType
	graded    label.Tag // of its blank field
	params    []string  // its type parameters: what stands for them is graded where it is declared
	counts    bool
}

func newSource() *source {
	return &source{files: token.NewFileSet(), named: map[string]*structType{}}
}

// add reads a file; tests are not what a system has.
func (s *source) add(file string) error {
	if strings.HasSuffix(file, "_test.go") {
		return nil
	}
	parsed, err := parser.ParseFile(s.files, file, nil, parser.SkipObjectResolution)
	if err != nil {
		return errs.Wrap(err, errs.Invalid, "Go 源文件有语法错误", "the Go source file has a syntax error").WithField(file)
	}
	dir := filepath.ToSlash(filepath.Dir(file))
	for _, d := range parsed.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range decl.Specs {
			if spec, ok := spec.(*ast.TypeSpec); ok {
				if body, ok := spec.Type.(*ast.StructType); ok {
					s.addType(dir, spec, body)
				}
			}
		}
	}
	return nil
}

func (s *source) addType(dir string, spec *ast.TypeSpec, body *ast.StructType) {
	name := spec.Name.Name
	t := &structType{dir: dir, name: name, decl: body}
	if spec.TypeParams != nil {
		for _, f := range spec.TypeParams.List {
			for _, n := range f.Names {
				t.params = append(t.params, n.Name)
			}
		}
	}
	for _, f := range body.Fields.List {
		tag := tagOf(f)
		_, json := tag.Lookup("json")
		said, graded := tag.Lookup(label.Key)
		t.counts = t.counts || json || graded
		if len(f.Names) == 1 && f.Names[0].Name == "_" && graded {
			t.graded, _ = label.ParseTag(said) // a wrong tag grades nothing
		}
	}
	s.types = append(s.types, t)
	s.named[path.Base(dir)+"."+name] = t
}

func tagOf(f *ast.Field) reflect.StructTag {
	if f.Tag == nil {
		return ""
	}
	tag, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return ""
	}
	return reflect.StructTag(tag)
}

// assets lists the fields of all types that count, in the order of their folders, types and declaration.
func (s *source) assets() (all []asset) {
	slices.SortStableFunc(s.types, func(a, b *structType) int {
		if c := strings.Compare(a.dir, b.dir); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	for _, t := range s.types {
		if t.counts {
			all = append(all, s.fields(t, t.name, t.decl, t.graded)...)
		}
	}
	return all
}

func (s *source) fields(t *structType, prefix string, body *ast.StructType, inherited label.Tag) (all []asset) {
	for _, f := range body.Fields.List {
		tag := tagOf(f)
		said, own := tag.Lookup(label.Key)
		graded := inherited
		if own {
			graded, _ = label.ParseTag(said) // a wrong one leaves the field ungraded
		}
		jsonName, _, _ := strings.Cut(tag.Get("json"), ",")
		if tag.Get("json") == "-" || len(f.Names) == 0 && jsonName == "" {
			continue
		}
		names := f.Names
		if len(names) == 0 {
			names = []*ast.Ident{ast.NewIdent(jsonName)}
		}
		for _, n := range names {
			if n.Name == "_" || len(f.Names) > 0 && !n.IsExported() {
				continue
			}
			field := n.Name
			if jsonName != "" {
				field = jsonName
			}
			inner, elsewhere := s.inner(t, f.Type)
			switch {
			case inner != nil && !elsewhere:
				all = append(all, s.fields(t, prefix+"."+field, inner, graded)...)
				continue
			case (inner != nil || t.param(f.Type)) && graded.Grade == label.Ungraded:
				continue // its type is listed
			}
			at := s.files.Position(f.Pos())
			all = append(all, asset{Service: t.dir, Field: prefix + "." + field, Type: types.ExprString(f.Type), Tag: graded,
				Grade: graded.Grade, file: at.Filename, line: at.Line, column: at.Column})
		}
	}
	return all
}

// inner returns the struct that values of a type are built of, if it is known; elsewhere means that it has a name.
func (s *source) inner(t *structType, e ast.Expr) (body *ast.StructType, elsewhere bool) {
	name := ""
	switch e := e.(type) {
	case *ast.StarExpr:
		return s.inner(t, e.X)
	case *ast.ArrayType:
		return s.inner(t, e.Elt)
	case *ast.MapType:
		return nil, false // keys need a tag
	case *ast.IndexExpr:
		return s.inner(t, e.X)
	case *ast.StructType:
		return e, false
	case *ast.Ident:
		name = path.Base(t.dir) + "." + e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			name = x.Name + "." + e.Sel.Name
		}
	}
	if known := s.named[name]; known != nil && known.counts {
		return known.decl, true
	}
	return nil, false
}

// param reports whether values of a type are built of what a type parameter stands for.
func (t *structType) param(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.StarExpr:
		return t.param(e.X)
	case *ast.ArrayType:
		return t.param(e.Elt)
	case *ast.Ident:
		return slices.Contains(t.params, e.Name)
	}
	return false
}
