package setting

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func hold(c *Catalogue) Setting[[]Hold] { return c.Hold }

func TestHold(t *testing.T) {
	t.Parallel()
	german := Hold{Prefix: "49", Language: "de-DE", Text: "Einen Moment, bitte.", Apology: "Es tut uns leid, auf Wiederhören."}
	berlin := Hold{Prefix: "4930", Language: "de-DE", Text: `<speak>Moment: <break strength="strong"/> bitte.</speak>`}
	const (
		germanLine = "49:de-DE:Einen Moment, bitte.|Es tut uns leid, auf Wiederhören."
		berlinLine = `4930:de-DE:<speak>Moment: <break strength="strong"/> bitte.</speak>`
	)
	reads(t, "hold", hold, map[string][]Hold{
		germanLine: {german},
		" 49 : de-DE :  Einen Moment, bitte. | Es tut uns leid, auf Wiederhören. ": {german},
		germanLine + "\n" + berlinLine + "\n":                                      {german, berlin},
		germanLine + "\r\n\r\n" + berlinLine:                                       {german, berlin},
		germanLine + `\n` + berlinLine:                                             {german, berlin},
	})
	got, _, err := resolved(t, hold, nil, "--hold="+germanLine, "--hold", berlinLine)
	if diff := cmp.Diff([]Hold{german, berlin}, got); diff != "" || err != nil {
		t.Errorf("repeated: %v\n%s", err, diff)
	}
	const form = "; want PREFIX:LANGUAGE:TEXT|APOLOGY, such as 49:de-DE:Einen Moment, bitte.|Auf Wiederhören."
	for text, want := range map[string]string{
		"Einen Moment, bitte.":              "line 1: it has 0 of the two colons",
		"49:Einen Moment":                   "line 1: it has 1 of the two colons",
		germanLine + "\n:en-US:One moment.": "line 2: the prefix is empty: what everybody hears is --hold-text and --apology-text",
		"+49:de-DE:Moment":                  "line 1: the prefix is not all digits; leave out + and 00",
		"49::Moment":                        "line 1: the language is empty",
		"49:de-DE: |Leider":                 "line 1: the text is empty",
		"49:de-DE:Moment|":                  "line 1: the apology is empty; without the | it is that of --apology-text",
		"49:de-DE:Moment|Leider|Nein":       "line 1: there is a second |",
		germanLine + "\n49:de-DE:Moment":    "line 2: a line before it has the same prefix",
	} {
		refuses(t, "hold", hold, ": "+want+form, text)
	}
}

// A list is shown on one line, as a variable takes it again.
func TestHoldIsShownAsItIsRead(t *testing.T) {
	t.Parallel()
	want, set, err := resolved(t, hold, nil, "--hold=49:de-DE:Moment|Leider", "--hold=33:fr-FR:Un moment")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := WriteText(&text, set.Effective()); err != nil {
		t.Fatal(err)
	}
	const shown = `49:de-DE:Moment|Leider\n33:fr-FR:Un moment`
	if !strings.Contains(text.String(), "hold     "+shown+"  flag  OFFHOOK_HOLD\n") {
		t.Errorf("shown as\n%s", text.String())
	}
	again, _, err := resolved(t, hold, []string{"OFFHOOK_HOLD=" + shown})
	if diff := cmp.Diff(want, again); diff != "" || err != nil {
		t.Errorf("read again: %v\n%s", err, diff)
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	spool := func(c *Catalogue) Setting[int64] { return c.SpoolSize }
	reads(t, "bytes", spool, map[string]int64{
		"1MiB": 1 << 20, "1.5 MiB": 3 << 19, "2GiB": 2 << 30, "1TiB": 1 << 40, "5000kB": 5e6, "5000KB": 5e6, "2MB": 2e6, "1GB": 1e9, "1TB": 1e12, "1048576B": 1 << 20,
	})
	refuses(t, "bytes", spool, "want a size with its unit, such as 512MiB, 1GiB or 2GB", "", "1", "1048576", "GiB", "-1GiB", "1gib", "1G", "NaNB", "InfB", "9000000000TiB", "1,5GiB")
	refuses(t, "bytes", spool, "want 1MiB or more", "0B", "1023KiB")
	for size, want := range map[int64]string{0: "0B", 1 << 10: "1KiB", 1023: "1023B", 3 << 29: "1536MiB", 1 << 40: "1TiB"} {
		if got := formatBytes(size); got != want {
			t.Errorf("%d is %s, want %s", size, got, want)
		}
	}
}

// A file of keys that changes is read as it was the first time.
func TestReadSecrets(t *testing.T) {
	t.Parallel()
	if got, err := ReadSecrets("one\n two ,three\n"); err != nil || !cmp.Equal([]string(got), []string{"one", "two", "three"}) {
		t.Errorf("got %q, %v", []string(got), err)
	}
	for text, want := range map[string]string{"": "it is empty", " ,\n": "it is empty", strings.Repeat("s", maxSecretFile+1): "it is larger than 64 KiB: that is no file of keys"} {
		if got, err := ReadSecrets(text); got != nil || err == nil || err.Error() != want {
			t.Errorf("%.10q: got %v, %v; want %s", text, got, err, want)
		}
	}
}

func TestFileOfSecrets(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string]string{"OFFHOOK_API_KEY_FILE=testdata/key.txt": "testdata/key.txt", "OFFHOOK_API_KEY=abc": "", "X=": ""} {
		c := NewCatalogue()
		set := New(pflag.NewFlagSet("test", pflag.ContinueOnError), c, []string{variable})
		file, keys := "before", Secrets{}
		c.APIKey.BindFile(set, &file)
		c.APIKey.Bind(set, &keys)
		if err := set.Resolve(); err != nil || file != want || (len(keys) == 0) != (variable == "X=") {
			t.Errorf("%s: got %q, %v; %v", variable, file, keys, err)
		}
	}
}
