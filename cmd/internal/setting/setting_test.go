package setting

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/offhook/offhook/messages"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// resolved binds one setting, parses args and resolves.
func resolved[T any](t *testing.T, of func(c *Catalogue) Setting[T], environ []string, args ...string) (T, *Set, error) {
	t.Helper()
	c := NewCatalogue()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	set := New(flags, c, environ)
	var target T
	of(c).Bind(set, &target)
	if err := flags.Parse(args); err != nil {
		t.Fatalf("parse %q: %v", args, err)
	}
	err := set.Resolve()
	return target, set, err
}

func natsURL(c *Catalogue) Setting[string]             { return c.NATSURL }
func answerWithin(c *Catalogue) Setting[time.Duration] { return c.AnswerWithin }
func apiKey(c *Catalogue) Setting[Secrets]             { return c.APIKey }

func TestPrecedence(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		of      func(c *Catalogue) Setting[string]
		environ []string
		args    []string
		want    string
		source  Source
	}{
		{"default", natsURL, nil, nil, "nats://127.0.0.1:4222", SourceDefault},
		{"variable beats default", natsURL, []string{"OFFHOOK_NATS_URL=nats://env:1"}, nil, "nats://env:1", SourceEnv},
		{"flag beats variable", natsURL, []string{"OFFHOOK_NATS_URL=nats://env:1"}, []string{"--nats-url=nats://flag:1"}, "nats://flag:1", SourceFlag},
		{"flag beats a variable that is wrong", natsURL, []string{"OFFHOOK_NATS_URL=::"}, []string{"--nats-url", "nats://flag:1"}, "nats://flag:1", SourceFlag},
		{"last flag wins", natsURL, nil, []string{"--nats-url=nats://a:1", "--nats-url=nats://b:1"}, "nats://b:1", SourceFlag},
		{"empty variable is not set", natsURL, []string{"OFFHOOK_NATS_URL="}, nil, "nats://127.0.0.1:4222", SourceDefault},
		{"first of two variables", natsURL, []string{"OFFHOOK_NATS_URL=nats://a:1", "OFFHOOK_NATS_URL=nats://b:1"}, nil, "nats://a:1", SourceEnv},
		{"other variables", natsURL, []string{"NATS_URL=nats://a:1", "OFFHOOKNATS_URL=x", "PATH"}, nil, "nats://127.0.0.1:4222", SourceDefault},
		{"another default", func(c *Catalogue) Setting[string] { return c.InternalListen.Default("127.0.0.1:8081") }, nil, nil, "127.0.0.1:8081", SourceDefault},
		{"empty flag is empty", func(c *Catalogue) Setting[string] { return c.InternalListen.Default("127.0.0.1:8081") }, nil, []string{"--internal-listen="}, "", SourceFlag},
		{"no default", func(c *Catalogue) Setting[string] { return c.CustomerID }, nil, nil, "", SourceDefault},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, set, err := resolved(t, test.of, test.environ, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			if e := set.Effective()[0]; got != test.want || e.Value != test.want || e.Source != test.source {
				t.Errorf("got %q, shown as %q from %s; want %q from %s", got, e.Value, e.Source, test.want, test.source)
			}
		})
	}
}

// reads checks that the texts become the values, given as variable and as flag.
func reads[T any](t *testing.T, name string, of func(c *Catalogue) Setting[T], texts map[string]T) {
	t.Helper()
	s := of(NewCatalogue()).about()
	for text, want := range texts {
		fromEnv, _, errEnv := resolved(t, of, []string{s.env() + "=" + text})
		fromFlag, _, errFlag := resolved(t, of, nil, "--"+s.flag()+"="+text)
		if err := errors.Join(errEnv, errFlag); err != nil || !reflect.DeepEqual(fromEnv, want) || !reflect.DeepEqual(fromFlag, want) {
			t.Errorf("%s %q: got %v and %v, want %v; %v", name, text, fromEnv, fromFlag, want, err)
		}
	}
}

// refuses checks that the texts are refused with what was wanted.
func refuses[T any](t *testing.T, name string, of func(c *Catalogue) Setting[T], want string, texts ...string) {
	t.Helper()
	s := of(NewCatalogue()).about()
	for _, text := range texts {
		got, _, err := resolved(t, of, nil, "--"+s.flag()+"="+text)
		if err == nil {
			t.Errorf("%s %q: got %v, want an error", name, text, got)
			continue
		}
		for _, part := range []string{"--" + s.flag(), s.env(), fmt.Sprintf("%q", text), "the flag", want} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s %q: %q does not contain %q", name, text, err, part)
			}
		}
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	speed := func(c *Catalogue) Setting[float64] { return c.float("speed", "1", "times", 0.5, "pace") }
	flows := func(c *Catalogue) Setting[[]string] { return c.Flow }
	slots := func(c *Catalogue) Setting[int] { return c.Slots }
	volatile := func(c *Catalogue) Setting[bool] { return c.AllowVolatileRedis }
	listen := func(c *Catalogue) Setting[string] { return c.Listen }
	auth := func(c *Catalogue) Setting[string] { return c.TeleSignAuth }
	redis := func(c *Catalogue) Setting[string] { return c.RedisURL }

	reads(t, "int", slots, map[string]int{"1": 1, "5000": 5000})
	refuses(t, "int", slots, "want a whole number (events), 1 or more", "", "0", "-1", "1.5", "many", "99999999999999999999")
	reads(t, "float", speed, map[string]float64{"0.5": 0.5, "20": 20, "1e2": 100})
	refuses(t, "float", speed, "want a number (times), 0.5 or more", "", "0.4", "fast", "NaN", "Inf", "-Inf")
	reads(t, "bool", volatile, map[string]bool{"true": true, "1": true, "false": false})
	refuses(t, "bool", volatile, "want true or false", "yes", "2")
	reads(t, "duration", answerWithin, map[string]time.Duration{"2.5s": 2500 * time.Millisecond, "1m": time.Minute})
	refuses(t, "duration", answerWithin, "want a duration with its unit, such as 800ms", "", "2", "2,5s", "2 s", "soon")
	refuses(t, "duration", answerWithin, "want a duration of 1ms or more", "0s", "-1s")
	reads(t, "list", flows, map[string][]string{"a.yaml": {"a.yaml"}, "a.yaml, b.yaml,": {"a.yaml", "b.yaml"}})
	reads(t, "address", listen, map[string]string{"127.0.0.1:0": "127.0.0.1:0", ":80": ":80", "[::1]:80": "[::1]:80"})
	refuses(t, "address", listen, "want host:port", "127.0.0.1", "8080", "localhost:http", "a:65536", "a:-1")
	reads(t, "choice", auth, map[string]string{"digest": "digest"})
	refuses(t, "choice", auth, "want one of basic, digest", "", "Basic", "none")
	reads(t, "url", redis, map[string]string{"rediss://r:1/2": "rediss://r:1/2", "unix:///tmp/r.sock": "unix:///tmp/r.sock"})
	refuses(t, "url", redis, "want redis://host:port (or rediss, unix)", "", "127.0.0.1:6379", "http://r:1", "redis://r:port", "redis://", "redis://:6379")
	refuses(t, "url", redis, "want unix:///path/to/socket", "unix://")
	reads(t, "urls", natsURL, map[string]string{"nats://a:1, nats://b:2": "nats://a:1,nats://b:2"})
	refuses(t, "urls", natsURL, "want nats://host:port (or tls, ws, wss)", "", ",", "nats://a:1,b:2")

	got, _, err := resolved(t, flows, []string{"OFFHOOK_FLOW=env.yaml"}, "--flow=a.yaml", "--flow=b.yaml,c.yaml")
	if want := []string{"a.yaml", "b.yaml", "c.yaml"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("repeated list flag: got %v, want %v; %v", got, want, err)
	}
	if on, _, err := resolved(t, volatile, nil, "--allow-volatile-redis"); err != nil || !on {
		t.Errorf("bare bool flag: got %v; %v", on, err)
	}
}

func TestErrorNamesEverything(t *testing.T) {
	t.Parallel()
	_, _, err := resolved(t, answerWithin, []string{"OFFHOOK_ANSWER_WITHIN=2,5s"})
	want := `--answer-within (OFFHOOK_ANSWER_WITHIN): "2,5s" from the environment: want a duration with its unit, such as 800ms, 2.5s or 168h`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if code := messages.CodeOf(err); code != messages.CodeUsage {
		t.Errorf("code %s, want %s", code, messages.CodeUsage)
	}
	_, _, err = resolved(t, func(c *Catalogue) Setting[string] { return c.CustomerID.Required() }, []string{"OFFHOOK_CUSTOMER_ID= "})
	if want := "--customer-id (OFFHOOK_CUSTOMER_ID): is required and was not given"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	err = NewCatalogue().CallerID.Errorf("is needed with --live")
	if want := "--caller-id (OFFHOOK_CALLER_ID): is needed with --live"; err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestResolveReportsAllAndKeepsTargets(t *testing.T) {
	t.Parallel()
	c := NewCatalogue()
	set := New(pflag.NewFlagSet("test", pflag.ContinueOnError), c, []string{"OFFHOOK_SLOTS=no", "OFFHOOK_DRAIN=no", "OFFHOOK_FLOWS=x"})
	slots, first, second, customer := 7, "", "", "kept"
	var drain time.Duration
	c.Slots.Bind(set, &slots)
	c.Drain.Bind(set, &drain)
	c.Listen.Default(":1").Bind(set, &first)
	c.Listen.Default(":2").Bind(set, &second)
	c.CustomerID.Bind(set, &customer)
	err := set.Resolve()
	for _, part := range []string{"--slots", "--drain", "OFFHOOK_FLOWS: no setting of offhook"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
	if slots != 7 || first != ":1" || second != ":1" || customer != "kept" {
		t.Errorf("got slots %d, listen %q and %q, customer %q", slots, first, second, customer)
	}
}

func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	tests := []struct{ variable, want string }{
		{"OFFHOOK_NATS_URLL=nats://a:1", "OFFHOOK_NATS_URLL: no setting of offhook has this variable: did you mean OFFHOOK_NATS_URL?"},
		{"OFFHOOK_NAST_URL=nats://a:1", "did you mean OFFHOOK_NATS_URL?"},
		{"OFFHOOK_ANSWER_WITHIN_MS=", "did you mean OFFHOOK_ANSWER_WITHIN?"},
		{"OFFHOOK_API_KEYFILE=/x", "did you mean OFFHOOK_API_KEY_FILE?"},
		{"OFFHOOK_SOMETHING_ELSE_ALTOGETHER=s3cret", "run offhook config to see them all"},
		{"OFFHOOK_PORT_8080_TCP_ADDR=10.0.0.1", "put enableServiceLinks: false"},
		{"OFFHOOK_INGRESS_SERVICE_HOST=10.0.0.1", "put enableServiceLinks: false"},
		{"OFFHOOK_LISTEN=:1", ""},       // another command's
		{"OFFHOOK_API_KEY_FILE=/x", ""}, // another command's secret
		{"offhook_nats_urll=x", ""},     // not ours
	}
	for _, test := range tests {
		_, _, err := resolved(t, answerWithin, []string{test.variable})
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.variable, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: got %v, want %q", test.variable, err, test.want)
		case err != nil && (strings.Contains(err.Error(), "s3cret") || messages.CodeOf(err) != messages.CodeUsage):
			t.Errorf("%s: got %v", test.variable, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := file("one", "s3cretOne==\n"), file("two", "s3cretOne==\r\n\n s3cretTwo== \n")
	empty, large := file("empty", " \n,\n"), file("large", strings.Repeat("s3cret", maxSecretFile))
	tests := []struct {
		name    string
		environ []string
		args    []string
		want    Secrets
		source  Source
		err     string
	}{
		{name: "none", source: SourceDefault},
		{name: "variable", environ: []string{"OFFHOOK_API_KEY=s3cretOne=="}, want: Secrets{"s3cretOne=="}, source: SourceEnv},
		{name: "several", environ: []string{"OFFHOOK_API_KEY=s3cretOne==, s3cretTwo==\ns3cretThree"}, want: Secrets{"s3cretOne==", "s3cretTwo==", "s3cretThree"}, source: SourceEnv},
		{name: "file by variable", environ: []string{"OFFHOOK_API_KEY_FILE=" + one}, want: Secrets{"s3cretOne=="}, source: SourceFile},
		{name: "file by flag beats variable", environ: []string{"OFFHOOK_API_KEY_FILE=" + one}, args: []string{"--api-key-file", two}, want: Secrets{"s3cretOne==", "s3cretTwo=="}, source: SourceFile},
		{name: "empty variable beside file", environ: []string{"OFFHOOK_API_KEY=", "OFFHOOK_API_KEY_FILE=" + one}, want: Secrets{"s3cretOne=="}, source: SourceFile},
		{name: "both", environ: []string{"OFFHOOK_API_KEY=s3cret", "OFFHOOK_API_KEY_FILE=" + one}, err: "is given twice"},
		{name: "both by flag", environ: []string{"OFFHOOK_API_KEY=s3cret"}, args: []string{"--api-key-file=" + one}, err: "is given twice"},
		{name: "no file", environ: []string{"OFFHOOK_API_KEY_FILE=" + dir + "/absent"}, err: "no such file"},
		{name: "directory", environ: []string{"OFFHOOK_API_KEY_FILE=" + dir}, err: "is a directory"},
		{name: "empty file", environ: []string{"OFFHOOK_API_KEY_FILE=" + empty}, err: "it is empty"},
		{name: "large file", environ: []string{"OFFHOOK_API_KEY_FILE=" + large}, err: "larger than 64 KiB"},
		{name: "separators only", environ: []string{"OFFHOOK_API_KEY=,,"}, err: "want at least one key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, set, err := resolved(t, apiKey, test.environ, test.args...)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), "OFFHOOK_API_KEY_FILE") || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("got error %v, want one with %q and no secret", err, test.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Fatalf("got %q, want %q; %v", []string(got), []string(test.want), err)
			}
			e := set.Effective()[0]
			if e.Source != test.source || e.Value != strings.Repeat(masked, min(1, len(test.want))) || (e.File != "") != (test.source == SourceFile) {
				t.Errorf("shown as %+v", e)
			}
		})
	}
	if _, _, err := resolved(t, func(c *Catalogue) Setting[Secrets] { return c.APIKey.Required() }, nil); err == nil ||
		err.Error() != "OFFHOOK_API_KEY (--api-key-file, OFFHOOK_API_KEY_FILE): is required and was not given" {
		t.Errorf("required: %v", err)
	}
}

func TestSecretsHideThemselves(t *testing.T) {
	t.Parallel()
	config := struct{ Keys Secrets }{Secrets{"s3cretOne", "s3cretTwo"}}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %q", config, config, config, config.Keys, config.Keys)
	slog.New(slog.NewTextHandler(&out, nil)).Info("start", "keys", config.Keys, "config", config)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("start", "keys", config.Keys, "config", config)
	encoded, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	if strings.Contains(out.String(), "s3cret") {
		t.Errorf("a secret shows in %s", out.String())
	}
	if got := config.Keys.String(); got != "****,****" {
		t.Errorf("String is %q", got)
	}
}

func TestCredentialsInURLs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text, want string
		invalid    bool
	}{
		{"redis://user:s3cret@r:1/0", "redis://user:****@r:1/0", false},
		{"redis://:s3cret@r:1/0", "redis://:****@r:1/0", false},
		{"redis://s3cret@r:1/0", "redis://****@r:1/0", false},
		{"redis://u%40x:s3cr%2Fet@r:1/0?db=1#x", "redis://u%40x:****@r:1/0?db=1#x", false},
		{"redis://user:@/s3cret@r:1", "redis://****@r:1", true},
		{"redis://user:s3@cret@r:1/0", "redis://user:****@r:1/0", false},
		{"unix://user:s3cret@/tmp/r.sock", "unix://user:****@/tmp/r.sock", false},
		{"redis://r:1/a@b", "redis://****@b", false}, // in doubt, hide
		{"redis://user:s3/cret@r:1", "redis://****@r:1", true},
		{"redis://user:s3%cret@r:1", "redis://****@r:1", true},
		{"user:s3cret@r:1", "****@r:1", true},
		{"//user:s3cret@r:1", "****@r:1", true},
		{"http://user:s3cret@r:1", "http://user:****@r:1", true},
	}
	redis := func(c *Catalogue) Setting[string] { return c.RedisURL }
	for _, test := range tests {
		if got := maskURLs(test.text); got != test.want {
			t.Errorf("%s is shown as %s, want %s", test.text, got, test.want)
		}
		got, set, err := resolved(t, redis, []string{"OFFHOOK_REDIS_URL=" + test.text})
		switch {
		case test.invalid && (err == nil || strings.Contains(err.Error(), "cret") || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s from the environment: got error %v", test.text, err)
		case !test.invalid && (err != nil || got != test.text || set.Effective()[0].Value != test.want):
			t.Errorf("%s from the environment: got %q; %v", test.text, got, err)
		}
		_, set, err = resolved(t, redis, nil, "--redis-url="+test.text)
		if err == nil || !strings.Contains(err.Error(), "command line") || !strings.Contains(err.Error(), "OFFHOOK_REDIS_URL") || strings.Contains(err.Error(), "cret") {
			t.Errorf("%s as a flag: got error %v", test.text, err)
		}
		if len(set.Effective()) != 0 {
			t.Errorf("%s as a flag is shown as %v", test.text, set.Effective())
		}
	}
	for text, want := range map[string]string{
		"nats://a:1,nats://user:s3cret@b:2,nats://t0ken@c:3": "nats://a:1,nats://user:****@b:2,nats://****@c:3",
		"nats://a:1,nats://user:s3,cret@b:2":                 "nats://a:1,nats://****@b:2",
		"nats://user:s3,cret@b:2":                            "nats://****@b:2",
		"nats://a:1,nats://b:2":                              "nats://a:1,nats://b:2",
	} {
		if got := maskURLs(text); got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
}

func FuzzMaskURLs(f *testing.F) {
	f.Add("user", "p@ss/wo:rd?#%", "host:1")
	f.Add("", "x,y", "a,nats://b")
	f.Fuzz(func(t *testing.T, user, password, host string) {
		const mark = "S3CRET"
		if strings.Contains(user+host, mark) || strings.ContainsAny(host, "@") || strings.Contains(password, "://") {
			return
		}
		shown := maskURLs("nats://" + user + ":" + password + mark + "@" + host)
		if strings.Contains(shown, mark) {
			t.Errorf("shown as %s", shown)
		}
	})
}

func TestFlagError(t *testing.T) {
	t.Parallel()
	tests := []struct{ arg, want string }{
		{"--nats-ulr=x", "--nats-ulr: there is no such flag: did you mean --nats-url?"},
		{"--something-else=x", "--something-else: there is no such flag; -h shows all flags"},
		{"--slots=3", "--slots: this command does not use it; -h shows all flags"},
		{"--api-key=s3cret", "--api-key: a secret is never a flag, since command lines show in process lists: set OFFHOOK_API_KEY, or --api-key-file with the file that holds it"},
		{"--nats-url", "flag needs an argument: --nats-url; -h shows all flags"},
		{"-z", "unknown shorthand flag: 'z' in -z; -h shows all flags"},
	}
	for _, test := range tests {
		c := NewCatalogue()
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		flags.SetOutput(io.Discard)
		c.NATSURL.Bind(New(flags, c, nil), new(string))
		err := c.FlagError(flags, flags.Parse([]string{test.arg}))
		if err == nil || err.Error() != test.want || messages.CodeOf(err) != messages.CodeUsage {
			t.Errorf("%s: got %v\nwant %s", test.arg, err, test.want)
		}
	}
	if err := NewCatalogue().FlagError(nil, pflag.ErrHelp); !errors.Is(err, pflag.ErrHelp) {
		t.Errorf("asking for help became %v", err)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "abd", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// TestCatalogue checks what every setting must have, so that a new line cannot
// forget it.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	c := NewCatalogue()
	if fields, listed := reflect.TypeFor[Catalogue]().NumField()-1, len(c.all); fields != listed {
		t.Errorf("Catalogue has %d settings, NewCatalogue makes %d", fields, listed)
	}
	seen := make(map[string]bool)
	for _, e := range c.all {
		s := e.about()
		if s.usage == "" || s.unit == "" || strings.ContainsAny(s.usage, "\n`") || len(s.usage) > 90 {
			t.Errorf("%s: wants a unit and a usage of one line, at most 90 bytes; has %q, %q", s.name, s.unit, s.usage)
		}
		if strings.Trim(s.name, "abcdefghijklmnopqrstuvwxyz-") != "" {
			t.Errorf("%q is no flag name", s.name)
		}
		for _, name := range s.variables() {
			if seen[name] {
				t.Errorf("%s: %s is another setting's variable too", s.name, name)
			}
			seen[name] = true
		}
	}
	set := New(pflag.NewFlagSet("test", pflag.ContinueOnError), c, nil)
	set.BindAll()
	set.BindAll() // twice is once
	if err := set.Resolve(); err != nil {
		t.Errorf("a default cannot be read: %v", err)
	}
	if len(set.Effective()) != len(c.all) {
		t.Errorf("%d of %d settings are shown", len(set.Effective()), len(c.all))
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	c := NewCatalogue()
	flags := pflag.NewFlagSet("offhook", pflag.ContinueOnError)
	set := New(flags, c, nil)
	c.CustomerID.Required().Bind(set, new(string))
	set.BindAll()
	golden(t, "help.txt", flags.FlagUsages())
}

func TestEffective(t *testing.T) {
	t.Parallel()
	c := NewCatalogue()
	flags := pflag.NewFlagSet("offhook", pflag.ContinueOnError)
	set := New(flags, c, []string{
		"OFFHOOK_REDIS_URL=rediss://u:s3cret@r:1/0", "OFFHOOK_API_KEY_FILE=testdata/key.txt",
		"OFFHOOK_FLOW=a.yaml, b.yaml", "OFFHOOK_LISTEN=:1",
	})
	c.RedisURL.Bind(set, new(string))
	c.APIKey.Bind(set, new(Secrets))
	c.Flow.Bind(set, new([]string))
	c.CallerID.Bind(set, new(string))
	c.AllowVolatileRedis.Bind(set, new(bool))
	c.AnswerWithin.Bind(set, new(time.Duration))
	c.HoldText.Bind(set, new(string))
	if err := flags.Parse([]string{"--allow-volatile-redis", "--answer-within", "2s"}); err != nil {
		t.Fatal(err)
	}
	if err := set.Resolve(); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	encoded, err := json.MarshalIndent(set.Effective(), "", "  ")
	if err := errors.Join(err, WriteText(&text, set.Effective())); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String()+string(encoded), "s3cret") {
		t.Errorf("a secret shows in %s%s", text.String(), encoded)
	}
	golden(t, "effective.txt", text.String())
	golden(t, "effective.json", string(encoded)+"\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (go test -update rewrites it):\n%s", path, diff)
	}
}
