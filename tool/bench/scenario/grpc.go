package scenario

import (
	"io/fs"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/qiongdev/qiong/kit/errs"
)

// call is a unary method of gRPC whose messages are described, so that they are written and checked as JSON.
type call struct {
	in, out protoreflect.MessageDescriptor
}

// describe reads the descriptors of a scenario: a FileDescriptorSet with all imports, as protoc --include_imports
// --descriptor_set_out writes it. It is nil where there is none.
func (d *Definition) describe(files fs.FS) (*protoregistry.Files, error) {
	if d.Descriptors == "" {
		return nil, nil
	}
	if files == nil {
		return nil, errs.New(errs.Invalid, "只能用于方案文件", "is for files of scenarios alone")
	}
	data, err := fs.ReadFile(files, d.Descriptors)
	if err != nil {
		return nil, errs.Wrap(err, errs.NotFound, "文件无法读取；路径相对于方案文件，且在其目录之内", "the file can't be read; its path is relative to the scenario and within its folder")
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "不是 FileDescriptorSet", "not a FileDescriptorSet")
	}
	all, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "描述不完整（须含全部 import）", "the descriptors are not whole (they need all imports)")
	}
	return all, nil
}

// method finds the method of a path /package.Service/Method.
func method(all *protoregistry.Files, path string) (*call, bool) {
	service, name, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok {
		return nil, false
	}
	found, err := all.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, false
	}
	s, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, false
	}
	m := s.Methods().ByName(protoreflect.Name(name))
	if m == nil || m.IsStreamingClient() || m.IsStreamingServer() {
		return nil, false
	}
	return &call{m.Input(), m.Output()}, true
}

// encode appends the message that JSON describes.
func (c *call) encode(dst, text []byte) ([]byte, error) {
	m := dynamicpb.NewMessage(c.in)
	if err := protojson.Unmarshal(text, m); err != nil {
		return dst, err
	}
	return proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, m)
}

// decode returns a message as JSON; nothing where it is none.
func (c *call) decode(data []byte) []byte {
	m := dynamicpb.NewMessage(c.out)
	if proto.Unmarshal(data, m) != nil {
		return nil
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil
	}
	return text
}

// calls finds the method of each request and tries its message once, with values that data may give.
func (c *compiler) calls(files fs.FS) {
	all, err := c.d.describe(files)
	if err != nil {
		e := errs.As(err)
		c.find(e.Msg.ZH, e.Msg.EN, "descriptors")
	}
	if all == nil || !c.p.grpc {
		return
	}
	for i := range c.p.requests {
		r := &c.p.requests[i]
		found, ok := method(all, c.d.expand(c.d.Requests[i].Path))
		if !ok {
			c.find("描述中没有此一元方法", "the descriptors have no such unary method", "requests", i, "path")
			continue
		}
		if c.d.Requests[i].BodyHex != "" {
			continue // bytes, as they are
		}
		r.call, r.bodyEscape = found, asJSON
	}
	if !c.f.None() {
		return
	}
	s := c.p.Stream(0, 1, 1, nil)
	for i := range c.p.requests {
		r := &c.p.requests[i]
		if r.call == nil {
			continue
		}
		s.draw(r)
		if _, err := r.call.encode(nil, s.write(nil, r.body, asJSON)); err != nil {
			c.find("不是此方法的消息（JSON）", "not a message of the method (JSON)", "requests", i, "body")
		}
	}
}
