package httplabel_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/httplabel"
)

func Example() {
	type Person struct {
		Name   string `json:"name" grade:"L2,pii=name"`
		IDCard string `json:"idCard" grade:"L3,pii=id_card"`
	}
	clearances := access.Roles{auth.Official: label.L3, auth.Auditor: label.L1}
	routes := httplabel.New(httplabel.Options{Guard: access.Guard{Clearance: clearances.Clearance}})
	gate, err := routes.Add(httplabel.Route{Name: "GET /person", Out: reflect.TypeFor[Person](), Policy: access.Mask})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"name":"王小明","idCard":%q}`, label.FakeIDCard(1))
	}))
	for _, role := range []auth.Role{auth.Official, auth.Auditor, auth.Applicant} {
		r := httptest.NewRequest("GET", "/person", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(auth.With(r.Context(), &auth.Principal{ID: "u", Roles: []auth.Role{role}})))
		fmt.Println(role, w.Code, w.Header().Get(label.Header), w.Header().Get("Content-Type"))
		if w.Code == http.StatusOK {
			fmt.Println(w.Body)
		}
	}
	// Output:
	// official 200 L3 application/json
	// {"name":"王小明","idCard":"900000195512267573"}
	// auditor 200 L1 application/json
	// {"name":"王**","idCard":"900***********7573"}
	// applicant 403  application/problem+json
}
