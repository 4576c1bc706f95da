package grpcleak_test

import (
	"context"
	"net"
	"runtime/pprof"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/kit/leak/grpcleak"
)

// spy is a health server that takes down the label it runs under.
type spy struct {
	*health.Server
	routes chan string
}

func (s spy) Check(ctx context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	route, _ := pprof.Label(ctx, leak.Route)
	s.routes <- route
	return s.Server.Check(ctx, r)
}

func (s spy) Watch(r *grpc_health_v1.HealthCheckRequest, w grpc_health_v1.Health_WatchServer) error {
	route, _ := pprof.Label(w.Context(), leak.Route)
	s.routes <- route
	return s.Server.Watch(r, w)
}

func TestMethodsRunUnderLabels(t *testing.T) {
	var l leak.Labels
	server := grpc.NewServer(append(grpcleak.Options(&l), grpc.WaitForHandlers(true))...)
	s := spy{health.NewServer(), make(chan string, 1)}
	grpc_health_v1.RegisterHealthServer(server, s)
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(at) }()
	conn, err := grpc.NewClient(at.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	client := grpc_health_v1.NewHealthClient(conn)
	if _, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if route := <-s.routes; route != "gRPC /grpc.health.v1.Health/Check" {
		t.Errorf("unary: %q", route)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if route := <-s.routes; route != "gRPC /grpc.health.v1.Health/Watch" {
		t.Errorf("stream: %q", route)
	}
	cancel()
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	server.Stop() // which waits for the handlers
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, c := range l.Counts() {
		if c.Begun != 1 || c.Ended != 1 {
			t.Errorf("%+v", c)
		}
	}
}
