package apiclient

import "net/http"

// SetTransport replaces what carries c's requests.
func (c *Client) SetTransport(t http.RoundTripper) { c.http.Transport = t }
