// Package leak shows which goroutines a Go service has, what they wait for and which route, consumer or job started them,
// so that `qiong leak` finds the ones that never end.
//
// Work runs under the labels of profiles ([Labels]): one labelled context is made for each route, so a request pays two
// settings of a pointer and two counters. Goroutines inherit the labels of the one that starts them, which is how a leak
// is traced to its route. Labels are patterns and names of the program, never paths, ids or anything a caller sends.
//
// [Handler] serves a [Snapshot] of the process as JSON; any service mounts it with one line:
//
//	mux.Handle("GET /debug/leak", leak.Handler())
//
// It answers connections of the machine itself alone. Behind a proxy on the same machine, and wherever others shall
// reach it, [Labels.Handler] is mounted behind the service's own authentication. With ?profile=leak it takes the
// goroutine-leak profile of Go 1.26, which is there in programs built with GOEXPERIMENT=goroutineleakprofile: a garbage
// collection that finds goroutines blocked for ever on what nobody else can reach. One collection runs at a time.
package leak
