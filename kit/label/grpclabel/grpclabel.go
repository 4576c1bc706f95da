// Package grpclabel keeps graded data behind gRPC to those who are cleared for it.
//
// A protobuf message has no struct tags, so a table declares the grade of every method and of the fields of its answers.
// A method that is not in the table is refused. Where an answer is masked, fields that the table does not have, and bytes
// that the message's type does not know, are dropped.
package grpclabel

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
)

// Table declares methods by their full name, such as /qiong.booking.v1.Booking/Book.
type Table map[string]Method

// Method is what a method gives.
type Method struct {
	Grade  label.Grade // of the answer, at least; required where Fields is empty
	Policy access.Policy
	// Fields are the tags of the answer's fields, by their names in the .proto file with dots between; repeated fields
	// and values of maps are looked through. The tag of a message is that of all fields in it that have none; that of a
	// map is of its keys, too, and whoever is not cleared for it gets no map.
	Fields map[string]string
}

// Interceptors stand before the methods of a table.
type Interceptors struct {
	guard   access.Guard
	methods map[string]*method
}

type method struct {
	name   string
	grade  label.Grade
	policy access.Policy
	fields *node
}

// New reads a table; a nil catalogue is the house's. The error, of kind Internal, lists everything that is wrong with
// it. It panics without a Clearance.
func New(g access.Guard, c *label.Catalog, t Table) (*Interceptors, error) {
	if g.Clearance == nil {
		panic("grpclabel: Guard.Clearance is required")
	}
	if c == nil {
		c = label.Builtin()
	}
	in := &Interceptors{g, map[string]*method{}}
	var wrong []string
	for name, declared := range t {
		m := &method{name: name, grade: declared.Grade, policy: declared.Policy, fields: &node{}}
		for path, said := range declared.Fields {
			tag, err := label.ParseTag(said)
			if err == nil {
				tag, err = c.Resolve(tag)
			}
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("%s %s: %s", name, path, errs.As(err).Msg.EN))
				continue
			}
			m.fields.add(strings.Split(path, "."), tag)
			m.grade = max(m.grade, tag.Grade)
		}
		if m.grade == label.Ungraded {
			wrong = append(wrong, name+": no grade")
		}
		in.methods[name] = m
	}
	return in, failure(wrong)
}

// Check compares the table with what a server serves: every method must be declared, and every path of a method whose
// descriptor is registered must exist. It is called once all services are registered; the error lists all that is wrong.
func (in *Interceptors) Check(s *grpc.Server) error {
	var wrong []string
	for service, info := range s.GetServiceInfo() {
		for _, served := range info.Methods {
			name := "/" + service + "/" + served.Name
			m := in.methods[name]
			if m == nil {
				wrong = append(wrong, name+": not declared")
				continue
			}
			d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + served.Name))
			if described, ok := d.(protoreflect.MethodDescriptor); ok && err == nil {
				for _, path := range m.fields.unknown(described.Output(), "") {
					wrong = append(wrong, name+" "+path+": no such field")
				}
			}
		}
	}
	return failure(wrong)
}

func failure(wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	all := strings.Join(wrong, "; ")
	return errs.New(errs.Internal, "gRPC 方法未完整定级: "+all, "gRPC methods are not wholly graded: "+all).WithCode("grade.missing")
}

// Unary is the interceptor of unary methods.
func (in *Interceptors) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		p, err := in.enter(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		if err := grpc.SetHeader(ctx, p.header()); err != nil {
			return nil, err
		}
		answer, err := handler(ctx, req)
		if err != nil {
			return nil, err
		}
		return p.show(answer)
	}
}

// Stream is the interceptor of streams.
func (in *Interceptors) Stream() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		p, err := in.enter(stream.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		if err := stream.SetHeader(p.header()); err != nil {
			return err
		}
		return handler(srv, &shown{stream, p})
	}
}

// shown is a stream whose answers are masked.
type shown struct {
	grpc.ServerStream
	pass pass
}

func (s *shown) SendMsg(m any) error {
	m, err := s.pass.show(m)
	if err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

// pass is a call that was let in.
type pass struct {
	method    *method
	decision  access.Decision
	clearance label.Grade
}

func (in *Interceptors) enter(ctx context.Context, name string) (pass, error) {
	m := in.methods[name]
	if m == nil {
		return pass{}, status.Error(codes.PermissionDenied, "this method has no grade")
	}
	d, c, err := in.guard.Enter(ctx, name, m.grade, m.grade, m.policy)
	if err != nil {
		e := errs.As(err)
		return pass{}, status.Error(codes.Code(e.Kind.GRPC()), e.Msg.EN)
	}
	return pass{m, d, c}, nil
}

func (p pass) header() metadata.MD {
	return metadata.Pairs(label.Header, min(p.method.grade, p.clearance).String())
}

// show returns an answer as the caller may see it; a masked one is a copy.
func (p pass) show(answer any) (any, error) {
	if p.decision == access.Passed {
		return answer, nil
	}
	message, ok := answer.(proto.Message)
	if !ok {
		return nil, status.Error(codes.PermissionDenied, "this answer can't be masked")
	}
	masked := proto.Clone(message)
	p.method.fields.mask(masked.ProtoReflect(), label.Tag{}, p.clearance)
	return masked, nil
}
