// Package gen is the code generator behind protoc-gen-greenroom: it makes typed services of the services in a schema.
//
// Generate reads what buf or protoc hands to a plugin, checks each service (check.go), which makes a model of it (model.go),
// and renders the model with a template (service.go.tmpl), which shows what the code looks like.
package gen

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// Generate answers a plugin's request: with a file for each schema that has services, or with an error that names the place
// of everything that is wrong, as file:line:column. The error that it returns itself is about the request, not the schema.
func Generate(req *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	if faults := checkGoPackages(req); len(faults) > 0 {
		return &pluginpb.CodeGeneratorResponse{Error: new(errors.Join(faults...).Error())}, nil
	}
	plugin, err := protogen.Options{}.New(req)
	if err != nil {
		return nil, err
	}
	plugin.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL | pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS)
	plugin.SupportedEditionsMinimum = descriptorpb.Edition_EDITION_PROTO2
	plugin.SupportedEditionsMaximum = descriptorpb.Edition_EDITION_2024
	if err := generate(plugin); err != nil {
		plugin.Error(err)
	}
	return plugin.Response(), nil
}

func generate(plugin *protogen.Plugin) error {
	var faults []error
	for _, file := range plugin.Files {
		if !file.Generate || len(file.Services) == 0 {
			continue
		}
		c := checker{plugin: plugin, file: file, names: namesOf(plugin, file.GoImportPath)}
		m := c.model()
		if len(c.faults) > 0 {
			faults = append(faults, c.faults...)
			continue
		}
		text, err := render(m)
		if err != nil {
			return fmt.Errorf("%s: %w", file.Desc.Path(), err)
		}
		out := plugin.NewGeneratedFile(file.GeneratedFilenamePrefix+".greenroom.go", file.GoImportPath)
		if _, err := out.Write(text); err != nil {
			return err
		}
	}
	return errors.Join(faults...)
}

// checkGoPackages finds the files without a Go package before protogen does, which would not say where.
func checkGoPackages(req *pluginpb.CodeGeneratorRequest) (faults []error) {
	for _, file := range req.GetProtoFile() {
		mapped := slices.ContainsFunc(strings.Split(req.GetParameter(), ","), func(param string) bool {
			return strings.HasPrefix(param, "M"+file.GetName()+"=")
		})
		if file.GetOptions().GetGoPackage() == "" && !mapped {
			faults = append(faults, fmt.Errorf("%s: no go_package: add option go_package = \"IMPORT/PATH;NAME\", the Go package that the code belongs to",
				placeOfPackage(file)))
		}
	}
	return faults
}
