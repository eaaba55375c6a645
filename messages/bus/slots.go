package bus

import "context"

// slots is places in use or reserved, one element each, up to its capacity.
type slots chan struct{}

// reserve waits until it has least places and takes more, up to most, where they are
// free. It takes none when ctx has ended. There is to be no other who waits for more
// than one.
func (s slots) reserve(ctx context.Context, least, most int) int {
	n := 0
	for n < least {
		select {
		case <-ctx.Done():
		case s <- struct{}{}:
			n++
		}
		if ctx.Err() != nil { // also when both were ready
			s.release(n)
			return 0
		}
	}
	for n < most {
		select {
		case s <- struct{}{}:
			n++
		default:
			return n
		}
	}
	return n
}

func (s slots) release(n int) {
	for range n {
		<-s
	}
}
