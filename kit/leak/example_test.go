package leak_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/qiongdev/qiong/kit/leak"
)

func ExampleLabels() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /slots/{id}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })

	labels := &leak.Labels{}
	mux.Handle("GET /debug/leak", labels.Handler(leak.Local))
	served := labels.Wrap(mux)

	served.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/slots/7", nil))
	for _, c := range labels.Counts() {
		fmt.Println(leak.Key(c.Labels), c.Begun, c.Ended)
	}
	// Output: route=GET /slots/{id} 1 1
}
