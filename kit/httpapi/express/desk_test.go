package express

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// What is taken for plain, net/http reads as the same request, with nothing after it. Two requests follow one another,
// since the second is read with what is known of the first.
func FuzzRead(f *testing.F) {
	const plain = "POST /hot HTTP/1.1\r\nHost: a\r\nX: y\r\nContent-Length: 2\r\n\r\n{}"
	for _, other := range []string{
		plain, strings.Replace(plain, "y", "z", 1), strings.Replace(plain, "X: y", "Y: y\r\nZ:\t1 ", 1), strings.Replace(plain, "Host: a\r\n", "", 1),
		strings.Replace(plain, "X: y", "Transfer-Encoding: chunked", 1), strings.Replace(plain, "X: y", "Content-Length: 2", 1),
		strings.Replace(plain, "X: y", "Connection: close", 1), strings.Replace(plain, "X: y", "Connection: keep-alive", 1),
		strings.Replace(plain, "X: y", "Host: b", 1), strings.Replace(plain, "X: y", "X : y", 1), strings.Replace(plain, "X: y", "Pragma: no-cache", 1),
		strings.Replace(plain, "Length: 2", "Length: 02", 1), strings.Replace(plain, "Length: 2", "Length: +2", 1), strings.ReplaceAll(plain, "\r", ""), plain + plain,
	} {
		f.Add([]byte(plain), []byte(other))
		f.Add([]byte(other), []byte(plain))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d := newDesk(&Listener{routes: map[string]*url.URL{"POST /hot": {Path: "/hot"}}, ctx: t.Context()}, "")
		for _, p := range [][]byte{first, second} {
			r := d.read(slices.Clone(p))
			if r == nil {
				continue
			}
			stream := bufio.NewReader(bytes.NewReader(p))
			want, err := http.ReadRequest(stream)
			if err != nil {
				t.Fatalf("%q: %v", p, err)
			}
			if want.Method != r.Method || want.URL.String() != r.URL.String() || want.RequestURI != r.RequestURI || want.Proto != r.Proto ||
				want.Host != r.Host || want.Host == "" || want.Close || want.ContentLength != r.ContentLength || want.TransferEncoding != nil || want.Trailer != nil ||
				!reflect.DeepEqual(want.Header, r.Header) {
				t.Fatalf("%q: net/http reads %+v, and here it is %+v", p, want, r)
			}
			a, err := io.ReadAll(want.Body)
			if err != nil {
				t.Fatalf("%q: %v", p, err)
			}
			b, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(a, b) {
				t.Fatalf("%q: the body is %q, and here %q, %v", p, a, b, err)
			}
			if rest, _ := io.ReadAll(stream); len(rest) > 0 {
				t.Fatalf("%q: %q is left", p, rest)
			}
		}
	})
}
