package flow_test

import (
	"fmt"
	"testing"

	"github.com/offhook/offhook/messages"
)

func TestRender(t *testing.T) {
	t.Parallel()
	values := map[string]string{"contact.name": `A & "B" <c>/d? é`, "call.to": "15558675309", "answers.n": ""}
	for _, tt := range []struct{ key, text, want string }{
		{"speak", "Hello", "Hello"},
		{"speak", "Hello ${contact.name}!", `Hello A & "B"  c>/d? é!`},
		{"speak", "${call.to}${call.to}", "1555867530915558675309"},
		{"speak", "[${answers.n}]", "[]"},
		{"speak", "costs $5, $${call.to} and $ or $$", "costs $5, ${call.to} and $ or $$"},
		{"speak", "$${", "${"},
		{"speak", "} ${call.to}}", "} 15558675309}"},
		{"speak", "<speak>${contact.name}</speak>", "<speak>A &amp; &quot;B&quot; &lt;c&gt;/d? é</speak>"},
		{"speak", " <speak><p x='${contact.name}'/></speak>", " <speak><p x='A &amp; &quot;B&quot; &lt;c&gt;/d? é'/></speak>"},
		{"play", "https://x.example/${contact.name}.wav?n=${contact.name}", "https://x.example/A%20%26%20%22B%22%20%3Cc%3E%2Fd%3F%20%C3%A9.wav?n=A%20%26%20%22B%22%20%3Cc%3E%2Fd%3F%20%C3%A9"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			p := mustCompile(t, fmt.Sprintf("name: f\ncontact: { name: you }\nstart: { answered: a }\nsteps:\n"+
				"  a: { speak: N, save: n, no_input: hangup, next: b }\n  b: { %s: %q, next: hangup }\n", tt.key, tt.text)).Steps["b"].Prompt
			text := p.Speak
			if tt.key == "play" {
				text = p.Play
			}
			if got := text.Render(func(name string) string { return values[name] }); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if text.String() != tt.text || text.IsZero() {
				t.Errorf("the source is %q", text)
			}
		})
	}
}

func TestCheckContact(t *testing.T) {
	t.Parallel()
	const file = "name: f\ncontact: { %s }\nstart: { answered: a }\nsteps:\n  a: { speak: %q, next: hangup }\n"
	two := mustCompile(t, fmt.Sprintf(file, "first_name: there, city: ", "${contact.first_name} ${contact.city}"))
	none := mustCompile(t, "name: g\nstart: { answered: a }\nsteps:\n  a: { speak: A, next: hangup }\n")
	for _, tt := range []struct {
		name    string
		contact map[string]string
		want    string
	}{
		{"all", map[string]string{"first_name": "Ann", "city": "Rome"}, ""},
		{"without the optional one", map[string]string{"city": "Rome"}, ""},
		{"missing", map[string]string{"first_name": "Ann"}, "contact.city: the flow f needs this column and gives no word for an empty one"},
		{"blank", map[string]string{"city": " "}, "contact.city: the flow f needs this column and gives no word for an empty one"},
		{"misspelt", map[string]string{"city": "Rome", "firstname": "Ann"}, "contact.firstname: the flow f has no such column (did you mean first_name?)"},
		{"unknown", map[string]string{"city": "Rome", "age": "7"}, "contact.age: the flow f has no such column (it uses first_name, city)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := two.CheckContact(tt.contact)
			if got := fmt.Sprint(err); got != tt.want && !(err == nil && tt.want == "") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err != nil && messages.CodeOf(err) != messages.CodeInvalid {
				t.Errorf("code %s", messages.CodeOf(err))
			}
		})
	}
	if err := none.CheckContact(nil); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(none.CheckContact(map[string]string{"age": "7"})); got != "contact.age: the flow g has no such column (it uses no columns)" {
		t.Error(got)
	}
}
