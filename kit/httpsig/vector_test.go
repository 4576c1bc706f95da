package httpsig

import (
	"net/http/httptest"
	"testing"

	"github.com/qiongdev/qiong/kit/gm"
)

// The key, the digest, the key id and the signature were made with OpenSSL 3.0 and a shell, from the signature base
// written out by hand after RFC 9421:
//
//	"@method": POST
//	"@authority": tax.example:8460
//	"@path": /v1/invoices
//	"@query": ?a=1
//	"content-digest": sm3=:c5nTrzMIiRFl+skquy4DKhrO8nvzkdeE9zMMKjm20g4=:
//	"content-type": application/json
//	"idempotency-key": case-1
//	"@signature-params": (…);created=1718414625;nonce=…
func TestRequestSignedElsewhere(t *testing.T) {
	pub, err := gm.ParsePublicKeyPEM([]byte(`-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0DQgAEArxoKuGyHg+PAG22/+xhji/15CMP
oR4VDL/+JJxCaT++buavK6ks5AKZBw/agTt99PjkYtoqn45iRfkAxQ7Hxw==
-----END PUBLIC KEY-----`))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/v1/invoices?a=1", nil)
	r.Host = "tax.example:8460"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "case-1")
	r.Header.Set("Content-Digest", "sm3=:c5nTrzMIiRFl+skquy4DKhrO8nvzkdeE9zMMKjm20g4=:")
	r.Header.Set("Signature-Input", `sig=("@method" "@authority" "@path" "@query" "content-digest" "content-type" "idempotency-key")`+
		`;created=1718414625;nonce="AAECAwQFBgcICQoLDA0ODw";keyid="b1ded16fee137e87";alg="sm2-sm3";tag="qiong"`)
	r.Header.Set("Signature", "sig=:MEYCIQCPAWWYpZtexW2uc4b7wjGJe62UAMJP9nluD8s83bIHfwIhAJsV3WozeoAlpwwAtkThFgvL6YmhGdX75fECtO43/Llp:")
	lookup := func(string) (*gm.PublicKey, error) { return pub, nil }
	if _, err := VerifyRequest(r, []byte(`{"name":"海南"}`), lookup, now, window); err != nil {
		t.Error(err)
	}
	if id := gm.KeyID(pub); id != "b1ded16fee137e87" {
		t.Errorf("KeyID = %s", id)
	}
}
