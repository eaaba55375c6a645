// Package stage starts the long-lived parts of a process and stops them in order.
//
// Nothing about offhook lives here: a part is a name and a Run(ctx) error that
// blocks until ctx ends and leaves nothing running.
package stage
