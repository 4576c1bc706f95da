package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// kills is how often a test kills the house: QIONG_KILLS, or 25.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("QIONG_KILLS")
	if text == "" {
		return 25
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatal("QIONG_KILLS is not a positive number")
	}
	return n
}

// TestKill kills the real program at random moments while applicants submit and agencies fail, and finds nothing lost
// and nothing done twice.
func TestKill(t *testing.T) {
	t.Parallel()
	survive(t, newProgram(t, filepath.Join(t.TempDir(), "data"), build(t, "build"), "up"))
}

// TestKillOnAFaultyBus does the same to a house whose bus loses, duplicates and reorders.
func TestKillOnAFaultyBus(t *testing.T) {
	t.Parallel()
	p := newProgram(t, filepath.Join(t.TempDir(), "data"), build(t, "test", "-c"), "-test.run=^TestFaultyHouse$", "-test.timeout=0", "--")
	p.env = append(p.env, asHouse+"=1")
	survive(t, p)
}

func survive(t *testing.T, p *program) {
	const seed = 1
	n, r := kills(t), rand.New(rand.NewPCG(seed, 0))
	p.start()
	applicant, operator := p.tokens()
	l := newLoad(t, applicant, 8, seed)
	for left := n; left > 0; left-- {
		<-time.After(time.Duration(20+r.IntN(380)) * time.Millisecond) // the moment is the test
		p.kill()
		if t.Failed() {
			return
		}
		if left == 1 {
			p.env = append(p.env, calm+"=1")
		}
		p.start()
	}
	l.end()
	v := verdict{t, p.data, applicant, operator}
	cases := v.settle(time.Minute + time.Duration(n)*200*time.Millisecond)
	v.check(cases)
	keys := map[string]string{}
	for key, id := range l.accepted {
		if _, ok := cases[id]; !ok {
			t.Errorf("case %s was accepted and is lost", id)
		}
		if other, ok := keys[id]; ok {
			t.Errorf("the keys %s and %s made one case", key, other)
		}
		keys[id] = key
	}
	for id := range cases {
		if keys[id] == "" {
			t.Errorf("case %s was made by a key that had made another", id)
		}
	}
	if log := p.said(); strings.Contains(log, "panic") || strings.Contains(log, "dead letter") {
		t.Errorf("the house logged:\n%s", log)
	}
	t.Logf("%d kills: %s", n, count(cases))
}
