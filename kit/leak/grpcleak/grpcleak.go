// Package grpcleak puts every method of a gRPC server under the labels of profiles, so that a leak is traced to it:
//
//	grpc.NewServer(grpcleak.Options(&labels)...)
package grpcleak

import (
	"context"

	"google.golang.org/grpc"

	"github.com/qiongdev/qiong/kit/leak"
)

// Options are those of a server whose methods run under labels of l: route="gRPC /package.Service/Method". They chain
// with other interceptors; standing first, they cover these, too.
func Options(l *leak.Labels) []grpc.ServerOption {
	task := func(method string) *leak.Task { return l.Route("gRPC " + method) }
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			t := task(info.FullMethod)
			t.Begin()
			defer t.End(ctx)
			return next(t.Context(ctx), req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			t := task(info.FullMethod)
			t.Begin()
			defer t.End(stream.Context())
			return next(srv, labelled{stream, t.Context(stream.Context())})
		}),
	}
}

// labelled is a stream whose context has the labels.
type labelled struct {
	grpc.ServerStream
	ctx context.Context
}

func (s labelled) Context() context.Context { return s.ctx }
