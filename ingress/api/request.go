package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/offhook/offhook/messages"
)

// maxBody bounds a request. The largest honest one is a call with some dozen
// contact fields.
const maxBody = 64 << 10

// placeCallFields are the members of a messages.PlaceCall, for those who misspell
// one.
const placeCallFields = "to, caller_id_number, flow, contact, idempotency_key and not_after"

// readPlaceCall reads one JSON object, strictly: an unknown field is probably a
// misspelt one, and what follows the object was probably meant too.
func readPlaceCall(w http.ResponseWriter, r *http.Request) (messages.PlaceCall, error) {
	var req messages.PlaceCall
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return req, messages.Errorf(messages.CodeTooLarge, "the request is larger than %d bytes", maxBody)
	case err != nil:
		return req, messages.Errorf(messages.CodeInvalid, "the request could not be read: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return req, malformed(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return req, messages.Errorf(messages.CodeInvalid, "there is something after the JSON object")
	}
	return req, nil
}

// malformed puts what encoding/json says in terms of the request.
func malformed(err error) error {
	var wrong *json.UnmarshalTypeError
	var when *time.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return messages.Errorf(messages.CodeInvalid, "the request is empty; send a JSON object with %s", placeCallFields)
	case errors.As(err, &wrong) && wrong.Field == "":
		return messages.Errorf(messages.CodeInvalid, "the request is a JSON %s; send an object with %s", wrong.Value, placeCallFields)
	case errors.As(err, &wrong) && wrong.Field == "contact":
		return messages.FieldErrorf(messages.CodeInvalid, wrong.Field, "holds a JSON %s; want an object whose values are all strings", wrong.Value)
	case errors.As(err, &wrong):
		return messages.FieldErrorf(messages.CodeInvalid, wrong.Field, "is a JSON %s; want a string", wrong.Value)
	case errors.As(err, &when):
		return messages.FieldErrorf(messages.CodeInvalid, "not_after", "is not a time such as 2026-11-22T15:04:05Z (RFC 3339)")
	}
	if quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if name, err := strconv.Unquote(quoted); err == nil {
			return messages.FieldErrorf(messages.CodeInvalid, clip(name), "is no field of this request; there are %s", placeCallFields)
		}
	}
	return messages.Errorf(messages.CodeInvalid, "the request is not the JSON that is wanted here: %w", err)
}

// maxClip is how many bytes of a stranger's text an answer repeats.
const maxClip = 80

// clip is s, cut where it is longer than anybody reads.
func clip(s string) string {
	if len(s) <= maxClip {
		return s
	}
	end := maxClip
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
