package gen

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

var rewrite = flag.Bool("rewrite", false, "compile testdata/*/*.proto with buf, and write what comes out as what should")

// root is the repository's.
const root = "../../.."

// schemasFile holds the schemas of testdata as buf compiles them, so that the tests need no compiler; sumFile says of which
// text it was made.
const (
	schemasFile = "testdata/schemas.binpb"
	sumFile     = "testdata/schemas.sum"
)

// TestGolden compares what comes out for each schema of testdata with what is beside it: the code for a good one, the error for
// a bad one.
func TestGolden(t *testing.T) {
	all := schemas(t)
	for _, kind := range []string{"good", "bad"} {
		for _, name := range protos(t, kind) {
			t.Run(kind+"/"+name, func(t *testing.T) {
				got := outcome(t, all, name)
				if kind == "good" && strings.HasPrefix(got, "error:") || kind == "bad" && strings.HasPrefix(got, "// Code") {
					t.Errorf("%s: is %s really %s?", got, name, kind)
				}
				golden(t, filepath.Join("testdata", kind, strings.TrimSuffix(name, ".proto")+".golden"), got)
			})
		}
	}
}

// outcome is the generated file, or the error, or nothing.
func outcome(t *testing.T, all []*descriptorpb.FileDescriptorProto, name string) string {
	t.Helper()
	resp, err := Generate(request(all, name))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Error != nil {
		return "error:\n" + resp.GetError() + "\n"
	}
	if len(resp.File) == 0 {
		return ""
	}
	if want := strings.TrimSuffix(name, ".proto") + ".greenroom.go"; len(resp.File) != 1 || resp.File[0].GetName() != want {
		t.Errorf("files %v, want %s alone", resp.File, want)
	}
	return resp.File[0].GetContent()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *rewrite {
		write(t, file, got)
	}
	if diff := cmp.Diff(read(t, file), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s\nIf that is as it should be: go test ./proto/internal/gen -rewrite", file, diff)
	}
}

// request asks for the code of one file, as buf does for all files of its folder.
func request(all []*descriptorpb.FileDescriptorProto, name string) *pluginpb.CodeGeneratorRequest {
	byName := map[string]*descriptorpb.FileDescriptorProto{}
	for _, file := range all {
		byName[file.GetName()] = file
	}
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: []string{name}, Parameter: new("paths=source_relative")}
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		file := byName[name]
		if file == nil {
			file = registered(name)
		}
		for _, dependency := range file.Dependency {
			add(dependency)
		}
		req.ProtoFile = append(req.ProtoFile, file)
	}
	add(name)
	return req
}

// registered is a file that is compiled into the test.
func registered(name string) *descriptorpb.FileDescriptorProto {
	d, err := protoregistry.GlobalFiles.FindFileByPath(name)
	if err != nil {
		panic(err)
	}
	return protodesc.ToFileDescriptorProto(d)
}

// schemas reads what buf made of testdata; with -rewrite it has buf make it.
func schemas(t *testing.T) []*descriptorpb.FileDescriptorProto {
	t.Helper()
	sum := sumOfProtos(t)
	if *rewrite {
		compile(t)
		write(t, sumFile, sum)
	}
	if read(t, sumFile) != sum {
		t.Fatalf("%s is not what testdata/*/*.proto give: go test ./proto/internal/gen -rewrite", schemasFile)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal([]byte(read(t, schemasFile)), set); err != nil {
		t.Fatal(err)
	}
	return set.File
}

// compile runs the buf that the Makefile pins over a copy of testdata that has the options beside it.
func compile(t *testing.T) {
	t.Helper()
	pin := regexp.MustCompile(`(?m)^BUF\s*:= (\S+)$`).FindStringSubmatch(read(t, root+"/Makefile"))
	if pin == nil {
		t.Fatal("the Makefile pins no buf")
	}
	dir := t.TempDir()
	const settings = "version: v2\nmodules:\n  - path: ours\n  - path: good\n  - path: bad\n"
	if err := os.CopyFS(dir+"/ours/greenroom/v1", os.DirFS(root+"/proto/greenroom/v1")); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"good", "bad"} {
		if err := os.CopyFS(filepath.Join(dir, kind), os.DirFS(filepath.Join("testdata", kind))); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir+"/buf.yaml", settings)
	cmd := exec.CommandContext(t.Context(), "go", "run", pin[1], "build", dir, "--as-file-descriptor-set", "-o", dir+"/schemas.binpb")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("buf build: %v\n%s", err, out)
	}
	all := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal([]byte(read(t, dir+"/schemas.binpb")), all); err != nil {
		t.Fatal(err)
	}
	all.File = slices.DeleteFunc(all.File, func(file *descriptorpb.FileDescriptorProto) bool {
		_, err := protoregistry.GlobalFiles.FindFileByPath(file.GetName())
		return err == nil || strings.HasPrefix(file.GetName(), "greenroom/")
	})
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	write(t, schemasFile, string(data))
}

// sumOfProtos stands for the text of all schemas.
func sumOfProtos(t *testing.T) string {
	t.Helper()
	h := sha256.New()
	for _, kind := range []string{"good", "bad"} {
		for _, name := range protos(t, kind) {
			text := read(t, filepath.Join("testdata", kind, name))
			_, _ = fmt.Fprintf(h, "%s/%s %d\n%s", kind, name, len(text), text)
		}
	}
	return hex.EncodeToString(h.Sum(nil)) + "\n"
}

// protos lists the schemas of one kind, in order.
func protos(t *testing.T, kind string) []string {
	t.Helper()
	files, err := fs.Glob(os.DirFS(filepath.Join("testdata", kind)), "*.proto")
	if err != nil || len(files) == 0 {
		t.Fatalf("no schemas in testdata/%s: %v", kind, err)
	}
	return files
}

// TestGeneratedCodeIsGo vets what is generated for the good schemas, together with what protoc-gen-go generates.
func TestGeneratedCodeIsGo(t *testing.T) {
	all := schemas(t)
	plugin := messagesPlugin(t)
	packages := map[string][]string{}
	dir := t.TempDir()
	for _, name := range protos(t, "good") {
		pkg, _, _ := strings.Cut(strings.TrimSuffix(name, ".proto"), "_")
		packages[pkg] = append(packages[pkg], goFiles(t, all, name, plugin, filepath.Join(dir, pkg))...)
	}
	for pkg, files := range packages {
		if out, err := exec.CommandContext(t.Context(), "go", append([]string{"vet"}, files...)...).CombinedOutput(); err != nil {
			t.Errorf("go vet: %s: %v\n%s", pkg, err, out)
		}
	}
}

// messagesPlugin builds protoc-gen-go as go.mod has it.
func messagesPlugin(t *testing.T) string {
	t.Helper()
	plugin := filepath.Join(t.TempDir(), "protoc-gen-go")
	command(t, nil, "go", "build", "-o", plugin, "google.golang.org/protobuf/cmd/protoc-gen-go")
	return plugin
}

// goFiles writes the code of one schema into dir, that of its messages and that of its services, and lists the files.
func goFiles(t *testing.T, all []*descriptorpb.FileDescriptorProto, name, plugin, dir string) []string {
	t.Helper()
	req := request(all, name)
	services, err := Generate(req)
	if err != nil || services.Error != nil {
		t.Fatal(err, services.GetError())
	}
	data, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	messages := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(command(t, data, plugin), messages); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, file := range append(messages.File, services.File...) {
		out := filepath.Join(dir, file.GetName())
		write(t, out, file.GetContent())
		files = append(files, out)
	}
	return files
}

func command(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &errs)
	}
	return out
}

// TestWithoutPlaces: a request without source locations gets errors that at least name the file.
func TestWithoutPlaces(t *testing.T) {
	for _, name := range []string{"requests.proto", "no_go_package.proto"} {
		req := request(schemas(t), name)
		for _, file := range req.ProtoFile {
			file.SourceCodeInfo = nil
		}
		resp, err := Generate(req)
		if err != nil || !strings.HasPrefix(resp.GetError(), name+":") {
			t.Errorf("%v, %q", err, resp.GetError())
		}
	}
}

// TestPackageByParameter: a go_package may come from a parameter, as protoc-gen-go takes it.
func TestPackageByParameter(t *testing.T) {
	req := request(schemas(t), "no_go_package.proto")
	req.Parameter = new("Mno_go_package.proto=example.com/echo,module=example.com")
	resp, err := Generate(req)
	if err != nil || len(resp.File) != 1 || resp.File[0].GetName() != "echo/no_go_package.greenroom.go" {
		t.Errorf("%v, %q, %v", err, resp.GetError(), resp.File)
	}
	req.Parameter = new("paths=nonsense,Mno_go_package.proto=example.com/echo")
	if _, err := Generate(req); err == nil {
		t.Error("nonsense was taken")
	}
}

// TestUnknownOverflow: a number that a later version of the options may know is an error in this one.
func TestUnknownOverflow(t *testing.T) {
	if _, err := policyOf(77); err == nil {
		t.Error("taken")
	}
	if p, err := policyOf(3); err != nil || p != "DropNewest" {
		t.Error(p, err)
	}
}

// TestImportNames: packages of schemas give way to the names that generated code uses.
func TestImportNames(t *testing.T) {
	i := newImports()
	i.use(actorPackage)
	for _, c := range []struct{ path, name, want string }{
		{"example.com/actor", "actor", "actor2"}, {"example.com/x/actor", "actor", "actor3"}, {"example.com/ctx", "ctx", "ctx2"},
		{"example.com/shop/v1", "shopv1", "shopv1"}, {"example.com/actor", "actor", "actor2"}, {"example.com/time", "time", "time2"},
	} {
		if got := i.other(protogen.GoImportPath(c.path), protogen.GoPackageName(c.name)); got != c.want {
			t.Errorf("%s is called %s, want %s", c.path, got, c.want)
		}
	}
	want := [][]string{
		{`actor2 "example.com/actor"`, `ctx2 "example.com/ctx"`, `shopv1 "example.com/shop/v1"`, `time2 "example.com/time"`, `actor3 "example.com/x/actor"`},
		{`"github.com/greenroom-go/greenroom/actor"`},
	}
	if diff := cmp.Diff(want, i.groups()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
