// Package lean gives memory back that a process has needed once.
package lean
