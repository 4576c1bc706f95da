// Package docs holds the documents to each other: its tests compare every Chinese page with its English one, and
// follow their links. There is nothing here to import.
package docs
