//go:build !linux

package redistest

import "syscall"

// dieWithParent has no equivalent here: a server may outlive a crashed test binary.
func dieWithParent() *syscall.SysProcAttr { return nil }
