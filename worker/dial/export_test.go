package dial

import "net/http"

// Transport lets tests trust a certificate and break name lookup.
func (c *Client) Transport() *http.Transport { return c.transport }
