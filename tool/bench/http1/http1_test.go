package http1

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// answer is what a stream holds, read to its end.
type answer struct {
	status int
	body   string
	close  bool
}

// read feeds a stream in pieces of a size, and ends it.
func read(stream string, size int, noBody bool) (all []answer, err error) {
	p := Parser{Keep: true, NoBody: noBody}
	for len(stream) > 0 {
		piece := stream[:min(size, len(stream))]
		stream = stream[len(piece):]
		for len(piece) > 0 {
			n, whole, err := p.Feed([]byte(piece))
			if err != nil {
				return all, err
			}
			if n < 0 || n > len(piece) || !whole && n < len(piece) {
				return all, fmt.Errorf("took %d of %d bytes, whole %v", n, len(piece), whole)
			}
			piece = piece[n:]
			if whole {
				all = append(all, answer{p.Status, string(p.Body), p.Close})
			}
		}
	}
	begun := p.Begun()
	if p.End() {
		all = append(all, answer{p.Status, string(p.Body), p.Close})
	} else if begun {
		return all, errors.New("cut short")
	}
	return all, nil
}

var streams = []struct {
	name, stream string
	noBody       bool
	want         []answer
	err          error
}{
	{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, []answer{{200, "hello", false}}, nil},
	{"two", "HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 409 \r\nContent-Length:0\r\n\r\n", false, []answer{{201, "ab", false}, {409, "", false}}, nil},
	{"no reason", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", false, []answer{{200, "x", false}}, nil},
	{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", false, []answer{{200, "hello0123456789", false}}, nil},
	{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", false, []answer{{200, "x", false}}, nil},
	{"no content", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, []answer{{204, "", false}, {304, "", false}}, nil},
	{"head", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, []answer{{200, "", false}}, nil},
	{"close", "HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 1\r\n\r\nx", false, []answer{{200, "x", true}}, nil},
	{"until close", "HTTP/1.1 200 OK\r\n\r\nall that comes", false, []answer{{200, "all that comes", true}}, nil},
	{"http 1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false, []answer{{200, "x", true}}, nil},
	{"http 1.0 kept", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", false, []answer{{200, "x", false}}, nil},
	{"same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", false, []answer{{200, "x", false}}, nil},

	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", false, nil, ErrFraming},
	{"both framings", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false, nil, ErrFraming},
	{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, nil, ErrFraming},
	{"huge length", "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n", false, nil, ErrFraming},
	{"other coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", false, nil, ErrFraming},
	{"other protocol", "SSH-2.0-OpenSSH_9\r\n\r\n", false, nil, ErrHead},
	{"bad status", "HTTP/1.1 2x0 OK\r\n\r\n", false, nil, ErrHead},
	{"no colon", "HTTP/1.1 200 OK\r\nnothing\r\n\r\n", false, nil, ErrHead},
	{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", false, nil, ErrChunk},
	{"bare line feed", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", false, nil, ErrChunk},
	{"chunk too long", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", false, nil, ErrChunk},
	{"endless chunk line", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 1000), false, nil, ErrChunk},
	{"endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", MaxHead+1), false, nil, ErrLimit},
}

// However a stream is cut, it reads the same.
func TestStreams(t *testing.T) {
	for _, c := range streams {
		sizes := []int{1, 2, 3, 5, 7, 16, 1 << 20}
		if len(c.stream) < 500 {
			for n := range c.stream {
				sizes = append(sizes, n+1)
			}
		}
		for _, size := range sizes {
			got, err := read(c.stream, size, c.noBody)
			if !errors.Is(err, c.err) || fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s in pieces of %d: %v, %v; want %v, %v", c.name, size, got, err, c.want, c.err)
			}
		}
	}
}

func TestLargeBodiesAreCountedAndNotKept(t *testing.T) {
	const size = MaxBody + 12345
	p := Parser{Keep: true}
	stream := append([]byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)), bytes.Repeat([]byte("x"), size)...)
	n, whole, err := p.Feed(stream)
	if n != len(stream) || !whole || err != nil || p.Size != size || len(p.Body) != MaxBody {
		t.Errorf("%d, %v, %v; size %d, kept %d", n, whole, err, p.Size, len(p.Body))
	}
}

func TestAnAnswerIsReadWithoutAllocating(t *testing.T) {
	stream := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello")
	var p Parser
	if n := testing.AllocsPerRun(100, func() {
		if _, whole, err := p.Feed(stream); !whole || err != nil {
			t.Fatal(whole, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParser(f *testing.F) {
	for _, c := range streams {
		if len(c.stream) < 1000 {
			f.Add(c.stream, 3, c.noBody)
		}
	}
	f.Fuzz(func(t *testing.T, stream string, size int, noBody bool) {
		whole, err := read(stream, len(stream)+1, noBody)
		pieces, too := read(stream, max(size, 1), noBody)
		if (err == nil) != (too == nil) || err == nil && fmt.Sprint(whole) != fmt.Sprint(pieces) {
			t.Fatalf("%q: whole %v, %v; in pieces of %d %v, %v", stream, whole, err, size, pieces, too)
		}
	})
}

func BenchmarkFeed(b *testing.B) {
	stream := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello")
	var p Parser
	for b.Loop() {
		if _, whole, err := p.Feed(stream); !whole || err != nil {
			b.Fatal(whole, err)
		}
	}
}
