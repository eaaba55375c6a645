package setting

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The kinds of setting, one method each that makes a setting and lists it. Every
// default is given as text and read like any other text. unit is what stands for
// the value in -h.

func list[T any](c *Catalogue, s spec, read func(text string) (T, error)) Setting[T] {
	setting := Setting[T]{spec: s, read: read}
	c.all = append(c.all, setting)
	return setting
}

// string is any text.
func (c *Catalogue) string(name, preset, unit, usage string) Setting[string] {
	return list(c, spec{name: name, preset: preset, unit: unit, usage: usage},
		func(text string) (string, error) { return text, nil })
}

// choice is one of words.
func (c *Catalogue) choice(name, preset, usage string, words ...string) Setting[string] {
	return list(c, spec{name: name, preset: preset, unit: strings.Join(words, "|"), usage: usage},
		func(text string) (string, error) {
			if !slices.Contains(words, text) {
				return "", fmt.Errorf("want one of %s", strings.Join(words, ", "))
			}
			return text, nil
		})
}

// int is a whole number of at least least.
func (c *Catalogue) int(name, preset, unit string, least int, usage string) Setting[int] {
	return list(c, spec{name: name, preset: preset, unit: unit, usage: usage},
		func(text string) (int, error) {
			n, err := strconv.Atoi(text)
			if err != nil || n < least {
				return 0, fmt.Errorf("want a whole number (%s), %d or more", unit, least)
			}
			return n, nil
		})
}

// float is a finite number of at least least.
func (c *Catalogue) float(name, preset, unit string, least float64, usage string) Setting[float64] {
	return list(c, spec{name: name, preset: preset, unit: unit, usage: usage},
		func(text string) (float64, error) {
			f, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < least {
				return 0, fmt.Errorf("want a number (%s), %v or more", unit, least)
			}
			return f, nil
		})
}

// bool is true or false, false by default; the bare flag means true.
func (c *Catalogue) bool(name, usage string) Setting[bool] {
	return list(c, spec{name: name, preset: "false", unit: unitBool, usage: usage},
		func(text string) (bool, error) {
			on, err := strconv.ParseBool(text)
			if err != nil {
				return false, errors.New("want true or false")
			}
			return on, nil
		})
}

// unitBool is what pflag calls a flag that needs no value.
const unitBool = "bool"

// duration is a duration of at least least.
func (c *Catalogue) duration(name, preset string, least time.Duration, usage string) Setting[time.Duration] {
	return list(c, spec{name: name, preset: preset, unit: "duration", usage: usage},
		func(text string) (time.Duration, error) {
			d, err := time.ParseDuration(text)
			if err != nil {
				return 0, errors.New("want a duration with its unit, such as 800ms, 2.5s or 168h")
			}
			if d < least {
				return 0, fmt.Errorf("want a duration of %v or more", least)
			}
			return d, nil
		})
}

// durationUpTo is duration with a most as well.
func (c *Catalogue) durationUpTo(name, preset string, least, most time.Duration, usage string) Setting[time.Duration] {
	s := c.duration(name, preset, least, usage)
	read := s.read
	s.read = func(text string) (time.Duration, error) {
		d, err := read(text)
		if err == nil && d > most {
			return 0, fmt.Errorf("want a duration of %v at most", most)
		}
		return d, err
	}
	c.all[len(c.all)-1] = s
	return s
}

// strings is a list: the flag repeated, or one text separated by commas. Spaces
// around an element and empty elements are dropped.
func (c *Catalogue) strings(name, preset, unit, usage string) Setting[[]string] {
	return list(c, spec{name: name, preset: preset, unit: unit, usage: usage, list: ","},
		func(text string) ([]string, error) { return split(text, ","), nil })
}

// split cuts text at any of the separators, trims each piece and drops empty ones.
func split(text, separators string) []string {
	var pieces []string
	for piece := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		if piece = strings.TrimSpace(piece); piece != "" {
			pieces = append(pieces, piece)
		}
	}
	return pieces
}

// address is host:port to listen on; port 0 takes a free one, empty is none.
func (c *Catalogue) address(name, preset, usage string) Setting[string] {
	return list(c, spec{name: name, preset: preset, unit: "host:port", usage: usage},
		func(text string) (string, error) {
			if text == "" {
				return "", nil
			}
			_, port, err := net.SplitHostPort(text)
			if err == nil {
				_, err = strconv.ParseUint(port, 10, 16)
			}
			if err != nil {
				return "", errors.New("want host:port such as 127.0.0.1:8080, or :8080 for all interfaces")
			}
			return text, nil
		})
}

// url is one absolute URL with one of the schemes. Its user part is masked wherever
// it is shown, and refused on the command line.
func (c *Catalogue) url(name, preset, usage string, schemes ...string) Setting[string] {
	return list(c, spec{name: name, preset: preset, unit: "url", usage: usage, url: true},
		func(text string) (string, error) { return text, checkURL(text, schemes) })
}

// urls is url for one or more, separated by commas: the servers of one cluster.
func (c *Catalogue) urls(name, preset, usage string, schemes ...string) Setting[string] {
	return list(c, spec{name: name, preset: preset, unit: "url,...", usage: usage, url: true},
		func(text string) (string, error) {
			servers := split(text, ",")
			if len(servers) == 0 {
				servers = []string{""}
			}
			for _, server := range servers {
				if err := checkURL(server, schemes); err != nil {
					return "", err
				}
			}
			return strings.Join(servers, ","), nil
		})
}

// secrets is one or more secrets, separated by commas or newlines. The first is the
// one to use; the others are accepted too, while a key is being replaced.
func (c *Catalogue) secrets(name, usage string) Setting[Secrets] {
	return list(c, spec{name: name, unit: "file", usage: usage, secret: true}, splitSecrets)
}
