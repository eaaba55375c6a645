// Package apiclient is the client of offhook's own API, for the command line and
// for tests. It knows the routes and the error body, nothing else.
//
// Every error is a messages.Error: the API's own, or CodeUnavailable when there is
// no API, CodeTimeout when it or the caller's patience took too long, CodeUsage when
// its URL cannot be one. CodeInternal is a defect, here or there.
package apiclient
