// Command protoc-gen-greenroom is a plugin of buf and protoc that makes typed actors of the services in a schema:
// docs/SERVICES.md says how to use it. It reads a CodeGeneratorRequest and writes a CodeGeneratorResponse.
//
//	plugins:
//	  - local: [go, run, github.com/greenroom-go/greenroom/proto/cmd/protoc-gen-greenroom]
//	    out: .
//	    opt: [module=example.com/shop]
package main

import (
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/greenroom-go/greenroom/proto/internal/gen"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "protoc-gen-greenroom:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) > 0 {
		return fmt.Errorf("no argument is known, and %q was given: buf or protoc runs this program, see docs/SERVICES.md", args[0])
	}
	data, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	req := &pluginpb.CodeGeneratorRequest{}
	if err := proto.Unmarshal(data, req); err != nil {
		return fmt.Errorf("decode the request: %w", err)
	}
	resp, err := gen.Generate(req)
	if err != nil {
		return err
	}
	if data, err = proto.Marshal(resp); err != nil {
		return fmt.Errorf("encode the response: %w", err)
	}
	_, err = out.Write(data)
	return err
}
