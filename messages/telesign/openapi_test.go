package telesign_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages/telesign"
)

// schema is the part of an OpenAPI schema that TeleSign's document uses.
type schema struct {
	Type       string             `json:"type"`
	Required   []string           `json:"required"`
	Properties map[string]*schema `json:"properties"`
	Enum       []string           `json:"enum"`
}

// check lists where value does not have the shape of s. extra are names that an
// object at the top may have besides.
func (s *schema) check(at string, value any, extra ...string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, at+": "+fmt.Sprintf(format, args...)) }
	switch v := value.(type) {
	case map[string]any:
		if s.Type != "object" {
			fault("is an object, want %s", s.Type)
		}
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				fault("has no %s", name)
			}
		}
		for name, member := range v {
			switch property := s.Properties[name]; {
			case property != nil:
				faults = append(faults, property.check(at+"."+name, member)...)
			case s.Properties != nil && !slices.Contains(extra, name):
				fault("has %s, which TeleSign does not document", name)
			}
		}
	case string:
		if s.Type != "string" {
			fault("is a string, want %s", s.Type)
		}
		if s.Enum != nil && !slices.Contains(s.Enum, v) {
			fault("is %q, want one of %q", v, s.Enum)
		}
	default:
		fault("is a %T, want %s", value, s.Type)
	}
	return faults
}

type content struct {
	JSON struct {
		Schema   *schema `json:"schema"`
		Examples map[string]struct {
			Value json.RawMessage `json:"value"`
		} `json:"examples"`
	} `json:"application/json"`
}

type document struct {
	Paths map[string]struct {
		Post struct {
			RequestBody struct {
				Content content `json:"content"`
			} `json:"requestBody"`
			Responses map[string]struct {
				Content content `json:"content"`
			} `json:"responses"`
		} `json:"post"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

func openAPI(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(golden(t, "openapi-voice.json"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func decode(t *testing.T, body []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// dialStatuses is every constant of type DialStatus in the source.
func dialStatuses(t *testing.T) []telesign.DialStatus {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "dialresponse.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []telesign.DialStatus
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "DialStatus" {
			return true
		}
		for _, value := range spec.Values {
			word, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, telesign.DialStatus(word))
		}
		return true
	})
	if len(all) == 0 {
		t.Fatal("no constants found")
	}
	return all
}

func TestDialStatusesAreTeleSigns(t *testing.T) {
	t.Parallel()
	want := map[string][]string{}
	for code, response := range openAPI(t).Paths["/voice"].Post.Responses {
		want[code] = slices.Sorted(slices.Values(response.Content.JSON.Schema.Properties["status"].Enum))
	}
	got := map[string][]string{}
	for _, status := range dialStatuses(t) {
		code := strconv.Itoa(status.HTTPStatus())
		got[code] = append(got[code], string(status))
		slices.Sort(got[code])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-TeleSign's +ours):\n%s", diff)
	}
	if code := telesign.DialStatus("queued").HTTPStatus(); code != 0 {
		t.Errorf("an unlisted word has HTTP status %d", code)
	}
}

func TestDialHasTeleSignsShape(t *testing.T) {
	t.Parallel()
	d := openAPI(t)
	action := d.Components.Schemas["Action"]
	example := d.Paths["/voice"].Post.RequestBody.Content.JSON.Examples["Example"].Value
	if faults := action.check("example", decode(t, example)); len(faults) > 0 {
		t.Fatalf("TeleSign's own example: %q", faults)
	}
	parsed, err := telesign.ParseAction(example)
	if err != nil {
		t.Fatal(err)
	}
	want := telesign.Dial{
		To: "15555551212", CallerIDNumber: "15554441313", SendDTMF: "6458",
		ExternalID: "4142b474-d65d-4265-a5fa-a581b1fe6101", IsPrimary: new(true),
	}
	if diff := cmp.Diff(telesign.Action(want), parsed); diff != "" {
		t.Errorf("example (-want +got):\n%s", diff)
	}
	body, err := telesign.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if faults := action.check("dial", decode(t, body), "jsonrpc"); len(faults) > 0 {
		t.Errorf("what we send: %q", faults)
	}
	ours := decode(t, body).(map[string]any)
	delete(ours, "jsonrpc")
	if diff := cmp.Diff(decode(t, example), any(ours)); diff != "" {
		t.Errorf("we send something else than the example (-want +got):\n%s", diff)
	}
	for name, a := range goldenActions {
		body, err := telesign.Encode(a)
		if err != nil {
			t.Fatal(err)
		}
		if faults := action.check(name, decode(t, body), "jsonrpc"); len(faults) > 0 {
			t.Errorf("what we send: %q", faults)
		}
	}
}

func TestDialResponsesHaveTeleSignsShape(t *testing.T) {
	t.Parallel()
	responses := openAPI(t).Paths["/voice"].Post.Responses
	for _, status := range dialStatuses(t) {
		response := telesign.DialResponse{ReferenceID: "0123456789ABCDEF0123456789ABCDEF", Status: status}
		if status == telesign.DialAccepted {
			response.ExternalID = "4142b474-d65d-4265-a5fa-a581b1fe6101"
		}
		body, err := response.Encode()
		if err != nil {
			t.Fatal(err)
		}
		schema := responses[strconv.Itoa(status.HTTPStatus())].Content.JSON.Schema
		if faults := schema.check(string(status), decode(t, body)); len(faults) > 0 {
			t.Errorf("%q", faults)
		}
		got, err := telesign.ParseDialResponse(body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(response, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", status, diff)
		}
	}
	for code, response := range responses {
		for name, example := range response.Content.JSON.Examples {
			got, err := telesign.ParseDialResponse(example.Value)
			if err != nil || strconv.Itoa(got.Status.HTTPStatus()) != code {
				t.Errorf("%s, %s: %+v, %v", code, name, got, err)
			}
		}
	}
}

func TestParseDialResponseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ body, field string }{
		{``, ""},
		{`<html>`, ""},
		{`[]`, ""},
		{`null`, ""},
		{`{}`, "status"},
		{`{"status":""}`, "status"},
		{`{"status":202}`, "status"},
		{`{"status":"dial_accepted","reference_id":1}`, "reference_id"},
		{`{"status":"dial_accepted","external_id":[]}`, "external_id"},
	}
	for _, tt := range tests {
		_, err := telesign.ParseDialResponse([]byte(tt.body))
		checkInvalid(t, err, tt.field)
	}
	got, err := telesign.ParseDialResponse([]byte(`{"status":"dial_accepted","reference_id":1,"external_id":"e"}`))
	if want := (telesign.DialResponse{Status: telesign.DialAccepted, ExternalID: "e"}); err == nil || got != want {
		t.Errorf("what can be read of a faulty answer: %+v, want %+v", got, want)
	}
}

// The check itself must be able to fail.
func TestSchemaCheck(t *testing.T) {
	t.Parallel()
	s := &schema{Type: "object", Required: []string{"status"}, Properties: map[string]*schema{
		"status": {Type: "string", Enum: []string{"a"}},
	}}
	for _, body := range []string{`{}`, `{"status":1}`, `{"status":"b"}`, `{"status":{}}`, `{"status":"a","x":1}`, `[]`} {
		if len(s.check("body", decode(t, []byte(body)))) == 0 {
			t.Errorf("%s passes", body)
		}
	}
	if faults := s.check("body", decode(t, []byte(`{"status":"a"}`))); len(faults) > 0 {
		t.Errorf("%q", faults)
	}
}
