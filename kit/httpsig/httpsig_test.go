package httpsig

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

const (
	window = 5 * time.Minute
	nonce  = "AAECAwQFBgcICQoLDA0ODw"
)

var now = time.Unix(1718414625, 0)

func newKey(t testing.TB) *gm.PrivateKey {
	t.Helper()
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func trusting(keys ...*gm.PrivateKey) Lookup {
	return func(keyID string) (*gm.PublicKey, error) {
		for _, k := range keys {
			if gm.KeyID(k.PublicKey()) == keyID {
				return k.PublicKey(), nil
			}
		}
		return nil, errs.New(errs.NotFound, "没有", "none")
	}
}

func wantCode(t *testing.T, name string, err error, code string) {
	t.Helper()
	if !errs.Is(err, errs.Unauthenticated) || errs.As(err).Code != "signature."+code {
		t.Errorf("%s: %v, want signature.%s", name, err, code)
	}
}

var body = []byte(`{"name":"某公司"}`)

// received returns a request as a server receives it, signed by key.
func received(t testing.TB, key *gm.PrivateKey) *http.Request {
	t.Helper()
	r := httptest.NewRequest("POST", "/v1/invoices/%E6%B5%B7?a=1&b=%2F", nil)
	r.Host = "tax.example:8460"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "case-1")
	r.Header.Set("Accept-Language", "zh")
	if err := SignRequest(r, body, key, now, nonce); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOnTheWire(t *testing.T) {
	key, answering := newKey(t), newKey(t)
	server := httptest.NewServer(http.StripPrefix("/v1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s, err := VerifyRequest(r, got, trusting(answering, key), now.Add(time.Second), window)
		if err != nil {
			t.Error(err)
		}
		if s.KeyID != gm.KeyID(key.PublicKey()) || s.Nonce != nonce || !s.Created.Equal(now) || !s.Expires.Equal(now.Add(window)) {
			t.Errorf("Signed = %+v", s)
		}
		w.Header().Set("Content-Type", "application/json")
		if err := SignResponse(w.Header(), http.StatusAccepted, got, r, answering, now, NewNonce()); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusAccepted)
		w.Write(got)
	})))
	defer server.Close()
	for _, c := range []struct{ method, target, body string }{
		{"POST", "/v1/%E6%B5%B7//x%2Fy?a=1&b=%2F&c", string(body)},
		{"PUT", "/v1/x?", "x"},
		{"GET", "/v1/x", ""},
	} {
		r, err := http.NewRequest(c.method, server.URL+c.target, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if err := SignRequest(r, []byte(c.body), key, now, nonce); err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if s, err := VerifyResponse(resp, got, r, trusting(answering), now, window); err != nil || s.KeyID != gm.KeyID(answering.PublicKey()) {
			t.Errorf("%s %s: %+v, %v", c.method, c.target, s, err)
		}
	}
}

func TestEveryCoveredPartIsProtected(t *testing.T) {
	key := newKey(t)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	swap := func(name, old, new string) func(*http.Request) {
		return func(r *http.Request) {
			value := r.Header.Get(name)
			if !strings.Contains(value, old) {
				t.Errorf("%s has no %q: %s", name, old, value)
			}
			r.Header.Set(name, strings.Replace(value, old, new, 1))
		}
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		code   string
	}{
		"method":            {func(r *http.Request) { r.Method = "PUT" }, "mismatch"},
		"authority":         {func(r *http.Request) { r.Host = "bank.example:8460" }, "mismatch"},
		"path":              {func(r *http.Request) { r.RequestURI = strings.Replace(r.RequestURI, "v1", "v2", 1) }, "mismatch"},
		"path's encoding":   {func(r *http.Request) { r.RequestURI = strings.Replace(r.RequestURI, "%E6", "%e6", 1) }, "mismatch"},
		"query":             {func(r *http.Request) { r.RequestURI += "&c=2" }, "mismatch"},
		"query dropped":     {func(r *http.Request) { r.RequestURI, _, _ = strings.Cut(r.RequestURI, "?") }, "mismatch"},
		"content type":      {set("Content-Type", "text/plain"), "mismatch"},
		"idempotency key":   {set("Idempotency-Key", "case-2"), "mismatch"},
		"created":           {swap(headerInput, "created=1718414625", "created=1718414626"), "mismatch"},
		"nonce":             {swap(headerInput, nonce, nonce[1:]), "mismatch"},
		"signature":         {swap(headerSignature, "sig=:MEU", "sig=:MEQ"), "mismatch"},
		"digest":            {set(headerDigest, contentDigest([]byte("{}"))), "digest"},
		"order of parts":    {swap(headerInput, `"@method" "@authority"`, `"@authority" "@method"`), "mismatch"},
		"type removed":      {func(r *http.Request) { r.Header.Del("Content-Type") }, "components"},
		"part not covered":  {swap(headerInput, ` "@query"`, ""), "components"},
		"digest uncovered":  {swap(headerInput, ` "content-digest"`, ""), "components"},
		"part twice":        {swap(headerInput, `"@path"`, `"@path" "@path"`), "components"},
		"unknown part":      {swap(headerInput, `"@path"`, `"@path" "accept-language"`), "components"},
		"part of a request": {swap(headerInput, `"@path"`, `"@path";req`), "components"},
		"type twice":        {func(r *http.Request) { r.Header.Add("Content-Type", "text/html") }, "malformed"},
		"no input":          {func(r *http.Request) { r.Header.Del(headerInput) }, "missing"},
		"no signature":      {func(r *http.Request) { r.Header.Del(headerSignature) }, "missing"},
		"no digest":         {func(r *http.Request) { r.Header.Del(headerDigest) }, "missing"},
		"two inputs":        {func(r *http.Request) { r.Header.Add(headerInput, r.Header.Get(headerInput)) }, "malformed"},
		"two signatures":    {func(r *http.Request) { r.Header.Add(headerSignature, "sig=:AA==:") }, "malformed"},
		"two digests":       {func(r *http.Request) { r.Header.Add(headerDigest, r.Header.Get(headerDigest)) }, "malformed"},
		"digest of another": {swap(headerDigest, "sm3=", "sha-256="), "digest"},
	} {
		r := received(t, key)
		if name == "signature" { // its first bytes differ with the lengths of its integers
			old := r.Header.Get(headerSignature)
			at := len(old) - 20
			c.change = set(headerSignature, old[:at]+map[bool]string{true: "B", false: "A"}[old[at] == 'A']+old[at+1:])
		}
		c.change(r)
		_, err := VerifyRequest(r, body, trusting(key), now, window)
		wantCode(t, name, err, c.code)
	}
	r := received(t, key)
	r.Header.Set("Accept-Language", "en") // not covered, and free to change on the way
	r.Host = "TAX.example:8460"
	if _, err := VerifyRequest(r, body, trusting(key), now, window); err != nil {
		t.Error(err)
	}
	_, err := VerifyRequest(received(t, key), body[1:], trusting(key), now, window)
	wantCode(t, "body", err, "digest")
	added := httptest.NewRequest("POST", "/x", nil)
	if err := SignRequest(added, nil, key, now, nonce); err != nil {
		t.Fatal(err)
	}
	added.Header.Set("Idempotency-Key", "case-1")
	_, err = VerifyRequest(added, nil, trusting(key), now, window)
	wantCode(t, "header added", err, "components")
}

func TestKeys(t *testing.T) {
	key, other := newKey(t), newKey(t)
	_, err := VerifyRequest(received(t, key), body, trusting(other), now, window)
	wantCode(t, "unknown key", err, "unknown-key")
	confused := func(string) (*gm.PublicKey, error) { return other.PublicKey(), nil }
	_, err = VerifyRequest(received(t, key), body, confused, now, window)
	wantCode(t, "another's key", err, "mismatch")
	broken := errors.New("the key store is away")
	_, err = VerifyRequest(received(t, key), body, func(string) (*gm.PublicKey, error) { return nil, broken }, now, window)
	if !errors.Is(err, broken) {
		t.Errorf("a failing lookup: %v", err)
	}
}

func TestTime(t *testing.T) {
	key := newKey(t)
	for offset, code := range map[time.Duration]string{
		0: "", window - time.Nanosecond: "", -window: "",
		window: "expired", 24 * time.Hour: "expired", -window - time.Nanosecond: "future", -24 * time.Hour: "future",
	} {
		_, err := VerifyRequest(received(t, key), body, trusting(key), now.Add(offset), window)
		if code != "" {
			wantCode(t, offset.String(), err, code)
		} else if err != nil {
			t.Errorf("%v: %v", offset, err)
		}
	}
}

func TestDefaultPortIsNoPart(t *testing.T) {
	key := newKey(t)
	for _, host := range []string{"a.example", "A.example:443", "a.example:80"} {
		r, err := http.NewRequest("GET", "https://"+host, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := SignRequest(r, nil, key, now, nonce); err != nil {
			t.Fatal(err)
		}
		got := httptest.NewRequest("GET", "/", nil)
		got.Host, got.Header = "a.example", r.Header
		if _, err := VerifyRequest(got, nil, trusting(key), now, window); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// response returns the answer to r, signed by key.
func response(t testing.TB, r *http.Request, key *gm.PrivateKey) *http.Response {
	t.Helper()
	resp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}}
	if err := SignResponse(resp.Header, 200, body, r, key, now, nonce); err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestResponseIsBoundToItsRequest(t *testing.T) {
	caller, key := newKey(t), newKey(t)
	r := received(t, caller)
	if _, err := VerifyResponse(response(t, r, key), body, r, trusting(key), now, window); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*http.Response)
		code   string
	}{
		"status":       {func(r *http.Response) { r.StatusCode = 201 }, "mismatch"},
		"content type": {func(r *http.Response) { r.Header.Set("Content-Type", "text/html") }, "mismatch"},
		"digest":       {func(r *http.Response) { r.Header.Set(headerDigest, contentDigest(nil)) }, "digest"},
		"unsigned":     {func(r *http.Response) { r.Header.Del(headerSignature) }, "missing"},
		"a request's":  {func(resp *http.Response) { resp.Header = r.Header.Clone() }, "components"},
	} {
		resp := response(t, r, key)
		c.change(resp)
		_, err := VerifyResponse(resp, body, r, trusting(key), now, window)
		wantCode(t, name, err, c.code)
	}
	_, err := VerifyResponse(response(t, received(t, caller), key), body, r, trusting(key), now, window)
	wantCode(t, "answer to another request", err, "mismatch")

	unsigned := httptest.NewRequest("GET", "/", nil)
	_, err = VerifyResponse(response(t, unsigned, key), body, r, trusting(key), now, window)
	wantCode(t, "answer to no signed request", err, "components")
	if _, err := VerifyResponse(response(t, unsigned, key), body, unsigned, trusting(key), now, window); err != nil {
		t.Errorf("refusing an unsigned request must be signable: %v", err)
	}
	_, err = VerifyRequest(&http.Request{Method: "GET", URL: r.URL, Header: response(t, r, key).Header}, body, trusting(key), now, window)
	wantCode(t, "an answer for a request", err, "components")
}

func TestSigningRefusesWhatCannotBeVerified(t *testing.T) {
	key := newKey(t)
	for name, c := range map[string]struct {
		nonce string
		when  time.Time
		host  string
	}{
		"short nonce":   {"short", now, "h"},
		"quote in it":   {`AAECAwQFBgcICQoLDA0O"w`, now, "h"},
		"long nonce":    {strings.Repeat("a", 65), now, "h"},
		"before 1970":   {nonce, time.Unix(-1, 0), "h"},
		"line in host":  {nonce, now, "h\n\"@path\": /"},
		"no time given": {nonce, time.Time{}, "h"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = c.host
		if err := SignRequest(r, nil, key, c.when, c.nonce); err == nil || r.Header.Get(headerSignature) != "" {
			t.Errorf("%s: signed, %v", name, err)
		}
	}
}
