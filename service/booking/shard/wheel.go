package shard

import "github.com/qiongdev/qiong/service/booking/ledger"

// turns is how many seconds ahead a wheel can see. What is due later comes round again.
const turns = 1 << 12

// wheel is a timing wheel of whole seconds: adding and finding what is due cost the same however much waits.
type wheel struct {
	slots [turns][]due
	at    int64 // the second up to which all was found
}

type due struct {
	at int64
	n  ledger.Number
}

// add has a number come due at a second.
func (w *wheel) add(n ledger.Number, at int64) {
	at = max(at, w.at+1)
	i := at % turns
	w.slots[i] = append(w.slots[i], due{at, n})
}

// advance calls each for what is due up to a second, at most a number of times, and reports whether it is through.
func (w *wheel) advance(now int64, most int, each func(ledger.Number)) bool {
	if w.at == 0 || now-w.at > turns { // one whole turn finds everything
		w.at = now - turns
	}
	for w.at < now {
		i := (w.at + 1) % turns
		kept := w.slots[i][:0]
		for j, d := range w.slots[i] {
			switch {
			case d.at > now:
				kept = append(kept, d)
			case most == 0:
				w.slots[i] = append(kept, w.slots[i][j:]...)
				return false
			default:
				most--
				each(d.n)
			}
		}
		if w.slots[i] = kept; len(kept) == 0 {
			w.slots[i] = nil
		}
		w.at++
	}
	return true
}
