package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/bus"
	"github.com/qiongdev/qiong/kit/bus/bustest"
	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/telemetry"
)

// asHouse is the variable that makes a process of this test binary a house whose bus fails, which the real program's
// can't.
const asHouse = "TEST_FAULTY_HOUSE"

// calm is the variable that has its bus fail no more. What was lost before must still arrive.
const calm = "TEST_CALM_HOUSE"

// TestFaultyHouse is that process.
func TestFaultyHouse(t *testing.T) {
	if os.Getenv(asHouse) == "" {
		t.Skip("runs within TestKillOnAFaultyBus")
	}
	if err := faultyHouse(flag.Args()); err != nil {
		t.Fatal(err)
	}
}

// faultyHouse runs a house on a bus that loses, duplicates and reorders one message in five each, until it is killed.
func faultyHouse(args []string) error {
	sections := house.Sections(services)
	fs := pflag.NewFlagSet("house", pflag.ContinueOnError)
	if err := config.BindFlags(fs, sections, func(_, en string) string { return en }); err != nil {
		return err
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	cfg, err := config.Load(sections, config.Options{Flags: fs})
	if err != nil {
		return err
	}
	tel, err := telemetry.Setup(telemetry.Options{Writer: os.Stderr, LogLevel: "warn"})
	if err != nil {
		return err
	}
	ctx := context.Background()
	carrier := bus.Bus(bus.NewLocal())
	if os.Getenv(calm) == "" {
		carrier = bustest.NewFaulty(carrier, rand.Uint64(), 0.2, 0.2, 0.2)
	}
	h, err := house.Open(ctx, services, cfg, house.Options{Telemetry: tel, Bus: carrier})
	if err != nil {
		return err
	}
	token, err := h.Issue(ctx, auth.Principal{ID: "security", Name: "security", Roles: []auth.Role{auth.Security}}, time.Hour, true, "test")
	if err != nil {
		return err
	}
	fmt.Println(tokenLabel, token)
	return h.Run(ctx)
}
