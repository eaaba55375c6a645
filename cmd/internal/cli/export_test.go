package cli

import (
	"io"

	"github.com/offhook/offhook/messages"
)

// WriteCall is writeCall.
func WriteCall(w io.Writer, c messages.Call) error { return writeCall(w, c) }

// Parts are parts.
func Parts(err error) []error { return parts(err) }
