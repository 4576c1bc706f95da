package httpsig

import (
	"strings"
	"testing"
)

const (
	goodInput = `sig=("@method" "@authority" "@path" "@query" "content-digest");created=1718414625;nonce="AAECAwQFBgcICQoLDA0ODw";` +
		`keyid="0123456789abcdef";alg="sm2-sm3";tag="qiong"`
	goodSignature = `sig=:MEUCIQ==:`
)

func TestInputHasOneForm(t *testing.T) {
	p, err := parseInput(goodInput)
	if err != nil {
		t.Fatal(err)
	}
	if got := label + "=" + p.String(); got != goodInput {
		t.Errorf("written back as %s", got)
	}
	for name, change := range map[string][2]string{
		"other label":        {"sig=", "sig1="},
		"space before list":  {"sig=(", "sig= ("},
		"empty list":         {`"@method" "@authority" "@path" "@query" "content-digest"`, ``},
		"list not closed":    {`)`, ``},
		"two members":        {`tag="qiong"`, `tag="qiong", sig2=()`},
		"parameter missing":  {`;alg="sm2-sm3"`, ``},
		"parameter twice":    {`;tag="qiong"`, `;tag="qiong";tag="qiong"`},
		"other order":        {`;alg="sm2-sm3";tag="qiong"`, `;tag="qiong";alg="sm2-sm3"`},
		"expires added":      {`;nonce`, `;expires=1818414625;nonce`},
		"other algorithm":    {`sm2-sm3`, `hmac-sha256`},
		"other tag":          {`qiong`, `other`},
		"signed number":      {`created=1`, `created=+1`},
		"leading zero":       {`created=1`, `created=01`},
		"negative":           {`created=1`, `created=-1`},
		"fraction":           {`created=1718414625`, `created=1718414625.5`},
		"no number":          {`created=1718414625`, `created=`},
		"beyond time":        {`created=1718414625`, `created=9223372036854775807`},
		"too big a number":   {`created=1718414625`, `created=99999999999999999999`},
		"created as string":  {`created=1718414625`, `created="1718414625"`},
		"short nonce":        {`AAECAwQFBgcICQoLDA0ODw`, `AAECAwQ`},
		"odd nonce":          {`AAECAwQFBgcICQoLDA0ODw`, `AAECAwQFBgcICQoLDA0O w`},
		"escaped quote":      {`AAECAwQFBgcICQoLDA0ODw`, `AAECAwQFBgcICQoLDA0O\"`},
		"capital key id":     {`abcdef`, `ABCDEF`},
		"long key id":        {`abcdef`, `abcdef0`},
		"space after":        {`"qiong"`, `"qiong" `},
		"huge":               {`"@path"`, strings.Repeat(`"@path" `, 200) + `"@path"`},
		"not UTF-8":          {`"qiong"`, "\xff"},
		"quote not closed":   {`tag="qiong"`, `tag="qiong`},
		"unquoted parameter": {`tag="qiong"`, `tag=qiong`},
	} {
		bad := strings.Replace(goodInput, change[0], change[1], 1)
		if bad == goodInput {
			t.Errorf("%s: the test changes nothing", name)
		}
		_, err := parseInput(bad)
		wantCode(t, name, err, "malformed")
	}
}

func TestSignatureHasOneForm(t *testing.T) {
	if sig, err := parseSignature(goodSignature); err != nil || label+"="+byteSequence(sig) != goodSignature {
		t.Errorf("%x, %v", sig, err)
	}
	for _, bad := range []string{
		"", "sig", "sig=", "sig=:", "sig=::", "sig1=:MEUCIQ==:", "sig=:MEUCIQ==", "sig=MEUCIQ==:", "sig=:MEUCIQ:", "sig=:MEUCIR==:",
		"sig=:MEU CIQ==:", "sig=:ME\nUCIQ==:", "sig=:MEUCIQ==:;a", "sig=:MEUCIQ==:, sig2=:MEUCIQ==:", "sig=:" + strings.Repeat("AAAA", 100) + ":",
		"sig=:M-UCIQ==:",
	} {
		_, err := parseSignature(bad)
		wantCode(t, bad, err, "malformed")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(goodInput, goodSignature)
	f.Add(`sig=();created=0;nonce="";keyid="";alg="";tag=""`, "sig=::")
	f.Fuzz(func(t *testing.T, input, signature string) {
		if p, err := parseInput(input); err == nil && label+"="+p.String() != input {
			t.Fatalf("%q is written back as %q", input, p)
		}
		if sig, err := parseSignature(signature); err == nil && label+"="+byteSequence(sig) != signature {
			t.Fatalf("%q is written back as %q", signature, byteSequence(sig))
		}
	})
}
