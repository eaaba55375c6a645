package telesign_test

import (
	"strings"
	"testing"

	"github.com/offhook/offhook/messages/telesign"
)

func TestValidateSSML(t *testing.T) {
	t.Parallel()
	tests := []struct {
		message string
		fault   string // part of the error, "" for none
	}{
		{"Hello, it's 5 < 6 & fine.", ""},
		{"<b> is bold", ""},
		{"<speakers> are loud", "inside plain text"},
		{"<speak>Hello</speak>", ""},
		{" \n<speak>Hello</speak>\n", ""},
		{"<speak/>", ""},
		{`<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis">a<break strength="weak"/>b &amp; c &#39;</speak>`, ""},
		{"<!-- note --><speak>a</speak>", "inside plain text"},
		{"<speak>a<!-- note --></speak>", ""},
		{"Hello <speak>Ann</speak>", "inside plain text"},
		{"Ann</speak>", "inside plain text"},
		{"<speak>Hello", "well-formed"},
		{"<speak>Tom & Ann</speak>", "well-formed"},
		{"<speak>5 < 6</speak>", "well-formed"},
		{"<speak><p>a</speak></p>", "well-formed"},
		{"<speak>&nbsp;</speak>", "well-formed"},
		{"<speak a=1>x</speak>", "well-formed"},
		{"<speak>\x01</speak>", "well-formed"},
		{"<speak>a</speak> b", "outside"},
		{"<speak>a</speak><speak>b</speak>", "beside"},
		{"<speak>a</speak><p/>", "beside"},
		{"<speak>a</speak></speak>", "well-formed"},
		{"<speak><?php x?></speak>", "markup"},
		{`<speak><!DOCTYPE x [<!ENTITY y "z">]></speak>`, "markup"},
		{"<speak>\xff</speak>", "UTF-8"},
	}
	for _, tt := range tests {
		err := telesign.ValidateSSML(tt.message)
		if tt.fault == "" {
			if err != nil {
				t.Errorf("%q: %v", tt.message, err)
			}
			continue
		}
		checkInvalid(t, err, "tts.message")
		if !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%q: %v, want something about %q", tt.message, err, tt.fault)
		}
	}
}

func TestEscapeSSML(t *testing.T) {
	t.Parallel()
	if got, want := telesign.EscapeSSML(`Tom & "Ann" <O'Neil>`), `Tom &amp; &quot;Ann&quot; &lt;O&apos;Neil&gt;`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzEscapeSSML(f *testing.F) {
	f.Add("Ann")
	f.Add("</speak>\x00\xff\uFFFE]]>")
	f.Fuzz(func(t *testing.T, value string) {
		message := `<speak>Hello <say-as x="` + telesign.EscapeSSML(value) + `">` + telesign.EscapeSSML(value) + `</say-as></speak>`
		if err := telesign.ValidateSSML(message); err != nil {
			t.Fatalf("%q breaks out: %v", value, err)
		}
	})
}
