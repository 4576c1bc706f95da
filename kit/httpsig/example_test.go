package httpsig_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
)

func ExampleVerifyRequest() {
	key, err := gm.GenerateKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	seen := httpsig.NewNonceCache(10_000, 5*time.Minute)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			return
		}
		lookup := func(string) (*gm.PublicKey, error) { return key.PublicKey(), nil }
		signed, err := httpsig.VerifyRequest(r, body, lookup, time.Now(), 5*time.Minute)
		if err == nil {
			err = seen.Add(signed, time.Now())
		}
		fmt.Println(err)
	}))
	defer server.Close()

	body := `{"name":"企业开办"}`
	r, err := http.NewRequest("POST", server.URL+"/v1/cases", strings.NewReader(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := httpsig.SignRequest(r, []byte(body), key, time.Now(), httpsig.NewNonce()); err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		r.Body = io.NopCloser(strings.NewReader(body))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
	}
	// Output:
	// <nil>
	// this signature was used before
}
