package gm

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"
)

func dehex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// GB/T 32905-2016, annex A.
func TestSM3Vectors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"},
		{strings.Repeat("abcd", 16), "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"},
	} {
		want := dehex(t, c.want)
		for cut := range len(c.in) + 1 {
			if got := SM3([]byte(c.in[:cut]), []byte(c.in[cut:])); !bytes.Equal(got[:], want) {
				t.Fatalf("SM3(%q, %q) = %x", c.in[:cut], c.in[cut:], got)
			}
		}
		if got := SM3([]byte(c.in)); !bytes.Equal(got[:], want) {
			t.Errorf("SM3(%q) = %x", c.in, got)
		}
	}
}

// Computed by OpenSSL 3.0: dgst -sm3 -mac HMAC, and kdf HKDF with the inputs of RFC 5869, case 1.
func TestHMACAndDeriveAgreeWithOpenSSL(t *testing.T) {
	key := bytes.Repeat([]byte{0x0b}, 20)
	want := dehex(t, "51b00d1fb49832bfb01c3ce27848e59f871d9ba938dc563b338ca964755cce70")
	if got := HMAC(key, []byte("Hi "), []byte("There")); !bytes.Equal(got[:], want) {
		t.Errorf("HMAC = %x", got)
	}
	got, err := Derive(bytes.Repeat([]byte{0x0b}, 22), dehex(t, "000102030405060708090a0b0c"), string(dehex(t, "f0f1f2f3f4f5f6f7f8f9")), 42)
	if err != nil {
		t.Fatal(err)
	}
	if want := dehex(t, "c69fe91b7aaee2dd5718d72dcaee0cce93f1b8e41f792da51261b6a517e68b36ed2c595572b01dfa359b"); !bytes.Equal(got, want) {
		t.Errorf("Derive = %x", got)
	}
	for _, n := range []int{-1, 0, 8161} {
		if _, err := Derive(key, nil, "x", n); err == nil {
			t.Errorf("Derive of %d bytes succeeds", n)
		}
	}
	if _, err := Derive(nil, nil, "x", 16); err == nil {
		t.Error("Derive from an empty secret succeeds")
	}
}

// GB/T 32907-2016, annex A: the block cipher that newGCM stands on, once and a million times.
func TestSM4Vectors(t *testing.T) {
	key := dehex(t, "0123456789abcdeffedcba9876543210")
	block, err := sm4.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Clone(key)
	block.Encrypt(text, text)
	if want := dehex(t, "681edf34d206965e86b3e94f536e4246"); !bytes.Equal(text, want) {
		t.Errorf("SM4 once = %x", text)
	}
	for range 1_000_000 - 1 {
		block.Encrypt(text, text)
	}
	if want := dehex(t, "595298c7c6fd271f0402f804c33d3f66"); !bytes.Equal(text, want) {
		t.Errorf("SM4 a million times = %x", text)
	}
}

// RFC 8998, appendix A.1, framed as Seal frames it.
func TestOpenSM4GCMVector(t *testing.T) {
	s, err := NewSealer(dehex(t, "0123456789abcdeffedcba9876543210"))
	if err != nil {
		t.Fatal(err)
	}
	sealed := dehex(t, `01 00001234567800000000abcd
		17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735
		d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d
		83de3541e4c2b58177e065a9bf7b62ec`)
	plain := dehex(t, `aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd
		eeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa`)
	got, err := s.Open(sealed, dehex(t, "feedfacedeadbeeffeedfacedeadbeefabaddad2"))
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("Open = %x, %v", got, err)
	}
}

// GB/T 32918.5-2017, annex A: signature on the recommended curve.
func TestSM2SignatureVector(t *testing.T) {
	key, err := NewPrivateKey(dehex(t, "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"))
	if err != nil {
		t.Fatal(err)
	}
	point := dehex(t, `04 09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020
		ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13`)
	if !bytes.Equal(key.PublicKey().Bytes(), point) {
		t.Fatalf("public key = %x", key.PublicKey().Bytes())
	}
	msg := []byte("message digest")
	za, err := sm2.CalculateZA(key.PublicKey().key, []byte(DefaultID))
	if err != nil || !bytes.Equal(za, dehex(t, "b2e14c5c79c6df5b85f4fe7ed8db7a262b9da7e07ccb0ea9f4747b8ccda8a4f3")) {
		t.Errorf("ZA = %x, %v", za, err)
	}
	digest, err := Digest(key.PublicKey(), []byte(DefaultID), msg)
	if err != nil || !bytes.Equal(digest, dehex(t, "f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640")) {
		t.Errorf("digest = %x, %v", digest, err)
	}
	sig, err := asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(dehex(t, "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3")),
		new(big.Int).SetBytes(dehex(t, "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(key.PublicKey(), []byte(DefaultID), msg, sig); err != nil {
		t.Error(err)
	}
}

// The key was generated, and the signature made, by OpenSSL 3.0.
func TestOpenSSLKeysAndSignature(t *testing.T) {
	private, err := os.ReadFile("testdata/openssl-private.pem")
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile("testdata/openssl-public.pem")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePrivateKeyPEM(private)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ParsePublicKeyPEM(public)
	if err != nil {
		t.Fatal(err)
	}
	if !key.PublicKey().Equal(pub) {
		t.Error("the two files hold different keys")
	}
	if !bytes.Equal(key.PEM(), private) || !bytes.Equal(pub.PEM(), public) {
		t.Error("written differently from OpenSSL")
	}
	sig := dehex(t, `30440220438ca8f729cf53889da2d9687f0330074ad6ce467378a0f7d56fc32b259674de
		022031ff3f09b9696e8a8d1bb03cdd0ac278d82879d57ce0f1e258ebae8fba247b22`)
	if err := Verify(pub, []byte(DefaultID), []byte("message digest"), sig); err != nil {
		t.Error(err)
	}
}
