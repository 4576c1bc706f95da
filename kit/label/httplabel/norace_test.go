//go:build !race

package httplabel_test

const raceDetector = false
