package setting

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// checkURL says what is wrong with text as an absolute URL of one of the schemes.
// The error repeats no part of text: what cannot be read cannot be masked.
func checkURL(text string, schemes []string) error {
	want := "want " + schemes[0] + "://host:port"
	if len(schemes) > 1 {
		want += " (or " + strings.Join(schemes[1:], ", ") + ")"
	}
	u, err := url.Parse(text)
	switch {
	case err != nil && strings.Contains(text, "@"):
		return errors.New(want + "; in a user name or password the characters / : ? # @ % must be percent-encoded")
	case err != nil || !slices.Contains(schemes, u.Scheme):
		return errors.New(want)
	case u.Scheme == "unix" && u.Path == "":
		return errors.New("want unix:///path/to/socket")
	case u.Scheme != "unix" && u.Hostname() == "":
		return errors.New(want + ": the host is missing")
	}
	return nil
}

// hasCredentials reports whether text, one URL or several separated by commas, may
// carry a secret. In doubt it says yes.
func hasCredentials(text string) bool { return maskURLs(text) != text }

// maskURLs hides what may be secret in the user part of every URL in text: the
// password, or a lone user name, which NATS takes for a token. In text that does
// not parse it hides more rather than less.
func maskURLs(text string) string {
	list := strings.Split(text, ",")
	for i, one := range list {
		if !strings.Contains(one, "@") {
			continue
		}
		u, err := url.Parse(one)
		scheme, rest, found := strings.Cut(one, "://")
		at := strings.LastIndex(rest, "@")
		if err != nil || u.User == nil || !found || strings.Contains(rest[:at], "/") {
			return maskUnreadable(text)
		}
		user := masked
		if _, has := u.User.Password(); has {
			user = url.User(u.User.Username()).String() + ":" + masked
		}
		list[i] = scheme + "://" + user + rest[at:]
	}
	return strings.Join(list, ",")
}

// maskUnreadable hides everything between each "://" (or the beginning) and the
// last "@" before the next "://" (or the end).
func maskUnreadable(text string) string {
	parts := strings.Split(text, "://")
	for i, part := range parts {
		if at := strings.LastIndex(part, "@"); at >= 0 {
			parts[i] = masked + part[at:]
		}
	}
	return strings.Join(parts, "://")
}
