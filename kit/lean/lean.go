// Package lean keeps the memory of a process small: it gives back what was needed once, and says when garbage is collected.
package lean
