package grpclabel_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/apipb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/sourcecontextpb"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/grpclabel"
)

const id = "11010519491231002X"

// answer is a message with nested, repeated and scalar fields.
func answer() *apipb.Api {
	a := &apipb.Api{Name: "王小明", Version: "1", Methods: []*apipb.Method{{Name: id, RequestTypeUrl: "u"}, {Name: "x"}},
		SourceContext: &sourcecontextpb.SourceContext{FileName: "f"}, Edition: "e"}
	a.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01}) // field 127, of a newer version
	return a
}

var service = grpc.ServiceDesc{
	ServiceName: "test.People", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{method("Get"), method("Undeclared")},
	Streams: []grpc.StreamDesc{{StreamName: "List", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		if err := s.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		for range 2 {
			if err := s.SendMsg(answer()); err != nil {
				return err
			}
		}
		return nil
	}}},
}

func method(name string) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, dec func(any) error, in grpc.UnaryServerInterceptor) (any, error) {
		req := &emptypb.Empty{}
		if err := dec(req); err != nil {
			return nil, err
		}
		return in(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/test.People/" + name}, func(context.Context, any) (any, error) { return answer(), nil })
	}}
}

var fields = map[string]string{"name": "L2,pii=name", "version": "L1", "methods.name": "L3,pii=id_card", "source_context": "L1"}

// dial starts a server whose callers have a clearance.
func dial(t *testing.T, c label.Grade, policy access.Policy) *grpc.ClientConn {
	t.Helper()
	in, err := grpclabel.New(access.Guard{Clearance: func(context.Context) (string, label.Grade) { return "", c }}, nil, grpclabel.Table{
		"/test.People/Get": {Policy: policy, Fields: fields}, "/test.People/List": {Policy: policy, Fields: fields}})
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnaryInterceptor(in.Unary()), grpc.StreamInterceptor(in.Stream()))
	s.RegisterService(&service, nil)
	lis := bufconn.Listen(1 << 16)
	go func() { _ = s.Serve(lis) }() // ends with Stop
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// masked is the answer for clearance L1.
func masked() *apipb.Api {
	return &apipb.Api{Name: "王**", Version: "1", Methods: []*apipb.Method{{Name: "110***********002X"}, {Name: "*"}},
		SourceContext: &sourcecontextpb.SourceContext{FileName: "f"}}
}

func TestUnary(t *testing.T) {
	for _, c := range []struct {
		clearance label.Grade
		policy    access.Policy
		code      codes.Code
		grade     string
		want      *apipb.Api
	}{
		{label.L3, access.Refuse, codes.OK, "L3", answer()},
		{label.L1, access.Mask, codes.OK, "L1", masked()},
		{label.L2, access.Refuse, codes.PermissionDenied, "", nil},
		{label.Ungraded, access.Mask, codes.PermissionDenied, "", nil},
	} {
		got, h := &apipb.Api{}, metadata.MD{}
		err := dial(t, c.clearance, c.policy).Invoke(t.Context(), "/test.People/Get", &emptypb.Empty{}, got, grpc.Header(&h))
		if status.Code(err) != c.code || c.want != nil && (!proto.Equal(got, c.want) || strings.Join(h.Get("x-data-grade"), "") != c.grade) {
			t.Errorf("%s: %v, %v, %v", c.clearance, err, h, got)
		}
	}
}

func TestStream(t *testing.T) {
	s, err := dial(t, label.L1, access.Mask).NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/test.People/List")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(&emptypb.Empty{}); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got := &apipb.Api{}
		if err := s.RecvMsg(got); err != nil || !proto.Equal(got, masked()) {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func TestUndeclaredMethodsAreRefused(t *testing.T) {
	err := dial(t, label.Core, access.Mask).Invoke(t.Context(), "/test.People/Undeclared", &emptypb.Empty{}, &apipb.Api{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("%v", err)
	}
}

func TestCheckListsWhatIsMissing(t *testing.T) {
	guard := access.Guard{Clearance: access.Roles{}.Clearance}
	in, err := grpclabel.New(guard, nil, grpclabel.Table{
		"/test.People/Get":             {Grade: label.L1},
		"/grpc.health.v1.Health/Check": {Fields: map[string]string{"status": "L1", "state": "L1", "status.deeper": "L1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	s.RegisterService(&service, nil)
	healthpb.RegisterHealthServer(s, health.NewServer())
	err = in.Check(s)
	if !errs.Is(err, errs.Internal) {
		t.Fatal(err)
	}
	for _, want := range []string{"/test.People/List: not declared", "/test.People/Undeclared: not declared", "/grpc.health.v1.Health/Watch: not declared",
		"/grpc.health.v1.Health/Check state: no such field", "/grpc.health.v1.Health/Check status.deeper: no such field"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "Check status: ") {
		t.Errorf("a field that is there is listed: %v", err)
	}
	_, err = grpclabel.New(guard, nil, grpclabel.Table{"/a/b": {}, "/a/c": {Fields: map[string]string{"x": "L1,pii=id_card"}}})
	if !errs.Is(err, errs.Internal) || !strings.Contains(err.Error(), "/a/b: no grade") || !strings.Contains(err.Error(), "/a/c x: ") {
		t.Errorf("%v", err)
	}
}
