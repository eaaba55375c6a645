package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// connection is one keep-alive connection of the load generator. It speaks just
// enough HTTP/1.1 to cost little beside what is measured.
type connection struct {
	host string
	c    net.Conn
	in   *bufio.Reader
	out  []byte
	body []byte
}

// exchangeWithin is how long an answer may take before the run fails; far beyond
// any answer window.
const exchangeWithin = 20 * time.Second

func dialServer(ctx context.Context, host string) (*connection, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, messages.Errorf(messages.CodeUnavailable, "connect to %s: %w", host, err)
	}
	return &connection{host: host, c: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

// post signs and posts one event and returns the answer's status and body. The body
// is valid until the next post.
func (c *connection) post(event []byte) (status int, body []byte, err error) {
	signature, err := telesign.SignWebhook(apiKey, event)
	if err != nil {
		return 0, nil, err
	}
	out := append(c.out[:0], "POST "+webhookPath+" HTTP/1.1\r\nHost: "...)
	out = append(out, c.host...)
	out = append(out, "\r\nUser-Agent: offhook-bench\r\nContent-Type: application/json\r\nAuthorization: TSA "+customerID+":"...)
	out = append(out, signature...)
	out = append(out, "\r\nX-TS-Authorization: "...)
	out = append(out, signature...)
	out = append(out, "\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(event)), 10)
	out = append(out, "\r\n\r\n"...)
	out = append(out, event...)
	c.out = out
	if err := c.c.SetDeadline(time.Now().Add(exchangeWithin)); err != nil {
		return 0, nil, err
	}
	if _, err := c.c.Write(out); err != nil {
		return 0, nil, err
	}
	return c.answer()
}

var contentLength = []byte("content-length:")

func (c *connection) answer() (status int, body []byte, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	const statusAt, statusEnd = len("HTTP/1.1 "), len("HTTP/1.1 200")
	if len(line) < statusEnd || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, nil, fmt.Errorf("the answer begins with %.40q", line)
	}
	if status, err = strconv.Atoi(string(line[statusAt:statusEnd])); err != nil {
		return 0, nil, fmt.Errorf("the answer begins with %.40q", line)
	}
	length := -1
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil {
				return 0, nil, fmt.Errorf("the answer's %.40q: %w", line, err)
			}
		}
	}
	const longest = 1 << 20
	if length < 0 || length > longest {
		return 0, nil, fmt.Errorf("the answer's Content-Length is %d", length)
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	_, err = io.ReadFull(c.in, c.body)
	return status, c.body, err
}
