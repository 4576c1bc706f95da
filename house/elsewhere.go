package house

import (
	"net/http"
	"strings"
)

// elsewhere asks the services that may have their requests answered by another server.
func (h *House) elsewhere(next http.Handler) http.Handler {
	asked := map[string]func(http.ResponseWriter, *http.Request) bool{}
	for _, r := range h.rooms {
		if f := r.host.Diverts(); f != nil {
			asked[r.service.Name] = f
		}
	}
	if len(asked) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := asked[serviceOf(r.URL.Path)]; f == nil || !f(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// serviceOf returns whose a path is: /api/<name>/… or /<name>/….
func serviceOf(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(path, "/api"), "/"), "/")
	return name
}
