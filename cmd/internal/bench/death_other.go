//go:build !linux

package bench

import "syscall"

// apart has no equivalent here, and Run refuses to start.
func apart() *syscall.SysProcAttr { return nil }
