package receipt_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
)

// samples are a receipt of one original and one of an act within a batch.
func samples(t testing.TB) map[string][]byte {
	return map[string][]byte{"one level": marshal(t, oneLevel(t)), "two levels": marshal(t, twoLevel(t))}
}

// refused fails the test unless data are refused with words and a code.
func refused(t *testing.T, data []byte, keys *receipt.Trust, what string, args ...any) {
	t.Helper()
	_, err := check(data, keys, nil)
	if k := errs.KindOf(orNil(err)); err == nil || k != errs.Invalid && k != errs.TooLarge {
		t.Errorf(what+": %v", append(args, err)...)
		return
	}
	if e := errs.As(err); e.Code == "" || e.Msg.ZH == "" || e.Msg.EN == "" {
		t.Errorf(what+": an error without code or words: %+v", append(args, e)...)
	}
}

// orNil gives errs.KindOf an error to ask about.
func orNil(err error) error {
	if err == nil {
		return errs.New(errs.Internal, "", "")
	}
	return err
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	keys := councilTrust(t)
	keys.Precompute()
	for name, data := range samples(t) {
		if _, err := check(data, keys, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for bit := range 8 * len(data) {
			bad := slices.Clone(data)
			bad[bit/8] ^= 1 << (bit % 8)
			refused(t, bad, keys, "%s, bit %d of byte %d", name, bit%8, bit/8)
		}
	}
}

func TestEveryFlippedBitOfAnOriginalIsRefused(t *testing.T) {
	r, keys, file := oneLevel(t), councilTrust(t), original(5).Marshal()
	keys.Precompute()
	for bit := range 8 * len(file) {
		bad := slices.Clone(file)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := receipt.Verify(r, keys, bad); errs.As(orNil(err)).Code != receipt.CodeOriginal {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
}

func TestEveryCutIsRefused(t *testing.T) {
	keys := councilTrust(t)
	for name, data := range samples(t) {
		witness := bytes.Index(data, []byte("— witness")) // see TestWithoutASignature
		for n := range len(data) {
			if n != witness {
				refused(t, data[:n], keys, "%s, cut to %d bytes", name, n)
			}
			refused(t, data[n+1:], keys, "%s, without the first %d bytes", name, n+1)
			refused(t, slices.Delete(slices.Clone(data), n, n+1), keys, "%s, without byte %d", name, n)
		}
	}
}

// A cut between two lines of signatures leaves a receipt that is true and says less: it must not pass for more.
func TestWithoutASignature(t *testing.T) {
	lines := strings.SplitAfter(string(marshal(t, oneLevel(t))), "\n")
	last := len(lines) - 2 // of the witness; an empty string follows
	got, err := check([]byte(strings.Join(lines[:last], "")), councilTrust(t), nil)
	if err != nil || got.State != receipt.Complete || len(got.Cosignatures) != 3 {
		t.Errorf("without the witness: %+v, %v", got, err)
	}
	_, err = check([]byte(strings.Join(lines[:last-1], "")), councilTrust(t), nil)
	if e := errs.As(orNil(err)); e.Code != receipt.CodeQuorum {
		t.Errorf("two of four: %v", err)
	}
}

func TestEveryMovedLineIsRefused(t *testing.T) {
	keys := councilTrust(t)
	for name, data := range samples(t) {
		lines := strings.SplitAfter(string(data), "\n")
		lines = lines[:len(lines)-1]
		for i := range lines {
			for j := range i {
				if lines[i] == lines[j] {
					continue
				}
				bad := slices.Clone(lines)
				bad[i], bad[j] = bad[j], bad[i]
				refused(t, []byte(strings.Join(bad, "")), keys, "%s, lines %d and %d swapped", name, j+1, i+1)
			}
			refused(t, []byte(strings.Join(slices.Insert(slices.Clone(lines), i, lines[i]), "")), keys, "%s, line %d doubled", name, i+1)
			refused(t, []byte(strings.Join(slices.Insert(slices.Clone(lines), i, "\n"), "")), keys, "%s, an empty line before line %d", name, i+1)
			for _, end := range []string{"\r\n", " \n", "\t\n", "", "\v\n", "=\n"} {
				bad := slices.Clone(lines)
				bad[i] = strings.TrimSuffix(bad[i], "\n") + end
				refused(t, []byte(strings.Join(bad, "")), keys, "%s, line %d ended with %q", name, i+1, end)
			}
		}
	}
}

func TestWhatFollowsOrGoesBeforeIsRefused(t *testing.T) {
	keys := councilTrust(t)
	for name, data := range samples(t) {
		for _, more := range []string{"\n", " ", "\x00", "x", "\ufeff", string(data), "— nobody AAAA\n"} {
			refused(t, append(slices.Clone(data), more...), keys, "%s, followed by %q", name, more)
			refused(t, append([]byte(more), data...), keys, "%s, after %q", name, more)
		}
		refused(t, bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")), keys, "%s with CR LF", name)
		refused(t, bytes.ToUpper(data), keys, "%s in capitals", name)
		refused(t, append(slices.Clone(data), make([]byte, receipt.MaxSize)...), keys, "%s, too large", name)
	}
}

func FuzzVerify(f *testing.F) {
	for _, data := range samples(f) {
		f.Add(data)
	}
	keys := councilTrust(f)
	keys.Precompute()
	known := samples(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := receipt.Parse(data)
		if err != nil {
			if e := errs.As(err); e.Kind == errs.Internal || e.Msg.IsZero() {
				t.Fatalf("%v", err)
			}
			return
		}
		if !bytes.Equal(marshal(t, r), data) {
			t.Fatal("written again, another receipt")
		}
		if _, err := receipt.Verify(r, keys, nil); err != nil {
			return
		}
		for _, k := range known { // the same receipt with fewer signatures is true, too
			if issued(t, k, r) {
				return
			}
		}
		t.Fatal("a receipt that the lab did not issue was accepted")
	})
}

// issued reports whether r is the receipt in a file, but for signatures that are missing.
func issued(t *testing.T, file []byte, r *receipt.Receipt) bool {
	t.Helper()
	whole, err := receipt.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	less := *whole
	less.Note.Signatures = slices.DeleteFunc(slices.Clone(whole.Note.Signatures), func(s receipt.Signature) bool {
		return !slices.Contains(r.Note.Signatures, s)
	})
	return reflect.DeepEqual(&less, r)
}
