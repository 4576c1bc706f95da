// Package noop is the server that does nothing, to measure a generator against: whatever is asked, it answers the same.
// It promises to cost as little as a server can that reads every request to its end: for HTTP/1.1 it frames requests by
// their Content-Length alone and answers from one buffer. HTTP/2 and gRPC are served by net/http.
package noop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// body is what is answered.
const body = `{"id":"0000000000000000","state":"held","quantity":1}`

var answer = []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))

// Serve answers HTTP/1.1 on the listener until ctx ends, and then closes it and every connection.
func Serve(ctx context.Context, l net.Listener) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	open := map[net.Conn]bool{}
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close() // which ends Accept
		mu.Lock()
		defer mu.Unlock()
		for c := range open {
			_ = c.Close() // which ends its reading
		}
	})
	defer stop()
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		mu.Lock()
		open[c] = true
		if ctx.Err() != nil {
			_ = c.Close() // it came after the others were closed
		}
		mu.Unlock()
		wg.Go(func() {
			_ = serve(c) // the client went away
			mu.Lock()
			defer mu.Unlock()
			delete(open, c)
			_ = c.Close()
		})
	}
}

// serve answers requests on a connection, one after the other.
func serve(c net.Conn) error {
	r := bufio.NewReaderSize(c, 4<<10)
	for {
		length, err := head(r)
		if err != nil {
			return err
		}
		if _, err := r.Discard(length); err != nil {
			return err
		}
		if _, err := c.Write(answer); err != nil {
			return err
		}
	}
}

var contentLength = []byte("Content-Length")

// head reads the head of a request and returns how long its body is.
func head(r *bufio.Reader) (length int, err error) {
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 && !first {
			return length, nil
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && len(name) == len(contentLength) && bytes.EqualFold(name, contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 {
				return 0, errors.New("the length of a request is no number")
			}
		}
	}
}

// ServeHTTP2 answers HTTP/2 and gRPC on the listener until ctx ends: in clear text, or over TLS by a certificate of its
// own making.
func ServeHTTP2(ctx context.Context, l net.Listener, secure bool) error {
	s := &http.Server{Handler: http.HandlerFunc(handle), Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // which ends Serve
	defer stop()
	var err error
	if secure {
		var cert tls.Certificate
		if cert, err = certificate(); err != nil {
			return err
		}
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func handle(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // what does not come whole gets no answer
	h := w.Header()
	if r.Header.Get("Content-Type") == "application/grpc" {
		h.Set("Content-Type", "application/grpc")
		h.Set("Trailer", "Grpc-Status")
		_, _ = w.Write(make([]byte, 5)) // an empty message; the client may have gone
		h.Set("Grpc-Status", "0")
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = io.WriteString(w, body) // the client may have gone
}

// certificate makes a certificate for an hour, of a key that nobody else gets.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
